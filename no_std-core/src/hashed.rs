//! Weights that stand nowhere: each is a value that the hash of its place chooses.

use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;
use crate::hash::Hash;
use crate::weights::{Values, Weights};

/// How the weights of a matrix come out of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Chooses a value, and a sign, for each place.
    pub hash: Hash,
    /// Channels of the input, which vary fastest from column to column here and slowest in the
    /// matrix that was hashed. 1 where both orders are the same.
    pub channels: u32,
}

/// The bit of the field of groups that asks for signs.
const SIGNED: u32 = 1;

impl Hashed {
    pub(crate) fn parse(cursor: &mut Cursor, columns: usize) -> Result<Self, FormatError> {
        let seed = cursor.varint()?;
        let groups = cursor.varint()?;
        let channels = cursor.varint()?;
        let whole = u32::try_from(columns)
            .ok()
            .and_then(|c| c.checked_rem(channels))
            == Some(0);
        if groups >> 1 == 0 || !whole {
            return Err(FormatError::Encoding);
        }
        let hash = Hash {
            seed,
            groups: groups >> 1,
            signed: groups & SIGNED == SIGNED,
        };
        Ok(Self { hash, channels })
    }

    /// Whether a stream has just the bytes of the values, of `bits` bits each.
    pub(crate) fn fills(&self, bits: u8, length: usize) -> bool {
        (self.hash.groups as u64 * bits as u64).div_ceil(8) == length as u64
    }

    /// Calls `visit(column, weight)` for each weight of a row.
    #[inline(always)]
    pub(crate) fn row(&self, weights: &Weights, row: u32, visit: impl FnMut(usize, i32)) {
        let stream = weights.stream();
        match &weights.values {
            Values::Integer(8) => self.each(weights.columns, row, visit, |group| {
                stream.get(group as usize).copied().unwrap_or(0) as i8 as i32
            }),
            Values::Integer(bits) => {
                let bits = *bits as u32;
                self.each(weights.columns, row, visit, |group| {
                    at(stream, group, bits).read_signed(bits)
                });
            }
            Values::Indexed { codebook, bits } => {
                let bits = *bits as u32;
                self.each(weights.columns, row, visit, |group| {
                    let index = at(stream, group, bits).read(bits);
                    codebook.get(index as usize).copied().unwrap_or(0) as i8 as i32
                });
            }
            // Refused when the matrix was read: its values cannot be found one by one.
            Values::Huffman(_) => {}
        }
    }

    #[inline(always)]
    fn each(
        &self,
        columns: usize,
        row: u32,
        mut visit: impl FnMut(usize, i32),
        value: impl Fn(u32) -> i32,
    ) {
        let row = self.hash.row(row);
        // Both divide `columns`, at most 2¹⁶.
        let taps = (columns as u32).checked_div(self.channels).unwrap_or(0);
        let mut column = 0;
        for tap in 0..taps {
            for channel in 0..self.channels {
                let (group, negative) = row.at(channel * taps + tap);
                let value = value(group);
                // An int8 weight again: −128 stays what it is.
                visit(column, if negative { -value as i8 as i32 } else { value });
                column += 1;
            }
        }
    }
}

/// A value's place in the stream; it wraps with `usize`, past any image's end, where zeros are read.
fn at(stream: &[u8], group: u32, bits: u32) -> BitReader<'_> {
    BitReader::new(stream).after(group.wrapping_mul(bits))
}
