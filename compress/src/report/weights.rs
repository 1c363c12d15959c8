//! What the weights look like: how their values are spread, and where the zeros are.

use crate::encode::decode;
use crate::inspect::Inspection;
use crate::passes::weights;
use crate::program::Linear;
use no_std_core::Model;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, Parameter};

/// Bins of a histogram: odd, so that one is around zero.
const BINS: usize = 61;

/// Most cells of a picture, down and across.
const CELLS: [usize; 2] = [56, 112];

/// One weight matrix before and after compression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The graph's name of the weights.
    pub name: String,
    /// Histograms have equal bins from `-limit` to `limit`.
    pub limit: f32,
    /// Weights in each bin before; absent where the matrix was not there or had another shape.
    pub before: Option<Vec<usize>>,
    /// Weights in each bin after, zeros apart.
    pub after: Vec<usize>,
    /// Zeros after.
    pub zeros: usize,
    /// Where the others are.
    #[serde(skip)]
    pub picture: Picture,
}

/// A matrix seen from afar: the share of weights that are not zero, cell by cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Of the matrix, `[rows, columns]`.
    pub shape: [usize; 2],
    /// Weights that a cell stands for, `[down, across]`.
    pub cell: [usize; 2],
    /// Shares 0 … 1, row by row.
    pub density: Vec<Vec<f32>>,
}

/// The weights of a compressed graph beside those of the float graph it came from.
pub(super) fn spreads(float: &Graph, compressed: &Graph) -> Vec<Spread> {
    let pair = |after: &Parameter| {
        let same = |p: &&Parameter| p.name == after.name && p.shape == after.shape;
        let before = float.parameters.iter().find(same);
        let (rows, values) = (after.shape.first().copied(), after.materialize());
        let before = before.map(Parameter::materialize);
        spread(&after.name, before.as_deref(), &values, rows.unwrap_or(1))
    };
    let ids = weights(compressed);
    ids.iter()
        .map(|&id| pair(compressed.parameter(id)))
        .collect()
}

/// The weights of an image, as integers; none of an image too large to be accounted for.
pub fn spreads_of(model: &Model, seen: &Inspection) -> Vec<Spread> {
    if seen.ledger.is_none() {
        return Vec::new();
    }
    let operators = decode(model).operators;
    let linears = operators.iter().flat_map(|op| op.kind.linears());
    linears.map(of_integers).collect()
}

fn of_integers(linear: &Linear) -> Spread {
    let values: Vec<f32> = linear.weights.iter().map(|&w| w.into()).collect();
    spread(&linear.name, None, &values, linear.rows)
}

fn spread(name: &str, before: Option<&[f32]>, after: &[f32], rows: usize) -> Spread {
    let all = before.into_iter().flatten().chain(after);
    let limit = all.fold(0.0f32, |most, w| most.max(w.abs()));
    let living = after.iter().copied().filter(|&w| w != 0.0);
    Spread {
        name: name.to_owned(),
        limit,
        before: before.map(|values| histogram(values.iter().copied(), limit)),
        after: histogram(living, limit),
        zeros: after.iter().filter(|&&w| w == 0.0).count(),
        picture: Picture::new(after, rows),
    }
}

fn histogram(values: impl Iterator<Item = f32>, limit: f32) -> Vec<usize> {
    let mut counts = vec![0; BINS];
    let limit = limit.max(f32::MIN_POSITIVE);
    for value in values {
        let place = (value / limit + 1.0) / 2.0 * BINS as f32;
        counts[(place as usize).min(BINS - 1)] += 1;
    }
    counts
}

impl Picture {
    /// Of a matrix with so many rows.
    fn new(values: &[f32], rows: usize) -> Self {
        let columns = values.len() / rows.max(1);
        let shape = [rows, columns];
        let cell = [0, 1].map(|axis| shape[axis].div_ceil(CELLS[axis]).max(1));
        let [down, across] = [0, 1].map(|axis| shape[axis].div_ceil(cell[axis]));
        let mut living = vec![vec![0usize; across]; down];
        let mut all = living.clone();
        for (place, &value) in values.iter().enumerate().take(rows * columns) {
            let (i, j) = (place / columns / cell[0], place % columns / cell[1]);
            living[i][j] += usize::from(value != 0.0);
            all[i][j] += 1;
        }
        let share = |(n, of): (&usize, &usize)| *n as f32 / (*of).max(1) as f32;
        let rows = living.iter().zip(&all);
        let density = rows.map(|(n, of)| n.iter().zip(of).map(share).collect());
        Self {
            shape,
            cell,
            density: density.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_weight_is_lost_between_histogram_and_zeros() {
        let values = [-2.0, 0.0, 0.5, 2.0, 0.0, 1e-9];
        let seen = spread("w", Some(&values), &values, 2);
        assert_eq!(seen.zeros, 2);
        assert_eq!(seen.after.iter().sum::<usize>(), 4);
        assert_eq!(seen.before.expect("given").iter().sum::<usize>(), 6);
        assert_eq!((seen.limit, seen.after[0], seen.after[60]), (2.0, 1, 1));
    }

    #[test]
    fn a_matrix_of_zeros_has_a_histogram_too() {
        let seen = spread("w", None, &[0.0; 4], 2);
        assert_eq!((seen.zeros, seen.after.iter().sum::<usize>()), (4, 0));
    }

    #[test]
    fn cells_hold_shares_of_the_weights_they_stand_for() {
        // 2 x 300: a cell is three columns wide; of the first row every third lives.
        let row = |period: usize| (0..300).map(move |i| f32::from(i % period == 0));
        let values: Vec<f32> = row(3).chain(row(1)).collect();
        let picture = Picture::new(&values, 2);
        assert_eq!((picture.shape, picture.cell), ([2, 300], [1, 3]));
        assert_eq!(picture.density[0], vec![1.0 / 3.0; 100]);
        assert_eq!(picture.density[1], vec![1.0; 100]);
    }
}
