//! Low rank: a trained layer's weights become a product of two smaller matrices, and the layer two, with
//! nothing between them. Only what has learnt is factored, by singular value decomposition; trained from
//! the start such a network adapts to its bottleneck and its rank falls further. Afterwards both parts
//! learn on, or V alone.

mod factor;
mod rank;
mod svd;

use super::weights;
use crate::pipeline::{CompressError, Effect, Pass, Run, check_count};
use crate::settings::SettingError;
pub use factor::{Form, Layer, Refusal, Way, factor};
pub use rank::{Choice, by_energy, by_rank, factored, search};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
pub use svd::{Svd, largest_rank};
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, NoHook, TrainConfig, error_percent};

/// Factoring and the training that goes with it. How ranks are chosen is said by one of `rank`,
/// `layers`, `energy` and `max_loss`; unless any is given, by an energy of 0.9.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LowRank {
    /// The rank of every layer that has fewer parameters with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// A rank per layer, in order; 0 leaves one as it is.
    pub layers: Vec<usize>,
    /// Share of the squares of each layer's singular values that is kept, 0 … 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<f64>,
    /// Points by which the error on held-out examples (on the training examples without any) may rise
    /// before retraining: a search finds the fewest parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_loss: Option<f64>,
    /// Whether of `W = U·Vᵀ` only V learns on.
    pub fix_u: bool,
    /// Retraining.
    pub train: TrainConfig,
}

impl Default for LowRank {
    fn default() -> Self {
        Self {
            rank: None,
            layers: Vec::new(),
            energy: None,
            max_loss: None,
            fix_u: false,
            train: TrainConfig {
                l2: 1e-5,
                ..TrainConfig::default()
            },
        }
    }
}

/// A rank, or a share of the squares of the singular values, as the command line has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RankOrEnergy {
    /// A whole number.
    Rank(usize),
    /// Any other.
    Energy(f64),
}

impl FromStr for RankOrEnergy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let energy = |_| text.parse().map(Self::Energy);
        let read = text.parse().map(Self::Rank).or_else(energy);
        read.map_err(|_| format!("'{text}' is neither a rank nor an energy, a share up to 1"))
    }
}

/// Energy that is kept where nothing is said.
const ENERGY: f64 = 0.9;

impl LowRank {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            train: TrainConfig {
                epochs: 10,
                learning_rate: 5e-3,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    fn choices(
        &self,
        run: &Run,
        layers: &[Layer],
        ranks: &[usize],
    ) -> Result<Vec<Choice>, CompressError> {
        let each = |choose: &dyn Fn(&Layer) -> Choice| layers.iter().map(choose).collect();
        match (self.rank, self.max_loss, run.held_out.or(run.train)) {
            (Some(rank), ..) => Ok(each(&|layer| by_rank(layer, rank))),
            _ if !self.layers.is_empty() => {
                let pairs = layers.iter().zip(ranks);
                let choice =
                    |(layer, &rank): (&Layer, &usize)| (rank > 0).then(|| by_rank(layer, rank))?;
                Ok(pairs.map(choice).collect())
            }
            (_, Some(limit), Some(examples)) => {
                let error = |graph: &Graph| Ok(error_percent(graph, examples, DeviceChoice::Cpu)?);
                search(&run.graph, layers, limit, error)
            }
            (_, Some(limit), None) => Err(SettingError {
                name: "low-rank.max_loss",
                range: "left out without --data",
                value: limit.to_string(),
            }
            .into()),
            _ => Ok(each(&|layer| {
                by_energy(layer, self.energy.unwrap_or(ENERGY))
            })),
        }
    }
}

impl Pass for LowRank {
    fn effect(&self) -> Effect {
        Effect::Layers
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value: String| Err(SettingError { name, range, value });
        if let Some(energy) = self.energy.filter(|e| !(*e > 0.0 && *e <= 1.0)) {
            return wrong(
                "--low-rank",
                "a rank, or an energy above 0 and up to 1",
                energy.to_string(),
            );
        }
        if self.rank == Some(0) {
            return wrong("--low-rank", "a rank of at least 1", "0".into());
        }
        if let Some(points) = self.max_loss.filter(|p| !(*p >= 0.0 && p.is_finite())) {
            return wrong("low-rank.max_loss", "at least 0 points", points.to_string());
        }
        let given = [
            ("rank", self.rank.is_some()),
            ("layers", !self.layers.is_empty()),
            ("energy", self.energy.is_some()),
            ("max_loss", self.max_loss.is_some()),
        ];
        let given: Vec<&str> = given.iter().filter(|g| g.1).map(|g| g.0).collect();
        if given.len() > 1 {
            let range = "said by one of rank, layers, energy and max_loss";
            return wrong("the ranks of low-rank", range, given.join(" and "));
        }
        Ok(())
    }

    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        check_count(graph, self.layers.len())
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        let ids = weights(&run.graph);
        let ranks = self.layers.iter().copied().chain(std::iter::repeat(0));
        let (mut layers, mut own) = (Vec::new(), Vec::new());
        for (id, rank) in ids.into_iter().zip(ranks) {
            match Layer::of(&run.graph, id) {
                Ok(layer) => {
                    layers.push(layer);
                    own.push(rank);
                }
                Err(Refusal { name, why }) => eprintln!("low-rank: '{name}' stays whole: {why}"),
            }
        }
        let choices = self.choices(run, &layers, &own)?;
        for (layer, choice) in layers.iter().zip(&choices) {
            eprintln!("low-rank: {}", told(layer, *choice));
        }
        let (graph, fixed) = factored(&run.graph, &layers, &choices)?;
        run.graph = graph;
        let mut train = self.train.clone();
        if self.fix_u {
            train.frozen.extend(fixed);
        }
        run.fit(&train, &mut NoHook)
    }
}

/// What becomes of a layer, in words.
fn told(layer: &Layer, choice: Choice) -> String {
    let Layer {
        name,
        parameters,
        ways,
        ..
    } = layer;
    match choice {
        Some((way, rank)) => {
            let how = match ways[way].form {
                Form::Whole => "",
                Form::Separable => ", columns and rows apart",
            };
            let now = rank::parameters(layer, choice);
            format!("'{name}' has rank {rank}{how}: {parameters} weights become {now}")
        }
        None => {
            let most = ways[0].svd.largest_rank();
            format!(
                "'{name}' stays whole; ranks up to {most} have fewer than its {parameters} weights"
            )
        }
    }
}
