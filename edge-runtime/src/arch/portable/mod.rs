//! In plain Rust: the oracle.

#![allow(unsafe_code)]

#[cfg(feature = "panels")]
pub(super) mod panels;
#[cfg(not(dsp))]
pub(super) mod sparse;

use core::cell::Cell;

/// Raises each of `y` to what stands at its place in `x`, where that is larger.
#[inline(always)]
pub(crate) fn raise(y: &[Cell<i8>], x: &[Cell<i8>]) {
    y.iter()
        .zip(x)
        .for_each(|(y, x)| y.set(y.get().max(x.get())));
}
