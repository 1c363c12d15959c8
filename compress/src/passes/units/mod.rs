//! Units of a network (neurons, channels) and what hangs together with each: the rows of the weights
//! that make it, the columns that read it, its batch normalization, and through an addition, a
//! concatenation, a pooling or a depthwise convolution all that stands or falls with it. On this rest
//! the removal of dead units and structured pruning.

mod arrange;
mod atoms;
mod coupling;
mod known;
mod numbers;
mod reads;
mod shrink;
mod trace;

pub use coupling::{Coupling, FIXED, Role, Slices, Unit};
pub use shrink::shrink;

pub(super) use reads::Reads;
