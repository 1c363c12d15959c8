//! Training of the network as it is, before other passes or between them.

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
    /// The training.
    pub train: TrainConfig,
}

impl Default for FineTune {
    fn default() -> Self {
        Self {
            teach: false,
            train: TrainConfig::continued(),
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
        run.fit(&self.train, &mut NoHook)?;
        if self.teach {
            run.teachers = vec![run.graph.clone()];
        }
        Ok(())
    }
}
