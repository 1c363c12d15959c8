//! The form of weights that a hash of their places chooses.

use super::{MAX_INDEXED, Matrix, Stream, Values, Written, form};
use crate::encode::bits::BitWriter;
use crate::encode::ledger::Category;
use crate::program::Linear;
use no_std_core::hashed::Hashed;

/// The hashed forms of a matrix; none where the hash does not explain every weight, as after a pass
/// that removed rows.
pub(in crate::encode) fn forms(linear: &Linear) -> Vec<Written> {
    let Some((hashed, values)) = linear.hashed.and_then(|h| Some((h, values(linear, &h)?))) else {
        return Vec::new();
    };
    let matrix = Matrix::new(&values);
    let mut said = vec![Values::Integer(8), Values::Integer(matrix.width())];
    let entries = Matrix::entries(&matrix.counts);
    if (2..=MAX_INDEXED).contains(&entries.len()) {
        said.push(Values::Indexed(entries));
    }
    let written = |said| write(&matrix, &hashed, said);
    said.into_iter().map(written).collect()
}

/// The smallest of a form found otherwise and the hashed ones.
pub(in crate::encode) fn or_hashed(best: Written, linear: &Linear) -> Written {
    forms(linear).into_iter().fold(
        best,
        |best, next| if next.len() < best.len() { next } else { best },
    )
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

fn write(matrix: &Matrix, hashed: &Hashed, values: Values) -> Written {
    let mut stream = Stream::default();
    let put = |bits: &mut BitWriter| matrix.weights.iter().for_each(|&w| values.put(w, bits));
    put(&mut stream.bits);
    let entropy = values.entropy_bits(&matrix.counts);
    let (mut head, table_bytes) = values.head(form::HASHED);
    let hash = &hashed.hash;
    let groups = (hash.groups as usize) << 1 | usize::from(hash.signed);
    for field in [hash.seed as usize, groups, hashed.channels as usize] {
        head.varint(Category::Operators, field);
    }
    let encoding = format!("hashed+{}", values.name());
    Written {
        visits_zeros: true,
        ..stream.finish(head, encoding, entropy, table_bytes)
    }
}
