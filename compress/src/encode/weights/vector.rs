//! The form of weights that are vectors of codebooks.

use super::{Coding, Form, Matrix, Positions, Source, Values, Written, form, index_bits, smaller};
use crate::encode::code::Code;
use crate::encode::ledger::Category;
use crate::program::{Linear, Vectors};
use no_std_core::huffman::MAX_TABLE_BITS;
use std::collections::BTreeMap;

/// The smaller of a form found otherwise and those of vectors.
pub(in crate::encode) fn or_vectors(best: Written, linear: &Linear, coding: Coding) -> Written {
    let coded = matches!(coding, Coding::Huffman | Coding::Smallest);
    let forms = forms(linear).into_iter();
    smaller(best, forms.take(if coded { 2 } else { 1 }))
}

/// The form of vectors that has just this name and these coded bytes.
pub(in crate::encode) fn find(linear: &Linear, encoding: &str, stream: &[u8]) -> Option<Written> {
    let is_it = |form: &Written| form.encoding == encoding && form.stream == stream;
    forms(linear).into_iter().find(is_it)
}

/// Indices of one width, and coded ones, whose many symbols take the widest look-up table: with a narrower
/// one most would be found bit by bit. Nothing where vectors differ more than a codebook can say, as
/// after a pass that changed them.
fn forms(linear: &Linear) -> Vec<Written> {
    let indexed = linear.vectors.and_then(|v| Some((v, indexed(linear, v)?)));
    let Some((vectors, (books, indices))) = indexed else {
        return Vec::new();
    };
    let entries = books.iter().map(Vec::len).max().unwrap_or(1);
    let matrix = Matrix::new(Source {
        weights: &indices,
        columns: indices.len(),
        ..Source::default()
    });
    let width = index_bits(entries).max(1);
    let said = [
        Values::Integer(width.into()),
        Values::Huffman(Box::new(Code::new(&matrix.counts, MAX_TABLE_BITS))),
    ];
    let written = |said| {
        let form = matrix.vectors(said, vectors, &books, entries);
        form.write(&matrix)
    };
    said.into_iter().map(written).collect()
}

/// Most entries that an index can say.
const MAX_ENTRIES: usize = 256;

type Codebook<'w> = Vec<&'w [i8]>;

/// The codebooks and each vector's index, row by row. Entries stand in the order of how often they
/// occur, so that one code serves the indices of all codebooks. A row's last vector, where it is
/// shorter, is an entry that begins with it, or one more.
fn indexed(linear: &Linear, vectors: Vectors) -> Option<(Vec<Codebook<'_>>, Vec<i8>)> {
    let Vectors { dimension, span } = vectors;
    let rows = || linear.weights.chunks(linear.columns.max(1));
    let per_row = linear.columns.div_ceil(dimension);
    let books = (0..per_row.div_ceil(span)).map(|book| {
        let in_span = move |row: &'_ [i8]| (book * span * dimension).min(row.len());
        let cut = rows().flat_map(move |row| row[in_span(row)..].chunks(dimension).take(span));
        codebook(cut, dimension)
    });
    let books: Vec<Codebook> = books.collect::<Option<_>>()?;
    let places: Vec<BTreeMap<&[i8], usize>> = books.iter().map(|b| places(b)).collect();
    let index = |(v, vector): (usize, &[i8])| {
        let book = v / span;
        let whole = places[book].get(vector).copied();
        let place = whole.or_else(|| books[book].iter().position(|e| e.starts_with(vector)))?;
        Some(place as u8 as i8)
    };
    let indices = rows().flat_map(|row| row.chunks(dimension).enumerate().map(index));
    Some((books.clone(), indices.collect::<Option<_>>()?))
}

fn places<'w>(book: &[&'w [i8]]) -> BTreeMap<&'w [i8], usize> {
    book.iter().enumerate().map(|(i, &e)| (e, i)).collect()
}

fn codebook<'w>(cut: impl Iterator<Item = &'w [i8]>, dimension: usize) -> Option<Codebook<'w>> {
    let mut counts: BTreeMap<&[i8], usize> = BTreeMap::new();
    let mut short: Vec<&[i8]> = Vec::new();
    for vector in cut {
        match vector.len() == dimension {
            true => *counts.entry(vector).or_default() += 1,
            false => short.push(vector),
        }
        if counts.len() > MAX_ENTRIES {
            return None;
        }
    }
    let mut ordered: Vec<(&[i8], usize)> = counts.into_iter().collect();
    ordered.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let mut entries: Codebook = ordered.into_iter().map(|(entry, _)| entry).collect();
    for vector in short {
        if !entries.iter().any(|e| e.starts_with(vector)) {
            entries.push(vector);
        }
    }
    (entries.len() <= MAX_ENTRIES).then_some(entries)
}

impl Matrix<'_> {
    /// All indices, and the codebooks filled with zeros to so many entries of equal size.
    fn vectors(
        &self,
        values: Values,
        Vectors { dimension, span }: Vectors,
        books: &[Codebook],
        entries: usize,
    ) -> Form {
        let mut form = self.every(values);
        let mut head = form.values.head(form::VECTORS);
        head.varint(Category::Operators, dimension);
        head.varint(Category::Operators, span);
        head.u8(Category::Operators, (entries - 1) as u8);
        for book in books {
            let said = book.iter().flat_map(|entry| {
                let zeros = std::iter::repeat(&0);
                entry.iter().chain(zeros).take(dimension)
            });
            let said = said.chain(std::iter::repeat(&0)).take(entries * dimension);
            said.for_each(|&w| head.i8(Category::Codebooks, w));
        }
        head.varint(Category::Operators, form.stream_bits.div_ceil(8));
        form.head = head;
        form.positions = Positions::Vectors(dimension);
        form
    }
}
