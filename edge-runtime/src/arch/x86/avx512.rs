//! AVX-512 with VNNI: 64 products an instruction.

use super::vector::{LANES, PANELS, Places, Vector, sixteens, totals, words};
use crate::arch::Four;
use core::arch::x86_64::*;
use no_std_core::numerics::Output;

/// Each column of a tile in the order of weights `w + 128`: rows one behind the other.
const ROWS: [i8; 16] = [0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15];

/// Odd lanes.
const ODD: u16 = 0xaaaa;

/// Needs AVX-512 F, BW, VL and VNNI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(__m512i);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn unsigned_rows(tiles: __m512i) -> __m512i {
    // SAFETY: any sixteen bytes are a vector of them.
    let rows = unsafe { _mm_loadu_si128(ROWS.as_ptr().cast()) };
    let raised = _mm512_add_epi16(tiles, _mm512_set1_epi16(0x8080_u16 as i16));
    _mm512_shuffle_epi8(raised, _mm512_broadcast_i32x4(rows))
}

impl Vector for Avx512 {
    const POSITIONS: usize = 8;
    const TWICE: bool = true;
    type Weights = __m512i;
    type Inputs = __m512i;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn splat(value: i32) -> Self {
        Self(_mm512_set1_epi32(value))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn odd(value: i32) -> Self {
        Self(_mm512_maskz_set1_epi32(ODD, value))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn quads(places: Places) -> Self {
        // SAFETY: the caller vouches for sixteen bytes at each.
        let [a, b, c, d] = unsafe { sixteens(places) };
        let four = _mm512_castsi128_si512(a);
        let four = _mm512_inserti32x4::<1>(four, b);
        let four = _mm512_inserti32x4::<2>(four, c);
        Self(_mm512_inserti32x4::<3>(four, d))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn bytes(places: Places) -> Self {
        // SAFETY: the caller vouches for four bytes at each.
        let [a, b, c, d] = unsafe { words(places) };
        Self(_mm512_cvtepu8_epi32(_mm_setr_epi32(a, b, c, d)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn signed_tiles(places: Places) -> __m512i {
        // SAFETY: the caller's.
        let tiles = unsafe { Self::tiles(places) };
        _mm512_xor_si512(tiles, _mm512_set1_epi8(i8::MIN))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn unsigned_columns(place: *const u8) -> __m512i {
        // SAFETY: the caller vouches for four bytes.
        _mm512_set1_epi32(unsafe { place.cast::<i32>().read_unaligned() })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn widen_unsigned(place: *const u8) -> Self {
        // SAFETY: the caller vouches for sixteen bytes.
        Self(_mm512_cvtepu8_epi32(unsafe {
            _mm_loadu_si128(place.cast())
        }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn weights(places: Places) -> Self {
        // SAFETY: the caller vouches for four bytes at each.
        let [a, b, c, d] = unsafe { words(places) };
        let halves = _mm256_cvtepi8_epi16(_mm_setr_epi32(a, b, c, d));
        Self(_mm512_cvtepu16_epi32(halves))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn widen(place: *const i8) -> Self {
        // SAFETY: the caller vouches for sixteen bytes.
        Self(_mm512_cvtepi8_epi32(unsafe {
            _mm_loadu_si128(place.cast())
        }))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tiles(places: Places) -> __m512i {
        // SAFETY: the caller vouches for a tile at each.
        unsigned_rows(unsafe { Self::quads(places) }.0)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tiles_in_row(place: *const u8) -> __m512i {
        // SAFETY: the caller vouches for four tiles.
        unsigned_rows(unsafe { _mm512_loadu_si512(place.cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn columns(place: *const Four) -> __m512i {
        // SAFETY: the caller vouches for four bytes.
        _mm512_set1_epi32(unsafe { place.cast::<i32>().read_unaligned() })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn columns_in_row(place: *const Four) -> __m512i {
        // SAFETY: the caller vouches for sixteen bytes.
        let columns = unsafe { _mm_loadu_si128(place.cast()) };
        let four_times = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        _mm512_permutexvar_epi32(four_times, _mm512_castsi128_si512(columns))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn row(place: *const u8) -> __m512i {
        // SAFETY: the caller vouches for 64 bytes.
        let row = unsafe { _mm512_loadu_si512(place.cast()) };
        _mm512_xor_si512(row, _mm512_set1_epi8(i8::MIN))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn inputs(place: *const Four) -> __m512i {
        // SAFETY: the caller vouches for 64 bytes.
        unsafe { _mm512_loadu_si512(place.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot(self, weights: __m512i, inputs: __m512i) -> Self {
        Self(_mm512_dpbusd_epi32(self.0, weights, inputs))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn dot_unsigned(self, weights: __m512i, inputs: __m512i) -> Self {
        Self(_mm512_dpbusd_epi32(self.0, inputs, weights))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn sum(place: *const Four, fours: usize) -> i32 {
        let ones = _mm512_set1_epi8(1);
        let mut sums = _mm512_setzero_si512();
        for four in (0..fours).step_by(LANES) {
            let here = u16::MAX.checked_shr((LANES - (fours - four).min(LANES)) as u32);
            let place = place.wrapping_add(four).cast();
            // SAFETY: those behind the last four are left out.
            let x = unsafe { _mm512_maskz_loadu_epi32(here.unwrap_or(0), place) };
            sums = _mm512_dpbusd_epi32(sums, ones, x);
        }
        _mm512_reduce_add_epi32(sums)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn multiply_add(self, weights: Self, inputs: Self) -> Self {
        Self(_mm512_dpwssd_epi32(self.0, weights.0, inputs.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn add_tiles([a, b, c, d]: [Self; PANELS]) -> Self {
        let halves = |a: Self, b: Self| {
            let low = _mm512_shuffle_i32x4::<0b01_00_01_00>(a.0, b.0);
            let high = _mm512_shuffle_i32x4::<0b11_10_11_10>(a.0, b.0);
            _mm512_add_epi32(low, high)
        };
        let (ab, cd) = (halves(a, b), halves(c, d));
        let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(ab, cd);
        let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(ab, cd);
        Self(_mm512_add_epi32(even, odd))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn totals([a, b, c, d]: [Self; 4]) -> [i32; 4] {
        let quarter = |x: Self| {
            let (low, high) = (
                _mm512_castsi512_si256(x.0),
                _mm512_extracti64x4_epi64::<1>(x.0),
            );
            let half = _mm256_add_epi32(low, high);
            _mm_add_epi32(
                _mm256_castsi256_si128(half),
                _mm256_extracti128_si256::<1>(half),
            )
        };
        totals([quarter(a), quarter(b), quarter(c), quarter(d)])
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_epi32(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn less(self, other: Self) -> Self {
        Self(_mm512_sub_epi32(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn odd_less_even(self) -> Self {
        let even = _mm512_shuffle_epi32::<0b10_10_00_00>(self.0);
        Self(_mm512_mask_sub_epi32(self.0, ODD, self.0, even))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn shift_left(self, by: Self) -> Self {
        Self(_mm512_sllv_epi32(self.0, by.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn shift_right(self, by: Self) -> Self {
        Self(_mm512_srav_epi32(self.0, by.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn upper_product(self, other: Self) -> Self {
        let down = |x: __m512i| _mm512_srli_epi64::<32>(x);
        let even = _mm512_mul_epi32(self.0, other.0);
        let odd = _mm512_mul_epi32(down(self.0), down(other.0));
        // Even lanes are taken from the upper halves of even products.
        Self(_mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, !ODD, even))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn upper_sum_of_products([a, m]: [Self; 2], [b, n]: [Self; 2]) -> Self {
        let down = |x: __m512i| _mm512_srli_epi64::<32>(x);
        let sum = |a, m, b, n| _mm512_add_epi64(_mm512_mul_epi32(a, m), _mm512_mul_epi32(b, n));
        let even = sum(a.0, m.0, b.0, n.0);
        let odd = sum(down(a.0), down(m.0), down(b.0), down(n.0));
        // Even lanes are taken from the upper halves of even products.
        Self(_mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, !ODD, even))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn narrow(self, range: &Output) -> __m128i {
        let shifted = _mm512_add_epi32(self.0, _mm512_set1_epi32(range.zero_point.into()));
        let bytes = _mm512_cvtsepi32_epi8(shifted);
        let raised = _mm_max_epi8(bytes, _mm_set1_epi8(range.min));
        _mm_min_epi8(raised, _mm_set1_epi8(range.max))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn narrow_four([a, b, c, d]: [Self; 4], range: &Output) -> [__m128i; 4] {
        let zero_point = _mm512_set1_epi16(range.zero_point.into());
        let shift = |x| _mm512_adds_epi16(x, zero_point);
        let ab = shift(_mm512_packs_epi32(a.0, b.0));
        let cd = shift(_mm512_packs_epi32(c.0, d.0));
        let raised = _mm512_max_epi8(_mm512_packs_epi16(ab, cd), _mm512_set1_epi8(range.min));
        let clamped = _mm512_min_epi8(raised, _mm512_set1_epi8(range.max));
        // Four bytes of each in turn, four times.
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let bytes = _mm512_permutexvar_epi32(order, clamped);
        [
            _mm512_castsi512_si128(bytes),
            _mm512_extracti32x4_epi32::<1>(bytes),
            _mm512_extracti32x4_epi32::<2>(bytes),
            _mm512_extracti32x4_epi32::<3>(bytes),
        ]
    }
}
