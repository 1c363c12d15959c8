//! Weights under an adaptive range code: each decision's probability depends on the neighbours before
//! it, and is learned while the stream is read, so there is no table.
//!
//! What a decision is about, in order: while no neighbour of a position is a weight, runs of positions
//! like it; next to a weight, whether there is another; then the weight's sign, seen from its
//! neighbours' signs; then which weight of that sign it is.

use crate::FormatError;
use crate::cursor::Cursor;
use crate::range::{Cell, Decoder, MAX_EVEN_BITS, Probability};
use crate::weights::index_bits;

/// Where the neighbours of a position stand that were read before it, within its row: `near` and twice
/// `near` before it, and `far`, `far − near` and `far + near` before it. In a layer over an image these
/// are the elements to the left and above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Columns to the nearest neighbour; 0: there are none.
    pub near: u16,
    /// Columns to the neighbour above, more than `near`; 0: there is none.
    pub far: u16,
}

/// Farthest neighbour above.
pub const MAX_FAR: u16 = 1 << 11;

/// Bits of the position's kind for each neighbour.
pub mod neighbour {
    /// `near` before.
    pub const NEAR: u8 = 1;
    /// `far` before.
    pub const FAR: u8 = 2;
    /// `far + near` before.
    pub const FARTHER: u8 = 4;
    /// `far − near` before.
    pub const LESS_FAR: u8 = 8;
    /// Twice `near` before, whose sign does not count.
    pub const SECOND: u8 = 16;
    /// One of the positive ones of the first four, which are counted in the upper bits.
    pub const POSITIVE: u8 = 32;
}

impl Neighbours {
    /// Those of `[near, far]` that can be said: a distance out of range or order is none.
    pub fn within([near, far]: [usize; 2]) -> Self {
        let distance = |d: usize| u16::try_from(d).ok().filter(|&d| d <= MAX_FAR);
        let near = distance(near).unwrap_or(0);
        let far = distance(far).filter(|&far| near > 0 && far > near);
        Self {
            near,
            far: far.unwrap_or(0),
        }
    }

    fn are_valid(self) -> bool {
        let Self { near, far } = self;
        far <= MAX_FAR && near <= MAX_FAR && (far == 0 || near > 0 && far > near)
    }

    /// Distances to the positions that have a weight for a neighbour, with its bit there; 0 where there
    /// is none.
    pub const fn marks(self) -> [(usize, u8); 5] {
        let (near, far) = (self.near as usize, self.far as usize);
        let [farther, less_far] = if far > near {
            [far + near, far - near]
        } else {
            [0; 2]
        };
        [
            (near, neighbour::NEAR),
            (2 * near, neighbour::SECOND),
            (far, neighbour::FAR),
            (farther, neighbour::FARTHER),
            (less_far, neighbour::LESS_FAR),
        ]
    }

    /// Positions kept ahead of the one being read: a power of two above the greatest distance, a word of
    /// bits at least.
    const fn ring(self) -> usize {
        let (near, far) = (self.near as usize, self.far as usize);
        if near == 0 {
            return 0;
        }
        let reach = if far > near { far + near } else { 2 * near };
        let positions = (reach + 1).next_power_of_two();
        if positions < 32 { 32 } else { positions }
    }
}

/// The sign's context: which of the neighbours prevail, −2 … 2, plus two.
pub const fn prevailing(kind: u8) -> usize {
    let positive = (kind >> 5) as i32;
    let all = (kind & 15).count_ones() as i32;
    let prevail = 2 * positive - all;
    (if prevail < -2 {
        0
    } else if prevail > 2 {
        4
    } else {
        prevail + 2
    }) as usize
}

/// The model's parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Whom a position's decisions depend on.
    pub neighbours: Neighbours,
    /// Runs are said in units of 2^`unit_bits`, then the remainder; 0 … [`MAX_UNIT_BITS`].
    pub unit_bits: u8,
}

/// Largest unit of runs, in bits.
pub const MAX_UNIT_BITS: u8 = 18;

/// Units of a run said one by one; then its length follows in a form of its own.
pub const MAX_UNITS: usize = 12;

/// Bits of a remainder, from the top, that have probabilities.
pub const LEARNED_BITS: u32 = 2;

/// Bits of the length's width of a run of more than [`MAX_UNITS`] units.
pub const WIDTH_BITS: u32 = 5;

/// Places of the probabilities. A tree of b bits has its nodes 1 … 2^b − 1 that many places behind its own:
/// a node n leads to 2n or 2n + 1.
pub mod place {
    use super::{LEARNED_BITS, MAX_UNITS};

    /// Whether a run has another unit, after so many.
    pub const UNITS: usize = 0;
    /// Tree of the remainder.
    pub const REMAINDER: usize = UNITS + MAX_UNITS - 1;
    /// First of the trees of one bit of the signs, by [`prevailing`](super::prevailing).
    pub const SIGN: usize = REMAINDER + (1 << LEARNED_BITS) - 1;
    /// Trees of the negative, then of the positive weights.
    pub const VALUES: usize = SIGN + 5;
    /// Whether there is a weight, by the neighbours there are: so many places, the last ones, if any.
    pub const KINDS: usize = 32;
}

/// A codebook's negative entries, which stand first, and its positive ones: how many there are, and the
/// bits of an index into either part.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// Entries of either sign.
    pub counts: [usize; 2],
    /// Bits of an index, 0 … 8.
    pub bits: [u32; 2],
}

impl Signs {
    /// Of int8 entries.
    pub fn of(codebook: &[u8]) -> Self {
        let negative = codebook.iter().take_while(|&&entry| entry > 127).count();
        let counts = [negative, codebook.len() - negative];
        Self {
            counts,
            bits: counts.map(|count| index_bits(count) as u32),
        }
    }

    /// Places of the trees of either sign.
    pub const fn trees(&self) -> [usize; 2] {
        [place::VALUES, place::VALUES + (1 << self.bits[0]) - 1]
    }

    /// One past both trees.
    pub const fn end(&self) -> usize {
        self.trees()[1] + (1 << self.bits[1])
    }

    /// Whether a weight's sign says anything.
    pub const fn differ(&self) -> bool {
        self.counts[0] > 0 && self.counts[1] > 0
    }
}

impl Context {
    pub(crate) fn parse(cursor: &mut Cursor) -> Result<Self, FormatError> {
        let unit_bits = cursor.u8()?;
        let mut distance = || u16::try_from(cursor.varint()?).map_err(|_| FormatError::Encoding);
        let near = distance()?;
        let far = if near > 0 { distance()? } else { 0 };
        let neighbours = Neighbours { near, far };
        if unit_bits <= MAX_UNIT_BITS && neighbours.are_valid() {
            Ok(Self {
                neighbours,
                unit_bits,
            })
        } else {
            Err(FormatError::Encoding)
        }
    }

    /// Scratch bytes of the probabilities and of what is known of the positions ahead: a byte and a bit
    /// for each.
    pub fn scratch_bytes(&self, signs: &Signs) -> usize {
        let ring = self.neighbours.ring();
        self.cells(signs) * size_of::<Cell>() + ring + ring / 8
    }

    fn cells(&self, signs: &Signs) -> usize {
        signs.end()
            + if self.neighbours.near > 0 {
                place::KINDS
            } else {
                0
            }
    }

    /// Starts reading, with [`scratch_bytes`](Self::scratch_bytes) of scratch.
    pub(crate) fn reader<'a, 't>(
        &self,
        codebook: &'a [u8],
        stream: &'a [u8],
        scratch: &'t mut [i8],
    ) -> ContextReader<'a, 't> {
        let signs = Signs::of(codebook);
        let (cells, _) = scratch.as_chunks_mut();
        let (cells, rest) = cells.split_at_mut(self.cells(&signs).min(cells.len()));
        cells.fill(Probability::EVEN.cell());
        let (kinds, rest) = rest
            .as_flattened_mut()
            .split_at_mut_checked(self.neighbours.ring())
            .unwrap_or_default();
        let (marked, _) = rest.as_chunks_mut();
        let (marked, _) = marked.split_at_mut((kinds.len() / 32).min(marked.len()));
        let mut reader = ContextReader {
            decoder: Decoder::new(stream),
            codebook,
            signs,
            cells,
            kinds,
            marked,
            near: self.neighbours.near.into(),
            far: self.neighbours.far.into(),
            unit_bits: self.unit_bits as u32,
            zeros: 0,
        };
        reader.zeros = reader.run();
        reader
    }
}

/// Reads a matrix row by row. Reading is total, as that of all forms.
#[derive(Debug)]
pub(crate) struct ContextReader<'a, 't> {
    decoder: Decoder<'a>,
    codebook: &'a [u8],
    signs: Signs,
    cells: &'t mut [Cell],
    /// Kinds of the positions ahead, by their columns modulo its length, a power of two.
    kinds: &'t mut [i8],
    /// A bit for each, set where the kind is not 0: 32 columns a word.
    marked: &'t mut [Cell],
    near: usize,
    far: usize,
    unit_bits: u32,
    /// Positions without neighbours that are zero before the next such weight.
    zeros: u32,
}

impl ContextReader<'_, '_> {
    /// Calls `visit(column, weight)` for each weight of the next row.
    #[inline(never)]
    pub(crate) fn row(&mut self, columns: usize, visit: &mut dyn FnMut(usize, i32)) {
        self.kinds.fill(0);
        self.marked.fill([0; 4]);
        let mut column = 0;
        while let Some((at, kind)) = self.next(column, columns) {
            let positive = self.sign(kind);
            visit(at, self.value(positive));
            if self.near > 0 {
                self.mark(at, positive);
            }
            column = at + 1;
        }
    }

    /// The next weight's column from `column` on and the position's kind, unless the row ends before it.
    #[inline(always)]
    fn next(&mut self, mut column: usize, columns: usize) -> Option<(usize, u8)> {
        while column < columns {
            let word = self.marked_from(column);
            // 32 or more where none is marked: then the rest of the word's columns, or of the row's.
            let unmarked = match self.marked.is_empty() {
                true => columns,
                false => (word.trailing_zeros()).min(32 - (column as u32 & 31)) as usize,
            };
            let unmarked = unmarked.min(columns - column);
            if (self.zeros as usize) < unmarked {
                column += self.zeros as usize;
                self.zeros = self.run();
                return Some((column, 0));
            }
            self.zeros -= unmarked as u32;
            column += unmarked;
            if column < columns && word != 0 {
                let kind = self.take_kind(column);
                if self.decide(self.first_kind() + (kind as usize & 31)) {
                    return Some((column, kind));
                }
                column += 1;
            }
        }
        None
    }

    fn first_kind(&self) -> usize {
        self.cells.len().wrapping_sub(place::KINDS)
    }

    /// The marks of a column and of those behind it in its word.
    #[inline(always)]
    fn marked_from(&mut self, column: usize) -> u32 {
        match self.word(column) {
            Some(word) => u32::from_le_bytes(word.map(|byte| byte as u8)) >> (column & 31),
            None => 0,
        }
    }

    #[inline(always)]
    fn word(&mut self, column: usize) -> Option<&mut Cell> {
        let last = self.marked.len().wrapping_sub(1);
        self.marked.get_mut((column / 32) & last)
    }

    #[inline(always)]
    fn kind(&mut self, column: usize) -> Option<&mut i8> {
        let last = self.kinds.len().wrapping_sub(1);
        self.kinds.get_mut(column & last)
    }

    #[inline(always)]
    fn take_kind(&mut self, column: usize) -> u8 {
        if let Some(word) = self.word(column) {
            let marks = u32::from_le_bytes(word.map(|byte| byte as u8)) & !(1 << (column & 31));
            *word = marks.to_le_bytes().map(|byte| byte as i8);
        }
        let kind = self.kind(column);
        kind.map_or(0, |kind| core::mem::take(kind) as u8)
    }

    /// Tells the positions ahead that a weight stands here.
    #[inline(never)]
    fn mark(&mut self, column: usize, positive: bool) {
        let (near, far) = (self.near, self.far);
        let signed = if positive { neighbour::POSITIVE } else { 0 };
        self.tell(column + near, neighbour::NEAR + signed);
        self.tell(column + 2 * near, neighbour::SECOND);
        if far > 0 {
            self.tell(column + far, neighbour::FAR + signed);
            self.tell(column + far + near, neighbour::FARTHER + signed);
            self.tell(column + far - near, neighbour::LESS_FAR + signed);
        }
    }

    /// Each neighbour tells a position once: its bit and the count, at most 4, are free.
    #[inline(always)]
    fn tell(&mut self, column: usize, bits: u8) {
        if let Some(kind) = self.kind(column) {
            *kind = (*kind as u8).wrapping_add(bits) as i8;
        }
        if let Some(word) = self.word(column) {
            let marks = u32::from_le_bytes(word.map(|byte| byte as u8)) | 1 << (column & 31);
            *word = marks.to_le_bytes().map(|byte| byte as i8);
        }
    }

    fn sign(&mut self, kind: u8) -> bool {
        if self.signs.differ() {
            self.decide(place::SIGN + 1 + prevailing(kind))
        } else {
            self.signs.counts[0] == 0
        }
    }

    #[inline(always)]
    fn value(&mut self, positive: bool) -> i32 {
        let sign = positive as usize;
        let index = self.tree(self.signs.trees()[sign], self.signs.bits[sign]) as usize;
        let first = if positive { self.signs.counts[0] } else { 0 };
        let entry = self.codebook.get(first + index);
        entry.copied().unwrap_or(0) as i8 as i32
    }

    fn run(&mut self) -> u32 {
        let mut units = 0;
        while units < MAX_UNITS {
            if !self.decide(place::UNITS + units) {
                return (units as u32) << self.unit_bits | self.remainder();
            }
            units += 1;
        }
        let width = self.decoder.even(WIDTH_BITS);
        let high = self.decoder.even(width.saturating_sub(MAX_EVEN_BITS));
        high << MAX_EVEN_BITS | self.decoder.even(width.min(MAX_EVEN_BITS))
    }

    fn remainder(&mut self) -> u32 {
        let learned = self.unit_bits.min(LEARNED_BITS);
        let high = self.tree(place::REMAINDER, learned);
        let low_bits = self.unit_bits - learned;
        high << low_bits | self.decoder.even(low_bits)
    }

    /// A number of `bits` bits, 0 … 8, its highest first.
    #[inline(always)]
    fn tree(&mut self, place: usize, bits: u32) -> u32 {
        let mut node = 1;
        for _ in 0..bits {
            node = node << 1 | self.decide(place + node) as usize;
        }
        node as u32 - (1 << bits)
    }

    // Not inline: whoever asks would otherwise keep the decoder's state in its own registers' stead.
    #[inline(never)]
    fn decide(&mut self, place: usize) -> bool {
        let cell = self.cells.get_mut(place);
        cell.is_some_and(|cell| self.decoder.bit(cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn context(bytes: &[u8]) -> Result<Context, FormatError> {
        Context::parse(&mut Cursor::new(bytes, 0))
    }

    #[test]
    fn distances_must_be_within_range_and_in_order() {
        assert!(context(&[18, 0]).is_ok());
        assert!(context(&[3, 1, 28]).is_ok());
        assert!(context(&[3, 5, 0]).is_ok());
        for wrong in [
            &[19, 0][..],
            &[3, 5, 5],
            &[3, 0x81, 0x10, 0],
            &[3, 1, 0x81, 0x10],
            &[3, 0xff, 0xff, 0xff, 0x0f, 0],
        ] {
            assert_eq!(
                context(wrong).err(),
                Some(FormatError::Encoding),
                "{wrong:?}"
            );
        }
        assert_eq!(context(&[3, 1]).err(), Some(FormatError::Truncated));
    }

    /// Every column once, in order, within the row, whatever the bytes and however little the scratch.
    #[test]
    fn any_stream_is_a_matrix() {
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for model in [[0, 0], [1, 28], [7, 0], [300, 2048]] {
            for codebook in [&[5][..], &[200], &[253, 254, 1], &[0; 256], &[130; 256]] {
                let [near, far] = model;
                let neighbours = Neighbours { near, far };
                let unit_bits = byte() % 19;
                let context = Context {
                    neighbours,
                    unit_bits,
                };
                let needed = context.scratch_bytes(&Signs::of(codebook));
                for (length, given) in [(0, needed), (200, needed), (60, needed / 2), (9, 0)] {
                    let stream: Vec<u8> = (0..length).map(|_| byte()).collect();
                    let mut scratch = vec![-1; given];
                    let mut reader = context.reader(codebook, &stream, &mut scratch);
                    for columns in [1, 31, 32, 33, 3000] {
                        let mut next = 0;
                        reader.row(columns, &mut |column, weight| {
                            assert!((next..columns).contains(&column));
                            assert!((-128..128).contains(&weight));
                            next = column + 1;
                        });
                    }
                }
            }
        }
    }
}
