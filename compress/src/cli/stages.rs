//! The flags that put stages in their order, or change those of a configuration file.

use crate::settings::{Prune, PruneBy, Quantize, Settings};
use clap::Args;
use trainer::command::Failure;
use trainer::data::Augment;

#[derive(Debug, Args)]
pub(super) struct StageArgs {
    /// Prunes this share of the weights (0.9 unless given), with retraining where there is data.
    #[arg(long, value_name = "SPARSITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.9")]
    prune: Option<f64>,
    /// How pruning is spread over the layers: adaptive (the default: one threshold on scores relative
    /// to each layer's weights), global (one threshold on magnitudes) or sensitivity.
    #[arg(long, value_name = "HOW")]
    prune_by: Option<PruneBy>,
    /// Shares the weights of each layer among 2^BITS values (4 bits unless given).
    #[arg(long, value_name = "BITS", num_args = 0..=1, require_equals = true, default_missing_value = "4")]
    quantize: Option<u8>,
    /// Epochs of retraining altogether: the last stage that trains has one part of them, every one
    /// before it two.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Distortion of training images: `default` (for digits), `none`, or amounts such as
    /// `shift=2,rotate=10,scale=0.1,shear=0.1,crop=4,flip=0.5`. Unless given: those of crop and flip that
    /// the model does not mind.
    #[arg(long, value_name = "HOW")]
    pub(super) augment: Option<Augment>,
    /// Of every random choice; 1 unless given.
    #[arg(long)]
    seed: Option<u64>,
}

impl StageArgs {
    /// Adds the stages asked for in their usual order, and changes those that are there.
    pub(super) fn apply(&self, settings: &mut Settings) -> Result<(), Failure> {
        self.prune(settings)?;
        self.quantize(settings)?;
        if let Some(seed) = self.seed {
            settings.seed = seed;
            settings.trainings_mut().for_each(|t| t.seed = seed);
        }
        if let Some(augment) = self.augment {
            settings.trainings_mut().for_each(|t| t.augment = augment);
        }
        if let Some(epochs) = self.epochs {
            let parts = parts(epochs, settings.trainings().count());
            let trainings = settings.trainings_mut().zip(parts);
            trainings.for_each(|(train, epochs)| train.epochs = epochs);
        }
        Ok(())
    }

    fn prune(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(sparsity) = self.prune {
            let prune = settings.only(Prune::continued())?;
            prune.sparsity = sparsity;
            prune.layers.clear();
        }
        if let Some(by) = self.prune_by {
            if !settings.stages.iter().any(|s| s.name() == "prune") {
                return Err("--prune-by needs --prune".into());
            }
            settings.only(Prune::continued())?.by = by;
        }
        Ok(())
    }

    fn quantize(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(bits) = self.quantize {
            let quantize = settings.only(Quantize::continued())?;
            quantize.bits = bits;
            quantize.entries.clear();
        }
        Ok(())
    }
}

/// Epochs of each training: one part for the last, two for every other, the first of which also takes
/// what is left over.
fn parts(epochs: usize, trainings: usize) -> Vec<usize> {
    let all = (2 * trainings).saturating_sub(1).max(1);
    let share = |place| match place + 1 {
        last if last == trainings => epochs / all,
        _ => 2 * epochs / all,
    };
    let mut parts: Vec<usize> = (0..trainings).map(share).collect();
    let given: usize = parts.iter().sum();
    if let Some(first) = parts.first_mut() {
        *first += epochs - given;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_shared_out_to_the_last() {
        assert!(parts(10, 0).is_empty());
        assert_eq!(parts(10, 1), [10]);
        assert_eq!(parts(10, 2), [7, 3]);
        assert_eq!(parts(15, 2), [10, 5]);
        assert_eq!(parts(2, 2), [2, 0]);
        assert_eq!(parts(15, 3), [6, 6, 3]);
        assert_eq!(parts(7, 3), [4, 2, 1]);
    }
}
