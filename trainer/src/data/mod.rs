//! Data sets: where examples come from and what is done to them on the way to training.

mod arrays;
mod augment;
mod dataset;
mod error;
mod folders;
mod glyphs;
mod idx;
mod pictures;
mod spec;
mod table;
mod wav;

pub use arrays::read_inputs;
pub use augment::Augment;
pub use dataset::{Dataset, Splits};
pub use error::DataError;
pub use spec::DataSpec;
pub use wav::{AudioFeatures, clip};
