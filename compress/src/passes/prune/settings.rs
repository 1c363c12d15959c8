//! What a stage of pruning is told.

use super::{Pattern, Span};
use crate::passes::rate::{self, is_off};
use crate::settings::SettingError;
use serde::{Deserialize, Serialize};
use trainer::train::TrainConfig;

/// How much is pruned where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PruneBy {
    /// One threshold for all layers.
    #[default]
    Global,
    /// One threshold on scores relative to each layer's own weights (LAMP).
    Adaptive,
    /// One threshold on how much the loss minds: squares of weights times those of their gradients, as
    /// the optimizer keeps them (optimal brain damage): the command line's choice. As adaptive where
    /// nothing is trained.
    Fisher,
    /// Amounts per layer from a sensitivity scan on held-out examples.
    Sensitivity,
}

impl std::str::FromStr for PruneBy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [
            ("global", PruneBy::Global),
            ("adaptive", PruneBy::Adaptive),
            ("fisher", PruneBy::Fisher),
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
    /// Prunings altogether, evenly spread and each followed by retraining, by which the survivors become
    /// fewer by the same factor (Han 2015); 0 prunes a little `every` so many steps (Zhu & Gupta 2017).
    pub steps: usize,
    /// At most N of every M neighbouring inputs of an output are left, as in `"2:4"`; in place of
    /// `sparsity`, `by` and `layers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Outputs by neighbouring inputs that stay or go as one.
    pub block: [usize; 2],
    /// Share of each layer's living weights that change places with pruned ones `every` so many steps,
    /// falling to none at `until` (RigL; Evci et al. 2020); needs data.
    pub regrow: f64,
    /// What a bit of a surviving weight's place is worth, in mean scores of the living ones (of squares
    /// under `global`): a place in an emptier layer costs more, and of two weights with the same score the one
    /// there goes. For one threshold for all layers; 0 counts no bits.
    #[serde(skip_serializing_if = "is_off")]
    pub rate: f64,
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
            steps: 0,
            pattern: None,
            block: [1, 1],
            regrow: 0.0,
            rate: 0.0,
            normalize: false,
            train: TrainConfig {
                l2: 1e-5,
                ..TrainConfig::default()
            },
        }
    }
}

impl Prune {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            by: PruneBy::Fisher,
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

    /// Where the amounts grow.
    pub(super) fn span(&self) -> Span {
        let Self { from, until, .. } = *self;
        Span { from, until }
    }

    /// Epochs in all where every halving of the weights has so many; less than one halving counts as one.
    pub fn epochs(&self, per_halving: usize) -> usize {
        let gone = match (self.pattern, self.layers.len()) {
            (Some(pattern), _) => pattern.share(),
            (None, 0) => self.sparsity,
            (None, layers) => self.layers.iter().sum::<f64>() / layers as f64,
        };
        let halvings = -(1.0 - gone).log2();
        (per_halving as f64 * halvings.max(1.0)).round() as usize
    }

    /// Whether layers compete for what is left, so that bits can decide among them.
    pub fn spreads(&self) -> bool {
        let amounts = !self.layers.is_empty() || self.by == PruneBy::Sensitivity;
        !amounts && self.pattern.is_none()
    }

    /// Refuses what is out of range, and what contradicts each other.
    pub(super) fn check_settings(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        let mut shares = self.layers.iter().chain([&self.sparsity]);
        if let Some(share) = shares.find(|s| !(0.0..1.0).contains(*s)) {
            let range = "a share of at least 0 and below 1";
            return wrong("--prune", range, share.to_string());
        }
        self.span().check("prune.from and prune.until")?;
        if self.block.contains(&0) {
            let value = format!("{:?}", self.block);
            return wrong("prune.block", "of at least 1 output and 1 input", value);
        }
        if !(0.0..=1.0).contains(&self.regrow) {
            return wrong("prune.regrow", "a share of 0 to 1", self.regrow.to_string());
        }
        let exclusive = [
            ("pattern", self.pattern.is_some()),
            ("block", self.block != [1, 1]),
            ("regrow", self.regrow > 0.0),
        ];
        let given: Vec<&str> = exclusive.iter().filter(|e| e.1).map(|e| e.0).collect();
        if given.len() > 1 {
            let range = "one of pattern, block and regrow";
            return wrong("the form of prune", range, given.join(" and "));
        }
        rate::check("prune.rate", self.rate)?;
        if self.rate > 0.0 && !self.spreads() {
            let range = "left out where layers have amounts or a pattern of their own";
            return wrong("prune.rate", range, self.rate.to_string());
        }
        if self.by == PruneBy::Fisher && !self.train.optimizer.keeps_squares() {
            let range = "adam, adamw, lamb or rmsprop where prune.by is fisher";
            let value = format!("{:?}", self.train.optimizer).to_lowercase();
            return wrong("prune.train.optimizer", range, value);
        }
        if self.pattern.is_some() && !self.layers.is_empty() {
            return wrong(
                "prune.layers",
                "left out beside a pattern",
                format!("{:?}", self.layers),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_halving_of_the_weights_has_its_epochs() {
        let epochs = |sparsity| {
            let prune = Prune {
                sparsity,
                ..Prune::default()
            };
            prune.epochs(12)
        };
        assert_eq!(
            [0.0, 0.3, 0.5, 0.75, 0.875].map(epochs),
            [12, 12, 12, 24, 36]
        );
        // log₂ 5 = 2.32
        assert_eq!(epochs(0.8), 28);
        let layers = Prune {
            layers: vec![0.5, 1.0],
            sparsity: 0.0,
            ..Prune::default()
        };
        assert_eq!(layers.epochs(12), 24);
        let pattern = Prune {
            pattern: Some("1:4".parse().expect("a pattern")),
            sparsity: 0.0,
            ..Prune::default()
        };
        assert_eq!(pattern.epochs(12), 24);
    }
}
