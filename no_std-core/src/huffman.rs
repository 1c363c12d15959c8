//! Canonical Huffman codes (Schwartz & Kallick 1964) of bounded length.
//!
//! A code's description is the number of codewords of each length: codewords are assigned in
//! increasing order, shorter ones first, and symbol `i` is the `i`-th codeword. What the `i`-th
//! symbol *means* is a table in the image (a codebook is one), so no permutation is kept.

use crate::FormatError;
use crate::cursor::Cursor;

/// Longest codeword, in bits.
pub const MAX_LENGTH: usize = 15;

/// Stands in place of a code of runs: it is that of the last matrix before that has one.
pub const SAME: u8 = 16;

/// Most symbols of one code.
pub const MAX_SYMBOLS: usize = 256;

/// Widest look-up table, in bits of its index.
pub const MAX_TABLE_BITS: u8 = 8;

/// A complete code as it stands in the image: every bit string decodes, so decoding cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    max_length: u8,
    table_bits: u8,
    /// Codewords of each length from 1 on, as varints.
    counts: &'a [u8],
    /// Meaning of each symbol.
    symbols: &'a [u8],
}

impl<'a> Code<'a> {
    /// Reads: `max_length`, `table_bits`, a count per length 1…max_length, one byte per symbol.
    /// `max_length` 0 is one symbol of no bits.
    pub(crate) fn parse(cursor: &mut Cursor<'a>) -> Result<Self, FormatError> {
        let (max_length, table_bits) = (cursor.u8()?, cursor.u8()?);
        if max_length as usize > MAX_LENGTH || table_bits > MAX_TABLE_BITS {
            return Err(FormatError::Code);
        }
        let counts = cursor.rest();
        let symbol_count = if max_length == 0 {
            1
        } else {
            count_symbols(cursor, max_length)?
        };
        Ok(Self {
            max_length,
            table_bits,
            counts,
            symbols: cursor.take(symbol_count)?,
        })
    }

    /// What the symbols mean, 1 … 256 of them, in order of their codewords.
    pub const fn symbols(&self) -> &'a [u8] {
        self.symbols
    }

    /// Entries of a decoder's look-up table.
    pub(crate) const fn table_entries(&self) -> usize {
        if self.table_bits == 0 {
            0
        } else {
            1 << self.table_bits
        }
    }

    /// Fills a look-up table of [`table_entries`](Self::table_entries). Codewords of a length and
    /// meaning that are not `short` are left out of it.
    pub(crate) fn fill(&self, mut table: &mut [Entry], short: fn(length: u8, meaning: u8) -> bool) {
        let entry = |symbol: u32, length: u8| match self.meaning(symbol) {
            meaning if short(length, meaning) => [length as i8, meaning as i8],
            _ => [LONGER as i8, 0],
        };
        if self.max_length == 0 {
            return table.fill(entry(0, 0));
        }
        let mut counts = Cursor::new(self.counts, 0);
        let mut symbol = 0;
        // A codeword of n bits takes 2⁻ⁿ of all bit strings, and of the table; codewords come in order.
        let mut share = table.len() / 2;
        for length in 1..=self.max_length {
            // The same bytes were read when the image was parsed.
            let end = symbol + counts.varint().unwrap_or(0);
            while symbol < end {
                let (entries, rest) = table.split_at_mut(share.min(table.len()));
                entries.fill(entry(symbol, length));
                (table, symbol) = (rest, symbol + 1);
            }
            share /= 2;
        }
        table.fill([LONGER as i8, 0]);
    }

    /// Sign-extended meaning and length, 0 … 15, of the codeword at the start of these bits, of which the first
    /// 16 are looked at; `table` was [filled](Self::fill).
    #[inline(always)]
    pub(crate) fn look(&self, table: &[Entry], next: u32) -> (i32, u32) {
        let index = next >> 16 >> (16 - self.table_bits);
        match table.get(index as usize).map(|&entry| fields(entry)) {
            Some((length, meaning)) if length != LONGER => (meaning, length),
            _ => self.long(next),
        }
    }

    /// As [`look`](Self::look), length by length: the codewords of a length are consecutive numbers.
    #[inline(never)]
    fn long(&self, next: u32) -> (i32, u32) {
        let mut counts = Cursor::new(self.counts, 0);
        let (mut first, mut symbol) = (0, 0);
        for length in 1..=self.max_length as u32 {
            let count = counts.varint().unwrap_or(0);
            let place = (next >> (32 - length)).wrapping_sub(first);
            if place < count {
                return (self.meaning(symbol + place) as i8 as i32, length);
            }
            (first, symbol) = ((first + count) << 1, symbol + count);
        }
        (self.meaning(0) as i8 as i32, 0)
    }

    fn meaning(&self, symbol: u32) -> u8 {
        self.symbols.get(symbol as usize).copied().unwrap_or(0)
    }
}

/// Symbols of a complete code; anything else is an error.
fn count_symbols(cursor: &mut Cursor, max_length: u8) -> Result<usize, FormatError> {
    let (mut used, mut symbols) = (0u32, 0u32); // codewords in units of the longest possible
    for length in 1..=max_length {
        let count = cursor.varint()?;
        if count > MAX_SYMBOLS as u32 {
            return Err(FormatError::Code);
        }
        used += count << (16 - length);
        symbols += count;
        if used > 1 << 16 {
            return Err(FormatError::Code);
        }
    }
    // Complete (Kraft's sum is one): no bit string is without a symbol.
    if used == 1 << 16 && symbols <= MAX_SYMBOLS as u32 {
        Ok(symbols as usize)
    } else {
        Err(FormatError::Code)
    }
}

/// What the table holds for each value of the next bits: the length of the codeword that they start
/// with and its meaning, or [`LONGER`] where it is not in the table.
pub(crate) type Entry = [i8; 2];

/// See [`Entry`].
pub(crate) const LONGER: u32 = 31;

/// Length and sign-extended meaning.
#[inline(always)]
pub(crate) fn fields(entry: Entry) -> (u32, i32) {
    let both = i16::from_le_bytes(entry.map(|byte| byte as u8)) as i32;
    (both as u32 & 31, both >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn parse(bytes: &[u8]) -> Result<Code<'_>, FormatError> {
        Code::parse(&mut Cursor::new(bytes, 0))
    }

    #[test]
    fn incomplete_and_oversubscribed_codes_are_refused() {
        assert!(parse(&[2, 0, 1, 2, 7, 8, 9]).is_ok());
        assert_eq!(
            parse(&[2, 0, 1, 2, 7, 8]).err(),
            Some(FormatError::Truncated)
        );
        assert_eq!(parse(&[2, 0, 1, 1]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[2, 0, 2, 1]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[1, 9, 2]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[16, 0, 2]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[2, 0, 1]).err(), Some(FormatError::Truncated));
    }

    #[test]
    fn codewords_are_canonical_with_and_without_a_table() {
        // Lengths 1, 2, 3, 3: 0, 10, 110, 111, meaning 50, 60, 70, 80.
        for table_bits in 0..4 {
            let bytes = [3, table_bits, 1, 1, 2, 50, 60, 70, 80];
            let code = parse(&bytes).expect("complete");
            let mut table = vec![[0; 2]; code.table_entries()];
            code.fill(&mut table, |_, meaning| meaning != 60);
            for (bits, expected) in [
                (0b0, (50, 1)),
                (0b100, (60, 2)),
                (0b110, (70, 3)),
                (0b111, (80, 3)),
            ] {
                assert_eq!(
                    code.look(&table, bits << 29),
                    expected,
                    "table of {table_bits} bits"
                );
            }
        }
    }

    #[test]
    fn a_code_of_one_symbol_takes_no_bits() {
        for table_bits in [0, 3] {
            let bytes = [0, table_bits, 9];
            let code = parse(&bytes).expect("complete");
            let mut table = vec![[0; 2]; code.table_entries()];
            code.fill(&mut table, |_, _| true);
            assert_eq!(code.look(&table, u32::MAX), (9, 0));
        }
    }
}
