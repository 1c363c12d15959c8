//! Float models on the host: the [`graph`], its ONNX file, data, and training.
pub mod data;
pub mod graph;
#[cfg(feature = "train")]
pub mod train;
