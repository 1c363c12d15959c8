//! Portable kernels, one file an operator.

#[cfg(x86)]
mod batches;
mod channels;
mod coded;
mod conv;
mod dense;
mod elementwise;
mod movement;
mod normalization;
mod pair;
#[cfg(feature = "panels")]
mod panels;
mod pool;
#[cfg(x86)]
mod prepared;
mod recurrent;
mod wide;

use core::cell::Cell;

pub(crate) use channels::{arg_max, log_softmax, p_relu, softmax};
pub(crate) use coded::coded;
pub(crate) use conv::Conv;
pub(crate) use dense::dense;
pub(crate) use elementwise::{clamp, look_up};
pub(crate) use movement::{constant, copy, embedding};
pub(crate) use normalization::{layer_norm, lrn};
pub(crate) use pair::{add, mat_mul, mul};
#[cfg(feature = "panels")]
pub(crate) use panels::panels;
pub(crate) use pool::{average_pool, max_pool};
#[cfg(x86)]
pub(crate) use prepared::{Prepared, prepare, run};
pub(crate) use recurrent::{recurrent, reset};
pub(crate) use wide::wide;

/// Σ x·w of two equally long slices (the shorter counts), four at a time. Within i32: a row has at
/// most 2¹⁶ products of at most 2¹⁴.
#[inline(always)]
fn dot(x: &[i8], w: &[u8]) -> i32 {
    sum_of_products(x, w, |&x| x)
}

/// As [`dot`], of an input that may be written to in between.
#[inline(always)]
fn dot_cells(x: &[Cell<i8>], w: &[u8]) -> i32 {
    sum_of_products(x, w, Cell::get)
}

#[inline(always)]
fn sum_of_products<T>(x: &[T], w: &[u8], value: impl Fn(&T) -> i8) -> i32 {
    let product = |x: &T, w: &u8| value(x) as i32 * *w as i8 as i32;
    let (x, w) = (x.get(..w.len()).unwrap_or(x), w.get(..x.len()).unwrap_or(w));
    let ((x_fours, x_rest), (w_fours, w_rest)) = (x.as_chunks::<4>(), w.as_chunks::<4>());
    let mut sum = 0;
    for ([x0, x1, x2, x3], [w0, w1, w2, w3]) in x_fours.iter().zip(w_fours) {
        sum += product(x0, w0);
        sum += product(x1, w1);
        sum += product(x2, w2);
        sum += product(x3, w3);
    }
    let rest = x_rest.iter().zip(w_rest);
    rest.fold(sum, |sum, (x, w)| sum + product(x, w))
}
