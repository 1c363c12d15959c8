//! Canonical Huffman codes (Schwartz & Kallick 1964) of bounded length.
//!
//! A code's description is the number of codewords of each length: codewords are assigned in
//! increasing order, shorter ones first, and symbol `i` is the `i`-th codeword. What the `i`-th
//! symbol *means* is a table in the image (a codebook is one), so no permutation is kept.

use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;

/// Longest codeword, in bits.
pub const MAX_LENGTH: usize = 15;

/// Most symbols of one code.
pub const MAX_SYMBOLS: usize = 256;

/// Widest look-up table, in bits of its index.
pub const MAX_TABLE_BITS: u8 = 8;

/// A complete code: every bit string decodes, so decoding cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    max_length: u8,
    table_bits: u8,
    /// Exclusive upper bound of the codewords of each length, left-justified in 16 bits.
    limits: [u32; MAX_LENGTH + 1],
    /// What to add to a codeword of each length to get its symbol's place, modulo 2¹⁶.
    offsets: [u16; MAX_LENGTH + 1],
    symbol_count: u16,
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
        let mut code = Self {
            max_length,
            table_bits,
            limits: [0; MAX_LENGTH + 1],
            offsets: [0; MAX_LENGTH + 1],
            symbol_count: 1,
            symbols: &[],
        };
        if max_length > 0 {
            code.read_counts(cursor)?;
        }
        if head & 16 != 0 {
            code.symbols = cursor.take(code.symbol_count())?;
        }
        Ok(code)
    }

    fn read_counts(&mut self, cursor: &mut Cursor) -> Result<(), FormatError> {
        let mut next = 0u32; // the next free codeword, left-justified in 16 bits
        let mut symbols = 0u32;
        let rows = self
            .limits
            .iter_mut()
            .zip(self.offsets.iter_mut())
            .enumerate();
        for (length, (limit, offset)) in rows.skip(1).take(self.max_length as usize) {
            let count = cursor.varint()?;
            if count > MAX_SYMBOLS as u32 {
                return Err(FormatError::Code);
            }
            *offset = (symbols as u16).wrapping_sub((next >> (16 - length)) as u16);
            next += count << (16 - length);
            *limit = next;
            symbols += count;
            if next > 1 << 16 {
                return Err(FormatError::Code);
            }
        }
        // Complete (Kraft's sum is one): no bit string is without a symbol.
        if next != 1 << 16 || symbols > MAX_SYMBOLS as u32 {
            return Err(FormatError::Code);
        }
        self.symbol_count = symbols as u16;
        Ok(())
    }

    /// Number of symbols, 1 … 256.
    pub const fn symbol_count(&self) -> usize {
        self.symbol_count as usize
    }

    /// Bytes of scratch that [`build_table`](Self::build_table) fills.
    pub const fn table_bytes(&self) -> usize {
        if self.table_bits == 0 {
            0
        } else {
            2 << self.table_bits
        }
    }

    /// Meaning of the symbol at a place.
    #[inline(always)]
    pub fn symbol(&self, place: usize) -> u8 {
        if self.symbols.is_empty() {
            place as u8
        } else {
            self.symbols.get(place).copied().unwrap_or(0)
        }
    }

    /// Decodes one symbol without a table.
    #[inline]
    pub fn decode(&self, bits: &mut BitReader) -> u8 {
        self.decode_from(1, bits)
    }

    #[inline]
    fn decode_from(&self, shortest: usize, bits: &mut BitReader) -> u8 {
        let next = bits.peek() >> 16;
        let rows = self.limits.iter().zip(&self.offsets).enumerate();
        for (length, (&limit, &offset)) in rows.take(self.max_length as usize + 1).skip(shortest) {
            if next < limit {
                bits.skip(length as u32);
                return self.symbol(((next >> (16 - length)) as u16).wrapping_add(offset) as usize);
            }
        }
        self.symbol(0) // only the code of one symbol and no bits ends here
    }

    /// Fills `table` (of [`table_bytes`](Self::table_bytes)) with a symbol and a length for each
    /// value of the next `table_bits` bits; length 0 where the codeword is longer.
    pub fn build_table<'t>(&self, table: &'t mut [i8]) -> Table<'t> {
        for (index, entry) in table.chunks_exact_mut(2).enumerate() {
            let next = (index as u32) << (16 - self.table_bits as u32);
            let rows = self.limits.iter().zip(&self.offsets).enumerate();
            let mut found = [0, 0];
            for (length, (&limit, &offset)) in rows.skip(1).take(self.table_bits as usize) {
                if next < limit {
                    let place = ((next >> (16 - length)) as u16).wrapping_add(offset);
                    found = [self.symbol(place as usize) as i8, length as i8];
                    break;
                }
            }
            entry.copy_from_slice(&found);
        }
        Table {
            entries: table,
            shift: 32 - self.table_bits as u32,
        }
    }

    /// Decodes one symbol, by look-up where the codeword is short enough.
    #[inline(always)]
    pub fn decode_with(&self, table: &Table, bits: &mut BitReader) -> u8 {
        if self.table_bits > 0 {
            let place = (bits.peek() >> table.shift) as usize * 2;
            let entry = table
                .entries
                .get(place..)
                .and_then(|rest| rest.first_chunk::<2>());
            if let Some(&[symbol, length]) = entry
                && length > 0
            {
                bits.skip(length as u32);
                return symbol as u8;
            }
        }
        self.decode_from(self.table_bits as usize + 1, bits)
    }
}

/// Short codewords by look-up, in scratch memory.
#[derive(Debug)]
pub struct Table<'t> {
    entries: &'t [i8],
    shift: u32,
}

impl Table<'_> {
    /// A table that finds nothing, for streams without a code.
    pub const fn none() -> Self {
        Self {
            entries: &[],
            shift: 31,
        }
    }
}
