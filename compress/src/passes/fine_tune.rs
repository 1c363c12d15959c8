//! Training of the network as it is, before other passes or between them.

use super::{fold_batch_norm, normalize};
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
use serde::{Deserialize, Serialize};
use trainer::train::{NoHook, TrainConfig};

/// More training, of the weights that there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTune {
    /// Whether the network as it then is becomes the teacher of the stages behind, in place of any
    /// before it.
    pub teach: bool,
    /// Whether convolutions that come without batch normalization get one while they are trained.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub normalize: bool,
    /// The training.
    pub train: TrainConfig,
}

impl Default for FineTune {
    fn default() -> Self {
        Self {
            teach: false,
            normalize: false,
            train: TrainConfig::continued(),
        }
    }
}

impl FineTune {
    /// For a network that somebody trained elsewhere, on data that may differ: the command line's choice.
    pub fn continued() -> Self {
        Self {
            teach: true,
            normalize: true,
            train: TrainConfig {
                epochs: 10,
                learning_rate: 5e-3,
                l2: 1e-5,
                ..TrainConfig::continued()
            },
        }
    }
}

impl Pass for FineTune {
    fn effect(&self) -> Effect {
        Effect::Training
    }

    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        if self.normalize {
            normalize::for_training(run, &self.train)?;
        }
        run.fit(&self.train, &mut NoHook)?;
        if self.normalize {
            fold_batch_norm(&mut run.graph);
        }
        if self.teach {
            run.teachers = vec![run.graph.clone()];
        }
        Ok(())
    }
}
