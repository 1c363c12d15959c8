//! Sliding operators may write over their own input behind the window: where, and why that is safe.
//!
//! Positions are computed in row-major order, every channel of one before a later one's, except that
//! a kernel may finish up to [`LOOKAHEAD`] of them together. What position p and all later ones read
//! begins at p's first tap, and what is written until p is done ends at most [`LOOKAHEAD`] positions
//! behind p. If the input stands so much higher in memory than the output that the second never
//! reaches the first, nothing is overwritten before it was read for the last time. Half the memory
//! of a layer is saved that way, at no cost.

use crate::operator::{Axis, Window};
use crate::tensor::Shape;

/// Positions that a kernel may compute together before it writes them.
pub const LOOKAHEAD: usize = 4;

/// Most positions of an output that may move into its input: all are looked at when an image is read.
const MAX_POSITIONS: usize = 1 << 16;

/// The least number of bytes by which the input must begin behind the output, so that a sliding
/// operator may write its output over what it has read. The output's length keeps the two apart. None
/// for more positions than are looked at.
pub fn clearance(window: &Window, input: &Shape, output: &Shape) -> Option<usize> {
    let [stride_y, stride_x] = window.stride;
    let [top, left] = window.padding;
    let positions = output.height * output.width;
    if positions > MAX_POSITIONS {
        return None;
    }
    let row_start = |y: usize| (y * stride_y).saturating_sub(top).min(input.height) * input.width;
    let (mut needed, mut position) = (0, 0);
    for y in 0..output.height {
        // The next row may begin to the left in the same row of the input, still in the padding; behind
        // the last one nothing is read.
        let (this, next) = (row_start(y), row_start(y + 1));
        let limit = if y + 1 == output.height {
            usize::MAX
        } else {
            next
        };
        for x in 0..output.width {
            let own = this + (x * stride_x).saturating_sub(left).min(input.width);
            let read = own.min(limit) * input.channels;
            let end = (position + LOOKAHEAD).min(positions) * output.channels;
            needed = needed.max(end.saturating_sub(read));
            position += 1;
        }
    }
    Some(needed.min(output.len()))
}

/// The same for a block moved: where reads and writes step alike and writes go upwards, each element
/// is read at the same distance from where it is written, so none is overwritten before. `from` and
/// `to` are the first elements; none for other blocks.
pub fn block_clearance(from: usize, to: usize, axes: &[Axis]) -> Option<usize> {
    // One past what the loops within the one looked at have written.
    let mut span = 1usize;
    for axis in axes.iter().rev().filter(|axis| axis.count > 1) {
        if axis.from_step != axis.to_step as isize || axis.to_step < span {
            return None;
        }
        span = (axis.count - 1)
            .checked_mul(axis.to_step)?
            .checked_add(span)?;
    }
    Some(to.saturating_sub(from))
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
                    let needed = clearance(&window, &input, &output).expect("small");
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

    /// Copies within one memory, with the output at its start, and compares with a copy from apart.
    fn copies(apart: usize, from: usize, to: usize, axes: &[Axis]) -> bool {
        fn moves(from: isize, to: usize, axes: &[Axis], visit: &mut dyn FnMut(usize, usize)) {
            match axes.split_first() {
                None => visit(from as usize, to),
                Some((axis, inner)) => (0..axis.count).for_each(|i| {
                    let from = from + i as isize * axis.from_step;
                    moves(from, to + i * axis.to_step, inner, visit);
                }),
            }
        }
        let mut memory: Vec<usize> = (0..400).collect();
        let before = memory.clone();
        let mut pairs = Vec::new();
        moves(from as isize, to, axes, &mut |from, to| {
            memory[to] = memory[apart + from];
            pairs.push((from, to));
        });
        pairs
            .iter()
            .all(|&(from, to)| memory[to] == before[apart + from])
    }

    #[test]
    fn a_block_reaches_where_it_goes_unharmed() {
        let axis = |count, from_step, to_step| Axis {
            count,
            from_step,
            to_step,
        };
        for (from, to) in [(0, 0), (5, 0), (0, 7), (3, 9)] {
            for axes in [
                &[axis(24, 1, 1)][..],
                &[axis(4, 6, 6), axis(3, 1, 1)],
                &[axis(2, 20, 20), axis(3, 5, 5), axis(4, 1, 1)],
            ] {
                let least = block_clearance(from, to, axes).expect("steps alike");
                for apart in least..least + 30 {
                    assert!(
                        copies(apart, from, to, axes),
                        "{apart} {from} {to} {axes:?}"
                    );
                }
                assert!(least == 0 || !copies(least - 1, from, to, axes));
            }
        }
        for axes in [
            &[axis(4, 6, 3), axis(3, 1, 1)][..],
            &[axis(3, 1, 1), axis(4, 6, 6)],
            &[axis(4, -1, 1)],
        ] {
            assert_eq!(block_clearance(9, 0, axes), None);
        }
    }
}
