//! Sixteen accumulators to sixteen activations.

use super::vector::{LANES, PANELS, Places, Vector};
use core::arch::x86_64::{
    __m128i, _mm_cvtsi128_si32, _mm_srli_si128, _mm_storel_epi64, _mm_storeu_si128,
};
use no_std_core::numerics::Output;
use no_std_core::panels::{Layout, ODD_SHIFT, Panels, ROWS, TILE_BYTES};

/// Panels of a checked length.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    bytes: &'a [u8],
    pub(super) layout: Layout,
    pub(super) panel_bytes: usize,
    count: usize,
    range: &'a Output,
}

impl<'a> Matrix<'a> {
    /// Those in a layout that so many rows are of; none of no rows, or where there are not as many.
    pub(super) fn new(
        panels: Panels<'a>,
        layout: Layout,
        rows: usize,
        range: &'a Output,
    ) -> Option<Self> {
        let (bytes, panel_bytes) = (panels.bytes(), panels.panel_bytes());
        let count = rows.div_ceil(ROWS);
        let enough = count > 0 && bytes.len() / panel_bytes.max(1) >= count;
        (enough && panels.layout == layout).then_some(Self {
            bytes,
            layout,
            panel_bytes,
            count,
            range,
        })
    }

    /// Where four panels begin, from that of a row on; behind the last one, from the first one on again.
    pub(super) fn places(&self, row: usize) -> Places {
        core::array::from_fn(|panel| {
            let panel = (row / ROWS + panel) % self.count;
            // Within `bytes`, by `new`.
            self.bytes.as_ptr().wrapping_add(panel * self.panel_bytes)
        })
    }

    /// How sums of four panels become activations.
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s; the places are those of [`places`](Self::places).
    #[inline(always)]
    pub(super) unsafe fn foot<V: Vector>(&self, places: Places) -> Foot<V> {
        let at = |offset: usize| places.map(|place| place.wrapping_add(offset));
        let (mantissas, shifts) = (self.panel_bytes - 20, self.panel_bytes - 4);
        // SAFETY: a panel begins with its starts and ends with four mantissas and four shifts.
        unsafe {
            let starts = V::quads(at(0));
            let (starts, up) = match self.layout {
                Layout::Shared => (starts.odd_less_even(), ODD_SHIFT),
                Layout::Channels => (starts, 0),
            };
            let shifts = V::bytes(at(shifts));
            let below = shifts.add(V::splat(-1));
            Foot {
                starts,
                up: V::odd(up.into()),
                mantissas: V::quads(at(mantissas)),
                shifts,
                halves: V::splat(1).shift_left(below),
                range: *self.range,
            }
        }
    }
}

/// See [`Matrix::foot`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Foot<V> {
    starts: V,
    up: V,
    mantissas: V,
    shifts: V,
    halves: V,
    range: Output,
}

impl<V: Vector> Foot<V> {
    /// Of rows each by itself: what sums start from, mantissas, shifts less [`BASE_SHIFT`].
    ///
    /// [`BASE_SHIFT`]: no_std_core::panels::BASE_SHIFT
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s; shifts are 1 … 30.
    #[inline(always)]
    pub(super) unsafe fn of_rows(
        [starts, mantissas, shifts]: [[i32; LANES]; 3],
        range: Output,
    ) -> Self {
        let places = |numbers: &[i32; LANES]| -> Places {
            core::array::from_fn(|four| numbers.as_ptr().wrapping_add(4 * four).cast())
        };
        // SAFETY: sixteen bytes are behind every fourth number; the rest is the caller's.
        unsafe {
            let shifts = V::quads(places(&shifts));
            Self {
                starts: V::quads(places(&starts)),
                up: V::splat(0),
                mantissas: V::quads(places(&mantissas)),
                shifts,
                halves: V::splat(1).shift_left(shifts.add(V::splat(-1))),
                range,
            }
        }
    }

    /// Starts with so much less in each sum.
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s.
    #[inline(always)]
    pub(super) unsafe fn less(&mut self, sums: V) {
        // SAFETY: the caller's.
        unsafe { self.starts = self.starts.less(sums.shift_left(self.up)) };
    }

    /// [`Output::requantize`] of sums, of rows each by itself, but for the zero point and the clamp. Shifts are
    /// greater than [`BASE_SHIFT`], so that it is [`rounded`] by the upper half of a product: below 2³⁰ in
    /// magnitude, with room for the half and the zero point.
    ///
    /// [`rounded`]: no_std_core::numerics::rounded
    /// [`BASE_SHIFT`]: no_std_core::panels::BASE_SHIFT
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s.
    #[inline(always)]
    unsafe fn steps(&self, sums: V) -> V {
        // SAFETY: the caller's.
        unsafe {
            let accumulators = sums.shift_left(self.up).add(self.starts);
            let upper = accumulators.upper_product(self.mantissas);
            upper.add(self.halves).shift_right(self.shifts)
        }
    }

    /// Writes the outputs at several positions: as many as there are, behind `y` so far apart.
    ///
    /// # Safety
    ///
    /// As [`Vector`]'s; so many bytes may be written to.
    #[inline(always)]
    pub(super) unsafe fn store<const N: usize>(
        &self,
        sums: [V; N],
        y: *mut i8,
        apart: usize,
        count: usize,
    ) {
        let (fours, rest) = sums.as_chunks();
        let mut y = y;
        // SAFETY: the caller's.
        unsafe {
            for [a, b, c, d] in fours {
                let steps = [
                    self.steps(*a),
                    self.steps(*b),
                    self.steps(*c),
                    self.steps(*d),
                ];
                for outputs in V::narrow_four(steps, &self.range) {
                    store(outputs, y, count);
                    y = y.wrapping_add(apart);
                }
            }
            for sums in rest {
                store(self.steps(*sums).narrow(&self.range), y, count);
                y = y.wrapping_add(apart);
            }
        }
    }
}

/// Writes the first of sixteen bytes, as many as there are.
///
/// # Safety
///
/// So many bytes may be written to.
#[inline(always)]
pub(super) unsafe fn store(bytes: __m128i, to: *mut i8, count: usize) {
    if count >= LANES {
        // SAFETY: the caller's.
        unsafe { _mm_storeu_si128(to.cast(), bytes) };
    } else {
        // SAFETY: the caller's.
        unsafe { store_part(bytes, to, count) };
    }
}

/// Fewer than sixteen: eight of them, four more, and one by one.
///
/// # Safety
///
/// As [`store`]'s.
#[inline(always)]
unsafe fn store_part(mut bytes: __m128i, mut to: *mut i8, count: usize) {
    // SAFETY: of the number of bytes, each of its binary digits is written once; SSE2 is part of x86-64.
    unsafe {
        if count & 8 != 0 {
            _mm_storel_epi64(to.cast(), bytes);
            (to, bytes) = (to.wrapping_add(8), _mm_srli_si128::<8>(bytes));
        }
        if count & 4 != 0 {
            to.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(bytes));
            (to, bytes) = (to.wrapping_add(4), _mm_srli_si128::<4>(bytes));
        }
        let rest = _mm_cvtsi128_si32(bytes).to_le_bytes();
        for (place, byte) in rest.into_iter().take(count & 3).enumerate() {
            to.wrapping_add(place).write(byte as i8);
        }
    }
}

/// Of tiles within a panel.
pub(super) const fn tile_offset(tile: usize) -> usize {
    4 * ROWS + tile * TILE_BYTES
}

const _: () = assert!(PANELS * ROWS == LANES && LANES == TILE_BYTES);
