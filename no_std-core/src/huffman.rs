//! Canonical Huffman codes (Schwartz & Kallick 1964) of bounded length.
//!
//! A code's description is the number of codewords of each length: codewords are assigned in
//! increasing order, shorter ones first, and symbol `i` is the `i`-th codeword. What the `i`-th
//! symbol *means* is a table in the image (a codebook is one), so no permutation is kept.

use crate::FormatError;
use crate::cursor::Cursor;

/// Longest codeword, in bits.
pub const MAX_LENGTH: usize = 15;

/// Most symbols of one code.
pub const MAX_SYMBOLS: usize = 256;

/// Widest look-up table, in bits of its index.
pub const MAX_TABLE_BITS: u8 = 8;

/// A complete code as it stands in the image: every bit string decodes, so decoding cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    max_length: u8,
    table_bits: u8,
    symbol_count: u16,
    /// Codewords of each length from 1 on, as varints.
    counts: &'a [u8],
    /// Meaning of each symbol, or its place itself when empty.
    symbols: &'a [u8],
}

impl<'a> Code<'a> {
    /// Reads: `max_length | explicit << 4`, `table_bits`, a count per length 1…max_length, and, if
    /// explicit, one byte per symbol. `max_length` 0 is one symbol of no bits.
    pub(crate) fn parse(cursor: &mut Cursor<'a>) -> Result<Self, FormatError> {
        let head = cursor.u8()?;
        let table_bits = cursor.u8()?;
        let max_length = head & 15;
        if head >> 5 != 0 || table_bits > MAX_TABLE_BITS {
            return Err(FormatError::Code);
        }
        let counts = cursor.rest();
        let symbol_count = if max_length == 0 {
            1
        } else {
            count_symbols(cursor, max_length)?
        };
        let symbols = if head & 16 != 0 {
            cursor.take(symbol_count as usize)?
        } else {
            &[]
        };
        Ok(Self {
            max_length,
            table_bits,
            symbol_count,
            counts,
            symbols,
        })
    }

    /// Number of symbols, 1 … 256.
    pub const fn symbol_count(&self) -> usize {
        self.symbol_count as usize
    }

    /// Bytes of scratch that a [`Decoder`]'s look-up table takes.
    pub const fn table_bytes(&self) -> usize {
        if self.table_bits == 0 {
            0
        } else {
            2 << self.table_bits
        }
    }

    /// Prepares decoding; `table` has [`table_bytes`](Self::table_bytes). A `rare` meaning is marked
    /// in it.
    pub fn decoder<'t>(&self, table: &'t mut [i8], rare: Option<u8>) -> Decoder<'a, 't> {
        let (table, _) = table.as_chunks_mut();
        let mut decoder = Decoder {
            symbols: self.symbols,
            max_length: self.max_length,
            table_bits: self.table_bits,
            ..Decoder::none()
        };
        decoder.fill(self.counts, table, rare);
        Decoder { table, ..decoder }
    }
}

/// Symbols of a complete code; anything else is an error.
fn count_symbols(cursor: &mut Cursor, max_length: u8) -> Result<u16, FormatError> {
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
        Ok(symbols as u16)
    } else {
        Err(FormatError::Code)
    }
}

/// A code ready to decode: short codewords by look-up in scratch memory, long ones by comparison.
#[derive(Debug)]
pub struct Decoder<'a, 't> {
    /// Of codewords of 1, 2, … bits.
    lengths: [Length; MAX_LENGTH],
    symbols: &'a [u8],
    max_length: u8,
    table_bits: u8,
    table: &'t [Entry],
}

/// What the table holds for each value of the next bits: the length of the codeword that they start
/// with and its meaning. [`RARE`] is added to the length of what a fast loop hands on to
/// [`Decoder::look`]: a marked meaning, and, as [`LONGER`], codewords longer than the table's index.
pub(crate) type Entry = [i8; 2];

/// See [`Entry`].
pub(crate) const RARE: u32 = 16;

/// See [`Entry`].
const LONGER: u32 = 31;

/// Length and sign-extended meaning.
#[inline(always)]
pub(crate) fn fields(entry: Entry) -> (u32, i32) {
    let both = i16::from_le_bytes(entry.map(|byte| byte as u8)) as i32;
    (both as u32 & 31, both >> 8)
}

/// The codewords of one length.
#[derive(Clone, Copy, Debug)]
struct Length {
    /// Exclusive upper bound, left-justified in 16 bits, modulo 2¹⁶: it wraps at the greatest
    /// length, where nothing is compared.
    limit: u16,
    /// What to add to a codeword to get its symbol's place, modulo 2¹⁶.
    offset: u16,
}

impl<'t> Decoder<'_, 't> {
    /// Of a stream without a code.
    pub const fn none() -> Self {
        Self {
            lengths: [Length {
                limit: 0,
                offset: 0,
            }; MAX_LENGTH],
            symbols: &[],
            max_length: 0,
            table_bits: 0,
            table: &[],
        }
    }

    /// A codeword of `n` bits takes 2⁻ⁿ of all bit strings, and of the table; codewords come in order.
    fn fill(&mut self, counts: &[u8], mut table: &mut [Entry], rare: Option<u8>) {
        if self.max_length == 0 {
            return table.fill(self.entry(0, 0, rare));
        }
        let mut cursor = Cursor::new(counts, 0);
        let (mut next, mut symbol) = (0u16, 0u16);
        let mut share = table.len() / 2;
        for length in 1..=self.max_length {
            // The same bytes were read when the image was parsed.
            let count = cursor.varint().unwrap_or(0) as u16;
            let offset = symbol.wrapping_sub(next >> (16 - length));
            next = next.wrapping_add(count << (16 - length));
            if let Some(of) = self.lengths.get_mut(length as usize - 1) {
                *of = Length {
                    limit: next,
                    offset,
                };
            }
            let end = symbol.saturating_add(count);
            while symbol < end {
                let (entries, rest) = table.split_at_mut(share.min(table.len()));
                entries.fill(self.entry(symbol, length, rare));
                (table, symbol) = (rest, symbol + 1);
            }
            share /= 2;
        }
        table.fill([LONGER as i8, 0]);
    }

    fn entry(&self, place: u16, length: u8, rare: Option<u8>) -> Entry {
        let meaning = self.meaning(place);
        let mark = if rare == Some(meaning) { RARE as u8 } else { 0 };
        [(length | mark) as i8, meaning as i8]
    }

    /// The look-up table, if it has just this size.
    pub(crate) fn table<const ENTRIES: usize>(&self) -> Option<&'t [Entry; ENTRIES]> {
        self.table.try_into().ok()
    }

    /// Meaning and length of what a fast loop found to be [`RARE`] at the start of these bits.
    #[inline(always)]
    pub(crate) fn rare(&self, length: u32, meaning: i32, next: u32) -> (u8, u32) {
        if length == LONGER {
            self.long(next)
        } else {
            (meaning as u8, length & !RARE)
        }
    }

    /// Meaning and length of the codeword at the start of these bits, which is not in the table.
    #[inline(never)]
    pub(crate) fn long(&self, next: u32) -> (u8, u32) {
        let mut length = self.table_bits as usize;
        while let Some(of) = self.lengths.get(length) {
            length += 1;
            if next >> 16 < of.limit as u32 || length >= self.max_length as usize {
                let word = (next >> 16 >> (16 - length)) as u16;
                return (self.meaning(word.wrapping_add(of.offset)), length as u32);
            }
        }
        (self.meaning(0), 0)
    }

    fn meaning(&self, place: u16) -> u8 {
        if self.symbols.is_empty() {
            place as u8
        } else {
            self.symbols.get(place as usize).copied().unwrap_or(0)
        }
    }

    /// Meaning and length, 0 … 15, of the codeword at the start of these bits, of which the first
    /// 16 are looked at.
    #[inline(never)]
    pub fn look(&self, next: u32) -> (u8, u32) {
        let index = next >> 16 >> (16 - self.table_bits);
        match self.table.get(index as usize).map(|&entry| fields(entry)) {
            Some((length, meaning)) if length != LONGER => (meaning as u8, length & !RARE),
            _ if self.max_length == 0 => (self.meaning(0), 0),
            _ => self.long(next),
        }
    }
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
        assert!(parse(&[2, 0, 1, 2]).is_ok());
        assert_eq!(parse(&[2, 0, 1, 1]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[2, 0, 2, 1]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[1, 9, 2]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[0x21, 0, 2]).err(), Some(FormatError::Code));
        assert_eq!(parse(&[2, 0, 1]).err(), Some(FormatError::Truncated));
    }

    #[test]
    fn codewords_are_canonical_with_and_without_a_table() {
        // Lengths 1, 2, 3, 3: 0, 10, 110, 111, meaning 50, 60, 70, 80.
        for table_bits in 0..4 {
            let bytes = [0x13, table_bits, 1, 1, 2, 50, 60, 70, 80];
            let code = parse(&bytes).expect("complete");
            let mut table = vec![0; code.table_bytes()];
            let decoder = code.decoder(&mut table, None);
            for (bits, expected) in [
                (0b0, (50, 1)),
                (0b100, (60, 2)),
                (0b110, (70, 3)),
                (0b111, (80, 3)),
            ] {
                assert_eq!(
                    decoder.look(bits << 29),
                    expected,
                    "table of {table_bits} bits"
                );
            }
        }
    }

    #[test]
    fn a_code_of_one_symbol_takes_no_bits() {
        let code = parse(&[0x10, 0, 9]).expect("complete");
        assert_eq!(code.decoder(&mut [], None).look(u32::MAX), (9, 0));
    }
}
