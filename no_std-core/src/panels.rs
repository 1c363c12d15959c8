//! Weights four rows at once, as a processor reads them that multiplies two pairs of 16-bit numbers in one
//! instruction: no byte is moved about at run time. Each panel begins with what its sums start from and ends with
//! what turns them into activations, ready to be used: it is read from the first byte to the last.
//!
//! Where all four rows are multiplied by the same inputs, two of them share numbers of 16 bits, `even + 256 ·
//! odd`: their low bytes are the even row as it is, and the difference of the sums is 256 times the odd one's,
//! which its shift makes up for. Where each row has inputs of its own, as in a convolution by channel, their bytes of one tap stand
//! side by side.

// Without the feature no image has panels: only their names are needed.
#![cfg_attr(not(feature = "panels"), allow(dead_code))]

use crate::FormatError;
use crate::cursor::Cursor;
use crate::numerics::{Multiplier, Output};

/// Rows of a panel; the last panel has rows of zeros up to that.
pub const ROWS: usize = 4;

/// Columns of a tile; the last tile has columns of zeros up to that.
pub const COLUMNS: usize = 4;

/// Of a tile: for two rows and then for the other two, columns 0 and 2, then 1 and 3.
pub const TILE_BYTES: usize = 16;

/// Four starts of 32 bits, little-endian.
const HEAD_BYTES: usize = 4 * ROWS;

/// Four mantissas of 32 bits, little-endian, and four shifts less [`BASE_SHIFT`].
const FOOT_BYTES: usize = 5 * ROWS;

/// What shifts are above: the upper halves of 64-bit products are all that counts.
pub const BASE_SHIFT: u8 = 32;

/// How far an odd row's sum is shifted up where two rows share numbers, and its bias with it: it must fit the bits
/// that are left.
pub const ODD_SHIFT: u8 = 8;

/// What rows are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All by the same.
    Shared,
    /// Each by its own channel, of which there are whole fours.
    Channels,
}

impl Layout {
    /// Bytes of one panel.
    pub const fn panel_bytes(self, columns: usize) -> usize {
        let weights = match self {
            Layout::Shared => columns.div_ceil(COLUMNS) * TILE_BYTES,
            Layout::Channels => columns * ROWS,
        };
        HEAD_BYTES + weights + FOOT_BYTES
    }

    /// Bytes of all panels, if they can be counted.
    fn bytes(self, rows: usize, columns: usize) -> Option<usize> {
        rows.div_ceil(ROWS).checked_mul(self.panel_bytes(columns))
    }
}

/// Scratch bytes of an operator whose rows have so many columns, of so many taps: for whole tiles of what is
/// multiplied, where it does not stand side by side already; and by channel for a place of each tap, which has
/// one column, and a padding of so many rows.
pub const fn scratch_bytes(layout: Layout, rows: usize, columns: usize, taps: usize) -> usize {
    match layout {
        Layout::Channels => rows + taps * PLACE_BYTES,
        Layout::Shared if taps == 1 && columns.is_multiple_of(COLUMNS) => 0,
        Layout::Shared => columns.next_multiple_of(COLUMNS),
    }
}

/// Of a place in the arena.
pub const PLACE_BYTES: usize = 4;

/// `127 + 256 · 127`: what two weights of int8 share at most.
#[cfg(not(target_os = "none"))]
const LARGEST: i16 = 0x7f7f;

/// Of a panel: where rows share numbers `[Σ x·even, Σ x·(even + 256·odd)]` for two rows and then for the other two,
/// and otherwise each row's; from the panel's starts on and modulo 2³².
pub type Sums = [i32; ROWS];

/// Matrices in panels.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// What rows are multiplied by.
    pub layout: Layout,
    columns: usize,
    bytes: &'a [u8],
}

impl<'a> Panels<'a> {
    pub(crate) fn new(layout: Layout, columns: usize, bytes: &'a [u8]) -> Self {
        Self {
            layout,
            columns,
            bytes,
        }
    }

    /// As they stand in the image, one behind the other.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Weights of a row.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// See [`scratch_bytes`].
    pub const fn scratch_bytes(&self, rows: usize, taps: usize) -> usize {
        scratch_bytes(self.layout, rows, self.columns, taps)
    }

    /// Bytes of each.
    pub const fn panel_bytes(&self) -> usize {
        self.layout.panel_bytes(self.columns)
    }

    /// In order of rows.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = Panel<'a>> + use<'a> {
        let panels = self.bytes.chunks_exact(self.panel_bytes().max(1));
        panels.filter_map(Panel::of)
    }

    /// That of a row.
    pub fn of_row(&self, row: usize) -> Option<Panel<'a>> {
        let len = self.panel_bytes();
        Panel::of(self.bytes.get(row / ROWS * len..)?.get(..len)?)
    }

    /// Of a row and a column; 0 beyond the last ones.
    pub fn weight(&self, row: usize, column: usize) -> i8 {
        let panel = self.of_row(row).filter(|_| column < self.columns);
        panel.map_or(0, |panel| match self.layout {
            Layout::Shared => panel.shared(row % ROWS, column),
            Layout::Channels => panel
                .taps()
                .get(column)
                .map_or(0, |tap| tap[row % ROWS] as i8),
        })
    }

    /// Of a row, at the accumulators' scale; 0 beyond the last one.
    pub fn bias(&self, row: usize) -> i32 {
        let panel = self.of_row(row);
        panel.map_or(0, |panel| match self.is_odd(row) {
            true => panel.accumulators(panel.starts(), self.layout)[row % ROWS] >> ODD_SHIFT,
            false => panel.starts()[row % ROWS],
        })
    }

    /// Of a row.
    pub fn multiplier(&self, row: usize) -> Multiplier {
        let factor = self.of_row(row).and_then(|panel| panel.factor(row % ROWS));
        let Multiplier { mantissa, shift } = factor.unwrap_or(Multiplier::ZERO);
        let up = if self.is_odd(row) { ODD_SHIFT } else { 0 };
        Multiplier::new(mantissa, shift.saturating_sub(up)).unwrap_or(Multiplier::ZERO)
    }

    /// Whether a row is the odd one of two that share numbers.
    fn is_odd(&self, row: usize) -> bool {
        self.layout == Layout::Shared && row % 2 == 1
    }
}

/// Reading them from an image.
impl<'a> Panels<'a> {
    /// Reads and checks those of a matrix, which begin at a multiple of four bytes.
    pub(crate) fn parse(
        cursor: &mut Cursor<'a>,
        layout: Layout,
        [rows, columns]: [usize; 2],
    ) -> Result<Self, FormatError> {
        cursor.align()?;
        let count = layout.bytes(rows, columns).ok_or(FormatError::Number)?;
        let panels = Self::new(layout, columns, cursor.take(count)?);
        match panels.are_valid() {
            true => Ok(panels),
            false => Err(FormatError::Operator),
        }
    }

    /// Those of a matrix of so many rows and columns, as an image has them; none if there are other bytes than
    /// these, or not such as an image has.
    // A device reads images; what it calls is compiled the better for having no other caller.
    #[cfg(not(target_os = "none"))]
    pub fn from_bytes(layout: Layout, shape: [usize; 2], bytes: &'a [u8]) -> Option<Self> {
        let [rows, columns] = shape;
        let panels = Self::new(layout, columns, bytes);
        let whole = layout.bytes(rows, columns) == Some(bytes.len());
        (whole && panels.are_valid()).then_some(panels)
    }

    /// Whether factors are in range, and on hosts weights too. A device's kernels do the same with all numbers, and
    /// looking at each would lengthen its start-up.
    #[inline(always)]
    fn are_valid(&self) -> bool {
        let known = |panel: &Panel| (0..ROWS).all(|row| panel.factor(row).is_some());
        #[cfg(not(target_os = "none"))]
        let known = |panel: &Panel| known(panel) && self.are_weights(panel);
        self.iter().all(|panel| known(&panel))
    }

    /// Whether numbers that two rows share are of weights of int8, and columns beyond the last one zeros, as a
    /// processor's kernels may take for granted.
    #[cfg(not(target_os = "none"))]
    fn are_weights(&self, panel: &Panel) -> bool {
        let mut numbers = panel.tiles().as_flattened().as_chunks().0.iter();
        let mut beyond = self.columns..self.columns.next_multiple_of(COLUMNS);
        self.layout == Layout::Channels
            || numbers.all(|&number| i16::from_le_bytes(number) <= LARGEST)
                && beyond.all(|column| (0..ROWS).all(|row| panel.shared(row, column) == 0))
    }
}

/// Four rows.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    starts: &'a [u8; HEAD_BYTES],
    /// As the layout says.
    weights: &'a [u8],
    /// Mantissas, shifts.
    foot: &'a [[u8; 4]; FOOT_BYTES / 4],
}

impl<'a> Panel<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (starts, bytes) = bytes.split_first_chunk()?;
        let (weights, foot) = bytes.split_last_chunk::<FOOT_BYTES>()?;
        let foot = foot.as_chunks().0.first_chunk()?;
        Some(Self {
            starts,
            weights,
            foot,
        })
    }

    /// Four columns of rows that share their inputs, each.
    #[inline(always)]
    pub fn tiles(&self) -> &'a [[u8; TILE_BYTES]] {
        self.weights.as_chunks().0
    }

    /// A tap of four channels, each.
    #[inline(always)]
    pub fn taps(&self) -> &'a [[u8; ROWS]] {
        self.weights.as_chunks().0
    }

    fn shared(&self, row: usize, column: usize) -> i8 {
        let within = column % COLUMNS;
        let place = row / 2 * 4 + within % 2 * 2 + within / 2;
        let tile = self.tiles().get(column / COLUMNS);
        let number = tile.and_then(|tile| tile.as_chunks::<2>().0.get(place));
        let both = number.map_or(0, |&number| i16::from_le_bytes(number));
        let even = both as i8;
        match row % 2 {
            0 => even,
            _ => (both.wrapping_sub(even as i16) >> 8) as i8,
        }
    }

    /// What its sums start from.
    #[inline(always)]
    pub fn starts(&self) -> Sums {
        let (starts, _) = self.starts.as_chunks();
        core::array::from_fn(|row| {
            starts
                .get(row)
                .map_or(0, |&start| i32::from_le_bytes(start))
        })
    }

    /// What a row's accumulator is multiplied by; none if it is out of range, which no image's is.
    #[inline(always)]
    fn factor(&self, row: usize) -> Option<Multiplier> {
        let mantissa = i32::from_le_bytes(*self.foot.get(row)?);
        let shift = *self.foot.get(ROWS)?.get(row)?;
        Multiplier::new(mantissa, shift.checked_add(BASE_SHIFT)?).filter(|_| shift > 0)
    }

    /// The rows' accumulators, odd ones of shared numbers shifted up.
    #[inline(always)]
    fn accumulators(&self, sums: Sums, layout: Layout) -> [i32; ROWS] {
        let [even, both, next_even, next_both] = sums;
        match layout {
            Layout::Channels => sums,
            Layout::Shared => [
                even,
                both.wrapping_sub(even),
                next_even,
                next_both.wrapping_sub(next_even),
            ],
        }
    }

    /// The rows' activations.
    #[inline(always)]
    pub fn outputs(&self, sums: Sums, layout: Layout, range: &Output) -> [i8; ROWS] {
        let mut outputs = [0; ROWS];
        let accumulators = self.accumulators(sums, layout);
        for (row, (output, sum)) in outputs.iter_mut().zip(accumulators).enumerate() {
            let factor = self.factor(row).unwrap_or(Multiplier::ZERO);
            *output = range.requantize(sum, factor);
        }
        outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// By hand: weights 1 … 16 and their negatives in turn, in the order that the format gives.
    #[test]
    fn two_rows_share_sixteen_bits() {
        let weight = |row: usize, column: usize| {
            let magnitude = (4 * row + column + 1) as i16;
            if (row + column).is_multiple_of(2) {
                magnitude
            } else {
                -magnitude
            }
        };
        let pair = |row, column| weight(row, column) + 256 * weight(row + 1, column);
        let order = [
            (0, 0),
            (0, 2),
            (0, 1),
            (0, 3),
            (2, 0),
            (2, 2),
            (2, 1),
            (2, 3),
        ];
        let tile: Vec<u8> = order
            .iter()
            .flat_map(|&(r, c)| pair(r, c).to_le_bytes())
            .collect();
        let bias = |row: usize| 1000 * (row as i32 + 1) * (1 - 2 * (row as i32 & 1));
        let starts = [0, 2].map(|row| [bias(row), bias(row) + 256 * bias(row + 1)]);
        let starts = starts
            .iter()
            .flatten()
            .flat_map(|start| start.to_le_bytes());
        let foot = (0..ROWS as i32).flat_map(|row| (77 + row).to_le_bytes());
        let shifts = [1, 10, 3, 12];
        let bytes: Vec<u8> = starts.chain(tile).chain(foot).chain(shifts).collect();
        let panels = Panels::new(Layout::Shared, COLUMNS, &bytes);
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                assert_eq!(i16::from(panels.weight(row, column)), weight(row, column));
            }
            assert_eq!(panels.weight(row, COLUMNS), 0);
            assert_eq!(panels.bias(row), bias(row));
            let multiplier = Multiplier::new(77 + row as i32, [33, 34, 35, 36][row]);
            assert_eq!(Some(panels.multiplier(row)), multiplier);
        }
    }

    /// A panel of three columns, whose fourth is only there to fill the tile.
    #[test]
    fn numbers_that_no_weights_share_are_refused() {
        let parse = |place: usize, number: i16| {
            let mut bytes = vec![0; HEAD_BYTES + TILE_BYTES + FOOT_BYTES];
            bytes[HEAD_BYTES + 2 * place..][..2].copy_from_slice(&number.to_le_bytes());
            let end = bytes.len();
            bytes[end - ROWS..].fill(10);
            Panels::parse(&mut Cursor::new(&bytes, 0), Layout::Shared, [ROWS, 3]).map(|_| ())
        };
        for place in 0..8 {
            let is_column = place % 4 != 3;
            for number in [1, -1, 127 + 256 * 127, -127 - 256 * 127] {
                assert_eq!(
                    parse(place, number).is_ok(),
                    is_column,
                    "{number} at {place}"
                );
            }
            assert!(parse(place, 127 + 256 * 127 + 1).is_err());
            assert!(parse(place, i16::MAX).is_err());
        }
    }
}
