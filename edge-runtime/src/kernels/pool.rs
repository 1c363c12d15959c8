use no_std_core::operator::{Operator, Window};
use no_std_core::tensor::Shape;

/// The taps of a window that lie on the input along one axis.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    taps: usize,
    step: usize,
}

impl Span {
    fn of(window: &Window, axis: usize, position: usize, size: usize) -> Self {
        let of = |sides: &[usize; 2]| sides.get(axis).copied().unwrap_or(1);
        let (padding, step) = (of(&window.padding), of(&window.dilation));
        let mut taps = of(&window.kernel);
        let mut first = position * of(&window.stride);
        let mut last = first + taps.saturating_sub(1) * step;
        while taps > 0 && first < padding {
            (first, taps) = (first + step, taps - 1);
        }
        while taps > 0 && last >= size + padding {
            (last, taps) = (last.saturating_sub(step), taps - 1);
        }
        Self {
            first: first.saturating_sub(padding),
            taps,
            step,
        }
    }

    fn places(self) -> impl Iterator<Item = usize> {
        (0..self.taps).map(move |tap| self.first + tap * self.step)
    }
}

/// Calls `visit` with each output position's channels and the taps of its window along height and
/// width.
#[inline(always)]
fn windows(
    y: &mut [i8],
    input: &Shape,
    output: &Shape,
    window: &Window,
    mut visit: impl FnMut(&mut [i8], Span, Span),
) {
    let mut cells = y.chunks_exact_mut(output.channels.max(1));
    for row in 0..output.height {
        let rows = Span::of(window, 0, row, input.height);
        for column in 0..output.width {
            let columns = Span::of(window, 1, column, input.width);
            if let Some(cell) = cells.next() {
                visit(cell, rows, columns);
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
        |cell, rows, columns| {
            cell.fill(i8::MIN);
            for row in rows.places() {
                for column in columns.places() {
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
        |cell, rows, columns| {
            let covered = (rows.taps * columns.taps) as i32;
            let count = if count_include_pad { whole } else { covered };
            let padding = (count - covered) * zero_point;
            for (channel, y) in cell.iter_mut().enumerate() {
                let mut sum = padding;
                for row in rows.places() {
                    for column in columns.places() {
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
