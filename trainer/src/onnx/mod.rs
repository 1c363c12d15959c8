//! ONNX files to [`Graph`](crate::graph::Graph) and back.
//!
//! **In**: float models with one input and one output, opset 7 or later, whose weights are in the
//! file. Several ONNX spellings of one thing become one operator of the graph: `MatMul` and a
//! constant `Add` become `Gemm`, `ReduceMean` over height and width becomes `GlobalAveragePool`,
//! arithmetic with per-channel constants becomes `BatchNormalization` with the same meaning,
//! `Identity` and `Dropout` disappear. The batch axis, fixed or dynamic, is the first one and is
//! dropped. A model that cannot be imported is refused with *all* its reasons at once.
//!
//! **Out**: opset 17, a symbolic batch axis `N`, the same bytes for the same graph. Initializers hold
//! the weights as materialized, so that any ONNX tool computes what the graph means; how they come
//! about (masks, codebooks, integer grids) and the quantization of values travel in the model's
//! metadata under keys that start with `pith.`, and are checked against the weights on the way in.
//! Of a weight rounded to a grid, the rounded value is what survives.
//!
//! Not supported: control flow, recurrent operators, quantized (QDQ) models, weights in separate
//! files.

mod attributes;
mod error;
mod import;
mod metadata;
mod operators;
mod qdq;
mod read;
mod tensor;
mod write;

pub use error::{OnnxError, Place, Reason};
pub use read::{read, read_bytes};
pub use write::{WriteOptions, write, write_bytes};
