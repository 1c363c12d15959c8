use super::dot_cells;
use crate::arch::Padded;
use core::cell::Cell;
use core::ops::Range;
use no_std_core::operator::{Linear, Operator, Window};
use no_std_core::tensor::Shape;

/// A convolution with its geometry at hand. Padding is the input's zero point, as if the input
/// were surrounded by real zeros.
pub(crate) struct Conv<'o, 'a> {
    input: Shape,
    pub(super) output: Shape,
    pub(super) zero_point: i32,
    pub(super) window: &'o Window,
    /// Channels of one group: of the input, of the output.
    pub(super) group_channels: usize,
    group_filters: usize,
    pub(super) linear: &'o Linear<'a>,
}

/// Where a window stands: its corner, which may lie in the padding.
#[derive(Clone, Copy)]
pub(super) struct Position {
    y: isize,
    x: isize,
}

impl<'o, 'a> Conv<'o, 'a> {
    pub(crate) fn new(
        op: &Operator<'a>,
        window: &'o Window,
        groups: usize,
        linear: &'o Linear<'a>,
    ) -> Self {
        let (input, output) = (op.input.shape, op.output.shape);
        let of = |channels: usize| channels.checked_div(groups).unwrap_or(channels);
        let (group_channels, group_filters) = (of(input.channels), of(output.channels));
        let zero_point = op.input.zero_point as i32;
        Self {
            input,
            output,
            zero_point,
            window,
            group_channels,
            group_filters,
            linear,
        }
    }

    /// With one position: what a dense layer is.
    pub(super) fn once(
        op: &Operator<'a>,
        window: &'o Window,
        filters: usize,
        linear: &'o Linear<'a>,
    ) -> Self {
        let output = Shape {
            height: 1,
            width: 1,
            channels: filters,
        };
        Self {
            output,
            group_filters: filters,
            ..Self::new(op, window, 1, linear)
        }
    }

    /// Calls `visit` for each weight of a filter with the place of its tap's first channel (none in the
    /// padding), the channel, and the weight's column.
    pub(super) fn each_tap(
        &self,
        at: Position,
        filter: usize,
        mut visit: impl FnMut(Option<usize>, usize, usize),
    ) {
        let first = self.first_channel(filter);
        let [height, width] = self.window.kernel;
        let mut column = 0;
        for ky in 0..height {
            for kx in 0..width {
                let tap = self.tap(at, ky, kx);
                for channel in first..first + self.group_channels {
                    visit(tap, channel, column);
                    column += 1;
                }
            }
        }
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        (0..self.output.height)
            .flat_map(move |y| (0..self.output.width).map(move |x| self.position([y, x])))
    }

    /// Row and column of a tap's input element, if it is not padding.
    #[inline(always)]
    fn tap(&self, at: Position, ky: usize, kx: usize) -> Option<usize> {
        let y = at.y + (ky * self.window.dilation[0]) as isize;
        let x = at.x + (kx * self.window.dilation[1]) as isize;
        let inside = (0..self.input.height as isize).contains(&y)
            && (0..self.input.width as isize).contains(&x);
        inside.then(|| (y as usize * self.input.width + x as usize) * self.input.channels)
    }

    /// Output channels, at least one.
    pub(super) fn filters(&self) -> usize {
        self.output.channels.max(1)
    }

    /// Where the elements of each tap begin, or nowhere in the padding.
    pub(super) fn taps(&self, at: Position) -> impl Iterator<Item = Option<usize>> {
        let [height, width] = self.window.kernel;
        (0..height).flat_map(move |ky| (0..width).map(move |kx| self.tap(at, ky, kx)))
    }

    /// The window's of a place of the output, vertical and horizontal.
    pub(super) fn position(&self, [y, x]: [usize; 2]) -> Position {
        let [stride_y, stride_x] = self.window.stride;
        let [top, left] = self.window.padding;
        Position {
            y: (y * stride_y) as isize - top as isize,
            x: (x * stride_x) as isize - left as isize,
        }
    }

    /// Places of the output along an axis, at which windows lie within the input along it.
    pub(super) fn inside(&self, axis: usize) -> Range<usize> {
        let axis = axis & 1;
        let of = |pair: [usize; 2]| pair[axis];
        let (padding, stride) = (of(self.window.padding), of(self.window.stride).max(1));
        let reach = (of(self.window.kernel) - 1) * of(self.window.dilation);
        let (size, places) = (of(self.input_sizes()), of(self.output_sizes()));
        let start = padding.div_ceil(stride).min(places);
        let last = (size + padding).checked_sub(reach + 1);
        let end = last.map_or(0, |last| last / stride + 1);
        start..end.min(places).max(start)
    }

    fn input_sizes(&self) -> [usize; 2] {
        [self.input.height, self.input.width]
    }

    /// Rows and columns of the output.
    pub(super) fn output_sizes(&self) -> [usize; 2] {
        [self.output.height, self.output.width]
    }

    /// Where a window begins in the input, modulo 2³² or more: before it, perhaps.
    pub(super) fn place(&self, at: Position) -> usize {
        ((at.y * self.input.width as isize + at.x) * self.input.channels as isize) as usize
    }

    /// Elements of the input from one position to the next, down and to the right.
    pub(super) fn steps(&self) -> [usize; 2] {
        let [down, right] = self.window.stride;
        [down * self.input.width, right].map(|places| places * self.input.channels)
    }

    /// Elements of the input from one tap to the next, down and to the right.
    pub(super) fn tap_steps(&self) -> [usize; 2] {
        let [down, right] = self.window.dilation;
        [down * self.input.width, right].map(|places| places * self.input.channels)
    }

    /// A bit for each tap that falls on padding.
    pub(super) fn padding_taps(&self, at: Position) -> Padded {
        let mut padded = Padded::default();
        for (tap, place) in self.taps(at).enumerate() {
            if place.is_none() {
                padded[tap / 32 % padded.len()] |= 1 << (tap % 32);
            }
        }
        padded
    }

    pub(super) fn first_channel(&self, filter: usize) -> usize {
        filter.checked_div(self.group_filters).unwrap_or(0) * self.group_channels
    }

    /// Position by position, every filter at each: the output may follow the window into its input
    /// ([`no_std_core::overlap`]).
    pub(crate) fn plain(&self, x: &[Cell<i8>], y: &[Cell<i8>]) {
        let columns = self.linear.weights.columns.max(1);
        for (at, y) in self
            .positions()
            .zip(y.chunks_exact(self.output.channels.max(1)))
        {
            let filters = self.linear.weights.stream().chunks_exact(columns);
            let (mut biases, mut multipliers) = (self.linear.biases(), self.linear.multipliers());
            for (filter, (y, weights)) in y.iter().zip(filters).enumerate() {
                let products = self.plain_filter(x, weights, at, self.first_channel(filter));
                let accumulator = biases.take().wrapping_add(products);
                let requantized = self
                    .linear
                    .range
                    .requantize(accumulator, multipliers.take());
                y.set(requantized);
            }
        }
    }

    fn plain_filter(
        &self,
        x: &[Cell<i8>],
        weights: &[u8],
        at: Position,
        first_channel: usize,
    ) -> i32 {
        let [height, width] = self.window.kernel;
        let mut taps = weights.chunks_exact(self.group_channels.max(1));
        let mut sum = 0i32;
        for ky in 0..height {
            for kx in 0..width {
                let weights = taps.next().unwrap_or(&[]);
                let products = match self.tap(at, ky, kx) {
                    Some(start) => {
                        dot_cells(x.get(start + first_channel..).unwrap_or(&[]), weights)
                    }
                    None => self.zero_point * weights.iter().map(|&w| w as i8 as i32).sum::<i32>(),
                };
                sum = sum.wrapping_add(products);
            }
        }
        sum
    }
}

/// What panels are multiplied by.
#[cfg(feature = "panels")]
impl Conv<'_, '_> {
    /// Channels of a tap, at least one.
    pub(super) fn channels(&self) -> usize {
        self.input.channels.max(1)
    }

    /// What stands for padding.
    pub(super) fn padding(&self) -> i8 {
        self.zero_point as i8
    }

    /// Where a window that lies within the input begins.
    #[inline(always)]
    pub(super) fn corner(&self, at: Position) -> Option<usize> {
        let [height, width] = self.window.kernel;
        let (bottom, right) = (
            (height - 1) * self.window.dilation[0],
            (width - 1) * self.window.dilation[1],
        );
        let inside = at.y >= 0
            && at.x >= 0
            && at.y as usize + bottom < self.input.height
            && at.x as usize + right < self.input.width;
        inside.then(|| (at.y as usize * self.input.width + at.x as usize) * self.input.channels)
    }

    /// How many elements of a window stand side by side, and how far apart its rows of taps begin.
    pub(super) fn rows(&self) -> Option<[usize; 2]> {
        let channels = self.input.channels;
        let apart = self.window.dilation[0] * self.input.width * channels;
        (self.window.dilation[1] == 1).then_some([self.window.kernel[1] * channels, apart])
    }
}
