use super::TrainError;
use crate::data::Augment;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

/// Update rules; formulas in [`super::optimizer`].
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
}

impl Optimizer {
    /// A learning rate that usually works.
    pub fn default_learning_rate(self) -> f64 {
        match self {
            Optimizer::Sgd => 0.1,
            Optimizer::Momentum | Optimizer::Nesterov => 0.02,
            Optimizer::AdaGrad => 0.01,
            Optimizer::AdaDelta => 1.0,
            Optimizer::RmsProp | Optimizer::Adam | Optimizer::AdamW => 0.001,
        }
    }
}

impl FromStr for Optimizer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "sgd" => Ok(Optimizer::Sgd),
            "momentum" => Ok(Optimizer::Momentum),
            "nesterov" => Ok(Optimizer::Nesterov),
            "adagrad" => Ok(Optimizer::AdaGrad),
            "rmsprop" => Ok(Optimizer::RmsProp),
            "adadelta" => Ok(Optimizer::AdaDelta),
            "adam" => Ok(Optimizer::Adam),
            "adamw" => Ok(Optimizer::AdamW),
            _ => Err(
                "expected sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam or adamw"
                    .into(),
            ),
        }
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
}

impl Schedule {
    /// Share of the learning rate at `progress`, 0 … 1.
    pub fn factor(self, progress: f64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
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
        match name {
            "constant" => Ok(Schedule::Constant),
            "cosine" => Ok(Schedule::Cosine),
            "linear" => Ok(Schedule::Linear),
            "step" => Ok(Schedule::Step),
            "exponential" => Ok(Schedule::Exponential),
            "inverse" => Ok(Schedule::Inverse),
            _ => Err("expected constant, cosine, linear, step, exponential or inverse".into()),
        }
    }
}

/// Where burn computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// burn's Flex back end, on all cores.
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
        match name {
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda),
            "wgpu" => Ok(DeviceChoice::Wgpu),
            _ => Err("expected cpu, cuda or wgpu".into()),
        }
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
    /// λ of `λ·w²/2` on weights (not biases); decoupled in AdamW.
    pub l2: f64,
    /// λ of `λ·|w|` on weights.
    pub l1: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Distortion of training images.
    pub augment: Augment,
    /// Of shuffling, augmentation and dropout.
    pub seed: u64,
    /// Epochs without improvement on the held-out examples after which training stops; 0 never stops.
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
    /// Whether to go on from the checkpoint, if there is one.
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
            label_smoothing: 0.0,
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
    /// Learning rate at `progress`, 0 … 1.
    pub(super) fn rate(&self, progress: f64) -> f64 {
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
        start * rising * self.schedule.factor(progress)
    }

    pub(super) fn check(&self) -> Result<(), TrainError> {
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
        for (name, value) in [("lr", self.learning_rate), ("l2", self.l2), ("l1", self.l1)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(TrainError::Setting {
                    name,
                    range: "a number of at least 0",
                    value: value.to_string(),
                });
            }
        }
        Ok(())
    }
}
