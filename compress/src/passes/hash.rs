//! Hashing (HashedNets; Chen et al. 2015): a hash of its place chooses the value of each weight, from
//! the first step of training on. Nothing but the values is stored.

use super::choice::{SkipError, chosen};
use super::codebook::per_tensor_grid;
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, HashedWeights, Op, ParamId, Parameter, Parametrization};
use trainer::train::{NoHook, TrainConfig};

/// Hashing and the training that goes with it, from fresh weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hash {
    /// Weights for each value that is stored: 8 stores an eighth.
    pub ratio: f64,
    /// Values of each hashed layer, in order; they replace `ratio`.
    pub values: Vec<usize>,
    /// Whether half of the weights are their value negated, so that sums over many that share one
    /// do not grow with it.
    pub sign: bool,
    /// Layers to leave alone, by name; `*` stands for any characters.
    pub skip: Vec<String>,
    /// Training, from the start.
    pub train: TrainConfig,
}

impl Default for Hash {
    fn default() -> Self {
        Self {
            ratio: 8.0,
            values: Vec::new(),
            sign: true,
            skip: Vec::new(),
            train: TrainConfig {
                epochs: 30,
                ..TrainConfig::default()
            },
        }
    }
}

/// Why layers cannot be hashed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Nothing to train on.
    #[error("hashed weights begin anew and have to be trained; give --data, or leave hashing out")]
    NoData,
    /// A name that is no layer's.
    #[error(transparent)]
    Skip(#[from] SkipError),
    /// A list of another length than the layers'.
    #[error("hash.values has {given} entries for the {layers} layers to hash")]
    Layers {
        /// Layers that are hashed.
        layers: usize,
        /// Entries of the list.
        given: usize,
    },
    /// More values than weights.
    #[error(
        "layer '{layer}' {reason}; ask for no more than it has weights, or leave it out with hash.skip"
    )]
    Values {
        /// Name of the weights.
        layer: String,
        /// What is wrong.
        reason: String,
    },
}

impl Pass for Hash {
    fn effect(&self) -> Effect {
        Effect::Form
    }

    fn forgets(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        if !(1.0..=MAX_RATIO).contains(&self.ratio) {
            let range = "1 to 1000000 weights a value";
            return wrong("--hash", range, self.ratio.to_string());
        }
        if self.values.contains(&0) {
            return wrong("hash.values", "at least 1", "0".to_owned());
        }
        if self.train.epochs == 0 {
            let range = "at least 1 epoch, because hashed weights begin anew";
            return wrong("the training of hash", range, "0".to_owned());
        }
        Ok(())
    }

    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        Ok(self.layers(graph).map(drop)?)
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        if !run.trains(&self.train) {
            return Err(HashError::NoData.into());
        }
        let layers = self.layers(&run.graph)?;
        hash(&mut run.graph, &layers, self.sign, self.train.seed)?;
        run.fit(&self.train, &mut NoHook)?;
        for (id, _) in layers {
            per_tensor_grid(&mut run.graph, id, run.settings.grid_max());
        }
        Ok(())
    }
}

impl Hash {
    /// The layers to hash, each with its number of values.
    ///
    /// # Errors
    /// When a name or a number does not fit the layers.
    pub fn layers(&self, graph: &Graph) -> Result<Vec<(ParamId, usize)>, HashError> {
        let mut ids = chosen(graph, &self.skip)?;
        ids.retain(|id| hashable(graph, *id));
        let (layers, given) = (ids.len(), self.values.len());
        if given != 0 && given != layers {
            return Err(HashError::Layers { layers, given });
        }
        let count = |place: usize, id: ParamId| {
            let weights = graph.parameter(id).len();
            let share = (weights as f64 / self.ratio).round().max(1.0) as usize;
            self.values.get(place).copied().unwrap_or(share)
        };
        let counted = ids.into_iter().enumerate();
        let counted: Vec<_> = counted.map(|(i, id)| (id, count(i, id))).collect();
        match counted
            .iter()
            .find(|(id, n)| *n > graph.parameter(*id).len())
        {
            None => Ok(counted),
            Some((id, n)) => Err(HashError::Values {
                layer: graph.parameter(*id).name.clone(),
                reason: format!("has {} weights for {n} values", graph.parameter(*id).len()),
            }),
        }
    }
}

/// Far more weights a value than any layer has.
const MAX_RATIO: f64 = 1e6;

/// The rows of a transposed convolution's weights are not those of its image.
fn hashable(graph: &Graph, id: ParamId) -> bool {
    let reads = |op: &Op| op.parameters().contains(&id);
    let ops = graph.nodes.iter().map(|n| &n.op).filter(|op| reads(op));
    ops.into_iter()
        .all(|op| matches!(op, Op::Gemm { .. } | Op::Conv { .. } | Op::Recurrent(_)))
}

/// Gives the layers fresh hashed weights, as many values each as said; biases begin at zero again.
/// The hash's seed is the layer's place, which costs a byte. Values are normal with variance
/// 2/fan-in (He 2015): the sum over a row of weights is as wide as were each its own.
///
/// # Errors
/// When a layer has fewer weights than values.
pub fn hash(
    graph: &mut Graph,
    layers: &[(ParamId, usize)],
    sign: bool,
    seed: u64,
) -> Result<(), HashError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for &(id, count) in layers {
        let parameter = &mut graph.parameters[id.0];
        let rows = parameter.shape.first().copied().unwrap_or(1).max(1);
        let columns = parameter.len() / rows;
        let spread = (2.0 / columns.max(1) as f32).sqrt();
        let values = (0..count).map(|_| spread * rng.sample::<f32, _>(StandardNormal));
        let values = values.collect();
        let weights = HashedWeights::new(values, id.0 as u32, sign, [rows, columns]);
        let layer = || parameter.name.clone();
        let weights = weights.map_err(|reason| HashError::Values {
            layer: layer(),
            reason,
        })?;
        parameter.grid = None;
        parameter.set_form(Parametrization::Hashed(weights));
        zero_biases(graph, id);
    }
    Ok(())
}

fn zero_biases(graph: &mut Graph, weight: ParamId) {
    let nodes = graph.nodes.iter();
    let of = |op: &Op| (op.weight() == Some(weight)).then(|| op.bias()).flatten();
    for bias in nodes.filter_map(|n| of(&n.op)) {
        let Parameter { name, shape, .. } = graph.parameter(bias);
        let zeros = vec![0.0; shape.iter().product()];
        graph.parameters[bias.0] = Parameter::dense(name.clone(), &shape.clone(), zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::arch::Architecture;

    fn graph(name: &str, shape: &[usize]) -> Graph {
        let architecture = Architecture::resolve(name).expect("built in");
        architecture.build(shape, 10, 1).expect("fits")
    }

    /// HashedNets' 784-1000-10 at 1/8: 98,000 and 1,250 values for 784,000 and 10,000 weights.
    #[test]
    fn an_eighth_of_the_weights_is_free() {
        let mut graph = graph("mlp:1000", &[1, 28, 28]);
        let settings = Hash::default();
        let layers = settings.layers(&graph).expect("fits");
        assert_eq!(
            layers.iter().map(|l| l.1).collect::<Vec<_>>(),
            [98_000, 1_250]
        );
        hash(&mut graph, &layers, true, 1).expect("fits");
        for (id, count) in layers {
            let parameter = graph.parameter(id);
            assert_eq!(parameter.free().len(), count);
            // Variance 2/fan-in, within a few of its standard errors.
            let (values, columns) = (parameter.latent(), parameter.shape[1]);
            let squares = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            let variance = squares / values.len() as f64 * columns as f64 / 2.0;
            assert!((variance - 1.0).abs() < 0.2, "{variance}");
        }
    }

    #[test]
    fn lists_and_ratios_that_do_not_fit_are_refused() {
        let graph = graph("lenet-300-100", &[1, 28, 28]);
        let with = |values: &[usize], skip: &[&str]| Hash {
            values: values.to_vec(),
            skip: skip.iter().map(|s| (*s).to_owned()).collect(),
            ..Hash::default()
        };
        let error = |settings: Hash| settings.layers(&graph).expect_err("wrong").to_string();
        assert!(error(with(&[5, 5], &[])).contains("2 entries for the 3 layers"));
        assert!(error(with(&[5, 5, 1001], &[])).contains("has 1000 weights for 1001 values"));
        assert!(error(with(&[], &["fc9"])).contains("no layer with weights is called 'fc9'"));
        let zero = Hash {
            ratio: 0.5,
            ..Hash::default()
        };
        assert!(zero.check().is_err());
    }
}
