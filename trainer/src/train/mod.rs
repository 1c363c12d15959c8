//! Execution and training of any [`Graph`](crate::graph::Graph) on burn.
//!
//! The graph is the only state. Before a step its parameters are materialized and handed to burn as
//! plain tensors; burn differentiates the network with respect to them; each parametrization pulls
//! the gradient back to its free parameters ([`Parameter::pull_back`](crate::graph::Parameter)), and
//! the optimizer moves those. So a pass may change the graph between any two steps, and what a
//! weight is made of is defined once, on the host.

mod checkpoint;
mod config;
mod error;
mod evaluate;
mod execute;
mod fit;
mod gradients;
pub mod interrupt;
mod optimizer;
mod progress;
mod teachers;
mod tolerance;

pub use config::{DeviceChoice, Optimizer, Schedule, TrainConfig};
pub use error::TrainError;
pub use evaluate::{
    Fit, Measure, activations, check_fit, check_labelled, check_meaning, classes, error_percent,
    fit_of, predict,
};
pub use fit::{EpochStats, Hook, NoHook, Outcome, distill, fit};
pub use gradients::gradients;
pub use progress::Progress;
pub use tolerance::tolerated_augmentation;
