use no_std_core::operator::{Operator, Window};
use no_std_core::tensor::Shape;

/// The part of a window that lies on the input along one axis: first place and one past the last.
fn clip(
    position: usize,
    stride: usize,
    padding: usize,
    kernel: usize,
    size: usize,
) -> (usize, usize) {
    let start = position * stride;
    (
        start.saturating_sub(padding),
        (start + kernel).saturating_sub(padding).min(size),
    )
}

/// Calls `visit` with each output position's channels and the input places under its window, as
/// rows and columns `[top, bottom, left, right]`, ends exclusive.
fn windows(
    y: &mut [i8],
    input: &Shape,
    output: &Shape,
    window: &Window,
    mut visit: impl FnMut(&mut [i8], [usize; 4]),
) {
    let mut cells = y.chunks_exact_mut(output.channels.max(1));
    for row in 0..output.height {
        let (top, bottom) = clip(
            row,
            window.stride[0],
            window.padding[0],
            window.kernel[0],
            input.height,
        );
        for column in 0..output.width {
            let (left, right) = clip(
                column,
                window.stride[1],
                window.padding[1],
                window.kernel[1],
                input.width,
            );
            if let Some(cell) = cells.next() {
                visit(cell, [top, bottom, left, right]);
            }
        }
    }
}

/// Largest value under the window, per channel.
pub(crate) fn max_pool(x: &[i8], y: &mut [i8], input: &Shape, output: &Shape, window: &Window) {
    windows(
        y,
        input,
        output,
        window,
        |cell, [top, bottom, left, right]| {
            cell.fill(i8::MIN);
            for row in top..bottom {
                for column in left..right {
                    let start = (row * input.width + column) * input.channels;
                    for (y, &x) in cell.iter_mut().zip(x.get(start..).unwrap_or(&[])) {
                        *y = if x > *y { x } else { *y };
                    }
                }
            }
        },
    );
}

/// Mean under the window, per channel, ties towards +∞. Input and output share scale and zero
/// point, so the mean of the integers is the integer of the mean. Padding that counts is the zero
/// point. Sums stay in range: a window has at most 2¹⁶ places.
pub(crate) fn average_pool(
    x: &[i8],
    y: &mut [i8],
    op: &Operator,
    window: &Window,
    count_include_pad: bool,
) {
    let (input, output) = (&op.input.shape, &op.output.shape);
    let zero_point = op.input.zero_point as i32;
    let whole = (window.kernel[0] * window.kernel[1]) as i32;
    windows(
        y,
        input,
        output,
        window,
        |cell, [top, bottom, left, right]| {
            let covered = (bottom.saturating_sub(top) * right.saturating_sub(left)) as i32;
            let count = if count_include_pad { whole } else { covered };
            let padding = (count - covered) * zero_point;
            for (channel, y) in cell.iter_mut().enumerate() {
                let mut sum = padding;
                for row in top..bottom {
                    for column in left..right {
                        let place = (row * input.width + column) * input.channels + channel;
                        sum += x.get(place).copied().unwrap_or(0) as i32;
                    }
                }
                // floor(sum/count + 1/2)
                *y = (2 * sum + count).checked_div_euclid(2 * count).unwrap_or(0) as i8;
            }
        },
    );
}
