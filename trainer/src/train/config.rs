use super::{EpochStats, TrainError};
use crate::data::Augment;
use crate::names;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

/// Update rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are the field's
pub enum Optimizer {
    Sgd,
    Momentum,
    Nesterov,
    AdaGrad,
    RmsProp,
    AdaDelta,
    #[default]
    Adam,
    AdamW,
    Lamb,
}

impl Optimizer {
    /// Whether it keeps running means of the gradients' squares.
    pub fn keeps_squares(self) -> bool {
        use Optimizer::{Adam, AdamW, Lamb, RmsProp};
        matches!(self, Adam | AdamW | Lamb | RmsProp)
    }

    /// A learning rate that usually works.
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Optimizer::Sgd => 0.1,
            Optimizer::Momentum | Optimizer::Nesterov => 0.02,
            Optimizer::AdaGrad => 0.01,
            Optimizer::AdaDelta => 1.0,
            Optimizer::RmsProp | Optimizer::Adam | Optimizer::AdamW => 0.001,
            Optimizer::Lamb => 0.003,
        }
    }
}

impl FromStr for Optimizer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find(
            name,
            &[
                ("sgd", Optimizer::Sgd),
                ("momentum", Optimizer::Momentum),
                ("nesterov", Optimizer::Nesterov),
                ("adagrad", Optimizer::AdaGrad),
                ("rmsprop", Optimizer::RmsProp),
                ("adadelta", Optimizer::AdaDelta),
                ("adam", Optimizer::Adam),
                ("adamw", Optimizer::AdamW),
                ("lamb", Optimizer::Lamb),
            ],
        )
    }
}

/// How the learning rate falls from its start to the end of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Half a cosine, to zero.
    #[default]
    Cosine,
    /// Straight, to zero.
    Linear,
    /// Halved every twelfth of the training (every 5 of 60 epochs).
    Step,
    /// `e^(−5t)`
    Exponential,
    /// `1/(1 + 20t)`
    Inverse,
    /// Halved whenever three epochs in a row brought no better error on the held-out examples (no
    /// lower loss, where none are held out).
    Plateau,
}

/// Epochs without improvement that make a plateau.
const PLATEAU_EPOCHS: usize = 3;

impl Schedule {
    /// Share of the learning rate at `progress`, 0 … 1, after the epochs in `history`.
    pub fn factor(self, progress: f64, history: &[EpochStats]) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Plateau => 0.5f64.powi(plateaus(history)),
            Schedule::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
            Schedule::Linear => 1.0 - progress,
            Schedule::Step => 0.5f64.powf((progress * 12.0).floor()),
            Schedule::Exponential => (-5.0 * progress).exp(),
            Schedule::Inverse => 1.0 / (1.0 + 20.0 * progress),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find(
            name,
            &[
                ("constant", Schedule::Constant),
                ("cosine", Schedule::Cosine),
                ("linear", Schedule::Linear),
                ("step", Schedule::Step),
                ("exponential", Schedule::Exponential),
                ("inverse", Schedule::Inverse),
                ("plateau", Schedule::Plateau),
            ],
        )
    }
}

/// Plateaus met so far.
fn plateaus(history: &[EpochStats]) -> i32 {
    let (mut met, mut since, mut best) = (0, 0, f64::INFINITY);
    for stats in history {
        let value = stats.held_out_error.unwrap_or(stats.loss);
        since = if value < best { 0 } else { since + 1 };
        best = best.min(value);
        if since == PLATEAU_EPOCHS {
            (met, since) = (met + 1, 0);
        }
    }
    met
}

/// Where burn computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// burn's Flex back end: two threads in training, all cores in measuring.
    #[default]
    Cpu,
    /// An NVIDIA card (feature `cuda`).
    Cuda,
    /// Any graphics card (feature `wgpu`).
    Wgpu,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        names::find(
            name,
            &[
                ("cpu", DeviceChoice::Cpu),
                ("cuda", DeviceChoice::Cuda),
                ("wgpu", DeviceChoice::Wgpu),
            ],
        )
    }
}

impl DeviceChoice {
    pub(super) fn device(self) -> Result<burn::tensor::Device, TrainError> {
        match self {
            DeviceChoice::Cpu => Ok(burn::tensor::Device::flex()),
            #[cfg(feature = "cuda")]
            DeviceChoice::Cuda => Ok(burn::tensor::Device::cuda(0)),
            #[cfg(feature = "wgpu")]
            DeviceChoice::Wgpu => Ok(burn::tensor::Device::wgpu(
                burn::tensor::DeviceKind::DefaultDevice,
            )),
            #[allow(unreachable_patterns)] // every device is reachable in a build with all features
            other => Err(TrainError::Device(format!("{other:?}").to_lowercase())),
        }
    }
}

/// Everything that decides a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training examples.
    pub epochs: usize,
    /// Examples per step.
    pub batch: usize,
    /// Update rule.
    pub optimizer: Optimizer,
    /// At the start; 0 takes the optimizer's usual one.
    pub learning_rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// Share of the training over which the learning rate rises from zero.
    pub warm_up: f64,
    /// λ of `λ·w²/2` on weights (not biases); decoupled in AdamW and LAMB.
    pub l2: f64,
    /// λ of `λ·|w|` on weights.
    pub l1: f64,
    /// Largest Euclidean norm of the weights into one output unit, enforced after every step; 0 sets
    /// none. Codebooks are left alone.
    pub max_norm: f64,
    /// Largest Euclidean norm of a step's gradient, all parameters together; 0 sets none.
    pub clip_norm: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Share of the loss that comes from the teachers' outputs rather than from labels, where there
    /// are teachers.
    pub soft: f64,
    /// What logits are divided by before the softmax, the teachers' and the student's.
    pub temperature: f64,
    /// Whether the steps of integer grids are learned with the weights on them (LSQ).
    pub learn_steps: bool,
    /// Parameters that stay as they are, by name.
    pub frozen: Vec<String>,
    /// Distortion of training images.
    pub augment: Augment,
    /// Of shuffling, augmentation and dropout.
    pub seed: u64,
    /// Epochs without improvement on the held-out examples after which training stops and the best
    /// one is kept; 0 never stops.
    pub patience: usize,
    /// Whether the epoch best on the held-out examples is kept rather than the last.
    pub keep_best: bool,
    /// Share of the training before which no epoch counts as best (pruning is not done before).
    pub best_from: f64,
    /// Where to compute.
    pub device: DeviceChoice,
    /// State after every epoch, and where `resume` looks.
    #[serde(skip)]
    pub checkpoint: Option<PathBuf>,
    /// Whether to go on from the checkpoint, if there is one. Without, one with progress of the same
    /// run is refused rather than overwritten.
    #[serde(skip)]
    pub resume: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 128,
            optimizer: Optimizer::default(),
            learning_rate: 0.0,
            schedule: Schedule::default(),
            warm_up: 0.0,
            l2: 0.0,
            l1: 0.0,
            max_norm: 0.0,
            clip_norm: 0.0,
            label_smoothing: 0.0,
            soft: 1.0,
            temperature: 1.0,
            learn_steps: false,
            frozen: Vec::new(),
            augment: Augment::default(),
            seed: 1,
            patience: 0,
            keep_best: false,
            best_from: 0.0,
            device: DeviceChoice::default(),
            checkpoint: None,
            resume: false,
        }
    }
}

impl TrainConfig {
    /// For a network that has learnt elsewhere, on inputs of any scale: steps relative to its weights.
    pub fn continued() -> Self {
        Self {
            batch: 64,
            optimizer: Optimizer::Lamb,
            warm_up: 0.05,
            ..Self::default()
        }
    }

    /// Learning rate at `progress`, 0 … 1, after the epochs in `history`.
    pub(super) fn rate(&self, progress: f64, history: &[EpochStats]) -> f64 {
        let start = if self.learning_rate > 0.0 {
            self.learning_rate
        } else {
            self.optimizer.default_learning_rate()
        };
        let rising = if progress < self.warm_up {
            progress / self.warm_up
        } else {
            1.0
        };
        start * rising * self.schedule.factor(progress, history)
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// Naming the first setting out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        let positive = [("epochs", self.epochs), ("batch", self.batch)];
        for (name, value) in positive {
            if value == 0 {
                return Err(TrainError::Setting {
                    name,
                    range: "at least 1",
                    value: "0".into(),
                });
            }
        }
        let amounts = [
            ("lr", self.learning_rate),
            ("l2", self.l2),
            ("l1", self.l1),
            ("max_norm", self.max_norm),
            ("clip_norm", self.clip_norm),
        ];
        within(&amounts, "a number of at least 0", |v| {
            v >= 0.0 && v.is_finite()
        })?;
        for (name, amount) in self.augment.amounts() {
            if !(amount >= 0.0 && amount.is_finite()) {
                let (range, value) = ("a number of at least 0", amount.to_string());
                return Err(TrainError::Setting { name, range, value });
            }
        }
        within(&[("temperature", self.temperature)], "above 0", |v| {
            v > 0.0 && v.is_finite()
        })?;
        let shares = [
            ("warm_up", self.warm_up),
            ("best_from", self.best_from),
            ("soft", self.soft),
        ];
        within(&shares, "from 0 to 1", |v| (0.0..=1.0).contains(&v))?;
        let parts = [
            ("label_smoothing", self.label_smoothing),
            ("augment.scale", self.augment.scale.into()),
        ];
        within(&parts, "at least 0 and below 1", |v| {
            (0.0..1.0).contains(&v)
        })
    }

    /// Whether the best epoch is kept.
    pub(super) fn keeps_best(&self) -> bool {
        self.keep_best || self.patience > 0
    }
}

fn within(
    settings: &[(&'static str, f64)],
    range: &'static str,
    allowed: impl Fn(f64) -> bool,
) -> Result<(), TrainError> {
    let outside = settings.iter().find(|(_, value)| !allowed(*value));
    outside.map_or(Ok(()), |&(name, value)| {
        let value = value.to_string();
        Err(TrainError::Setting { name, range, value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(losses: &[f64]) -> Vec<EpochStats> {
        let stats = |(i, &loss)| EpochStats {
            epoch: i + 1,
            loss,
            held_out_error: None,
        };
        losses.iter().enumerate().map(stats).collect()
    }

    #[test]
    fn schedules_follow_their_formulas() {
        let close = |s: Schedule, t: f64, expected: f64| {
            let factor = s.factor(t, &[]);
            assert!((factor - expected).abs() < 1e-9, "{s:?} at {t}: {factor}");
        };
        close(Schedule::Constant, 0.7, 1.0);
        close(Schedule::Cosine, 1.0 / 3.0, 0.75);
        close(Schedule::Linear, 0.25, 0.75);
        close(Schedule::Step, 0.2, 0.25);
        close(Schedule::Exponential, 0.2, (-1.0f64).exp());
        close(Schedule::Inverse, 0.05, 0.5);
        close(Schedule::Plateau, 0.9, 1.0);
    }

    #[test]
    fn three_epochs_without_progress_halve_the_rate() {
        let factor = |losses: &[f64]| Schedule::Plateau.factor(0.5, &history(losses));
        assert_eq!(factor(&[3.0, 2.0, 2.5, 2.1]), 1.0);
        assert_eq!(factor(&[3.0, 2.0, 2.5, 2.1, 2.0]), 0.5);
        assert_eq!(factor(&[3.0, 2.0, 2.5, 2.1, 2.0, 1.0, 1.0, 1.0, 1.0]), 0.25);
    }

    #[test]
    fn warm_up_rises_from_zero() {
        let config = TrainConfig {
            learning_rate: 0.4,
            warm_up: 0.5,
            schedule: Schedule::Constant,
            ..TrainConfig::default()
        };
        let rates = [0.0, 0.25, 0.5, 1.0].map(|t| config.rate(t, &[]));
        assert_eq!(rates, [0.0, 0.2, 0.4, 0.4]);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let refused = |change: fn(&mut TrainConfig)| {
            let mut config = TrainConfig::default();
            change(&mut config);
            config.check().expect_err("out of range").to_string()
        };
        assert_eq!(refused(|c| c.batch = 0), "batch must be at least 1, not 0");
        assert!(refused(|c| c.l2 = f64::NAN).starts_with("l2 must be"));
        assert!(refused(|c| c.warm_up = 1.5).starts_with("warm_up must be"));
        assert!(refused(|c| c.temperature = 0.0).starts_with("temperature must be"));
        assert!(refused(|c| c.soft = 1.1).starts_with("soft must be"));
        assert!(refused(|c| c.label_smoothing = 1.0).starts_with("label_smoothing"));
        assert!(refused(|c| c.augment.shift = f32::INFINITY).starts_with("augment.shift"));
        assert!(refused(|c| c.augment.scale = 1.0).starts_with("augment.scale"));
    }
}
