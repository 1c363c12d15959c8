//! How much each layer can lose: every layer is pruned alone, without retraining, and the error on
//! held-out examples is measured.

use super::prune::{Amounts, prune, weights};
use trainer::data::Dataset;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, TrainError, error_percent};

/// Shares pruned in turn.
const SHARES: [f64; 8] = [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98];

/// One layer's curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// Name of the weights.
    pub layer: String,
    /// Number of weights.
    pub weights: usize,
    /// Share pruned and error in percent, in order of shares.
    pub points: Vec<(f64, f64)>,
}

/// Scans every layer.
///
/// # Errors
/// When the graph does not run on the data.
pub fn scan(graph: &Graph, held_out: &Dataset) -> Result<Vec<Sensitivity>, TrainError> {
    let ids = weights(graph);
    let mut curves = Vec::new();
    for (place, &id) in ids.iter().enumerate() {
        let mut points = Vec::new();
        for share in SHARES {
            let mut amounts = vec![0.0; ids.len()];
            amounts[place] = share;
            let mut pruned = graph.clone();
            prune(&mut pruned, &Amounts::PerLayer(amounts), 1.0);
            points.push((share, error_percent(&pruned, held_out, DeviceChoice::Cpu)?));
        }
        let parameter = graph.parameter(id);
        curves.push(Sensitivity {
            layer: parameter.name.clone(),
            weights: parameter.len(),
            points,
        });
    }
    Ok(curves)
}

/// A share per layer, so that each layer alone would raise the error equally and `sparsity` of all
/// weights goes. Beyond the scanned shares a layer's curve is continued towards one.
pub fn amounts(curves: &[Sensitivity], sparsity: f64) -> Vec<f64> {
    let total: usize = curves.iter().map(|c| c.weights).sum();
    let at = |rise: f64| -> Vec<f64> { curves.iter().map(|c| c.share_at(rise)).collect() };
    let reached = |shares: &[f64]| -> f64 {
        shares
            .iter()
            .zip(curves)
            .map(|(s, c)| s * c.weights as f64)
            .sum::<f64>()
            / total.max(1) as f64
    };
    let (mut low, mut high) = (0.0f64, 1000.0f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if reached(&at(middle)) < sparsity {
            low = middle
        } else {
            high = middle
        }
    }
    at(high)
}

impl Sensitivity {
    /// The share at which the error has risen by this many points over the unpruned one.
    fn share_at(&self, rise: f64) -> f64 {
        let base = self.points.first().map_or(0.0, |p| p.1);
        let mut best = (0.0, 0.0);
        for &(share, error) in &self.points {
            let risen = (error - base).max(best.1);
            if risen > rise {
                let part = if risen > best.1 {
                    (rise - best.1) / (risen - best.1)
                } else {
                    0.0
                };
                return best.0 + (share - best.0) * part;
            }
            best = (share, risen);
        }
        // The error did not reach that far: half of what is left for each doubling of the rise.
        1.0 - (1.0 - best.0) * best.1.max(0.1) / rise.max(best.1.max(0.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robust_layers_give_more_and_the_sum_is_met() {
        let curve = |weights, errors: [f64; 8]| Sensitivity {
            layer: "w".into(),
            weights,
            points: SHARES.into_iter().zip(errors).collect(),
        };
        let robust = curve(9000, [1.0, 1.0, 1.0, 1.1, 1.2, 1.5, 2.0, 9.0]);
        let fragile = curve(1000, [1.0, 1.2, 2.0, 5.0, 9.0, 30.0, 60.0, 80.0]);
        let shares = amounts(&[robust, fragile], 0.9);
        assert!(shares[0] > shares[1], "{shares:?}");
        assert!(
            (0.9 * shares[0] + 0.1 * shares[1] - 0.9).abs() < 1e-3,
            "{shares:?}"
        );
    }
}
