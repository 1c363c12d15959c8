//! Sums of two tensors, sixteen elements at a time.

use super::foot::store;
use super::vector::{LANES, Vector};
use core::cell::Cell;
use no_std_core::numerics::{FAST_SHIFT, Output};

/// Sums `requantize((a − zₐ) · mₐ + (b − z_b) · m_b)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum<'o> {
    /// Of the two terms.
    pub(crate) zero_points: [i8; 2],
    pub(crate) mantissas: [i32; 2],
    /// Differences are shifted up by so much.
    pub(crate) up: u8,
    /// Sums are shifted down by so much.
    pub(crate) shift: u8,
    pub(crate) range: &'o Output,
}

impl Sum<'_> {
    /// Whether the upper half of a sum is all that counts, and 32 bits hold the half that is added to it.
    pub(super) fn is_fast(&self) -> bool {
        (FAST_SHIFT..=62).contains(&self.shift) && self.up < 23
    }
}

/// The same everywhere.
struct Factors<V> {
    zero_points: [V; 2],
    mantissas: [V; 2],
    up: V,
    half: V,
    down: V,
}

impl<V: Vector> Factors<V> {
    /// # Safety
    ///
    /// As [`Vector`]'s; the sum is fast.
    #[inline(always)]
    unsafe fn new(sum: &Sum) -> Self {
        let down = sum.shift - (FAST_SHIFT - 1);
        // SAFETY: the caller's.
        unsafe {
            let both = |of: [i32; 2]| [V::splat(of[0]), V::splat(of[1])];
            Self {
                zero_points: both([
                    -i32::from(sum.zero_points[0]),
                    -i32::from(sum.zero_points[1]),
                ]),
                mantissas: both(sum.mantissas),
                up: V::splat(sum.up.into()),
                half: V::splat(1 << (down - 1)),
                down: V::splat(down.into()),
            }
        }
    }

    /// Of sixteen elements each, as [`rounded`](no_std_core::numerics::rounded) does it: before the
    /// zero point is added.
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s.
    #[inline(always)]
    unsafe fn sums(&self, a: &[Cell<i8>; LANES], b: &[Cell<i8>; LANES]) -> V {
        let ([za, zb], [ma, mb]) = (self.zero_points, self.mantissas);
        // SAFETY: sixteen elements each; the rest is the caller's.
        unsafe {
            let a = V::widen(a.as_ptr().cast()).add(za).shift_left(self.up);
            let b = V::widen(b.as_ptr().cast()).add(zb).shift_left(self.up);
            let upper = V::upper_sum_of_products([a, ma], [b, mb]);
            upper.add(self.half).shift_right(self.down)
        }
    }
}

/// Of `a` and `b` each, to `y`, which may be either's memory or apart from both.
///
/// # Safety
///
/// As [`Vector`]'s; the sum is fast.
#[inline(always)]
pub(super) unsafe fn add<V: Vector>(sum: &Sum, a: &[Cell<i8>], b: &[Cell<i8>], y: &[Cell<i8>]) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    let (y, y_rest) = y.as_chunks::<LANES>();
    // SAFETY: the caller's; sixteen cells, which may be written to, or as many as are left.
    unsafe {
        let factors = Factors::<V>::new(sum);
        for ((a, b), y) in a.iter().zip(b).zip(y) {
            let outputs = factors.sums(a, b).narrow(sum.range);
            store(outputs, y.as_ptr().cast_mut().cast(), LANES);
        }
        let outputs = factors
            .sums(&padded(a_rest), &padded(b_rest))
            .narrow(sum.range);
        let count = y_rest.len().min(a_rest.len()).min(b_rest.len());
        store(outputs, y_rest.as_ptr().cast_mut().cast(), count);
    }
}

/// Up to sixteen elements and zeros.
fn padded(rest: &[Cell<i8>]) -> [Cell<i8>; LANES] {
    core::array::from_fn(|i| rest.get(i).cloned().unwrap_or_default())
}
