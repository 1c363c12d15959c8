//! What to do to a model: the command line's flags and a recipe's `[compress]` table.

use crate::calibrate::Method;
use crate::passes::codebook::Start;
use serde::{Deserialize, Serialize};
use trainer::train::{TrainConfig, TrainError};

/// The passes and their order: prune, share, calibrate, fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Magnitude pruning with retraining.
    pub prune: Option<Prune>,
    /// Weight sharing by a codebook per layer, trained through the integers.
    pub quantize: Option<Quantize>,
    /// Bits of the uniform integer grid of weights: 8, 4 or 2.
    pub grid: u8,
    /// Whether Huffman codes may be used. Unless said, they are where a pass asks for coded weights.
    pub huffman: Option<bool>,
    /// How activation ranges are measured.
    pub calibration: Method,
    /// Training examples that calibration looks at.
    pub calibration_examples: usize,
    /// Values that are to be int16, by their name or their node's; `auto` for those that matter most.
    pub int16: Vec<String>,
    /// Whether integers without training may have layers equalized and biases corrected, where the
    /// output on calibration data then comes closer to the float model's.
    pub refine: bool,
    /// Whether the image takes one step of time after the other and carries recurrent state along.
    pub stream: bool,
    /// Training examples kept from training, which decide every choice.
    pub hold_out: usize,
    /// Of the choice of the held-out examples and of k-means; trainings have seeds of their own.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prune: None,
            quantize: None,
            grid: 8,
            huffman: None,
            calibration: Method::default(),
            calibration_examples: 1024,
            int16: Vec::new(),
            refine: true,
            stream: false,
            hold_out: 0,
            seed: 1,
        }
    }
}

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

impl Prune {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            by: PruneBy::Adaptive,
            until: 0.5,
            normalize: true,
            train: TrainConfig {
                learning_rate: 5e-3,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }
}

/// Weight sharing and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantize {
    /// 2^bits centroids for each layer's surviving weights.
    pub bits: u8,
    /// Centroids per layer, in order; they replace `bits`.
    pub entries: Vec<usize>,
    /// Where k-means starts.
    pub start: Start,
    /// Share of the fine-tuning until which the weights themselves learn and may change their
    /// centroids, rather than the centroids alone; at 0 they never do.
    pub reassign: f64,
    /// Fine-tuning of the centroids through the integers.
    pub train: TrainConfig,
}

impl Default for Quantize {
    fn default() -> Self {
        Self {
            bits: 4,
            entries: Vec::new(),
            start: Start::default(),
            reassign: 0.0,
            train: TrainConfig {
                learning_rate: 5e-4,
                ..TrainConfig::default()
            },
        }
    }
}

impl Quantize {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            // A few epochs do not make up for a bulk of weights with few centroids.
            start: Start::Density,
            reassign: 0.75,
            train: TrainConfig {
                learning_rate: 5e-4,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    /// Centroids of the layer at this place.
    pub(crate) fn entries_of(&self, place: usize) -> usize {
        self.entries.get(place).copied().unwrap_or(1 << self.bits)
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {range}, not {value}")]
pub struct SettingError {
    /// As on the command line.
    pub name: &'static str,
    /// What is allowed.
    pub range: &'static str,
    /// What was given.
    pub value: String,
}

impl Settings {
    /// Checks ranges.
    ///
    /// # Errors
    /// Naming the first setting out of its range.
    pub fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value: String| Err(SettingError { name, range, value });
        if ![2, 4, 8].contains(&self.grid) {
            return wrong("--grid", "8, 4 or 2", self.grid.to_string());
        }
        if let Some(prune) = &self.prune {
            let shares = prune.layers.iter().chain([&prune.sparsity]);
            if let Some(share) = shares.copied().find(|s| !(0.0..1.0).contains(s)) {
                return wrong(
                    "--prune",
                    "a share of at least 0 and below 1",
                    share.to_string(),
                );
            }
            if !(0.0 <= prune.from && prune.from < prune.until && prune.until <= 1.0) {
                return wrong(
                    "prune.from and prune.until",
                    "0 ≤ from < until ≤ 1",
                    format!("{} and {}", prune.from, prune.until),
                );
            }
        }
        if let Some(quantize) = &self.quantize {
            if !(1..=6).contains(&quantize.bits) {
                return wrong("--quantize", "1 to 6 bits", quantize.bits.to_string());
            }
            if let Some(entries) = quantize.entries.iter().find(|e| !(1..=127).contains(*e)) {
                return wrong(
                    "quantize.entries",
                    "1 to 127 centroids",
                    entries.to_string(),
                );
            }
        }
        Ok(())
    }

    /// Checks the training of every pass that trains at all.
    ///
    /// # Errors
    /// Naming the first setting out of its range.
    pub fn check_training(&self) -> Result<(), TrainError> {
        let prune = self.prune.iter().map(|p| &p.train);
        let quantize = self.quantize.iter().map(|q| &q.train);
        let mut trainings = prune.chain(quantize).filter(|train| train.epochs > 0);
        trainings.try_for_each(TrainConfig::check)
    }

    /// Largest magnitude on the integer grid: 127, 7 or 1.
    pub fn grid_max(&self) -> i32 {
        (1 << (self.grid - 1)) - 1
    }
}
