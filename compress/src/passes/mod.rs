//! Passes over a float graph: each changes the graph or a weight's parametrization, and training
//! continues through it.

pub mod codebook;
mod dead_units;
mod fold;
mod normalize;
mod prune;
pub mod sensitivity;

pub use dead_units::remove_dead_units;
pub use fold::fold_batch_norm;
pub use normalize::insert_batch_norm;
pub use prune::{Amounts, prune, sparsity, weights};
