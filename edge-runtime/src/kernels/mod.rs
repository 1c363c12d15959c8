//! Portable kernels, one file an operator.

mod conv;
mod dense;
mod elementwise;
mod pool;
mod softmax;

pub(crate) use conv::Conv;
pub(crate) use dense::dense;
pub(crate) use elementwise::{add, clamp};
pub(crate) use pool::{average_pool, max_pool};
pub(crate) use softmax::softmax;

/// Σ x·w of two equally long slices (the shorter counts). Within i32: a row has at most 2¹⁶
/// products of at most 2¹⁴.
#[inline(always)]
fn dot(x: &[i8], w: &[u8]) -> i32 {
    x.iter()
        .zip(w)
        .map(|(&x, &w)| x as i32 * w as i8 as i32)
        .sum()
}
