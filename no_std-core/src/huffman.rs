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

    /// Prepares decoding; `table` has [`table_bytes`](Self::table_bytes).
    pub fn decoder<'t>(&self, table: &'t mut [i8]) -> Decoder<'a, 't> {
        let mut decoder = Decoder {
            limits: [0; MAX_LENGTH + 1],
            offsets: [0; MAX_LENGTH + 1],
            symbols: self.symbols,
            max_length: self.max_length as usize,
            table_bits: self.table_bits as u32,
            table: &[],
        };
        decoder.read_counts(self.counts);
        decoder.fill(table);
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
    /// Exclusive upper bound of the codewords of each length, left-justified in 16 bits.
    limits: [u32; MAX_LENGTH + 1],
    /// What to add to a codeword of each length to get its symbol's place, modulo 2¹⁶.
    offsets: [u16; MAX_LENGTH + 1],
    symbols: &'a [u8],
    max_length: usize,
    table_bits: u32,
    /// Meaning and length for each value of the next `table_bits` bits; length 0 where the
    /// codeword is longer.
    table: &'t [i8],
}

impl Decoder<'_, '_> {
    /// Of a stream without a code.
    pub const fn none() -> Self {
        Self {
            limits: [0; MAX_LENGTH + 1],
            offsets: [0; MAX_LENGTH + 1],
            symbols: &[],
            max_length: 0,
            table_bits: 0,
            table: &[],
        }
    }

    fn read_counts(&mut self, counts: &[u8]) {
        let mut cursor = Cursor::new(counts, 0);
        let (mut next, mut symbols) = (0u32, 0u32);
        let rows = self.limits.iter_mut().zip(&mut self.offsets).enumerate();
        for (length, (limit, offset)) in rows.skip(1).take(self.max_length) {
            // The same bytes were read when the image was parsed.
            let count = cursor.varint().unwrap_or(0);
            *offset = (symbols as u16).wrapping_sub((next >> (16 - length)) as u16);
            next = next.wrapping_add(count << (16 - length));
            *limit = next;
            symbols = symbols.wrapping_add(count);
        }
    }

    fn fill(&self, table: &mut [i8]) {
        for (index, entry) in table.chunks_exact_mut(2).enumerate() {
            let next = (index as u32) << (16 - self.table_bits);
            let (symbol, length) = self.compare(next, 1);
            let found = if length <= self.table_bits {
                [symbol as i8, length as i8]
            } else {
                [0, 0]
            };
            entry
                .iter_mut()
                .zip(found)
                .for_each(|(to, from)| *to = from);
        }
    }

    /// Meaning and length of the codeword at the start of 16 bits, which is no shorter than told.
    fn compare(&self, next: u32, shortest: usize) -> (u8, u32) {
        let rows = self.limits.iter().zip(&self.offsets).enumerate();
        for (length, (&limit, &offset)) in rows.take(self.max_length + 1).skip(shortest) {
            if next < limit {
                let place = ((next >> (16 - length)) as u16).wrapping_add(offset);
                return (self.meaning(place as usize), length as u32);
            }
        }
        (self.meaning(0), 0) // only the code of one symbol and no bits ends here
    }

    fn meaning(&self, place: usize) -> u8 {
        if self.symbols.is_empty() {
            place as u8
        } else {
            self.symbols.get(place).copied().unwrap_or(0)
        }
    }

    #[cold]
    #[inline(never)]
    fn long(&self, next: u32) -> (u8, u32) {
        self.compare(next >> 16, self.table_bits as usize + 1)
    }

    /// Meaning and length, 0 … 15, of the codeword at the start of these bits, of which the first
    /// 16 are looked at.
    #[inline(always)]
    pub fn look(&self, next: u32) -> (u8, u32) {
        // Two shifts: a single one by 32 would overflow where there is no table.
        let place = (next >> 1 >> (31 - self.table_bits)) as usize * 2;
        let entry = self
            .table
            .get(place..)
            .and_then(|rest| rest.first_chunk::<2>());
        match entry {
            Some(&[symbol, length]) if length != 0 => (symbol as u8, length as u32),
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
            let decoder = code.decoder(&mut table);
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
        assert_eq!(code.decoder(&mut []).look(u32::MAX), (9, 0));
    }
}
