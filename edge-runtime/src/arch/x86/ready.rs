//! Dense layers whose weights were set out once, in the order in which they are read: sixteen rows of four columns
//! after another, each at an address that a whole vector may have. In the image they cannot stand so, and reading them
//! across lines of the cache takes twice as long.

use super::foot::{Foot, Matrix, tile_offset};
use super::rows::less_raised;
use super::vector::{LANES, Vector};
use crate::arch::Four;
use no_std_core::numerics::Output;
use no_std_core::panels::BASE_SHIFT;
use std::vec::Vec;

/// Sixteen rows each.
#[derive(Debug)]
pub(super) struct Ready<V: Vector> {
    /// Those of a block one behind the other.
    weights: Vec<V::Weights>,
    feet: Vec<Foot<V>>,
    fours: usize,
    rows: usize,
}

/// A matrix of plain weights.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a> {
    /// Row by row, of as many columns as there are bytes for: whole fours.
    pub(crate) weights: &'a [u8],
    /// A bias, a mantissa and a shift for each row.
    pub(crate) factors: &'a [[i32; 3]],
    pub(crate) range: Output,
}

impl Plain<'_> {
    /// Columns, if they are whole fours, and shifts such that the upper half of a product is all that counts.
    pub(super) fn columns(&self) -> Option<usize> {
        let columns = self.weights.len().checked_div(self.factors.len())?;
        let fast = |shift: i32| (1..=30).contains(&(shift - i32::from(BASE_SHIFT)));
        let all = self.factors.iter().all(|[_, _, shift]| fast(*shift));
        let whole = columns * self.factors.len() == self.weights.len() && columns.is_multiple_of(4);
        (all && whole && columns > 0).then_some(columns)
    }
}

impl<V: Vector> Ready<V> {
    /// Room for so many rows and fours; none where memory is short.
    fn room(rows: usize, fours: usize) -> Option<Self> {
        let blocks = rows.div_ceil(LANES);
        let (mut weights, mut feet) = (Vec::new(), Vec::new());
        feet.try_reserve_exact(blocks).ok()?;
        weights.try_reserve_exact(blocks.checked_mul(fours)?).ok()?;
        Some(Self {
            weights,
            feet,
            fours,
            rows,
        })
    }

    /// # Safety
    ///
    /// As [`Vector`]'s; the matrix is of so many rows and in the layout of shared inputs, its panels have so many
    /// tiles.
    #[inline(always)]
    pub(super) unsafe fn of_panels(matrix: &Matrix, rows: usize, tiles: usize) -> Option<Self> {
        let mut ready = Self::room(rows, tiles)?;
        for row in (0..rows).step_by(LANES) {
            let panels = matrix.places(row);
            // SAFETY: the caller's.
            unsafe {
                for tile in 0..tiles {
                    let places = panels.map(|panel| panel.wrapping_add(tile_offset(tile)));
                    ready.weights.push(V::tiles(places));
                }
                ready.feet.push(matrix.foot(panels));
            }
        }
        Some(ready)
    }

    /// # Safety
    ///
    /// As [`Vector`]'s.
    #[inline(always)]
    pub(super) unsafe fn of_rows(plain: &Plain) -> Option<Self> {
        let columns = plain.columns()?;
        let mut ready = Self::room(plain.factors.len(), columns / 4)?;
        let blocks = plain.weights.chunks(LANES * columns);
        for (weights, factors) in blocks.zip(plain.factors.chunks(LANES)) {
            for four in 0..columns / 4 {
                let mut rows = [[0; 4]; LANES];
                for (to, row) in rows.iter_mut().zip(weights.chunks_exact(columns)) {
                    *to = row.as_chunks().0.get(four).copied().unwrap_or_default();
                }
                // SAFETY: 64 bytes; the rest is the caller's.
                ready.weights.push(unsafe { V::row(rows.as_ptr().cast()) });
            }
            // Rows that are not there have a factor of zero.
            let mut numbers = [[0; LANES], [0; LANES], [1; LANES]];
            for (row, factor) in factors.iter().enumerate() {
                let [start, mantissa, shift] = *factor;
                let factor = [start, mantissa, shift - i32::from(BASE_SHIFT)];
                numbers
                    .iter_mut()
                    .zip(factor)
                    .for_each(|(to, number)| to[row] = number);
            }
            // SAFETY: the caller's, and `Plain::columns` has seen to shifts.
            ready
                .feet
                .push(unsafe { Foot::of_rows(numbers, plain.range) });
        }
        Some(ready)
    }

    /// Whether it takes so many fours and makes so many outputs.
    pub(super) fn fits(&self, fours: usize, outputs: usize) -> bool {
        self.fours == fours && self.rows == outputs
    }
}

/// The outputs of all rows, behind `y`.
///
/// # Safety
///
/// As [`Vector`]'s; what there is to multiply and to write to [fits](Ready::fits).
#[inline(always)]
pub(super) unsafe fn dense<V: Vector>(ready: &Ready<V>, x: &[Four], y: *mut i8) {
    /// Rows whose weights are read side by side.
    const ABREAST: usize = 4 * LANES;
    // SAFETY: the caller's.
    unsafe {
        let raised = V::splat(less_raised::<V>(x.as_ptr(), x.len()));
        for row in (0..ready.rows).step_by(ABREAST) {
            match (ready.rows - row).div_ceil(LANES) {
                1 => blocks::<V, 1>(ready, x, row, raised, y),
                2 => blocks::<V, 2>(ready, x, row, raised, y),
                3 => blocks::<V, 3>(ready, x, row, raised, y),
                _ => blocks::<V, 4>(ready, x, row, raised, y),
            }
        }
    }
}

/// Of `N` blocks, from that of a row on. Two sums for each keep additions from waiting for one another.
///
/// # Safety
///
/// As [`dense`]'s; there are so many blocks.
#[inline(always)]
unsafe fn blocks<V: Vector, const N: usize>(
    ready: &Ready<V>,
    x: &[Four],
    row: usize,
    raised: V,
    y: *mut i8,
) {
    let first = row / LANES;
    let weights = ready.weights.as_ptr().wrapping_add(first * ready.fours);
    let at = |block: usize, four: usize| weights.wrapping_add(block * ready.fours + four);
    let (pairs, last) = x.as_chunks::<2>();
    // SAFETY: the caller's: blocks have a number of weights for each four.
    unsafe {
        let (mut sums, mut others) = ([raised; N], [V::splat(0); N]);
        for (pair, [x, next]) in pairs.iter().enumerate() {
            let (x, next) = (V::columns(x), V::columns(next));
            for (block, (sum, other)) in sums.iter_mut().zip(&mut others).enumerate() {
                *sum = sum.dot(*at(block, 2 * pair), x);
                *other = other.dot(*at(block, 2 * pair + 1), next);
            }
        }
        for x in last {
            let x = V::columns(x);
            for (block, sum) in sums.iter_mut().enumerate() {
                *sum = sum.dot(*at(block, 2 * pairs.len()), x);
            }
        }
        let feet = ready
            .feet
            .iter()
            .skip(first)
            .zip(sums.into_iter().zip(others));
        for (block, (foot, (sum, other))) in feet.enumerate() {
            let row = row + block * LANES;
            foot.store([sum.add(other)], y.wrapping_add(row), 0, ready.rows - row);
        }
    }
}
