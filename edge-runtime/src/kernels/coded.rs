//! Convolutions of coded weights: filter by filter, whose weights are decoded once and used at every position.

use super::conv::Conv;
use crate::arch::{Entry, Filter, Line, Rescale, WINDOWS};
use core::ops::Range;

/// `y = requantize(W·x + b)` of what is under the window at every position.
pub(crate) fn coded(conv: &Conv, x: &[i8], y: &mut [i8], scratch: &mut [i8]) {
    let linear = conv.linear;
    let table_bytes = linear.weights.table_bytes().min(scratch.len());
    let (tables, entries) = scratch.split_at_mut(table_bytes);
    let entries = entries.as_chunks_mut().0;
    let mut reader = linear.weights.reader(tables);
    let (mut biases, mut multipliers) = (linear.biases(), linear.multipliers());
    let areas = Areas::new(conv);
    for filter in 0..conv.filters() {
        let used = reader.take(entries);
        let entries = entries.get_mut(..used).unwrap_or_default();
        let sum = Places::new(conv, filter).put_down(entries);
        let mut bias = biases.take();
        if linear.is_centred() {
            bias = bias.wrapping_sub(sum * conv.zero_point);
        }
        let layer = Layer {
            conv,
            filter: Filter::new(entries),
            rescale: Rescale {
                bias,
                multiplier: multipliers.take(),
                range: linear.range,
            },
        };
        layer.everywhere(&areas, x, y.get_mut(filter..).unwrap_or_default());
    }
}

/// Turns columns of a filter, in their order, into places under the window.
struct Places<'c, 'o, 'a> {
    conv: &'c Conv<'o, 'a>,
    /// The tap of the last column, and its place across the window.
    tap: usize,
    across: usize,
    /// First column of the tap.
    column: usize,
    /// From the window's corner to the first of the tap's channels that the filter sees, and to that of the first
    /// tap beside it.
    offset: usize,
    left: usize,
}

impl<'c, 'o, 'a> Places<'c, 'o, 'a> {
    fn new(conv: &'c Conv<'o, 'a>, filter: usize) -> Self {
        let first_channel = conv.first_channel(filter);
        Self {
            conv,
            tap: 0,
            across: 0,
            column: 0,
            offset: first_channel,
            left: first_channel,
        }
    }

    /// Puts offsets and taps in the place of columns; the weights' sum. The image's check bounds offsets and taps.
    #[inline(never)]
    fn put_down(mut self, entries: &mut [Entry]) -> i32 {
        let channels = self.conv.group_channels.max(1);
        // Within i32: at most 2¹⁶ weights.
        let mut sum = 0;
        for entry in entries {
            let [low, high, _, weight] = *entry;
            let column = u16::from_le_bytes([low as u8, high as u8]) as usize;
            while column.saturating_sub(self.column) >= channels {
                self.column += channels;
                self.next_tap();
            }
            let offset = self.offset.wrapping_add(column).wrapping_sub(self.column);
            let [low, high, ..] = offset.to_le_bytes().map(|byte| byte as i8);
            *entry = [low, high, self.tap as i8, weight];
            sum += weight as i32;
        }
        sum
    }

    #[inline(always)]
    fn next_tap(&mut self) {
        let [down, right] = self.conv.tap_steps();
        self.tap += 1;
        self.across += 1;
        self.offset += right;
        if self.across == self.conv.window.kernel[1] {
            self.across = 0;
            self.left += down;
            self.offset = self.left;
        }
    }
}

/// Where windows lie within the input, and where they do not.
///
/// Of both axes, the vertical one first.
struct Areas {
    /// Positions along each axis.
    sizes: [usize; 2],
    /// Those of windows that lie within the input.
    inside: [Range<usize>; 2],
    /// The axis that lines follow where windows are inside: the one along which there are more.
    along: usize,
}

impl Areas {
    fn new(conv: &Conv) -> Self {
        let inside = [conv.inside(0), conv.inside(1)];
        Self {
            sizes: conv.output_sizes(),
            along: usize::from(inside[1].len() >= inside[0].len()),
            inside,
        }
    }

    /// Positions along an axis whose windows reach beyond the input.
    fn outside(&self, axis: usize) -> impl Iterator<Item = usize> {
        let Range { start, end } = self.inside[axis & 1].clone();
        (0..start).chain(end..self.sizes[axis & 1])
    }
}

/// A filter with all that makes outputs of it.
struct Layer<'c, 'o, 'a, 's> {
    conv: &'c Conv<'o, 'a>,
    filter: Filter<'s>,
    rescale: Rescale,
}

impl Layer<'_, '_, '_, '_> {
    /// The outputs at all positions; `y` begins with the filter's first.
    fn everywhere(&self, areas: &Areas, x: &[i8], y: &mut [i8]) {
        let (along, across) = (areas.along, areas.along ^ 1);
        let place = |axis: usize, here: usize, there: usize| match axis {
            0 => [here, there],
            _ => [there, here],
        };
        let inside = &areas.inside;
        let [height, width] = areas.sizes;
        let [down, right] = self.conv.steps();
        if down == width * right && *inside == [0..height, 0..width] {
            // Rows follow each other as columns do.
            return self.line([0, 0], 1, height * width, false, x, y);
        }
        for there in 0..areas.sizes[across & 1] {
            let at_border = !inside[across & 1].contains(&there);
            let Range { start, end } = inside[along & 1].clone();
            let first = place(along, start, there);
            self.line(first, along, end.saturating_sub(start), at_border, x, y);
        }
        for here in areas.outside(along) {
            let Range { start, end } = inside[across & 1].clone();
            let first = place(across, start, here);
            self.line(first, across, end.saturating_sub(start), true, x, y);
            for there in areas.outside(across) {
                self.line(place(along, here, there), along, 1, true, x, y);
            }
        }
    }

    /// The outputs at so many positions from the first on, vertical and horizontal, along an axis, whose windows
    /// all have the same taps within the input: all of them, or not at a border.
    #[inline(never)]
    fn line(
        &self,
        first: [usize; 2],
        axis: usize,
        count: usize,
        at_border: bool,
        x: &[i8],
        y: &mut [i8],
    ) {
        let conv = self.conv;
        let at = conv.position(first);
        let [_, width] = conv.output_sizes();
        let line = Line {
            corner: conv.place(at),
            step: conv.steps()[axis & 1],
            first: (first[0] * width + first[1]) * conv.filters(),
            apart: [width, 1][axis & 1] * conv.filters(),
            count,
        };
        if at_border || count < WINDOWS || !self.filter.is_fast(&self.rescale) {
            let padding = (conv.zero_point, &conv.padding_taps(at));
            self.filter.at_border(&self.rescale, x, y, &line, padding);
        } else {
            self.filter.inside(&self.rescale, x, y, &line);
        }
    }
}
