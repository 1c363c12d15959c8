//! Weights on integer grids of a few bits whose steps are learned with them (LSQ; Esser et al. 2020),
//! through the integers.

use super::choice::{SkipError, chosen};
use super::codebook::is_transposed;
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, Grid, ParamId};
use trainer::train::{NoHook, TrainConfig};

/// A uniform grid and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedGrid {
    /// Bits of a weight, 2 to 8.
    pub bits: u8,
    /// Whether each output channel has a step of its own, rather than the layer.
    pub per_channel: bool,
    /// Layers to leave to the grid of all others, by name; `*` stands for any characters.
    pub skip: Vec<String>,
    /// Training of weights and steps.
    pub train: TrainConfig,
}

impl Default for LearnedGrid {
    fn default() -> Self {
        Self {
            bits: 4,
            per_channel: true,
            skip: Vec::new(),
            train: TrainConfig {
                learning_rate: 5e-4,
                ..TrainConfig::default()
            },
        }
    }
}

impl LearnedGrid {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            train: TrainConfig::continued(),
            ..Self::default()
        }
    }

    /// Grids to learn from for the layers that are not left alone.
    ///
    /// # Errors
    /// When a name is no layer's.
    pub fn begin(&self, graph: &mut Graph) -> Result<(), SkipError> {
        for id in chosen(graph, &self.skip)? {
            let channels = self.channels(graph, id);
            let parameter = &mut graph.parameters[id.0];
            let max = (1 << (self.bits - 1)) - 1;
            parameter.grid = Some(Grid::to_learn(&parameter.latent(), channels, max));
        }
        Ok(())
    }

    fn channels(&self, graph: &Graph, id: ParamId) -> usize {
        let own = self.per_channel && !is_transposed(graph, id);
        if own { graph.parameter(id).shape[0] } else { 1 }
    }
}

impl Pass for LearnedGrid {
    fn effect(&self) -> Effect {
        Effect::Form
    }

    fn check(&self) -> Result<(), SettingError> {
        if (2..=8).contains(&self.bits) {
            return Ok(());
        }
        Err(SettingError {
            name: "grid.bits",
            range: "2 to 8",
            value: self.bits.to_string(),
        })
    }

    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        Ok(chosen(graph, &self.skip).map(drop)?)
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        self.begin(&mut run.graph)?;
        run.calibrate()?;
        let config = TrainConfig {
            learn_steps: true,
            ..self.train.clone()
        };
        run.fit(&config, &mut NoHook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::arch::Architecture;

    #[test]
    fn every_channel_or_layer_gets_a_step() {
        let architecture = Architecture::resolve("lenet-300-100").expect("built in");
        let graph = architecture.build(&[1, 28, 28], 10, 1).expect("fits");
        let steps = |settings: LearnedGrid| -> Vec<usize> {
            let mut graph = graph.clone();
            settings.begin(&mut graph).expect("fits");
            let grids = graph.parameters.iter().filter_map(|p| p.grid.as_ref());
            let grids = grids.inspect(|g| assert_eq!(g.max, 7));
            grids.map(|g| g.scale.len()).collect()
        };
        assert_eq!(steps(LearnedGrid::default()), [300, 100, 10]);
        let whole = LearnedGrid {
            per_channel: false,
            ..LearnedGrid::default()
        };
        assert_eq!(steps(whole), [1, 1, 1]);
    }
}
