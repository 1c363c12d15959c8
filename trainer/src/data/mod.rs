//! Data sets: where examples come from and what is done to them on the way to training.

mod augment;
mod dataset;

pub use augment::Augment;
pub use dataset::{Dataset, Splits};
