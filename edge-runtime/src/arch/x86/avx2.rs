//! AVX2: sixteen products an instruction, of 16 bits.

use super::vector::{PANELS, Places, Vector, sixteens, totals, words};
use crate::arch::Four;
use core::arch::x86_64::*;
use no_std_core::numerics::Output;

/// Each column of a tile in the order of weights `w + 128`: rows one behind the other.
const ROWS: [i8; 16] = [0, 4, 2, 6, 1, 5, 3, 7, 8, 12, 10, 14, 9, 13, 11, 15];

/// Needs AVX2. Eight numbers and eight more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2([__m256i; 2]);

/// Bytes in numbers of 16 bits: the even ones, then the odd ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halves([[__m256i; 2]; 2]);

#[inline]
#[target_feature(enable = "avx2")]
fn both(x: [__m256i; 2], y: [__m256i; 2], f: impl Fn(__m256i, __m256i) -> __m256i) -> Avx2 {
    Avx2([f(x[0], y[0]), f(x[1], y[1])])
}

#[inline]
#[target_feature(enable = "avx2")]
fn unsigned_rows(tiles: __m256i) -> __m256i {
    // SAFETY: any sixteen bytes are a vector of them.
    let rows = unsafe { _mm_loadu_si128(ROWS.as_ptr().cast()) };
    let raised = _mm256_add_epi16(tiles, _mm256_set1_epi16(0x8080_u16 as i16));
    _mm256_shuffle_epi8(raised, _mm256_broadcastsi128_si256(rows))
}

#[inline]
#[target_feature(enable = "avx2")]
fn unsigned_halves([low, high]: [__m256i; 2]) -> Halves {
    let (low, high) = (unsigned_rows(low), unsigned_rows(high));
    let even = |x| _mm256_and_si256(x, _mm256_set1_epi16(0xff));
    let odd = |x| _mm256_srli_epi16::<8>(x);
    Halves([[even(low), even(high)], [odd(low), odd(high)]])
}

#[inline]
#[target_feature(enable = "avx2")]
fn signed_halves([low, high]: [__m256i; 2]) -> Halves {
    let even = |x| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x));
    let odd = |x| _mm256_srai_epi16::<8>(x);
    Halves([[even(low), even(high)], [odd(low), odd(high)]])
}

#[inline]
#[target_feature(enable = "avx2")]
fn upper_product(x: __m256i, y: __m256i) -> __m256i {
    let down = |x: __m256i| _mm256_srli_epi64::<32>(x);
    let even = _mm256_mul_epi32(x, y);
    let odd = _mm256_mul_epi32(down(x), down(y));
    _mm256_blend_epi32::<0b1010_1010>(down(even), odd)
}

impl Vector for Avx2 {
    const POSITIONS: usize = 4;
    const TWICE: bool = false;
    type Weights = Halves;
    type Inputs = Halves;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn splat(value: i32) -> Self {
        Self([_mm256_set1_epi32(value); 2])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn odd(value: i32) -> Self {
        Self([_mm256_setr_epi32(0, value, 0, value, 0, value, 0, value); 2])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn quads(places: Places) -> Self {
        // SAFETY: the caller vouches for sixteen bytes at each.
        let [a, b, c, d] = unsafe { sixteens(places) };
        Self([_mm256_set_m128i(b, a), _mm256_set_m128i(d, c)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn bytes(places: Places) -> Self {
        // SAFETY: the caller vouches for four bytes at each.
        let [a, b, c, d] = unsafe { words(places) };
        let widened = |a, b| _mm256_cvtepu8_epi32(_mm_setr_epi32(a, b, 0, 0));
        Self([widened(a, b), widened(c, d)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn signed_tiles(places: Places) -> Halves {
        // SAFETY: the caller vouches for a tile at each.
        let [low, high] = unsafe { Self::quads(places) }.0;
        let lowered = |x| _mm256_xor_si256(unsigned_rows(x), _mm256_set1_epi8(i8::MIN));
        signed_halves([lowered(low), lowered(high)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn unsigned_columns(place: *const u8) -> Halves {
        // SAFETY: the caller vouches for four bytes.
        let four = _mm256_set1_epi32(unsafe { place.cast::<i32>().read_unaligned() });
        let even = _mm256_and_si256(four, _mm256_set1_epi16(0xff));
        Halves([[even; 2], [_mm256_srli_epi16::<8>(four); 2]])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn widen_unsigned(place: *const u8) -> Self {
        // SAFETY: the caller vouches for sixteen bytes.
        let bytes = unsafe { _mm_loadu_si128(place.cast()) };
        let high = _mm_unpackhi_epi64(bytes, bytes);
        Self([_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(high)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn weights(places: Places) -> Self {
        // SAFETY: the caller vouches for four bytes at each.
        let [a, b, c, d] = unsafe { words(places) };
        let halves = |a, b| _mm_cvtepi8_epi16(_mm_setr_epi32(a, b, 0, 0));
        Self([halves(a, b), halves(c, d)].map(|halves| _mm256_cvtepu16_epi32(halves)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn widen(place: *const i8) -> Self {
        // SAFETY: the caller vouches for sixteen bytes.
        let bytes = unsafe { _mm_loadu_si128(place.cast()) };
        let high = _mm_unpackhi_epi64(bytes, bytes);
        Self([_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(high)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn tiles(places: Places) -> Halves {
        // SAFETY: the caller vouches for a tile at each.
        unsigned_halves(unsafe { Self::quads(places) }.0)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn tiles_in_row(place: *const u8) -> Halves {
        // SAFETY: the caller vouches for four tiles.
        let (low, high) = unsafe {
            let high = place.wrapping_add(32).cast();
            (_mm256_loadu_si256(place.cast()), _mm256_loadu_si256(high))
        };
        unsigned_halves([low, high])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn columns(place: *const Four) -> Halves {
        // SAFETY: the caller vouches for four bytes.
        let four = unsafe { place.cast::<i32>().read_unaligned() };
        signed_halves([_mm256_set1_epi32(four); 2])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn columns_in_row(place: *const Four) -> Halves {
        // SAFETY: the caller vouches for sixteen bytes.
        let columns = unsafe { _mm_loadu_si128(place.cast()) };
        let columns = _mm256_castsi128_si256(columns);
        let low = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
        let high = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
        let four_times = [low, high].map(|places| _mm256_permutevar8x32_epi32(columns, places));
        signed_halves(four_times)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn row(place: *const u8) -> Halves {
        // SAFETY: the caller vouches for 64 bytes.
        let (low, high) = unsafe {
            let high = place.wrapping_add(32).cast();
            (_mm256_loadu_si256(place.cast()), _mm256_loadu_si256(high))
        };
        let raised = |x| _mm256_xor_si256(x, _mm256_set1_epi8(i8::MIN));
        let even = |x| _mm256_and_si256(raised(x), _mm256_set1_epi16(0xff));
        let odd = |x| _mm256_srli_epi16::<8>(raised(x));
        Halves([[even(low), even(high)], [odd(low), odd(high)]])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn inputs(place: *const Four) -> Halves {
        // SAFETY: the caller vouches for 64 bytes.
        let (low, high) = unsafe {
            let high = place.wrapping_add(8).cast();
            (_mm256_loadu_si256(place.cast()), _mm256_loadu_si256(high))
        };
        signed_halves([low, high])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot(self, weights: Halves, inputs: Halves) -> Self {
        let ([even, odd], [x_even, x_odd]) = (weights.0, inputs.0);
        let products = |w, x| _mm256_madd_epi16(w, x);
        let of_even = both(even, x_even, products);
        let of_odd = both(odd, x_odd, products);
        let sum = both(of_even.0, of_odd.0, |a, b| _mm256_add_epi32(a, b));
        both(self.0, sum.0, |a, b| _mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn dot_unsigned(self, weights: Halves, inputs: Halves) -> Self {
        // SAFETY: the caller's; halves are of 16 bits, with a sign or without.
        unsafe { self.dot(weights, inputs) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sum(place: *const Four, fours: usize) -> i32 {
        let mut sums = _mm256_setzero_si256();
        for four in (0..fours).step_by(2) {
            let place = place.wrapping_add(four);
            // SAFETY: eight bytes are there, and four at the last of an odd number of fours.
            let eight = unsafe {
                match fours - four {
                    1 => _mm_cvtsi32_si128(place.cast::<i32>().read_unaligned()),
                    _ => _mm_loadl_epi64(place.cast()),
                }
            };
            sums = _mm256_add_epi32(sums, _mm256_cvtepi8_epi32(eight));
        }
        let (low, high) = (
            _mm256_castsi256_si128(sums),
            _mm256_extracti128_si256::<1>(sums),
        );
        let pairs = _mm_hadd_epi32(_mm_add_epi32(low, high), _mm_setzero_si128());
        _mm_cvtsi128_si32(_mm_hadd_epi32(pairs, pairs))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn multiply_add(self, weights: Self, inputs: Self) -> Self {
        let products = both(weights.0, inputs.0, |w, x| _mm256_madd_epi16(w, x));
        both(self.0, products.0, |a, b| _mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add_tiles(panels: [Self; PANELS]) -> Self {
        let [a, b, c, d] = panels.map(|panel| _mm256_add_epi32(panel.0[0], panel.0[1]));
        let halves = |a, b| {
            let low = _mm256_permute2x128_si256::<0x20>(a, b);
            let high = _mm256_permute2x128_si256::<0x31>(a, b);
            _mm256_add_epi32(low, high)
        };
        Self([halves(a, b), halves(c, d)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn totals([a, b, c, d]: [Self; 4]) -> [i32; 4] {
        let quarter = |x: Self| {
            let half = _mm256_add_epi32(x.0[0], x.0[1]);
            _mm_add_epi32(
                _mm256_castsi256_si128(half),
                _mm256_extracti128_si256::<1>(half),
            )
        };
        totals([quarter(a), quarter(b), quarter(c), quarter(d)])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn add(self, other: Self) -> Self {
        both(self.0, other.0, |a, b| _mm256_add_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn less(self, other: Self) -> Self {
        both(self.0, other.0, |a, b| _mm256_sub_epi32(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn odd_less_even(self) -> Self {
        Self(self.0.map(|x| {
            let even = _mm256_slli_epi64::<32>(x);
            _mm256_sub_epi32(x, even)
        }))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shift_left(self, by: Self) -> Self {
        both(self.0, by.0, |x, by| _mm256_sllv_epi32(x, by))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn shift_right(self, by: Self) -> Self {
        both(self.0, by.0, |x, by| _mm256_srav_epi32(x, by))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn upper_product(self, other: Self) -> Self {
        both(self.0, other.0, |x, y| upper_product(x, y))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn upper_sum_of_products([a, m]: [Self; 2], [b, n]: [Self; 2]) -> Self {
        let down = |x: __m256i| _mm256_srli_epi64::<32>(x);
        let sum = |a, m, b, n| _mm256_add_epi64(_mm256_mul_epi32(a, m), _mm256_mul_epi32(b, n));
        Self([0, 1].map(|half| {
            let (a, m, b, n) = (a.0[half], m.0[half], b.0[half], n.0[half]);
            let odd = sum(down(a), down(m), down(b), down(n));
            _mm256_blend_epi32::<0b1010_1010>(down(sum(a, m, b, n)), odd)
        }))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn narrow(self, range: &Output) -> __m128i {
        let zero_point = _mm256_set1_epi32(range.zero_point.into());
        let [low, high] = self.0.map(|x| {
            let shifted = _mm256_add_epi32(x, zero_point);
            let high = _mm256_extracti128_si256::<1>(shifted);
            _mm_packs_epi32(_mm256_castsi256_si128(shifted), high)
        });
        let raised = _mm_max_epi8(_mm_packs_epi16(low, high), _mm_set1_epi8(range.min));
        _mm_min_epi8(raised, _mm_set1_epi8(range.max))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn narrow_four([a, b, c, d]: [Self; 4], range: &Output) -> [__m128i; 4] {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (a.narrow(range), b.narrow(range));
            [a, b, c.narrow(range), d.narrow(range)]
        }
    }
}
