//! Runs a Pith image: an executor and portable integer kernels. No heap, no float, no panic.
//!
//! ```
//! # fn classify(image: &[u8], pixels: &[i8]) -> Result<usize, Box<dyn std::error::Error>> {
//! let model = no_std_core::Model::parse(image)?;
//! let mut arena = [0; 2048];
//! let mut session = edge_runtime::Session::new(&model, &mut arena)?;
//! session.input_mut().copy_from_slice(pixels);
//! session.run();
//! Ok(edge_runtime::argmax(session.output()))
//! # }
//! ```
//!
//! # Layers
//!
//! ```text
//! Session     owns the arena, walks the operators       session
//!  └ kernels  one file an operator                      kernels
//!     └ arch  the innermost loops: in plain Rust, the    arch
//!             oracle that every faster one must equal,
//!             bit for bit, and for a processor's own means
//! FrontEnd    makes the input of samples of sound        frontend
//! ```
//!
//! Coded weights are executed as they stand in the image: a dense layer multiplies while it reads
//! a row, a convolution reads one filter's weights into scratch and uses them at every position, four at once.
//! No tensor is ever expanded.
//!
//! # Leaving operators out
//!
//! Flash is short: what an image does not need can be left out of a build. Dense, Conv, MaxPool,
//! AveragePool, Clamp, Table, Softmax and Add of equal shapes are always there; the others come in
//! families, each a cargo feature, all on by default:
//!
//! | feature | operators |
//! |---|---|
//! | `pairs` | Mul, MatMul, Add of a second tensor that is stretched |
//! | `movement` | Copy, Constant, Embedding |
//! | `heads` | PRelu, LogSoftmax, ArgMax |
//! | `normalization` | LayerNorm, Lrn |
//! | `recurrent` | RNN, LSTM, GRU |
//! | `wide` | int16 activations of Dense, Conv and Add |
//! | `panels` | Dense and Conv of plain weights four rows at once |
//!
//! [`Operator::features`](no_std_core::operator::Operator::features) names those an operator needs. An
//! image that holds an operator of a family left out is refused when it is parsed
//! ([`FormatError::LeftOut`](no_std_core::FormatError::LeftOut)).
//!
//! # On hosts
//!
//! With the feature `std` and on x86-64, weights in panels, plain dense layers and sums run on AVX2 or AVX-512 with
//! VNNI, which the processor is asked for at run time, and pools go sixteen channels at a time; operators are read
//! once, and convolutions take memory while they run. [`Session::prepared`] may also keep dense layers' weights in
//! the order in which they are read fastest. The integers stay those of the portable kernels.
//!
//! # Streaming
//!
//! A recurrent layer can carry its state from one [`Session::run`] to the next. That state stands at
//! the end of the arena, where nothing else does; [`Session::reset`] puts it back to its start. Running
//! a sequence in pieces gives, bit for bit, what running it whole gives.
//!
//! # When can this fail
//!
//! [`Session::new`] fails when the arena is too small. Nothing after it fails or panics (where memory is short on a
//! host, slower kernels do without): all else
//! was checked when the image was parsed. It is the same with [`frontend::FrontEnd::new`] and its
//! workspace.

#![no_std]
// Where it is allowed, each with its proof: `arch`.
#![deny(unsafe_code)]

#[cfg(any(test, doctest, feature = "std"))]
extern crate std;

mod arch;
pub mod frontend;
mod kernels;
#[cfg(feature = "std")]
mod operators;
mod session;

pub use session::{ArenaTooSmall, Session};

/// The place of the largest element, the first of equals; 0 of nothing.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    let mut all = values.iter().enumerate();
    let Some(first) = all.next() else {
        return 0;
    };
    all.fold(
        first,
        |best, next| if next.1 > best.1 { next } else { best },
    )
    .0
}
