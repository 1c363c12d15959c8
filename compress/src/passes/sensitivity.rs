//! How much each layer can lose: every layer is compressed alone, without retraining; its coded bytes
//! and the loss on held-out examples are measured.

use super::codebook::{self, Start};
use super::{Amounts, prune, weights};
use crate::encode::coded_bytes;
use serde::{Deserialize, Serialize};
use trainer::data::Dataset;
use trainer::graph::{Graph, ParamId};
use trainer::train::{DeviceChoice, Fit, TrainError, fit_of};

/// What is done to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// A share of the weights, the smallest, becomes zero.
    Prune,
    /// The weights share 2^bits values.
    Codebook,
    /// The weights go to a uniform grid of some bits.
    Grid,
}

impl std::str::FromStr for Pass {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [
            ("prune", Pass::Prune),
            ("codebook", Pass::Codebook),
            ("grid", Pass::Grid),
        ];
        trainer::names::find(name, &known)
    }
}

impl Pass {
    /// Every pass that is scanned.
    pub const ALL: [Pass; 3] = [Pass::Prune, Pass::Codebook, Pass::Grid];

    /// Amounts scanned, from the mildest on.
    pub fn amounts(self) -> &'static [f64] {
        match self {
            Pass::Prune => &[0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98],
            Pass::Codebook => &[6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
            Pass::Grid => &[8.0, 6.0, 5.0, 4.0, 3.0, 2.0],
        }
    }

    /// What it is, for people.
    pub fn means(self) -> &'static str {
        match self {
            Pass::Prune => "pruned",
            Pass::Codebook => "codebook",
            Pass::Grid => "uniform grid",
        }
    }

    /// An amount of it, for people.
    pub fn amount(self, amount: f64) -> String {
        match self {
            Pass::Prune => format!("{:.0} % pruned", 100.0 * amount),
            Pass::Codebook => format!("codebook of {}", 1u32 << amount as u32),
            Pass::Grid => format!("grid of {amount} bits"),
        }
    }

    /// Changes one layer by this amount and leaves it on an integer grid. A codebook larger than the
    /// layer becomes as large as the layer.
    fn apply(self, graph: &mut Graph, place: usize, amount: f64) {
        let ids = weights(graph);
        let id = ids[place];
        match self {
            Pass::Prune => {
                let mut amounts = vec![0.0; ids.len()];
                amounts[place] = amount;
                prune(graph, &Amounts::PerLayer(amounts), 1.0);
            }
            Pass::Codebook => share(graph, id, 1 << amount as u32),
            Pass::Grid => {}
        }
        let bits = if self == Pass::Grid { amount as u32 } else { 8 };
        codebook::per_tensor_grid(graph, id, (1 << (bits - 1)) - 1);
    }
}

/// Shares a layer's weights among so many values, or as many as it has.
pub(crate) fn share(graph: &mut Graph, id: ParamId, entries: usize) {
    let values = graph.parameter(id).latent();
    let living = values.iter().filter(|v| **v != 0.0).count();
    if living > 0 {
        // Finite and not larger than the layer: it cannot fail.
        let _ = codebook::share(graph, id, entries.min(living), Start::Density, 1);
    }
}

/// One layer's curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name of the weights.
    pub layer: String,
    /// Number of weights.
    pub weights: usize,
    /// What was done to it.
    pub pass: Pass,
    /// From the mildest amount on.
    pub points: Vec<Point>,
}

/// What an amount of a pass does to a layer and to the network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Share pruned, or bits.
    pub amount: f64,
    /// Bytes of the layer's weights in their smallest form.
    pub bytes: usize,
    /// Error on the held-out examples in percent.
    pub error: f64,
    /// Mean cross-entropy of the held-out examples, in nats: smoother than the error.
    pub loss: f64,
}

/// Scans every layer with every pass given; `done` hears of each measurement.
///
/// # Errors
/// When the graph does not run on the data.
pub fn scan(
    graph: &Graph,
    held_out: &Dataset,
    passes: &[Pass],
    mut done: impl FnMut(),
) -> Result<Vec<Sensitivity>, TrainError> {
    let mut curves = Vec::new();
    for (place, id) in weights(graph).into_iter().enumerate() {
        for &pass in passes {
            let mut points = Vec::new();
            for &amount in pass.amounts() {
                points.push(measure(graph, held_out, place, pass, amount)?);
                done();
            }
            let parameter = graph.parameter(id);
            curves.push(Sensitivity {
                layer: parameter.name.clone(),
                weights: parameter.len(),
                pass,
                points,
            });
        }
    }
    Ok(curves)
}

/// Measurements that a scan takes.
pub fn measurements(graph: &Graph, passes: &[Pass]) -> usize {
    let of_layer: usize = passes.iter().map(|pass| pass.amounts().len()).sum();
    weights(graph).len() * of_layer
}

fn measure(
    graph: &Graph,
    held_out: &Dataset,
    place: usize,
    pass: Pass,
    amount: f64,
) -> Result<Point, TrainError> {
    let mut changed = graph.clone();
    pass.apply(&mut changed, place, amount);
    let Fit { error, loss } = fit_of(&changed, held_out, DeviceChoice::Cpu)?;
    let id = weights(&changed)[place];
    Ok(Point {
        amount,
        bytes: coded_size(&changed, id),
        error,
        loss,
    })
}

/// Bytes of a parameter's integers in their smallest form.
pub(crate) fn coded_size(graph: &Graph, id: ParamId) -> usize {
    let parameter = graph.parameter(id);
    let rows = parameter.shape.first().copied().unwrap_or(1).max(1);
    coded_bytes(&integers(graph, id), parameter.len() / rows)
}

/// A parameter on its grid, row by row.
pub(crate) fn integers(graph: &Graph, id: ParamId) -> Vec<i8> {
    let parameter = graph.parameter(id);
    let Some(grid) = &parameter.grid else {
        return Vec::new();
    };
    let values = parameter.latent();
    let columns = values.len() / parameter.shape.first().copied().unwrap_or(1).max(1);
    let rows = values.chunks(columns.max(1)).enumerate();
    let integer = |(row, values): (usize, &[f32])| -> Vec<i8> {
        values
            .iter()
            .map(|&v| grid.quantize(v, row) as i8)
            .collect()
    };
    rows.flat_map(integer).collect()
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
        let base = self.points.first().map_or(0.0, |p| p.error);
        let mut best = (0.0, 0.0);
        for &Point {
            amount: share,
            error,
            ..
        } in &self.points
        {
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
        let point = |(amount, error): (&f64, f64)| Point {
            amount: *amount,
            bytes: 0,
            error,
            loss: 0.0,
        };
        let curve = |weights, errors: [f64; 8]| Sensitivity {
            layer: "w".into(),
            weights,
            pass: Pass::Prune,
            points: Pass::Prune
                .amounts()
                .iter()
                .zip(errors)
                .map(point)
                .collect(),
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
