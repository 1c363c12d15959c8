//! ONNX files to [`Graph`](crate::graph::Graph) and back.
//!
//! **In**: models with one input and one output, opsets 7 to 28, float or quantized to 8 bits (QDQ
//! and QLinear alike). Several ONNX spellings of one thing become one operator of the graph: constants
//! are folded, `MatMul` and a constant `Add` become `Gemm`, arithmetic with per-channel constants
//! becomes `BatchNormalization` with the same meaning, slices, resizing and gathering at constant
//! places become one operator, axes of one element come and go without any, `Identity` and `Dropout`
//! disappear. A dynamic first axis is the batch and fixed to 1; a fixed one of several elements is a
//! batch too if no operator mixes its examples, and one of the example's axes otherwise. A model that
//! cannot be imported is refused with *all* its reasons at once.
//!
//! **Out**: opset 17 (20 where Gelu wants it), a symbolic batch axis `N`, the same bytes for the same
//! graph. Initializers hold the weights as materialized, so that any ONNX tool computes what the graph
//! means; how they come about (masks, codebooks, integer grids) and the quantization of values travel
//! in the model's metadata under keys that start with `pith.`, and are checked against the weights on
//! the way in.
//! Of a weight rounded to a grid, the rounded value is what survives.
//!
//! Not supported: control flow, several inputs or outputs, 16-bit and smaller-than-8-bit integers.

mod attributes;
mod error;
mod external;
mod grid;
mod import;
mod metadata;
mod movement;
mod operators;
mod qdq;
mod read;
mod simplify;
mod tensor;
mod value;
mod write;

pub use error::{OnnxError, Place, Reason};
pub use read::{Import, import_file, read, read_all, read_bytes};
pub use write::{WriteOptions, write, write_bytes};
