//! Sliding operators may write over their own input behind the window: where, and why that is safe.
//!
//! Positions are computed in row-major order, every channel of one before a later one's, except that
//! a kernel may finish up to [`LOOKAHEAD`] of them together. What position p and all later ones read
//! begins at p's first tap, and what is written until p is done ends at most [`LOOKAHEAD`] positions
//! behind p. If the input stands so much higher in memory than the output that the second never
//! reaches the first, nothing is overwritten before it was read for the last time. Half the memory
//! of a layer is saved that way, at no cost.

use crate::operator::Window;
use crate::tensor::Shape;

/// Positions that a kernel may compute together before it writes them.
pub const LOOKAHEAD: usize = 4;

/// The least number of bytes by which the input must begin behind the output, so that a sliding
/// operator may write its output over what it has read. The output's length keeps the two apart.
pub fn clearance(window: &Window, input: &Shape, output: &Shape) -> usize {
    let [stride_y, stride_x] = window.stride;
    let [top, left] = window.padding;
    let positions = output.height * output.width;
    let row_start = |y: usize| (y * stride_y).saturating_sub(top).min(input.height) * input.width;
    // What is written grows evenly until nothing is left, and so does what is read once the window has
    // left the padding: along a row and from row to row the two are closest where one of them bends.
    let all_written = positions.saturating_sub(LOOKAHEAD);
    let last_row = output.height.saturating_sub(1);
    let [rows_leave, columns_leave] = [
        top.div_ceil(stride_y.max(1)),
        left.div_ceil(stride_x.max(1)),
    ];
    let bend = all_written / output.width.max(1);
    let rows = [
        0,
        rows_leave.saturating_sub(1),
        rows_leave,
        bend.saturating_sub(1),
        bend,
        last_row.saturating_sub(1),
        last_row,
    ];
    let columns = [
        0,
        columns_leave.saturating_sub(1),
        columns_leave,
        all_written - bend * output.width,
        output.width.saturating_sub(1),
    ];
    let mut needed = 0;
    for y in rows.into_iter().filter(|&y| y <= last_row) {
        let (this, next) = (row_start(y), row_start(y + 1));
        for x in columns.into_iter().filter(|&x| x < output.width) {
            // The next row may begin to the left in the same row of the input, still in the padding.
            let own = this + (x * stride_x).saturating_sub(left).min(input.width);
            let read = (if y == last_row { own } else { own.min(next) }) * input.channels;
            let written = (y * output.width + x + LOOKAHEAD).min(positions) * output.channels;
            needed = needed.max(written.saturating_sub(read));
        }
    }
    needed.min(output.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Plays the operator with the greatest look-ahead and asks, byte by byte, whether a write hits
    /// something that is read at the same time or later.
    fn safe(apart: usize, window: &Window, input: &Shape, output: &Shape) -> bool {
        let taps = |p: usize| -> Vec<usize> {
            let (y, x) = (p / output.width, p % output.width);
            let inside = |at: usize, k: usize, padding: usize, size: usize| {
                (at + k).checked_sub(padding).filter(|&i| i < size)
            };
            let mut taps = Vec::new();
            for ky in 0..window.kernel[0] {
                for kx in 0..window.kernel[1] {
                    let row = inside(y * window.stride[0], ky, window.padding[0], input.height);
                    let column = inside(x * window.stride[1], kx, window.padding[1], input.width);
                    if let (Some(row), Some(column)) = (row, column) {
                        taps.push(row * input.width + column);
                    }
                }
            }
            taps
        };
        let positions = output.height * output.width;
        (0..positions).all(|p| {
            let written = (p + LOOKAHEAD).min(positions) * output.channels;
            (p..positions).all(|later| {
                let first = |tap: &usize| apart + tap * input.channels >= written;
                taps(later).iter().all(first)
            })
        })
    }

    #[test]
    fn nothing_is_overwritten_before_it_was_read() {
        let mut tried = 0;
        for (kernel, stride, padding) in [
            ([1, 1], [1, 1], [0, 0]),
            ([3, 3], [1, 1], [1, 1]),
            ([3, 3], [2, 2], [0, 0]),
            ([3, 3], [2, 2], [1, 1]),
            ([5, 5], [1, 1], [2, 2]),
            ([2, 2], [2, 2], [0, 0]),
            ([10, 4], [2, 2], [4, 1]),
            ([1, 7], [1, 3], [0, 6]),
        ] {
            let window = Window {
                kernel,
                stride,
                padding,
                dilation: [1, 1],
            };
            for (channels, filters) in [(1, 1), (1, 6), (6, 1), (4, 4), (3, 8)] {
                for (height, width) in [(10, 11), (1, 20), (12, 4)] {
                    let out = |size: usize, axis: usize| {
                        (size + 2 * padding[axis])
                            .checked_sub(kernel[axis])
                            .map(|room| room / stride[axis] + 1)
                    };
                    let (Some(oh), Some(ow)) = (out(height, 0), out(width, 1)) else {
                        continue;
                    };
                    let input = Shape::new(height, width, channels).expect("small");
                    let output = Shape::new(oh, ow, filters).expect("small");
                    let needed = clearance(&window, &input, &output);
                    assert!(
                        safe(needed, &window, &input, &output),
                        "{window:?} {input:?} {output:?}"
                    );
                    // It is also the least, unless it keeps the two apart.
                    if needed > 0 && needed < output.len() {
                        assert!(
                            !safe(needed - 1, &window, &input, &output),
                            "{window:?} {input:?}"
                        );
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 40, "{tried}");
    }
}
