//! Sines, by integers alone.

/// 1 in Q30.
pub(super) const ONE: i64 = 1 << 30;

/// π/2 in Q30.
const QUARTER_TURN: u64 = 1_686_629_713;

/// Product of two numbers in Q30, of magnitudes whose product stays below 2⁶².
const fn times(a: i64, b: i64) -> i64 {
    (a * b + (1 << 29)) >> 30
}

/// What each term of the sine's series is of the one before, but for the square, in Q30, from the last.
const SERIES: [i64; 6] = [
    ONE / (12 * 13),
    ONE / (10 * 11),
    ONE / (8 * 9),
    ONE / (6 * 7),
    ONE / (4 * 5),
    ONE / (2 * 3),
];

/// `sin(π/2 · part/whole)` in Q30, for `part ≤ whole`, within 2⁻²⁷: its series to the 13th power.
fn sine(part: usize, whole: usize) -> i64 {
    let whole = whole.max(1) as u64;
    let x = ((QUARTER_TURN * part as u64 + whole / 2) / whole) as i64;
    // Below 2.5 in Q30, and every sum below is from 0 to 1.
    let square = times(x, x);
    let term = |sum: i64, factor: &i64| ONE - times(times(square, sum), *factor);
    let sum = SERIES.iter().fold(ONE, term);
    times(x, sum).min(ONE)
}

/// A quarter of a sine of some amplitude, from which the whole one follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wave<'t> {
    /// At `i` quarters of a turn over the length less one.
    quarter: &'t [i32],
}

impl<'t> Wave<'t> {
    /// Fills the table: a turn has four times its length less one steps. The amplitude is in Q30, at
    /// most 1.
    pub(super) fn fill(table: &'t mut [i32], amplitude: i64) -> Self {
        let steps = table.len().saturating_sub(1);
        for (i, entry) in table.iter_mut().enumerate() {
            *entry = times(sine(i, steps), amplitude) as i32;
        }
        Self { quarter: table }
    }

    /// Steps of a quarter turn.
    pub(super) fn steps(&self) -> usize {
        self.quarter.len().saturating_sub(1)
    }

    #[inline(always)]
    fn at(&self, i: usize) -> i32 {
        self.quarter.get(i).copied().unwrap_or(0)
    }

    /// The sine at `i` steps, in the first half turn.
    #[inline(always)]
    pub(super) fn sin(&self, i: usize) -> i32 {
        let q = self.steps();
        self.at(if i <= q { i } else { (2 * q).saturating_sub(i) })
    }

    /// The cosine at `i` steps, in the first turn.
    #[inline(always)]
    pub(super) fn cos(&self, i: usize) -> i32 {
        let q = self.steps();
        let i = if i <= 2 * q {
            i
        } else {
            (4 * q).saturating_sub(i)
        };
        if i <= q {
            self.at(q - i)
        } else {
            -self.at(i - q)
        }
    }
}

/// A Hann window, `sin²(π·n/length)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hann<'t> {
    /// The first half in Q15, the middle included; it is even.
    half: &'t [i16],
    /// Whether one element stands in the middle.
    middle: bool,
}

impl<'t> Hann<'t> {
    /// Fills the table, of `length / 2 + 1` elements.
    pub(super) fn fill(table: &'t mut [i16], length: usize) -> Self {
        for (n, entry) in table.iter_mut().enumerate() {
            let sine = sine(2 * n, length.max(2 * n));
            *entry = ((times(sine, sine) + (1 << 14)) >> 15).min(i16::MAX.into()) as i16;
        }
        Self {
            half: table,
            middle: length.is_multiple_of(2),
        }
    }

    /// Samples times the window, less `shift` bits, 1 … 15: below 2^(30 − shift) in magnitude.
    #[inline(always)]
    pub(super) fn times<'s>(
        &self,
        samples: impl Iterator<Item = &'s i16>,
        shift: u32,
    ) -> impl Iterator<Item = i32> {
        let back = self.half.iter().rev().skip(self.middle.into());
        let round = 1 << shift >> 1;
        let product = move |(&s, &w): (&i16, &i16)| (i32::from(s) * i32::from(w) + round) >> shift;
        samples.zip(self.half.iter().chain(back)).map(product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;
    use std::vec;

    #[test]
    fn sines_are_within_their_bound() {
        for whole in [1, 2, 3, 16, 100, 512] {
            for part in 0..=whole {
                let real = (PI / 2.0 * part as f64 / whole as f64).sin();
                let error = sine(part, whole) as f64 / ONE as f64 - real;
                assert!(error.abs() < 2f64.powi(-27), "{part}/{whole}: {error}");
            }
        }
    }

    #[test]
    fn the_whole_wave_follows_from_a_quarter() {
        let mut table = vec![0; 11];
        let wave = Wave::fill(&mut table, ONE / 2);
        for i in 0..40 {
            let (sin, cos) = (PI * i as f64 / 20.0).sin_cos();
            let close = |q: i32, real: f64| (f64::from(q) / ONE as f64 - real / 2.0).abs() < 1e-8;
            assert!(close(wave.cos(i), cos), "{i}");
            assert!(i > 20 || close(wave.sin(i), sin), "{i}");
        }
    }

    #[test]
    fn windows_are_even_and_whole() {
        for length in [2, 3, 5, 8, 200, 255, 256] {
            let mut table = vec![0; length / 2 + 1];
            let hann = Hann::fill(&mut table, length);
            let samples = vec![1i16; length];
            let windowed: vec::Vec<i32> = hann.times(samples.iter(), 1).collect();
            assert_eq!(windowed.len(), length);
            let full = vec![i16::MAX; length];
            for (n, w) in hann.times(full.iter(), 15).enumerate() {
                let real = (PI * n as f64 / length as f64).sin().powi(2) * 32767.0;
                assert!((f64::from(w) - real).abs() < 2.0, "{length}: {n}");
            }
        }
    }
}
