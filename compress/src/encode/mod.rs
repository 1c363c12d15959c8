//! From a fixed-point [`Program`](crate::program::Program) to the bytes of an image, every byte
//! accounted for as it is written.

mod biases;
mod bits;
mod code;
mod context;
mod decode;
mod image;
mod kinds;
mod ledger;
mod operators;
mod order;
mod panels;
mod range;
mod runs;
mod weights;
mod writer;

pub use decode::{Recount, decode, recount};
pub use image::{EncodeError, Encoded, Layer, encode, encode_each};
pub use ledger::{Category, Ledger};
pub(crate) use order::reordered;
pub use order::sorted;
pub use weights::Coding;
pub(crate) use weights::coded_bytes;
