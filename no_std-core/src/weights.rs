//! Coded weight matrices: `rows` filters or output units of `columns` weights each, read row by
//! row from one bit stream without ever being expanded.
//!
//! A form is a way to say *where* the next weight stands times a way to say *what* it is.

use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;
use crate::huffman::{Code, Decoder, RARE, fields};

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

/// Bits of the look-up tables that the fastest loop over runs of Huffman-coded values is made for.
pub const RUN_TABLE_BITS: u8 = 7;
/// As [`RUN_TABLE_BITS`], for the values.
pub const VALUE_TABLE_BITS: u8 = 6;

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
    pub fn reader<'t>(&'t self, scratch: &'t mut [i8]) -> Reader<'a, 't> {
        let (values, rest) = split(scratch, self.value_table_bytes());
        let (runs, _) = split(rest, self.run_table_bytes());
        let value_decoder = match &self.values {
            Values::Huffman(code) => code.decoder(values, None),
            _ => Decoder::none(),
        };
        let (run_decoder, left) = match &self.positions {
            Positions::Runs {
                code,
                skip,
                nonzero,
            } => (code.decoder(runs, Some(*skip)), *nonzero),
            _ => (Decoder::none(), 0),
        };
        Reader {
            weights: self,
            bits: BitReader::new(self.stream),
            value_decoder,
            run_decoder,
            left,
            column: 0,
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

/// Zeros of a bitmap passed in one step.
const MAX_ZEROS: u32 = 24;

/// Reads a matrix row by row. Reading is total: every step moves to a later position, positions
/// end with the row, and bits past the stream's end are zeros.
#[derive(Debug)]
pub struct Reader<'a, 't> {
    weights: &'t Weights<'a>,
    bits: BitReader<'a>,
    value_decoder: Decoder<'a, 't>,
    run_decoder: Decoder<'a, 't>,
    /// Weights not read yet (runs).
    left: u32,
    /// Where the next run starts, relative to the row's start, modulo 2³² or more: a run may have
    /// begun before it (runs).
    column: usize,
}

impl Reader<'_, '_> {
    /// Σ x·w over the next row; `x` has `columns` elements.
    pub fn dot(&mut self, x: &[i8]) -> i32 {
        if let Positions::Runs { skip, .. } = self.weights.positions
            && let Some(sum) = self.dot_of_runs(skip, x)
        {
            return sum;
        }
        let mut sum = 0i32;
        self.row(&mut |column, weight| {
            let x = x.get(column).copied().unwrap_or(0) as i32;
            sum = sum.wrapping_add(x * weight);
        });
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
        let mut column = 0;
        while column < self.weights.columns {
            let zeros = self.bits.peek().leading_zeros().min(MAX_ZEROS);
            let at = column + zeros as usize;
            if at >= self.weights.columns {
                self.bits.skip((self.weights.columns - column) as u32);
                return;
            }
            self.bits.skip(zeros);
            column = at;
            if zeros < MAX_ZEROS {
                self.bits.skip(1);
                let value = self.value();
                visit(column, value);
                column += 1;
            }
        }
    }

    /// A run that leads past the row's end is read again in the next row, from a column before its
    /// start; columns wrap there.
    fn runs(&mut self, skip: u8, visit: &mut dyn FnMut(usize, i32)) {
        while self.left > 0 {
            let (run, length) = self.run_decoder.look(self.bits.peek());
            let column = self.column.wrapping_add(run as usize);
            if column >= self.weights.columns {
                break;
            }
            self.bits.skip(length);
            self.column = column;
            if run != skip {
                let value = self.value();
                visit(column, value);
                self.column = column + 1;
                self.left -= 1;
            }
        }
        self.column = self.column.wrapping_sub(self.weights.columns);
    }

    /// [`dot`](Self::dot) for the form and the tables of a sparse layer. A function of its own, so
    /// that its inner loop has the registers to itself.
    #[inline(never)]
    fn dot_of_runs(&mut self, skip: u8, x: &[i8]) -> Option<i32> {
        let runs = self.run_decoder.table::<{ 1 << RUN_TABLE_BITS }>()?;
        let values = self.value_decoder.table::<{ 1 << VALUE_TABLE_BITS }>()?;
        let (mut bits, mut column, mut left) = (self.bits, self.column, self.left);
        let mut sum = 0i32;
        while left > 0 {
            // 25 bits hold a run found by look-up and the value after it.
            let mut next = bits.peek();
            let (mut length, mut run) = fields(runs[(next >> (32 - RUN_TABLE_BITS)) as usize]);
            if length & RARE == 0 {
                (run, next) = (run & 0xff, next << length);
            } else {
                core::hint::cold_path();
                let meaning;
                (meaning, length) = self.run_decoder.rare(length, run, next);
                let after = bits.after(length);
                next = after.peek();
                run = meaning as i32;
                if meaning == skip && column.wrapping_add(skip as usize) < x.len() {
                    (bits, column) = (after, column.wrapping_add(skip as usize));
                    continue;
                }
            }
            let at = column.wrapping_add(run as usize);
            let Some(&x) = x.get(at) else {
                break;
            };
            bits.skip(length);
            let (mut length, mut value) =
                fields(values[(next >> (32 - VALUE_TABLE_BITS)) as usize]);
            if length & RARE != 0 {
                core::hint::cold_path();
                let meaning;
                (meaning, length) = self.value_decoder.long(next);
                value = meaning as i8 as i32;
            }
            bits.skip(length);
            sum = sum.wrapping_add(x as i32 * value);
            column = at.wrapping_add(1);
            left -= 1;
        }
        (self.bits, self.left) = (bits, left);
        self.column = column.wrapping_sub(x.len());
        Some(sum)
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
