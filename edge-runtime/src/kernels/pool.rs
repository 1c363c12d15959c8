use crate::arch::raise;
use core::cell::Cell;
use no_std_core::operator::{Operator, Window};

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

/// Sets each element of the output to what `reduce` makes of the window over its channel: of the taps'
/// values and their number. Element by element, so that the output may follow the window into its input
/// ([`no_std_core::overlap`]).
#[inline(always)]
fn windows<T>(
    x: &[Cell<i8>],
    y: &[Cell<i8>],
    op: &Operator,
    window: &Window,
    start: T,
    add: impl Fn(T, i8) -> T,
    reduce: impl Fn(T, usize) -> i8,
) where
    T: Copy,
{
    let (input, output) = (&op.input.shape, &op.output.shape);
    let mut cells = y.chunks_exact(output.channels.max(1));
    for row in 0..output.height {
        let rows = Span::of(window, 0, row, input.height);
        for column in 0..output.width {
            let columns = Span::of(window, 1, column, input.width);
            let cell = cells.next().unwrap_or(&[]);
            for (channel, y) in cell.iter().enumerate() {
                let mut sum = start;
                for row in rows.places() {
                    for column in columns.places() {
                        let place = (row * input.width + column) * input.channels + channel;
                        sum = add(sum, x.get(place).map_or(0, Cell::get));
                    }
                }
                y.set(reduce(sum, rows.taps * columns.taps));
            }
        }
    }
}

/// Largest value under the window, per channel: tap by tap, which no output of the same place lies on
/// ([`no_std_core::overlap`]).
#[inline(never)]
pub(crate) fn max_pool(x: &[Cell<i8>], y: &[Cell<i8>], op: &Operator, window: &Window) {
    let (input, output) = (&op.input.shape, &op.output.shape);
    let mut cells = y.chunks_exact(output.channels.max(1));
    for row in 0..output.height {
        let rows = Span::of(window, 0, row, input.height);
        for column in 0..output.width {
            let columns = Span::of(window, 1, column, input.width);
            let y = cells.next().unwrap_or_default();
            y.iter().for_each(|y| y.set(i8::MIN));
            for row in rows.places() {
                for column in columns.places() {
                    let tap = (row * input.width + column) * input.channels;
                    raise(y, x.get(tap..).unwrap_or_default());
                }
            }
        }
    }
}

/// Mean under the window, per channel. Input and output share scale and zero point, so the mean of the
/// integers is the integer of the mean. Ties, which a mean of 64 meets often, go to even multiples of
/// the scale as in ONNX's `QuantizeLinear`. Padding that counts is the zero point. Sums stay in range: a window has at most 2¹⁶ places.
#[inline(never)]
pub(crate) fn average_pool(
    x: &[Cell<i8>],
    y: &[Cell<i8>],
    op: &Operator,
    window: &Window,
    count_include_pad: bool,
) {
    let zero_point = op.input.zero_point as i32;
    let [height, width] = window.kernel;
    let whole = (height * width) as i32;
    let mean = |sum: i32, covered: usize| {
        let covered = covered as i32;
        let count = if count_include_pad { whole } else { covered };
        // Of the differences to the zero point, so that ties go to even multiples of the scale.
        let twice = 2 * (sum - covered * zero_point) + count;
        let up = twice.checked_div_euclid(2 * count).unwrap_or(0);
        let tie = up * 2 * count == twice;
        (up - (tie as i32 & up & 1) + zero_point) as i8
    };
    windows(x, y, op, window, 0, |sum, x| sum + x as i32, mean);
}
