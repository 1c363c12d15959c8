//! Float models on the host: the [`graph`], its [ONNX file](onnx), data, and training.
pub mod arch;
#[cfg(feature = "train")]
pub mod cli;
#[cfg(feature = "train")]
pub mod command;
pub mod data;
pub mod files;
pub mod graph;
#[cfg(feature = "train")]
pub mod memory;
pub mod names;
pub mod onnx;
#[cfg(feature = "train")]
pub mod train;
