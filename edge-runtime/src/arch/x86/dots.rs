//! Rows of plain weights times a vector, four rows at a time.

use super::vector::{PANELS as ROWS, Vector};
use crate::arch::Four;

/// Columns at once.
const COLUMNS: usize = 64;

/// `Σ w·x` of as many rows of weights as there is room for sums, modulo 2³².
///
/// # Safety
///
/// As [`Vector`]'s; `weights` has as many rows of as many columns as `x`.
#[inline(always)]
pub(super) unsafe fn dots<V: Vector>(x: &[i8], weights: &[u8], sums: &mut [i32]) {
    let (whole, rest) = x.as_chunks::<COLUMNS>();
    let mut last = [0; COLUMNS];
    last.iter_mut().zip(rest).for_each(|(to, x)| *to = *x);
    let count = sums.len();
    // SAFETY: the caller's: what is added to `weights` begins a row, or stands within one.
    unsafe {
        let fours = |x: &[i8; COLUMNS]| x.as_ptr().cast::<Four>();
        let raised = V::sum(x.as_ptr().cast(), whole.len() * COLUMNS / 4);
        let raised = raised.wrapping_add(V::sum(fours(&last), COLUMNS / 4));
        for (four, sums) in sums.chunks_mut(ROWS).enumerate() {
            let mut rows = [core::ptr::null(); ROWS];
            for (row, at) in rows.iter_mut().enumerate() {
                *at = weights
                    .as_ptr()
                    .wrapping_add((four * ROWS + row).min(count - 1) * x.len());
            }
            let mut products = [V::splat(0); ROWS];
            for x in whole {
                let inputs = V::inputs(fours(x));
                for (sum, row) in products.iter_mut().zip(&mut rows) {
                    *sum = sum.dot(V::row(*row), inputs);
                    *row = row.wrapping_add(COLUMNS);
                }
            }
            if !rest.is_empty() {
                let inputs = V::inputs(fours(&last));
                for (sum, row) in products.iter_mut().zip(rows) {
                    let mut weights = [0; COLUMNS];
                    core::ptr::copy_nonoverlapping(row, weights.as_mut_ptr(), rest.len());
                    *sum = sum.dot(V::row(weights.as_ptr()), inputs);
                }
            }
            for (to, sum) in sums.iter_mut().zip(V::totals(products)) {
                *to = sum.wrapping_sub(raised.wrapping_mul(128));
            }
        }
    }
}
