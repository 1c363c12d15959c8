use super::dot_cells;
use core::cell::Cell;
use no_std_core::operator::{FILTER_ENTRY_BYTES, Linear, MAX_TAPS, Operator, Window};
use no_std_core::tensor::Shape;

/// A convolution with its geometry at hand. Padding is the input's zero point, as if the input
/// were surrounded by real zeros.
pub(crate) struct Conv<'o, 'a> {
    input: Shape,
    output: Shape,
    zero_point: i32,
    window: &'o Window,
    /// Channels of one group: of the input, of the output.
    group_channels: usize,
    group_filters: usize,
    linear: &'o Linear<'a>,
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
        let [stride_y, stride_x] = self.window.stride;
        let [top, left] = self.window.padding;
        (0..self.output.height).flat_map(move |y| {
            (0..self.output.width).map(move |x| Position {
                y: (y * stride_y) as isize - top as isize,
                x: (x * stride_x) as isize - left as isize,
            })
        })
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

    /// Where the elements of each tap begin, or nowhere in the padding.
    pub(super) fn taps(&self, at: Position) -> impl Iterator<Item = Option<usize>> {
        let [height, width] = self.window.kernel;
        (0..height).flat_map(move |ky| (0..width).map(move |kx| self.tap(at, ky, kx)))
    }

    fn first_channel(&self, filter: usize) -> usize {
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

    /// Filter by filter: its weights are decoded once and used at every position.
    pub(crate) fn coded(&self, x: &[i8], y: &mut [i8], scratch: &mut [i8]) {
        let table_bytes = self.linear.weights.table_bytes().min(scratch.len());
        let (tables, entries) = scratch.split_at_mut(table_bytes);
        let mut reader = self.linear.weights.reader(tables);
        let (mut biases, mut multipliers) = (self.linear.biases(), self.linear.multipliers());
        for filter in 0..self.output.channels {
            let first_channel = self.first_channel(filter);
            let mut slots = entries.as_chunks_mut().0.iter_mut();
            let (mut used, mut sum) = (0, 0i32);
            reader.row(&mut |column, weight| {
                if let Some(slot) = slots.next() {
                    *slot = self.entry(column, weight, first_channel).map(|b| b as i8);
                    used += FILTER_ENTRY_BYTES;
                    if cfg!(feature = "context") {
                        // Within i32: at most 2¹⁶ weights.
                        sum += weight;
                    }
                }
            });
            let (mut bias, multiplier) = (biases.take(), multipliers.take());
            if self.linear.is_centred() {
                bias = bias.wrapping_sub(sum * self.zero_point);
            }
            let weights = entries.get(..used).unwrap_or(&[]);
            let outputs = y
                .iter_mut()
                .skip(filter)
                .step_by(self.output.channels.max(1));
            for (at, y) in self.positions().zip(outputs) {
                let accumulator = bias.wrapping_add(self.coded_filter(x, weights, at));
                *y = self.linear.range.requantize(accumulator, multiplier);
            }
        }
    }

    /// Offset from the window's corner (u16), tap, weight; the image's check bounds all three.
    fn entry(&self, column: usize, weight: i32, first_channel: usize) -> [u8; FILTER_ENTRY_BYTES] {
        let tap = column.checked_div(self.group_channels).unwrap_or(0);
        let channel = column - tap * self.group_channels;
        let ky = tap.checked_div(self.window.kernel[1]).unwrap_or(0);
        let kx = tap - ky * self.window.kernel[1];
        let place = ky * self.window.dilation[0] * self.input.width + kx * self.window.dilation[1];
        let offset = place * self.input.channels + first_channel + channel;
        let [low, high, ..] = offset.to_le_bytes();
        [low, high, tap as u8, weight as u8]
    }

    #[inline(always)]
    fn coded_filter(&self, x: &[i8], entries: &[i8], at: Position) -> i32 {
        match self.corner(at) {
            Some(corner) => interior(x.get(corner..).unwrap_or(&[]), entries),
            None => self.border(x, entries, at),
        }
    }

    /// At a border each weight asks whether its tap is padding.
    fn border(&self, x: &[i8], entries: &[i8], at: Position) -> i32 {
        let padding = self.padding_taps(at);
        let corner = (at.y * self.input.width as isize + at.x) * self.input.channels as isize;
        let product = |entry: &[i8; FILTER_ENTRY_BYTES]| {
            let [offset, tap, weight] = fields(entry);
            let padded = padding[tap / 32 % padding.len()] >> (tap % 32) & 1 == 1;
            let value = x
                .get((corner + offset as isize) as usize)
                .copied()
                .unwrap_or(0) as i32;
            (if padded { self.zero_point } else { value }) * weight as i8 as i32
        };
        let (entries, _) = entries.as_chunks();
        entries.iter().map(product).fold(0, i32::wrapping_add)
    }

    /// A bit for each tap that falls on padding.
    fn padding_taps(&self, at: Position) -> [u32; MAX_TAPS / 32] {
        let [height, width] = self.window.kernel;
        let mut mask = [0; MAX_TAPS / 32];
        for tap in 0..height * width {
            let ky = tap / width.max(1);
            if self.tap(at, ky, tap - ky * width).is_none() {
                mask[tap / 32 % (MAX_TAPS / 32)] |= 1 << (tap % 32);
            }
        }
        mask
    }
}

#[inline(always)]
fn interior(x: &[i8], entries: &[i8]) -> i32 {
    let product = |entry: &[i8; FILTER_ENTRY_BYTES]| {
        let [offset, _, weight] = fields(entry);
        x.get(offset).copied().unwrap_or(0) as i32 * weight as i8 as i32
    };
    let (entries, _) = entries.as_chunks();
    entries.iter().map(product).fold(0, i32::wrapping_add)
}

/// Offset, tap and weight (as u8) of an entry.
#[inline(always)]
fn fields(entry: &[i8; FILTER_ENTRY_BYTES]) -> [usize; 3] {
    let word = u32::from_le_bytes(entry.map(|byte| byte as u8));
    [
        (word & 0xffff) as usize,
        (word >> 16 & 0xff) as usize,
        (word >> 24) as usize,
    ]
}
