//! Magnitude pruning with retraining: settings, the schedule, and what it leaves behind.

mod magnitude;

use super::{fold_batch_norm, insert_batch_norm, remove_dead_units, sensitivity};
use crate::pipeline::{CompressError, Effect, Pass, Run, check_count};
use crate::settings::SettingError;
pub use magnitude::{Amounts, prune, sparsity, weights};
use serde::{Deserialize, Serialize};
use trainer::graph::Graph;
use trainer::train::{Hook, TrainConfig};

/// How much is pruned where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneBy {
    /// One threshold for all layers.
    #[default]
    Global,
    /// One threshold on scores relative to each layer's own weights (LAMP): the command line's choice.
    Adaptive,
    /// Amounts per layer from a sensitivity scan on held-out examples.
    Sensitivity,
}

impl std::str::FromStr for PruneBy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [
            ("global", PruneBy::Global),
            ("adaptive", PruneBy::Adaptive),
            ("sensitivity", PruneBy::Sensitivity),
        ];
        trainer::names::find(name, &known)
    }
}

/// Pruning and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prune {
    /// Share of all weights that goes, 0 … 1.
    pub sparsity: f64,
    /// How it is spread over the layers.
    pub by: PruneBy,
    /// Amounts per layer, in order; they replace `sparsity` and `by`.
    pub layers: Vec<f64>,
    /// Share of the retraining at which the amounts begin to grow …
    pub from: f64,
    /// … and at which they are reached.
    pub until: f64,
    /// Steps between two prunings.
    pub every: usize,
    /// Whether convolutions that come without batch normalization get one while they are retrained.
    pub normalize: bool,
    /// Retraining.
    pub train: TrainConfig,
}

impl Default for Prune {
    fn default() -> Self {
        Self {
            sparsity: 0.9,
            by: PruneBy::default(),
            layers: Vec::new(),
            from: 0.0,
            until: 0.6,
            every: 50,
            normalize: false,
            train: TrainConfig {
                l2: 1e-5,
                ..TrainConfig::default()
            },
        }
    }
}

/// Examples that a batch normalization begins with the statistics of.
const NORMALIZING_INPUTS: usize = 256;

impl Prune {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            by: PruneBy::Adaptive,
            until: 0.5,
            normalize: true,
            train: TrainConfig {
                epochs: 10,
                learning_rate: 5e-3,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    fn amounts(&self, run: &Run) -> Result<Amounts, CompressError> {
        if !self.layers.is_empty() {
            return Ok(Amounts::PerLayer(self.layers.clone()));
        }
        match (self.by, run.held_out.or(run.train)) {
            (PruneBy::Sensitivity, Some(examples)) => {
                let curves =
                    sensitivity::scan(&run.graph, examples, &[sensitivity::Pass::Prune], || {})?;
                let amounts = sensitivity::amounts(&curves, self.sparsity);
                Ok(Amounts::PerLayer(amounts))
            }
            (PruneBy::Adaptive, _) => Ok(Amounts::Adaptive(self.sparsity)),
            _ => Ok(Amounts::Global(self.sparsity)),
        }
    }
}

impl Pass for Prune {
    fn effect(&self) -> Effect {
        Effect::Weights
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        let mut shares = self.layers.iter().chain([&self.sparsity]);
        if let Some(share) = shares.find(|s| !(0.0..1.0).contains(*s)) {
            let range = "a share of at least 0 and below 1";
            return wrong("--prune", range, share.to_string());
        }
        if !(0.0 <= self.from && self.from < self.until && self.until <= 1.0) {
            let value = format!("{} and {}", self.from, self.until);
            return wrong("prune.from and prune.until", "0 ≤ from < until ≤ 1", value);
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
        let amounts = self.amounts(run)?;
        if self.normalize && run.trains(&self.train) {
            let length = run.graph.value(run.graph.input).len().max(1);
            let some = (NORMALIZING_INPUTS * length).min(run.calibration.len());
            insert_batch_norm(&mut run.graph, &run.calibration[..some])?;
        }
        let mut schedule = Schedule {
            amounts,
            settings: self,
        };
        run.fit(&self.train, &mut schedule)?;
        // The kept epoch may be one before the schedule's last word.
        prune(&mut run.graph, &schedule.amounts, 1.0);
        fold_batch_norm(&mut run.graph);
        remove_dead_units(&mut run.graph);
        Ok(())
    }
}

/// Prunes more and more as training goes on.
struct Schedule<'s> {
    amounts: Amounts,
    settings: &'s Prune,
}

impl Hook for Schedule<'_> {
    fn every(&self) -> usize {
        self.settings.every.max(1)
    }

    fn update(&mut self, progress: f64, graph: &mut Graph) -> Result<(), String> {
        let Prune { from, until, .. } = *self.settings;
        let reach = ((progress - from) / (until - from)).clamp(0.0, 1.0);
        prune(graph, &self.amounts, reach);
        Ok(())
    }
}
