//! The form of weights that a hash of their places chooses.

use super::{
    Form, MAX_INDEXED, Matrix, Positions, Source, Values, Written, entries, form, smaller,
};
use crate::encode::ledger::Category;
use crate::program::Linear;
use no_std_core::hashed::Hashed;

/// The smaller of a form found otherwise and the hashed ones.
pub(in crate::encode) fn or_hashed(best: Written, linear: &Linear) -> Written {
    smaller(best, forms(linear).into_iter())
}

/// The hashed form that has just this name and these coded bytes.
pub(in crate::encode) fn find(linear: &Linear, encoding: &str, stream: &[u8]) -> Option<Written> {
    let is_it = |form: &Written| form.encoding == encoding && form.stream == stream;
    forms(linear).into_iter().find(is_it)
}

/// The hashed forms of a matrix; none where the hash does not explain every weight, as after a pass
/// that removed rows.
fn forms(linear: &Linear) -> Vec<Written> {
    let Some((hashed, values)) = linear.hashed.and_then(|h| Some((h, values(linear, &h)?))) else {
        return Vec::new();
    };
    let matrix = Matrix::new(Source {
        weights: &values,
        columns: values.len(),
        ..Source::default()
    });
    let mut said = vec![Values::Integer(8), Values::Integer(matrix.width())];
    let entries = entries(&matrix.counts);
    if (2..=MAX_INDEXED).contains(&entries.len()) {
        said.push(Values::Indexed(entries));
    }
    let written = |said| matrix.hashed(&hashed, said).write(&matrix);
    said.into_iter().map(written).collect()
}

/// The value of each group, 0 where no weight is in it; nothing where weights of one group differ.
fn values(linear: &Linear, hashed: &Hashed) -> Option<Vec<i8>> {
    let mut values = vec![None; hashed.hash.groups as usize];
    let taps = linear.columns / hashed.channels as usize;
    for (r, weights) in linear.weights.chunks(linear.columns.max(1)).enumerate() {
        let row = hashed.hash.row(r as u32);
        for (i, &weight) in weights.iter().enumerate() {
            let channels = hashed.channels as usize;
            let (group, negative) = row.at((i % channels * taps + i / channels) as u32);
            let value = if negative {
                weight.wrapping_neg()
            } else {
                weight
            };
            if *values[group as usize].get_or_insert(value) != value {
                return None;
            }
        }
    }
    Some(values.into_iter().map(|v| v.unwrap_or(0)).collect())
}

impl Matrix<'_> {
    /// All values of the groups, whose places the hash knows.
    fn hashed(&self, hashed: &Hashed, values: Values) -> Form {
        let mut form = self.every(values);
        let mut head = form.values.head(form::HASHED);
        let hash = &hashed.hash;
        let groups = (hash.groups as usize) << 1 | usize::from(hash.signed);
        for field in [hash.seed as usize, groups, hashed.channels as usize] {
            head.varint(Category::Operators, field);
        }
        head.varint(Category::Operators, form.stream_bits.div_ceil(8));
        form.head = head;
        form.positions = Positions::Hashed;
        form
    }
}
