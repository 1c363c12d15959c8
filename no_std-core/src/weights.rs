//! Coded weight matrices: `rows` filters or output units of `columns` weights each, read row by
//! row from one bit stream without ever being expanded.
//!
//! A form is a way to say *where* the next weight stands times a way to say *what* it is.

use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;
use crate::huffman::{Code, Decoder};

/// Where weights stand.
#[derive(Clone, Copy, Debug)]
pub enum Positions<'a> {
    /// Everywhere.
    Every,
    /// After runs of zeros, counted through row ends. The last symbol of the code's alphabet skips
    /// `skip` positions and is followed by no weight.
    Runs {
        /// Code of the runs.
        code: Code<'a>,
        /// The meaning that stands for "skip this many, then another run".
        skip: u8,
        /// Weights in the matrix.
        nonzero: u32,
    },
    /// Where a bit per position is set.
    Bitmap,
}

/// What weights are.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Two's complement of this many bits, 1 … 8.
    Integer(u8),
    /// Entries of a codebook, by an index of `bits` bits.
    Indexed {
        /// int8 weights.
        codebook: &'a [u8],
        /// Bits of an index, 0 … 8.
        bits: u8,
    },
    /// Huffman-coded; the symbols' meanings are the int8 codebook.
    Huffman(Code<'a>),
}

/// A matrix of weights in coded form.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Output channels.
    pub rows: usize,
    /// Weights of an output channel, at most [`MAX_ROW`](crate::numerics::MAX_ROW).
    pub columns: usize,
    /// Where weights stand.
    pub positions: Positions<'a>,
    /// What they are.
    pub values: Values<'a>,
    stream: &'a [u8],
}

/// Numbers of the forms in an image: positions in bits 0–1, values in bits 2–3.
pub mod form {
    /// [`Positions::Every`](super::Positions::Every)
    pub const EVERY: u8 = 0;
    /// [`Positions::Runs`](super::Positions::Runs)
    pub const RUNS: u8 = 1;
    /// [`Positions::Bitmap`](super::Positions::Bitmap)
    pub const BITMAP: u8 = 2;
    /// [`Values::Integer`](super::Values::Integer)
    pub const INTEGER: u8 = 0 << 2;
    /// [`Values::Indexed`](super::Values::Indexed)
    pub const INDEXED: u8 = 1 << 2;
    /// [`Values::Huffman`](super::Values::Huffman)
    pub const HUFFMAN: u8 = 2 << 2;
}

impl<'a> Weights<'a> {
    pub(crate) fn parse(
        cursor: &mut Cursor<'a>,
        rows: usize,
        columns: usize,
    ) -> Result<Self, FormatError> {
        let form = cursor.u8()?;
        let values = match form & !3 {
            form::INTEGER => Values::Integer(integer_bits(cursor.u8()?)?),
            form::INDEXED => indexed(cursor)?,
            form::HUFFMAN => Values::Huffman(Code::parse(cursor)?),
            _ => return Err(FormatError::Encoding),
        };
        let positions = match form & 3 {
            form::EVERY => Positions::Every,
            form::RUNS => runs(cursor)?,
            form::BITMAP => Positions::Bitmap,
            _ => return Err(FormatError::Encoding),
        };
        let length = cursor.size()?;
        let mut weights = Self {
            rows,
            columns,
            positions,
            values,
            stream: &[],
        };
        if weights.is_plain() {
            cursor.align()?;
            if Some(length) != rows.checked_mul(columns) {
                return Err(FormatError::Encoding);
            }
        }
        weights.stream = cursor.take(length)?;
        Ok(weights)
    }

    /// Whether the stream is int8 weights, one a byte, row-major and aligned to four bytes.
    pub const fn is_plain(&self) -> bool {
        matches!(
            (&self.positions, &self.values),
            (Positions::Every, Values::Integer(8))
        )
    }

    /// The int8 weights of a plain matrix as bytes; the coded bits of any other.
    pub const fn stream(&self) -> &'a [u8] {
        self.stream
    }

    /// Scratch bytes for look-up tables while the stream is read.
    pub const fn table_bytes(&self) -> usize {
        self.value_table_bytes() + self.run_table_bytes()
    }

    const fn value_table_bytes(&self) -> usize {
        if let Values::Huffman(code) = &self.values {
            code.table_bytes()
        } else {
            0
        }
    }

    const fn run_table_bytes(&self) -> usize {
        if let Positions::Runs { code, .. } = &self.positions {
            code.table_bytes()
        } else {
            0
        }
    }

    /// Starts reading, with `scratch` of at least [`table_bytes`](Self::table_bytes).
    pub fn reader<'t>(&self, scratch: &'t mut [i8]) -> Reader<'a, 't> {
        let (values, rest) = split(scratch, self.value_table_bytes());
        let (runs, _) = split(rest, self.run_table_bytes());
        let value_decoder = match &self.values {
            Values::Huffman(code) => code.decoder(values),
            _ => Decoder::none(),
        };
        let (run_decoder, left) = match &self.positions {
            Positions::Runs { code, nonzero, .. } => (code.decoder(runs), *nonzero),
            _ => (Decoder::none(), 0),
        };
        let (bits, weights) = (BitReader::new(self.stream), *self);
        Reader {
            weights,
            bits,
            value_decoder,
            run_decoder,
            left,
            column: 0,
            placed: false,
        }
    }
}

fn split(scratch: &mut [i8], count: usize) -> (&mut [i8], &mut [i8]) {
    scratch.split_at_mut(count.min(scratch.len()))
}

fn integer_bits(bits: u8) -> Result<u8, FormatError> {
    if (1..=8).contains(&bits) {
        Ok(bits)
    } else {
        Err(FormatError::Encoding)
    }
}

fn indexed<'a>(cursor: &mut Cursor<'a>) -> Result<Values<'a>, FormatError> {
    let count = cursor.u8()? as usize + 1;
    let bits = index_bits(count);
    Ok(Values::Indexed {
        codebook: cursor.take(count)?,
        bits,
    })
}

/// Bits of an index into a codebook of `count` entries: `ceil(log2 count)`.
pub const fn index_bits(count: usize) -> u8 {
    (usize::BITS - (count.saturating_sub(1)).leading_zeros()) as u8
}

fn runs<'a>(cursor: &mut Cursor<'a>) -> Result<Positions<'a>, FormatError> {
    let nonzero = cursor.varint()?;
    let skip = cursor.u8()?;
    let code = Code::parse(cursor)?;
    // A skip of nothing would let the reader stand still.
    if skip == 0 {
        Err(FormatError::Code)
    } else {
        Ok(Positions::Runs {
            code,
            skip,
            nonzero,
        })
    }
}

/// Reads a matrix row by row. Reading is total: every step moves to a later position, positions
/// end with the row, and bits past the stream's end are zeros.
#[derive(Debug)]
pub struct Reader<'a, 't> {
    weights: Weights<'a>,
    bits: BitReader<'a>,
    value_decoder: Decoder<'a, 't>,
    run_decoder: Decoder<'a, 't>,
    /// Weights not read yet (runs).
    left: u32,
    /// Next position, relative to the row's start; may lie beyond its end (runs).
    column: usize,
    /// Whether a weight stands at `column` (runs).
    placed: bool,
}

impl Reader<'_, '_> {
    /// Σ x·w over the next row; `x` has `columns` elements, fewer count as far as they go.
    pub fn dot(&mut self, x: &[i8]) -> i32 {
        let mut sum = 0i32;
        if let (Positions::Runs { skip, .. }, Values::Huffman(_)) =
            (&self.weights.positions, &self.weights.values)
        {
            let skip = *skip;
            self.runs_of_symbols(skip, |column, weight| {
                let x = x.get(column).copied().unwrap_or(0) as i32;
                sum = sum.wrapping_add(x * weight);
            });
        } else {
            self.row(&mut |column, weight| {
                let x = x.get(column).copied().unwrap_or(0) as i32;
                sum = sum.wrapping_add(x * weight);
            });
        }
        sum
    }

    /// Calls `visit(column, weight)` for each coded weight of the next row, in order of columns;
    /// every column is below `columns`.
    pub fn row(&mut self, visit: &mut dyn FnMut(usize, i32)) {
        match self.weights.positions {
            Positions::Every => self.every(visit),
            Positions::Runs { skip, .. } => self.runs(skip, visit),
            Positions::Bitmap => self.bitmap(visit),
        }
    }

    fn every(&mut self, visit: &mut dyn FnMut(usize, i32)) {
        for column in 0..self.weights.columns {
            let value = self.value();
            visit(column, value);
        }
    }

    fn bitmap(&mut self, visit: &mut dyn FnMut(usize, i32)) {
        for column in 0..self.weights.columns {
            if self.bits.read(1) == 1 {
                let value = self.value();
                visit(column, value);
            }
        }
    }

    /// Column arithmetic cannot overflow: it grows by at most 255 past a row of at most 2¹⁶.
    fn runs(&mut self, skip: u8, visit: &mut dyn FnMut(usize, i32)) {
        while self.left > 0 {
            if !self.placed {
                let (run, length) = self.run_decoder.look(self.bits.peek());
                self.bits.skip(length);
                self.column += run as usize;
                self.placed = run != skip;
            }
            if self.column >= self.weights.columns {
                self.column -= self.weights.columns;
                return;
            }
            if self.placed {
                let value = self.value();
                visit(self.column, value);
                self.column += 1;
                self.left -= 1;
                self.placed = false;
            }
        }
    }

    /// As [`runs`](Self::runs) with Huffman-coded values, for the inner loop of a sparse network:
    /// state in registers, one load of bits for a run and the value after it (at most 15 + 6 bits
    /// of 25; a value behind a longer codeword loads anew).
    #[inline(always)]
    fn runs_of_symbols(&mut self, skip: u8, mut visit: impl FnMut(usize, i32)) {
        let columns = self.weights.columns;
        let (mut bits, mut column, mut left) = (self.bits, self.column, self.left);
        let mut placed = self.placed;
        while left > 0 {
            if !placed {
                let (run, length) = self.run_decoder.look(bits.peek());
                bits.skip(length);
                column += run as usize;
                placed = run != skip;
            }
            if column >= columns {
                column -= columns;
                break;
            }
            if placed {
                let (value, length) = self.value_decoder.look(bits.peek());
                bits.skip(length);
                visit(column, value as i8 as i32);
                column += 1;
                left -= 1;
                placed = false;
            }
        }
        (self.bits, self.column, self.left, self.placed) = (bits, column, left, placed);
    }

    fn value(&mut self) -> i32 {
        match &self.weights.values {
            Values::Integer(bits) => self.bits.read_signed(*bits as u32),
            Values::Indexed { codebook, bits } => {
                let place = self.bits.read(*bits as u32) as usize;
                codebook.get(place).copied().unwrap_or(0) as i8 as i32
            }
            Values::Huffman(_) => {
                let (value, length) = self.value_decoder.look(self.bits.peek());
                self.bits.skip(length);
                value as i8 as i32
            }
        }
    }
}
