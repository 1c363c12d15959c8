//! Coded weight matrices: `rows` filters or output units of `columns` weights each, read row by
//! row from one bit stream without ever being expanded.
//!
//! A form is a way to say *where* the next weight stands times a way to say *what* it is.

use crate::FormatError;
use crate::bits::BitReader;
#[cfg(feature = "context")]
use crate::context::{Context, ContextReader, Signs};
use crate::cursor::Cursor;
#[cfg(feature = "hashed")]
use crate::hashed::Hashed;
use crate::huffman::{Code, Entry, LONGER, fields};
#[cfg(feature = "panels")]
use crate::panels::Layout;
use crate::panels::Panels;
#[cfg(feature = "vector")]
use crate::vector::Vectors;

/// Where weights stand.
#[derive(Clone, Copy, Debug)]
pub enum Positions<'a> {
    /// Everywhere.
    Every,
    /// After runs of zeros, counted through row ends, under a code whose symbols mean classes of
    /// runs, see [`run_class`].
    Runs(Code<'a>),
    /// Where a bit per position is set.
    Bitmap,
    /// Everywhere, each with the value that a hash of its place chooses; the stream holds the values.
    #[cfg(feature = "hashed")]
    Hashed(Hashed),
    /// Where an adaptive range code says, which says the values too, those of a codebook.
    #[cfg(feature = "context")]
    Context(Context),
    /// Everywhere, several at once: the values are indices into codebooks of vectors.
    #[cfg(feature = "vector")]
    Vectors(Vectors<'a>),
    /// Everywhere, four rows at once.
    #[cfg(feature = "panels")]
    Panels(Layout),
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

#[cfg(feature = "hashed")]
impl Values<'_> {
    /// Bits of each value, where all have as many and at least one.
    const fn width(&self) -> Option<u8> {
        match self {
            Values::Indexed { bits: 0, .. } | Values::Huffman(_) => None,
            Values::Integer(bits) | Values::Indexed { bits, .. } => Some(*bits),
        }
    }
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

/// What another form means: in a build that leaves some out, it may be one of them.
const UNKNOWN: FormatError = if cfg!(all(
    feature = "context",
    feature = "hashed",
    feature = "vector"
)) {
    FormatError::Encoding
} else {
    FormatError::LeftOut
};

/// Numbers of the forms in an image: positions in bits 0, 1 and 4, values in bits 2 and 3.
pub mod form {
    /// Bits that say where weights stand.
    pub const POSITIONS: u8 = 0b10011;
    /// [`Positions::Every`](super::Positions::Every)
    pub const EVERY: u8 = 0;
    /// [`Positions::Runs`](super::Positions::Runs)
    pub const RUNS: u8 = 1;
    /// [`Positions::Bitmap`](super::Positions::Bitmap)
    pub const BITMAP: u8 = 2;
    /// [`Positions::Context`](super::Positions::Context)
    pub const CONTEXT: u8 = 3;
    /// [`Positions::Hashed`](super::Positions::Hashed)
    pub const HASHED: u8 = 1 << 4;
    /// [`Positions::Vectors`](super::Positions::Vectors)
    pub const VECTORS: u8 = 1 << 4 | 1;
    /// [`Values::Integer`](super::Values::Integer)
    pub const INTEGER: u8 = 0 << 2;
    /// [`Values::Indexed`](super::Values::Indexed)
    pub const INDEXED: u8 = 1 << 2;
    /// [`Values::Huffman`](super::Values::Huffman)
    pub const HUFFMAN: u8 = 2 << 2;
}

/// Bits of the look-up tables, one of runs and one of values, that the fastest loop over runs of
/// Huffman-coded values is made for.
pub const TABLE_BITS: u8 = 6;

/// Most bits that follow the codeword of a run.
pub const MAX_EXTRA_BITS: u32 = 25;

/// A class of runs, from its symbol's meaning `extra_bits << 3 | mantissa`: the run is `mantissa ·
/// 2^extra_bits` plus a number of `extra_bits` bits, which follows the codeword.
#[inline(always)]
pub const fn run_class(meaning: u8) -> (u32, u32) {
    (meaning as u32 >> 3, meaning as u32 & 7)
}

/// Whether a run, with its extra bits, leaves a value's look-up the bits that a
/// [`peek`](BitReader::peek) is sure to have.
fn leaves_a_value(length: u8, meaning: u8) -> bool {
    length as u32 + run_class(meaning).0 + TABLE_BITS as u32 <= 25
}

impl<'a> Weights<'a> {
    pub(crate) fn parse(
        cursor: &mut Cursor<'a>,
        rows: usize,
        columns: usize,
    ) -> Result<Self, FormatError> {
        let form = cursor.u8()?;
        let values = match form & !form::POSITIONS {
            form::INTEGER => Values::Integer(integer_bits(cursor.u8()?)?),
            form::INDEXED => indexed(cursor)?,
            form::HUFFMAN => Values::Huffman(Code::parse(cursor)?),
            _ => return Err(UNKNOWN),
        };
        let positions = match form & form::POSITIONS {
            form::EVERY => Positions::Every,
            form::RUNS => runs(cursor)?,
            form::BITMAP => Positions::Bitmap,
            #[cfg(feature = "context")]
            form::CONTEXT => context(cursor, &values)?,
            #[cfg(feature = "hashed")]
            form::HASHED => Positions::Hashed(Hashed::parse(cursor, columns)?),
            #[cfg(feature = "vector")]
            form::VECTORS => Positions::Vectors(Vectors::parse(cursor, columns, &values)?),
            _ => return Err(UNKNOWN),
        };
        let length = cursor.size()?;
        #[cfg(feature = "hashed")]
        if let Some(hashed) = hashed(&positions) {
            let bits = values.width().ok_or(FormatError::Encoding)?;
            if !hashed.fills(bits, length) {
                return Err(FormatError::Encoding);
            }
        }
        #[cfg(feature = "vector")]
        if let Some(vectors) = vectors(&positions)
            && !vectors.fills([rows, columns], &values, length)
        {
            return Err(FormatError::Encoding);
        }
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

    /// Those of a matrix in panels.
    #[cfg(feature = "panels")]
    pub(crate) fn in_panels(
        cursor: &mut Cursor<'a>,
        layout: Layout,
        [rows, columns]: [usize; 2],
    ) -> Result<Self, FormatError> {
        let panels = Panels::parse(cursor, layout, [rows, columns])?;
        Ok(Self {
            rows,
            columns,
            positions: Positions::Panels(layout),
            values: Values::Integer(8),
            stream: panels.bytes(),
        })
    }

    /// The panels, of a matrix that stands in such.
    #[inline(always)]
    pub fn panels(&self) -> Option<Panels<'a>> {
        match self.positions {
            #[cfg(feature = "panels")]
            Positions::Panels(layout) => Some(Panels::new(layout, self.columns, self.stream)),
            _ => None,
        }
    }

    /// Whether each weight is a byte or half of one number of two: no others are faster to read, and none
    /// needs tables.
    pub fn is_dense(&self) -> bool {
        self.is_plain() || self.panels().is_some()
    }

    /// Whether the stream is int8 weights, one a byte, row-major and aligned to four bytes.
    pub const fn is_plain(&self) -> bool {
        matches!(
            (&self.positions, &self.values),
            (Positions::Every, Values::Integer(8))
        )
    }

    /// Whether the stream is a range code.
    pub const fn is_context(&self) -> bool {
        #[cfg(feature = "context")]
        return matches!(self.positions, Positions::Context(_));
        #[cfg(not(feature = "context"))]
        false
    }

    /// Whether a hash says where the values stand.
    pub fn is_hashed(&self) -> bool {
        #[cfg(feature = "hashed")]
        return hashed(&self.positions).is_some();
        #[cfg(not(feature = "hashed"))]
        false
    }

    /// Whether codebooks hold vectors of weights.
    pub fn is_vector(&self) -> bool {
        #[cfg(feature = "vector")]
        return vectors(&self.positions).is_some();
        #[cfg(not(feature = "vector"))]
        false
    }

    /// The int8 weights of a plain matrix as bytes; the coded bits of any other.
    pub const fn stream(&self) -> &'a [u8] {
        self.stream
    }

    /// Scratch bytes for look-up tables while the stream is read.
    pub fn table_bytes(&self) -> usize {
        #[cfg(feature = "context")]
        if let Some((context, codebook)) = self.context() {
            return context.scratch_bytes(&Signs::of(codebook));
        }
        (self.value_entries() + self.run_entries()) * size_of::<Entry>()
    }

    /// The model and the codebook of a range code.
    #[cfg(feature = "context")]
    fn context(&self) -> Option<(&Context, &'a [u8])> {
        match (&self.positions, &self.values) {
            (Positions::Context(context), Values::Indexed { codebook, .. }) => {
                Some((context, codebook))
            }
            _ => None,
        }
    }

    const fn value_entries(&self) -> usize {
        match &self.values {
            Values::Huffman(code) => code.table_entries(),
            _ => 0,
        }
    }

    const fn run_entries(&self) -> usize {
        match &self.positions {
            Positions::Runs(code) => code.table_entries(),
            _ => 0,
        }
    }

    /// Starts reading, with `scratch` of at least [`table_bytes`](Self::table_bytes).
    pub fn reader<'t>(&'t self, scratch: &'t mut [i8]) -> Reader<'a, 't> {
        #[cfg(feature = "context")]
        if let Some((model, codebook)) = self.context() {
            let context = Some(model.reader(codebook, self.stream, scratch));
            return Reader {
                context,
                ..self.empty_reader()
            };
        }
        let (tables, _) = scratch.as_chunks_mut();
        let (tables, _) = split(tables, self.value_entries() + self.run_entries());
        let (values, runs) = split(tables, self.value_entries());
        if let Values::Huffman(code) = &self.values {
            code.fill(values, |_, _| true);
        }
        if let Positions::Runs(code) = &self.positions {
            code.fill(runs, leaves_a_value);
        }
        let entries @ [of_values, _] = [values.len(), runs.len()];
        let tables: &[Entry] = tables;
        let (values, runs) = tables.split_at(of_values);
        let fast = entries == [1 << TABLE_BITS; 2];
        Reader {
            values,
            runs,
            fast: if fast { tables.first_chunk() } else { None },
            ..self.empty_reader()
        }
    }

    #[inline(always)]
    fn empty_reader(&self) -> Reader<'a, '_> {
        Reader {
            weights: self,
            bits: BitReader::new(self.stream),
            values: &[],
            runs: &[],
            fast: None,
            column: 0,
            #[cfg(any(feature = "hashed", feature = "panels"))]
            row: 0,
            #[cfg(feature = "context")]
            context: None,
        }
    }
}

/// The hash of such weights.
#[cfg(feature = "hashed")]
#[inline(always)]
fn hashed<'p>(positions: &'p Positions) -> Option<&'p Hashed> {
    match positions {
        Positions::Hashed(hashed) => Some(hashed),
        _ => None,
    }
}

/// The codebooks of such weights.
#[cfg(feature = "vector")]
#[inline(always)]
fn vectors<'p, 'a>(positions: &'p Positions<'a>) -> Option<&'p Vectors<'a>> {
    match positions {
        Positions::Vectors(vectors) => Some(vectors),
        _ => None,
    }
}

fn split(entries: &mut [Entry], count: usize) -> (&mut [Entry], &mut [Entry]) {
    entries.split_at_mut(count.min(entries.len()))
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
    let code = cursor.runs()?;
    let extra_bits = |&meaning: &u8| run_class(meaning).0;
    if code
        .symbols()
        .iter()
        .map(extra_bits)
        .any(|bits| bits > MAX_EXTRA_BITS)
    {
        return Err(FormatError::Code);
    }
    Ok(Positions::Runs(code))
}

#[cfg(feature = "context")]
fn context<'a>(cursor: &mut Cursor<'a>, values: &Values) -> Result<Positions<'a>, FormatError> {
    if !matches!(values, Values::Indexed { .. }) {
        return Err(FormatError::Encoding);
    }
    Ok(Positions::Context(Context::parse(cursor)?))
}

/// Zeros of a bitmap passed in one step.
const MAX_ZEROS: u32 = 24;

/// A weight that was taken down: its column (u16), nothing, the weight.
pub type Slot = [i8; 4];

/// Columns are below [`MAX_ROW`](crate::numerics::MAX_ROW).
#[inline(always)]
fn slot_of(column: usize, weight: i32) -> Slot {
    (column as u32 & 0xffff | (weight as u32) << 24)
        .to_le_bytes()
        .map(|byte| byte as i8)
}

/// Reads a matrix row by row. Reading is total: every step moves to a later column, columns end
/// with the row, and bits past the stream's end are zeros.
#[derive(Debug)]
pub struct Reader<'a, 't> {
    weights: &'t Weights<'a>,
    bits: BitReader<'a>,
    /// Look-up table of the values.
    values: &'t [Entry],
    /// Look-up table of the runs.
    runs: &'t [Entry],
    /// Both, one behind the other, where [`dot_of_runs`](Self::dot_of_runs) can use them.
    fast: Option<&'t [Entry; 2 << TABLE_BITS]>,
    /// Where the next run starts, relative to the row's start, modulo 2³² or more: a run may have
    /// begun before it (runs).
    column: usize,
    /// Number of the next row (hashed, panels).
    #[cfg(any(feature = "hashed", feature = "panels"))]
    row: u32,
    /// What reads a range code.
    #[cfg(feature = "context")]
    context: Option<ContextReader<'a, 't>>,
}

impl Reader<'_, '_> {
    /// Σ x·w over the next row; `x` has `columns` elements.
    pub fn dot(&mut self, x: &[i8]) -> i32 {
        if let Some(tables) = self.fast {
            return self.dot_of_runs(tables, x);
        }
        #[cfg(feature = "hashed")]
        if let Some(hashed) = hashed(&self.weights.positions) {
            return self.dot_of_hashed(hashed, x);
        }
        #[cfg(feature = "vector")]
        if let Some(vectors) = vectors(&self.weights.positions) {
            return self.dot_of_vectors(vectors, x);
        }
        let mut sum = 0i32;
        self.row(&mut |column, weight| {
            let x = x.get(column).copied().unwrap_or(0) as i32;
            sum = sum.wrapping_add(x * weight);
        });
        sum
    }

    /// Σ (x − zero_point)·w over the next row, modulo 2³².
    pub fn centred_dot(&mut self, x: &[i8], zero_point: i32) -> i32 {
        let mut sum = 0i32;
        self.row(&mut |column, weight| {
            let x = x.get(column).copied().unwrap_or(0) as i32;
            sum = sum.wrapping_add((x - zero_point) * weight);
        });
        sum
    }

    /// Calls `visit(column, weight)` for each coded weight of the next row, in order of columns;
    /// every column is below `columns`.
    pub fn row(&mut self, visit: &mut dyn FnMut(usize, i32)) {
        match self.weights.positions {
            Positions::Every => self.every(visit),
            Positions::Runs(_) => self.runs(visit),
            Positions::Bitmap => self.bitmap(visit),
            #[cfg(feature = "hashed")]
            Positions::Hashed(hashed) => hashed.row(self.weights, self.next_row(), visit),
            #[cfg(feature = "context")]
            Positions::Context(_) => {
                if let Some(reader) = &mut self.context {
                    reader.row(self.weights.columns, visit);
                }
            }
            #[cfg(feature = "vector")]
            Positions::Vectors(vectors) => {
                vectors.row(
                    self.weights.columns,
                    || self.index(),
                    |column, entry| {
                        let weights = entry.iter().map(|&w| w as i8 as i32);
                        (column..).zip(weights).for_each(|(c, w)| visit(c, w));
                    },
                );
            }
            #[cfg(feature = "panels")]
            Positions::Panels(_) => {
                let row = self.next_row() as usize;
                if let Some(panels) = self.weights.panels() {
                    (0..self.weights.columns).for_each(|c| visit(c, panels.weight(row, c) as i32));
                }
            }
        }
    }

    /// Takes down the next row's weights that [`row`](Self::row) would visit, as many as there are slots; how
    /// many they are.
    pub fn take(&mut self, slots: &mut [Slot]) -> usize {
        if let Some(tables) = self.fast {
            return self.take_runs(tables, slots);
        }
        let mut used = 0;
        self.row(&mut |column, weight| {
            if let Some(slot) = slots.get_mut(used) {
                *slot = slot_of(column, weight);
                used += 1;
            }
        });
        used
    }

    #[cfg(any(feature = "hashed", feature = "panels"))]
    fn next_row(&mut self) -> u32 {
        self.row = self.row.wrapping_add(1);
        self.row.wrapping_sub(1)
    }

    /// [`dot`](Self::dot) with the hash and the value's look-up in the loop.
    #[cfg(feature = "hashed")]
    #[inline(never)]
    fn dot_of_hashed(&mut self, hashed: &Hashed, x: &[i8]) -> i32 {
        let mut sum = 0i32;
        hashed.row(self.weights, self.next_row(), |column, weight| {
            let x = x.get(column).copied().unwrap_or(0) as i32;
            sum = sum.wrapping_add(x * weight);
        });
        sum
    }

    /// [`dot`](Self::dot), a vector of weights at a time.
    #[cfg(feature = "vector")]
    #[inline(never)]
    fn dot_of_vectors(&mut self, vectors: &Vectors, x: &[i8]) -> i32 {
        let mut sum = 0i32;
        vectors.row(
            self.weights.columns,
            || self.index(),
            |column, entry| {
                let x = x.get(column..).unwrap_or(&[]);
                for (&x, &w) in x.iter().zip(entry) {
                    sum = sum.wrapping_add(x as i32 * w as i8 as i32);
                }
            },
        );
        sum
    }

    /// The next index of a vector.
    #[cfg(feature = "vector")]
    fn index(&mut self) -> usize {
        match &self.weights.values {
            Values::Integer(bits) => self.bits.read(*bits as u32) as usize,
            _ => self.value() as u8 as usize,
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

    fn runs(&mut self, visit: &mut dyn FnMut(usize, i32)) {
        while let Some((column, value)) = self.next_of_row(self.weights.columns) {
            visit(column, value);
        }
        self.column = self.column.wrapping_sub(self.weights.columns);
    }

    /// The next weight and its column, unless the row ends before it. Its run is then read again in
    /// the next row, from a column before that row's start; columns wrap there.
    fn next_of_row(&mut self, columns: usize) -> Option<(usize, i32)> {
        let Positions::Runs(code) = &self.weights.positions else {
            return None;
        };
        let (meaning, length) = code.look(self.runs, self.bits.peek());
        let (extra_bits, mantissa) = run_class(meaning as u8);
        let mut after = self.bits.after(length);
        // Below 2²⁸: seven times 2²⁵ and 25 bits.
        let run = (mantissa << extra_bits) + after.read(extra_bits);
        let column = self.column.wrapping_add(run as usize);
        if column >= columns {
            return None;
        }
        self.bits = after;
        self.column = column + 1;
        Some((column, self.value()))
    }

    /// [`dot`](Self::dot) for the form and the tables of a sparse layer. A function of its own, so
    /// that its inner loop has the registers to itself.
    #[inline(never)]
    fn dot_of_runs(&mut self, tables: &[Entry; 2 << TABLE_BITS], x: &[i8]) -> i32 {
        let mut sum = 0i32;
        self.fast_runs(tables, x.len(), |column, weight| {
            let x = x.get(column).copied().unwrap_or(0) as i32;
            sum = sum.wrapping_add(x * weight);
        });
        sum
    }

    /// [`take`](Self::take) for the same.
    #[inline(never)]
    fn take_runs(&mut self, tables: &[Entry; 2 << TABLE_BITS], slots: &mut [Slot]) -> usize {
        let mut used = 0;
        self.fast_runs(tables, self.weights.columns, |column, weight| {
            let slot = slots.get_mut(used);
            if let Some(slot) = slot {
                *slot = slot_of(column, weight);
                used += 1;
            }
        });
        used
    }

    /// [`row`](Self::row) for the same; what is rare happens in a function of its own.
    #[inline(always)]
    fn fast_runs(
        &mut self,
        tables: &[Entry; 2 << TABLE_BITS],
        columns: usize,
        mut visit: impl FnMut(usize, i32),
    ) {
        let (mut bits, mut column) = (self.bits, self.column);
        'row: loop {
            while let Some(mut next) = bits.peek_inside() {
                // 25 bits hold a run found by look-up and the value after it.
                let run_entry = tables[(next >> (32 - TABLE_BITS)) as usize + (1 << TABLE_BITS)];
                let (length, meaning) = fields(run_entry);
                if length == LONGER {
                    break;
                }
                let (extra_bits, mantissa) = run_class(meaning as u8);
                next <<= length;
                // Two shifts: a single one by 32 would overflow where there are no extra bits.
                let run = (mantissa << extra_bits) + (next >> 1 >> (31 - extra_bits));
                next <<= extra_bits;
                let at = column.wrapping_add(run as usize);
                if at >= columns {
                    break 'row;
                }
                let (value_length, value) = fields(tables[(next >> (32 - TABLE_BITS)) as usize]);
                if value_length == LONGER {
                    break;
                }
                bits.skip(length + extra_bits + value_length);
                column = at + 1;
                visit(at, value);
            }
            (self.bits, self.column) = (bits, column);
            let Some((at, value)) = self.next_of_row(columns) else {
                break;
            };
            visit(at, value);
            (bits, column) = (self.bits, self.column);
        }
        (self.bits, self.column) = (bits, column.wrapping_sub(columns));
    }

    fn value(&mut self) -> i32 {
        match &self.weights.values {
            Values::Integer(bits) => self.bits.read_signed(*bits as u32),
            Values::Indexed { codebook, bits } => {
                let place = self.bits.read(*bits as u32) as usize;
                codebook.get(place).copied().unwrap_or(0) as i8 as i32
            }
            Values::Huffman(code) => {
                let (value, length) = code.look(self.values, self.bits.peek());
                self.bits.skip(length);
                value
            }
        }
    }
}
