use crate::arch::raise;
use core::cell::Cell;
use no_std_core::operator::{Operator, Window};
#[cfg(feature = "std")]
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

/// Channels whose taps are read together, where code need not be short.
#[cfg(feature = "std")]
const BLOCK: usize = 16;

/// Those of a window.
#[cfg(feature = "std")]
struct Taps<'s> {
    x: &'s [Cell<i8>],
    input: &'s Shape,
    rows: Span,
    columns: Span,
}

#[cfg(feature = "std")]
impl Taps<'_> {
    /// Sets each channel of at least as many as a block has to what `reduce` makes of its taps. The last block
    /// begins so that it is whole; all outputs of a position may be written before its taps are read.
    #[inline(always)]
    fn blocks<T: Copy>(
        &self,
        y: &[Cell<i8>],
        start: T,
        add: impl Fn(T, i8) -> T,
        reduce: impl Fn(T) -> i8,
    ) {
        for first in (0..y.len()).step_by(BLOCK) {
            let first = first.min(y.len() - BLOCK);
            let mut sums = [start; BLOCK];
            for row in self.rows.places() {
                for column in self.columns.places() {
                    let place = (row * self.input.width + column) * self.input.channels + first;
                    let x = self.x.get(place..).unwrap_or_default();
                    if let Some(x) = x.first_chunk::<BLOCK>() {
                        let sums = sums.iter_mut().zip(x);
                        sums.for_each(|(sum, x)| *sum = add(*sum, x.get()));
                    }
                }
            }
            let y = y.get(first..).unwrap_or_default();
            y.iter().zip(sums).for_each(|(y, sum)| y.set(reduce(sum)));
        }
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
            #[cfg(feature = "std")]
            if cell.len() >= BLOCK {
                let taps = Taps {
                    x,
                    input,
                    rows,
                    columns,
                };
                taps.blocks(cell, start, &add, |sum| {
                    reduce(sum, rows.taps * columns.taps)
                });
                continue;
            }
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
            #[cfg(feature = "std")]
            if y.len() >= BLOCK {
                let taps = Taps {
                    x,
                    input,
                    rows,
                    columns,
                };
                taps.blocks(y, i8::MIN, |max, x| max.max(x), |max| max);
                continue;
            }
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

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use no_std_core::operator::Kind;
    use no_std_core::tensor::Tensor;
    use std::vec::Vec;

    const WINDOW: Window = Window {
        kernel: [3, 2],
        padding: [1, 1],
        stride: [2, 1],
        dilation: [1, 1],
    };

    fn operator(channels: usize) -> Operator<'static> {
        let tensor = |height, width| Tensor {
            number: 0,
            shape: Shape {
                height,
                width,
                channels,
            },
            scale_bits: 0,
            zero_point: 3,
            wide: false,
            offset: 0,
        };
        Operator {
            input: tensor(5, 6),
            output: tensor(3, 7),
            scratch: 0,
            kind: Kind::Table(&[]),
        }
    }

    /// Of elements of so many channels.
    fn pooled(x: &[i8], channels: usize, max: bool) -> Vec<i8> {
        let x: Vec<_> = x.iter().copied().map(Cell::new).collect();
        let y: Vec<_> = (0..21 * channels).map(|_| Cell::new(0)).collect();
        let op = operator(channels);
        match max {
            true => max_pool(&x, &y, &op, &WINDOW),
            false => average_pool(&x, &y, &op, &WINDOW, false),
        }
        y.iter().map(Cell::get).collect()
    }

    #[test]
    fn channels_in_blocks_are_those_one_by_one() {
        for channels in [15, 16, 17, 31, 32, 50] {
            let hash = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) as i8;
            let x: Vec<i8> = (0..30 * channels).map(hash).collect();
            for max in [true, false] {
                let all = pooled(&x, channels, max);
                for channel in 0..channels {
                    let of = |values: &[i8]| -> Vec<i8> {
                        values
                            .iter()
                            .copied()
                            .skip(channel)
                            .step_by(channels)
                            .collect()
                    };
                    assert_eq!(of(&all), pooled(&of(&x), 1, max), "{channel} of {channels}");
                }
            }
        }
    }
}
