//! Passes over a float graph: each changes the graph or a weight's parametrization, and training
//! continues through it. Those that a stage may ask for have settings and are a
//! [`Stage`](crate::pipeline::Stage); the others are what these are made of.

mod bias_correction;
pub mod channels;
pub mod choice;
pub mod codebook;
mod dead_units;
mod equalize;
pub mod fine_tune;
mod fold;
pub mod grid;
pub mod hash;
pub mod low_rank;
pub mod mimic;
mod normalize;
pub mod post_training;
pub mod prune;
pub mod quantize;
pub mod rate;
pub mod sensitivity;
pub mod signs;
mod simplify;
pub mod soft_share;
pub mod stream;
pub mod units;
mod unquantize;
pub mod vector;

pub use bias_correction::correct_biases;
pub use dead_units::remove_dead_units;
pub use equalize::equalize;
pub use fold::fold_batch_norm;
pub use normalize::insert_batch_norm;
pub use prune::{Amounts, prune, sparsity, weights};
pub use simplify::simplify;
pub use unquantize::unquantize;
