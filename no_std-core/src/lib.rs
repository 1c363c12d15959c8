//! What a Pith image is: fixed-point numbers, operators and tensors, the checked reader of the
//! image format, and the coded weights.
//!
//! # Layers
//!
//! ```text
//! Model            header, checks, access                     model
//!  ├ Tensor        activations: shape, scale, arena offset    tensor
//!  ├ Operator      what is computed from which to which       operator
//!  │  └ Weights    coded rows: positions × values             weights
//!  │     ├ Hashed  values chosen by a hash of the place       hashed, hash
//!  │     ├ Vectors neighbours together, from codebooks         vector
//!  │     ├ Panels  four rows at once, for dense kernels        panels
//!  │     ├ Code    canonical Huffman                          huffman
//!  │     │  └ BitReader                                       bits
//!  │     └ Context neighbours tell how likely a weight is     context
//!  │        └ Decoder  adaptive range code                    range
//!  ├ numerics      the one rounding, and its proof of range
//!  └ functions     exponentials, logarithms and roots by integers
//! ```
//!
//! The byte-exact specification is `FORMAT.md` beside this crate.
//!
//! # When can this fail
//!
//! [`Model::parse`] fails, with a [`FormatError`], on any input that is not a whole and consistent
//! image. After it nothing fails: tables are complete codes, reads past a stream's end are zeros,
//! columns end with their row, and sums are bounded by the row's length. Nothing here allocates,
//! computes in floating point, or panics.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod bits;
#[cfg(feature = "context")]
pub mod context;
mod crc;
mod cursor;
pub mod functions;
pub mod hash;
#[cfg(feature = "hashed")]
pub mod hashed;
pub mod huffman;
mod model;
pub mod numerics;
pub mod operator;
pub mod overlap;
pub mod panels;
#[cfg(feature = "context")]
pub mod range;
pub mod tensor;
#[cfg(feature = "vector")]
pub mod vector;
pub mod weights;

pub use crc::crc32;
pub use model::{MAGIC, Model, PREFIX_BYTES, VERSION};

/// Why bytes are not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The first bytes are not `Pith`.
    Magic,
    /// Another version of the format.
    Version,
    /// Fewer bytes than the header claims, or than a field needs.
    Truncated,
    /// More bytes than the header claims, or bytes that belong to nothing.
    Trailing,
    /// The checksum does not match: the file was damaged.
    Checksum,
    /// A number out of its range.
    Number,
    /// Padding that is not zero.
    Padding,
    /// A shape of nothing or too much, or one that does not fit its operator.
    Shape,
    /// A tensor number that does not exist.
    Tensor,
    /// An operator unknown or with parameters out of range.
    Operator,
    /// An operator, or a form of weights or biases, that this build leaves out, its cargo feature being off;
    /// or one that no build knows.
    LeftOut,
    /// A form of weights unknown or inconsistent.
    Encoding,
    /// A Huffman code that is not complete.
    Code,
    /// Memory outside the arena, or memory used twice at once.
    Arena,
    /// Metadata that is not text.
    Metadata,
}

impl core::fmt::Display for FormatError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Magic => "not a Pith image",
            Self::Version => {
                "written in another version of the image format; compress the model anew"
            }
            Self::Truncated => "the image is truncated",
            Self::Trailing => "the image is followed by bytes that do not belong to it",
            Self::Checksum => "the image is damaged: its checksum does not match",
            Self::Number => "the image holds a number out of range",
            Self::Padding => "the image holds padding that is not zero",
            Self::Shape => "the image holds a shape that does not fit",
            Self::Tensor => "the image names a tensor that does not exist",
            Self::Operator => "the image holds an operator unknown or out of range",
            Self::LeftOut => {
                "the image holds an operator or a form of weights that this build leaves out; turn on its feature of edge-runtime"
            }
            Self::Encoding => "the image holds weights in a form unknown or inconsistent",
            Self::Code => "the image holds a Huffman code that is not complete",
            Self::Arena => "the image uses memory outside its arena, or twice at once",
            Self::Metadata => "the image holds metadata that is not text",
        })
    }
}

impl core::error::Error for FormatError {}
