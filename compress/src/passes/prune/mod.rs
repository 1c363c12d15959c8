//! Magnitude pruning with retraining.

mod charge;
mod gradual;
mod layout;
mod magnitude;
mod pattern;
mod regrow;
mod schedule;
mod settings;

use super::{fold_batch_norm, normalize, remove_dead_units, sensitivity};
use crate::pipeline::{CompressError, Effect, Pass, Run, check_count};
use crate::settings::SettingError;
use gradual::Schedule;
pub use magnitude::{Amounts, prune, prune_blocks, prune_pattern, sparsity, weights};
pub use pattern::Pattern;
pub use regrow::{changing, regrow};
pub use schedule::{Course, Span, cubic};
pub use settings::{Prune, PruneBy};
use trainer::graph::Graph;
use trainer::train::TrainConfig;

impl Prune {
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
            (PruneBy::Fisher, _) => Ok(Amounts::Fisher(self.sparsity, Vec::new())),
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
        self.check_settings()
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
        if self.normalize {
            normalize::for_training(run, &self.train)?;
        }
        let mut schedule = Schedule {
            amounts,
            settings: self,
            examples: run.train.filter(|_| self.regrow > 0.0),
        };
        run.fit(&self.train, &mut schedule)?;
        if schedule.amounts.unknown() {
            schedule.amounts = Amounts::Adaptive(self.sparsity);
        }
        // The kept epoch may be one before the schedule's last word.
        schedule.prune(1.0, &mut run.graph);
        fold_batch_norm(&mut run.graph);
        remove_dead_units(&mut run.graph);
        Ok(())
    }
}
