//! Weights that stand in vectors: neighbours along a row are together one entry of a codebook.

use crate::FormatError;
use crate::cursor::Cursor;
use crate::weights::{Values, index_bits};

/// The codebooks of a matrix and how its rows are cut. Each row is cut alike, into vectors of
/// `dimension` weights of which the last may be shorter, and reads them from one codebook for every
/// `span` vectors (product quantization).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors<'a> {
    /// Weights of a vector, 1 … columns.
    pub dimension: usize,
    /// Vectors of a row that one codebook serves, 1 … all of a row.
    pub span: usize,
    /// Entries of each codebook, 1 … 256.
    pub entries: usize,
    /// int8 weights, entry by entry and codebook by codebook.
    pub codebooks: &'a [u8],
}

impl<'a> Vectors<'a> {
    pub(crate) fn parse(
        cursor: &mut Cursor<'a>,
        columns: usize,
        values: &Values,
    ) -> Result<Self, FormatError> {
        let (dimension, span) = (cursor.size()?, cursor.size()?);
        let entries = cursor.u8()? as usize + 1;
        if !(1..=columns).contains(&dimension) {
            return Err(FormatError::Encoding);
        }
        // Neither is 0, which not every compiler sees.
        let vectors = columns.div_ceil(dimension.max(1));
        if !(1..=vectors).contains(&span) || !fits(values, entries) {
            return Err(FormatError::Encoding);
        }
        // All spans of a row are less than two rows of at most 2¹⁶ weights: codebooks below 2²⁵ bytes.
        let books = vectors.div_ceil(span.max(1));
        Ok(Self {
            dimension,
            span,
            entries,
            codebooks: cursor.take(books * entries * dimension)?,
        })
    }

    /// Whether a stream has just the bytes of the indices; of coded ones it may have any number.
    pub(crate) fn fills(
        &self,
        [rows, columns]: [usize; 2],
        values: &Values,
        length: usize,
    ) -> bool {
        let Values::Integer(bits) = values else {
            return true;
        };
        // At most 2³² rows of 2¹⁶ indices of eight bits.
        let indices = rows as u64 * columns.div_ceil(self.dimension.max(1)) as u64;
        (indices * *bits as u64).div_ceil(8) == length as u64
    }

    /// Calls `visit(column, weights)` for each vector of a row: weights from that column on. An index
    /// beyond the codebook is a vector of zeros, for which nothing is called.
    #[inline(always)]
    pub(crate) fn row(
        &self,
        columns: usize,
        mut index: impl FnMut() -> usize,
        mut visit: impl FnMut(usize, &'a [u8]),
    ) {
        let (mut column, mut books) = (0, self.codebooks);
        while column < columns {
            let (book, rest) = books
                .split_at_checked(self.entries * self.dimension)
                .unwrap_or_default();
            // Below twice the columns, at most 2¹⁷.
            let end = (column + self.span * self.dimension).min(columns);
            while column < end {
                let (at, next) = (index() * self.dimension, column + self.dimension);
                let weights = book.get(at..at + self.dimension).unwrap_or(&[]);
                visit(column, weights.get(..columns - column).unwrap_or(weights));
                column = next;
            }
            books = rest;
        }
    }
}

/// Whether every value is an index that an image may hold: of just the bits that the entries need, at
/// least one, or a codeword that means an entry.
fn fits(values: &Values, entries: usize) -> bool {
    match values {
        Values::Integer(bits) => *bits == index_bits(entries).max(1),
        Values::Indexed { .. } => false,
        Values::Huffman(code) => code.symbols().iter().all(|&s| (s as usize) < entries),
    }
}
