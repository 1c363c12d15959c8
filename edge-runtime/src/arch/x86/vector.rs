//! Sixteen sums of 32 bits at once, as kernels here are written in.
//!
//! Weights come as bytes `w + 128`, which a panel's tile is after one addition: its numbers of 16 bits are
//! `even + 256 · odd`, so `0x8080` more makes their halves `even + 128` and `odd + 128` without a carry between
//! them. The products' sum is then 128 · Σx too large, the same for all rows.

use crate::arch::Four;
use core::arch::x86_64::{__m128i, _mm_hadd_epi32, _mm_loadu_si128, _mm_storeu_si128};
use no_std_core::numerics::Output;
use no_std_core::panels::ROWS;

/// Rows at once: of so many panels.
pub(super) const LANES: usize = ROWS * PANELS;

/// Panels at once.
pub(super) const PANELS: usize = 4;

/// Places in panels that stand side by side in the result.
pub(super) type Places = [*const u8; PANELS];

/// Sixteen numbers of 32 bits.
///
/// # Safety
///
/// Every function asks for the processor's instructions that the implementer names, and those with places for as
/// many bytes behind each as it says.
pub(super) trait Vector: Copy + core::fmt::Debug {
    /// Positions whose sums are kept in registers together.
    const POSITIONS: usize;
    /// Whether there are registers for twice as many rows of them.
    const TWICE: bool;
    /// Of four columns.
    type Weights: Copy + core::fmt::Debug;
    /// What they are multiplied by.
    type Inputs: Copy;

    /// The same everywhere.
    unsafe fn splat(value: i32) -> Self;

    /// The same at every odd place, zeros at even ones.
    unsafe fn odd(value: i32) -> Self;

    /// Sixteen bytes of each place.
    unsafe fn quads(places: Places) -> Self;

    /// Four bytes of each place, each widened with zeros.
    unsafe fn bytes(places: Places) -> Self;

    /// The same of signed bytes `w`.
    unsafe fn signed_tiles(places: Places) -> Self::Weights;

    /// The four unsigned bytes of a number, for [`signed_tiles`](Self::signed_tiles).
    unsafe fn unsigned_columns(place: *const u8) -> Self::Inputs;

    /// Sixteen unsigned bytes.
    unsafe fn widen_unsigned(place: *const u8) -> Self;

    /// Four bytes of each place, for [`multiply_add`](Self::multiply_add).
    unsafe fn weights(places: Places) -> Self;

    /// Sixteen signed bytes.
    unsafe fn widen(place: *const i8) -> Self;

    /// A tile of each of four panels: sixteen rows of four columns.
    unsafe fn tiles(places: Places) -> Self::Weights;

    /// Four tiles of a panel: four rows of sixteen columns.
    unsafe fn tiles_in_row(place: *const u8) -> Self::Weights;

    /// Four columns, for [`tiles`](Self::tiles).
    unsafe fn columns(place: *const Four) -> Self::Inputs;

    /// Sixteen columns, for [`tiles_in_row`](Self::tiles_in_row).
    unsafe fn columns_in_row(place: *const Four) -> Self::Inputs;

    /// Sixty-four plain weights.
    unsafe fn row(place: *const u8) -> Self::Weights;

    /// Sixty-four columns, for [`row`](Self::row).
    unsafe fn inputs(place: *const Four) -> Self::Inputs;

    /// Adds the sums of four products, modulo 2³².
    unsafe fn dot(self, weights: Self::Weights, inputs: Self::Inputs) -> Self;

    /// The same of unsigned inputs and signed weights.
    unsafe fn dot_unsigned(self, weights: Self::Weights, inputs: Self::Inputs) -> Self;

    /// Of the elements of so many fours.
    unsafe fn sum(place: *const Four, fours: usize) -> i32;

    /// Adds products of bytes that stand in 32 bits: those of `weights` with nothing above 16 bits.
    unsafe fn multiply_add(self, weights: Self, inputs: Self) -> Self;

    /// The sums of each number's like in its tile, of four panels.
    unsafe fn add_tiles(panels: [Self; PANELS]) -> Self;

    /// The sum of each one's numbers.
    unsafe fn totals(sums: [Self; 4]) -> [i32; 4];

    /// Modulo 2³².
    unsafe fn add(self, other: Self) -> Self;

    /// Modulo 2³².
    unsafe fn less(self, other: Self) -> Self;

    /// Each odd one less the even one before it, modulo 2³².
    unsafe fn odd_less_even(self) -> Self;

    /// Of 1 to the left by each of `by`, below 32.
    unsafe fn shift_left(self, by: Self) -> Self;

    /// By each of `by`, below 32, keeping signs.
    unsafe fn shift_right(self, by: Self) -> Self;

    /// The upper halves of the products.
    unsafe fn upper_product(self, other: Self) -> Self;

    /// The upper halves of the sums of two products.
    unsafe fn upper_sum_of_products(a: [Self; 2], b: [Self; 2]) -> Self;

    /// Less an output's zero point, which is added, saturated to bytes and clamped.
    unsafe fn narrow(self, range: &Output) -> __m128i;

    /// The same of four, each.
    unsafe fn narrow_four(all: [Self; 4], range: &Output) -> [__m128i; 4];
}

/// Sixteen bytes of each place.
///
/// # Safety
///
/// There are as many behind each.
#[inline(always)]
pub(super) unsafe fn sixteens([a, b, c, d]: Places) -> [__m128i; PANELS] {
    // SAFETY: the caller's.
    unsafe {
        [
            _mm_loadu_si128(a.cast()),
            _mm_loadu_si128(b.cast()),
            _mm_loadu_si128(c.cast()),
            _mm_loadu_si128(d.cast()),
        ]
    }
}

/// Four bytes of each place.
///
/// # Safety
///
/// There are as many behind each.
#[inline(always)]
pub(super) unsafe fn words([a, b, c, d]: Places) -> [i32; PANELS] {
    // SAFETY: the caller's.
    unsafe {
        [
            a.cast::<i32>().read_unaligned(),
            b.cast::<i32>().read_unaligned(),
            c.cast::<i32>().read_unaligned(),
            d.cast::<i32>().read_unaligned(),
        ]
    }
}

/// The sum of each one's numbers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn totals([a, b, c, d]: [__m128i; 4]) -> [i32; 4] {
    let sums = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
    let mut totals = [0; 4];
    // SAFETY: four numbers have the size of a vector of them.
    unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), sums) };
    totals
}
