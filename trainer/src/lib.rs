//! Float models on the host: the [`graph`], its [ONNX file](onnx), data, and training.
pub mod arch;
#[cfg(feature = "train")]
pub mod cli;
pub mod data;
pub mod graph;
pub mod onnx;
#[cfg(feature = "train")]
pub mod train;
