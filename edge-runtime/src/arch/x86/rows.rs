//! A dense layer: each weight is used once, and read as it stands in the image.

use super::foot::{Matrix, tile_offset};
use super::vector::{LANES, PANELS, Places, Vector};
use crate::arch::Four;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use no_std_core::panels::TILE_BYTES;

/// The outputs of as many rows as there is room for behind `y`.
///
/// # Safety
///
/// As [`Vector`]'s; the matrix is of so many rows and in the layout of shared inputs, its panels have at least so
/// many tiles as there are fours, and so many elements may be written to behind `y`.
#[inline(always)]
pub(super) unsafe fn dense<V: Vector>(matrix: &Matrix, x: &[Four], y: *mut i8, rows: usize) {
    // SAFETY: tiles and fours are as many as the loops ask for, by the caller and `Matrix`.
    unsafe {
        let raised = V::splat(less_raised::<V>(x.as_ptr(), x.len()));
        for row in (0..rows).step_by(LANES) {
            let panels = matrix.places(row);
            let tiles = panels.map(|panel| panel.wrapping_add(tile_offset(0)));
            let sums = sums::<V>(tiles, x, PANELS * matrix.panel_bytes);
            let foot = matrix.foot::<V>(panels);
            foot.store([sums.add(raised)], y.wrapping_add(row), 0, rows - row);
        }
    }
}

/// What sums with weights `w + 128` are too large by, less than nothing: of at most 2¹⁶ columns.
///
/// # Safety
///
/// As [`Vector`]'s; there are so many fours.
#[inline(always)]
pub(super) unsafe fn less_raised<V: Vector>(x: *const Four, fours: usize) -> i32 {
    // SAFETY: the caller's.
    -128 * unsafe { V::sum(x, fours) }
}

const FOUR_TILES: usize = 4 * TILE_BYTES;

/// Of four panels, whose tiles begin at these places. Those of the next four, so far ahead, are called for meanwhile:
/// panels are too short for the processor to see where reading goes on. Two sums for each keep additions from waiting for
/// one another.
///
/// # Safety
///
/// As [`Vector`]'s; there is a tile for each four.
#[inline(always)]
unsafe fn sums<V: Vector>(tiles: Places, x: &[Four], ahead: usize) -> V {
    let (whole, rest) = x.as_chunks::<4>();
    let mut offset = 0;
    let at = |offset: usize| tiles.map(|place| place.wrapping_add(offset));
    // SAFETY: the caller's.
    unsafe {
        let (pairs, last) = whole.as_chunks::<2>();
        let mut sums = [V::splat(0); PANELS];
        let mut others = [V::splat(0); PANELS];
        for [x, next] in pairs {
            let inputs = V::columns_in_row(x.as_ptr());
            let next = V::columns_in_row(next.as_ptr());
            for ((sum, other), place) in sums.iter_mut().zip(&mut others).zip(at(offset)) {
                let further = place.wrapping_add(FOUR_TILES);
                _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(ahead).cast());
                _mm_prefetch::<_MM_HINT_T0>(further.wrapping_add(ahead).cast());
                *sum = sum.dot(V::tiles_in_row(place), inputs);
                *other = other.dot(V::tiles_in_row(further), next);
            }
            offset += 2 * FOUR_TILES;
        }
        for x in last {
            let inputs = V::columns_in_row(x.as_ptr());
            for (sum, place) in sums.iter_mut().zip(at(offset)) {
                *sum = sum.dot(V::tiles_in_row(place), inputs);
            }
            offset += FOUR_TILES;
        }
        let mut sums = V::add_tiles(sums).add(V::add_tiles(others));
        for x in rest {
            sums = sums.dot(V::tiles(at(offset)), V::columns(x));
            offset += TILE_BYTES;
        }
        sums
    }
}
