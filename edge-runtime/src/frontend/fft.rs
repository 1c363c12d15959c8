//! The spectrum of real samples, in place, in 32 bits.
//!
//! `n` real samples are `n/2` complex ones, whose radix-2 transform (Cooley and Tukey 1965) is then
//! taken apart (Press et al., Numerical Recipes, 12.3). Where the samples are below `2³⁰/n` in
//! magnitude, no intermediate value, a partial sum of them, passes 2³⁰ but for roundings, and sums
//! of two stay within 32 bits.

use super::wave::Wave;

/// Real and imaginary part.
pub(super) type Complex = [i32; 2];

/// Puts samples where the transform begins: pairs, in the order of their reversed bits.
pub(super) fn load(words: &mut [i32], samples: impl Iterator<Item = i32>) {
    words.fill(0);
    let bits = words.len().trailing_zeros().saturating_sub(1);
    for (n, sample) in samples.enumerate() {
        let pair = (n >> 1).reverse_bits() >> (usize::BITS - bits.max(1));
        if let Some(word) = words.get_mut(2 * pair + (n & 1)) {
            *word = sample;
        }
    }
}

/// The bins below half the sampling rate, of which the first, of no frequency, has no meaning. The
/// circle has as many steps in a turn as there are samples.
pub(super) fn spectrum<'s>(words: &'s mut [i32], circle: Wave) -> &'s [Complex] {
    let (z, _) = words.as_chunks_mut::<2>();
    transform(z, circle);
    take_apart(z, circle);
    z
}

/// `z · (cos − i·sin)`. Of magnitudes below 2³¹ and 1, products and their sum are below 2⁶².
#[inline(always)]
fn turned([re, im]: Complex, cos: i32, sin: i32) -> Complex {
    let times = |a: i32, b: i32| i64::from(a) * i64::from(b);
    let rounded = |wide: i64| ((wide + (1 << 29)) >> 30) as i32;
    [
        rounded(times(re, cos) + times(im, sin)),
        rounded(times(im, cos) - times(re, sin)),
    ]
}

#[inline(always)]
fn sum(a: Complex, b: Complex) -> Complex {
    [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])]
}

#[inline(always)]
fn difference(a: Complex, b: Complex) -> Complex {
    [a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1])]
}

#[inline(never)]
fn transform(z: &mut [Complex], circle: Wave) {
    // A turn of a block of 2·half is one of the circle, of 2·z.len() steps.
    let (mut half, mut stride) = (1, z.len());
    while stride > 1 {
        for j in 0..half {
            let (cos, sin) = (circle.cos(j * stride), circle.sin(j * stride));
            for block in z.chunks_exact_mut((2 * half).max(1)) {
                let (low, high) = block.split_at_mut_checked(half).unwrap_or_default();
                if let (Some(a), Some(b)) = (low.get_mut(j), high.get_mut(j)) {
                    let turned = if j == 0 { *b } else { turned(*b, cos, sin) };
                    (*a, *b) = (sum(*a, turned), difference(*a, turned));
                }
            }
        }
        (half, stride) = (2 * half, stride / 2);
    }
}

/// The even samples' spectrum is `(z + z̄')/2`, the odd ones' `(z − z̄')/2i`, z' as far from the end as z
/// from the beginning.
// Not inline, nor is the transform: in one function with all the rest their loops run out of registers.
#[inline(never)]
fn take_apart(z: &mut [Complex], circle: Wave) {
    let (_, rest) = z.split_first_mut().unwrap_or((&mut [0, 0], &mut []));
    let (low, high) = rest
        .split_at_mut_checked(rest.len() / 2)
        .unwrap_or_default();
    for (k, (low, high)) in (1..).zip(low.iter_mut().zip(high.iter_mut().rev())) {
        let even = [halved(low[0], high[0]), halved(low[1], -high[1])];
        let odd = [halved(low[1], high[1]), halved(high[0], -low[0])];
        let turned = turned(odd, circle.cos(k), circle.sin(k));
        *low = sum(even, turned);
        let [re, im] = difference(even, turned);
        *high = [re, -im];
    }
    // In the middle z' is z, and the odd samples turn by a quarter.
    if let Some([_, im]) = high.first_mut() {
        *im = -*im;
    }
}

/// `(a + b)/2` of magnitudes a rounding above 2³⁰ at most.
#[inline(always)]
fn halved(a: i32, b: i32) -> i32 {
    a.wrapping_add(b) >> 1
}

#[cfg(test)]
mod tests {
    use super::super::wave::ONE;
    use super::*;
    use std::f64::consts::TAU;
    use std::vec;
    use std::vec::Vec;

    fn check(samples: &[i32]) {
        let n = samples.len();
        let mut words = vec![0; n];
        let mut table = vec![0; n / 4 + 1];
        load(&mut words, samples.iter().copied());
        let bins = spectrum(&mut words, Wave::fill(&mut table, ONE));
        for (k, bin) in bins.iter().enumerate().skip(1) {
            let mut real = [0.0, 0.0];
            for (i, &x) in samples.iter().enumerate() {
                let (sin, cos) = (TAU * ((k * i) % n) as f64 / n as f64).sin_cos();
                real[0] += f64::from(x) * cos;
                real[1] -= f64::from(x) * sin;
            }
            let error = (0..2).map(|p| (f64::from(bin[p]) - real[p]).abs());
            let error = error.fold(0.0, f64::max);
            // Each stage rounds a product, and a factor, by 2⁻²⁹ of bins of up to 2³⁰.
            let bound = 4.0 * f64::from(n.ilog2());
            assert!(error < bound, "bin {k} of {n} is off by {error}");
        }
    }

    #[test]
    fn it_is_the_discrete_fourier_transform() {
        for n in [64, 128, 256, 512, 1024, 2048] {
            let full = (1 << 30) / n as i32;
            let noise = (0..n as u32).map(|i| {
                let bits = i.wrapping_mul(2_654_435_761) ^ i.wrapping_mul(40_503) << 7;
                (bits as i32 >> 1) / (n as i32 / 2) / 2
            });
            check(&noise.collect::<Vec<_>>());
            check(
                &(0..n)
                    .map(|i| if i == 3 { full } else { 0 })
                    .collect::<Vec<_>>(),
            );
            check(
                &(0..n)
                    .map(|i| if i % 2 == 0 { full } else { -full })
                    .collect::<Vec<_>>(),
            );
            check(
                &(0..n)
                    .map(|i| if i / 5 % 2 == 0 { full } else { -full })
                    .collect::<Vec<_>>(),
            );
            check(&vec![-full; n]);
        }
    }
}
