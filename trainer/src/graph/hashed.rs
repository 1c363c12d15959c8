use no_std_core::hash::Hash;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The free parameters of a hashed matrix and where they stand in it (HashedNets; Chen et al. 2015):
/// `W[row, column] = ± values[group]`, group and sign by [`Hash`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct HashedWeights {
    values: Vec<f32>,
    seed: u32,
    signed: bool,
    rows: usize,
    /// Of every weight the group, or its complement where the value is negated: what the hash says,
    /// row-major, kept so that a training step need not hash.
    places: Arc<[i32]>,
}

/// All but what the hash says again.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    values: Vec<f32>,
    seed: u32,
    signed: bool,
    rows: usize,
    columns: usize,
}

/// Most values, so that a group and its complement are a 32-bit number.
const MAX_VALUES: usize = i32::MAX as usize;

impl HashedWeights {
    /// A matrix of `rows` output channels and `columns` weights each; the rows are a tensor's first
    /// axis and the columns all others.
    ///
    /// # Errors
    /// Without values, and with more than a matrix of these sizes has weights.
    pub fn new(
        values: Vec<f32>,
        seed: u32,
        signed: bool,
        [rows, columns]: [usize; 2],
    ) -> Result<Self, String> {
        let weights = rows.saturating_mul(columns).min(MAX_VALUES);
        if !(1..=weights).contains(&values.len()) {
            let count = values.len();
            return Err(format!(
                "has {count} values for a matrix of {rows} × {columns}"
            ));
        }
        let groups = values.len() as u32;
        let hash = Hash {
            seed,
            groups,
            signed,
        };
        let row = |r: usize| {
            let row = hash.row(r as u32);
            (0..columns).map(move |c| {
                let (group, negative) = row.at(c as u32);
                if negative {
                    !(group as i32)
                } else {
                    group as i32
                }
            })
        };
        let places = (0..rows).flat_map(row).collect();
        Ok(Self {
            values,
            seed,
            signed,
            rows,
            places,
        })
    }

    /// The free parameters.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The free parameters, to be changed in place.
    pub(super) fn values_mut(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }

    /// What chooses a value for each weight.
    pub fn hash(&self) -> Hash {
        Hash {
            seed: self.seed,
            groups: self.values.len() as u32,
            signed: self.signed,
        }
    }

    /// Rows and columns.
    pub fn sizes(&self) -> [usize; 2] {
        [self.rows, self.places.len() / self.rows.max(1)]
    }

    /// W, row-major.
    pub fn expand(&self) -> Vec<f32> {
        let weight = |&place: &i32| {
            let (group, sign) = group_and_sign(place);
            f32::from_bits(self.values[group].to_bits() ^ sign)
        };
        self.places.iter().map(weight).collect()
    }

    /// The gradient of each value: the sum over its copies, a negated copy's negated.
    pub fn pull_back(&self, gradient: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0; self.values.len()];
        for (&place, g) in self.places.iter().zip(gradient) {
            let (group, sign) = group_and_sign(place);
            sums[group] += f32::from_bits(g.to_bits() ^ sign);
        }
        sums
    }

    /// How many weights share each value.
    pub fn copies(&self) -> Vec<f32> {
        let mut copies = vec![0.0; self.values.len()];
        let groups = self.places.iter().map(|&place| group_and_sign(place).0);
        groups.for_each(|group| copies[group] += 1.0);
        copies
    }
}

/// The group of a place and, where its value is negated, a float's sign bit. Signs are random: a processor
/// would guess half of the branches on them wrong.
fn group_and_sign(place: i32) -> (usize, u32) {
    let negative = place >> 31;
    ((place ^ negative) as usize, negative as u32 & 1 << 31)
}

impl From<HashedWeights> for Stored {
    fn from(weights: HashedWeights) -> Self {
        let [rows, columns] = weights.sizes();
        Stored {
            values: weights.values,
            seed: weights.seed,
            signed: weights.signed,
            rows,
            columns,
        }
    }
}

impl TryFrom<Stored> for HashedWeights {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let sizes = [stored.rows, stored.columns];
        Self::new(stored.values, stored.seed, stored.signed, sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hundred(signed: bool) -> HashedWeights {
        let values = (0..1000).map(|i| i as f32 + 1.0).collect();
        HashedWeights::new(values, 5, signed, [100, 100]).expect("fits")
    }

    /// 100 × 100 weights in 1,000 groups: ten copies of each value on average, a tenth is stored.
    #[test]
    fn a_tenth_of_the_weights_is_stored() {
        let weights = hundred(true);
        assert_eq!(weights.copies().iter().sum::<f32>() / 1000.0, 10.0);
        assert_eq!(weights.values().len() * 10, weights.expand().len());
    }

    /// What stands at a place is what the device's hash says of it.
    #[test]
    fn weights_are_where_the_hash_says() {
        for signed in [false, true] {
            let weights = hundred(signed);
            let (w, hash) = (weights.expand(), weights.hash());
            for (r, c) in (0..100).flat_map(|r| (0..100).map(move |c| (r, c))) {
                let (group, negative) = hash.row(r).at(c);
                let value = weights.values()[group as usize];
                let expected = if negative { -value } else { value };
                assert_eq!(w[(r * 100 + c) as usize], expected);
            }
            assert_eq!(w.iter().any(|&w| w < 0.0), signed);
        }
    }

    /// ∂/∂v of Σ k·W² by finite differences, exact for a quadratic.
    #[test]
    fn a_shared_gradient_is_the_sum_over_the_copies() {
        let values = vec![0.5, -1.0, 2.0];
        let mut weights = HashedWeights::new(values, 9, true, [4, 5]).expect("fits");
        let loss = |weights: &HashedWeights| -> f64 {
            let w = weights.expand().into_iter().enumerate();
            w.map(|(k, w)| k as f64 * (w as f64 + 1.0).powi(2)).sum()
        };
        let w = weights.expand().into_iter().enumerate();
        let gradient: Vec<f32> = w.map(|(k, w)| 2.0 * k as f32 * (w + 1.0)).collect();
        for (i, g) in weights.pull_back(&gradient).into_iter().enumerate() {
            let mut moved = |by: f32| {
                weights.values[i] += by;
                let loss = loss(&weights);
                weights.values[i] -= by;
                loss
            };
            let numeric = (moved(0.25) - moved(-0.25)) / 0.5;
            assert!((numeric - f64::from(g)).abs() < 1e-3, "{i}: {numeric} {g}");
        }
    }

    #[test]
    fn more_values_than_weights_are_refused() {
        for count in [0, 7] {
            assert!(HashedWeights::new(vec![0.0; count], 0, false, [2, 3]).is_err());
        }
    }
}
