//! Fixed-point arithmetic: the one definition of rounding that host and device share.

/// Longest row of a weight matrix, in elements. With int8 operands (products of at most 2¹⁴ in
/// magnitude) a row then sums to at most 2³⁰, which leaves room for a [`MAX_BIAS`].
pub const MAX_ROW: usize = 1 << 16;

/// Largest bias; the least is −2³⁰. Bias + row then stays inside 32 bits.
pub const MAX_BIAS: i32 = (1 << 30) - 1;

/// A positive real factor `mantissa · 2^−shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// 0 … 2³¹ − 1; normalized multipliers have bit 30 set.
    pub mantissa: i32,
    /// 1 … 62.
    pub shift: u8,
}

impl Multiplier {
    /// Makes nothing of everything.
    pub const ZERO: Self = Self {
        mantissa: 0,
        shift: 1,
    };

    /// A multiplier, if it is within range.
    pub const fn new(mantissa: i32, shift: u8) -> Option<Self> {
        if mantissa >= 0 && shift >= 1 && shift <= 62 {
            Some(Self { mantissa, shift })
        } else {
            None
        }
    }

    /// This times a channel's gain, `(8 + low) / 16 / 2^high` of the byte's three low and five high bits, but
    /// for the mantissa's lowest four bits, which do not count; if it is within range.
    pub const fn with_gain(self, gain: u8) -> Option<Self> {
        // Below 2²⁷ times at most 15.
        let mantissa = (self.mantissa >> 4) * (8 + (gain & 7) as i32);
        Self::new(mantissa, self.shift + (gain >> 3))
    }

    /// `round(accumulator · mantissa / 2^shift)`, ties towards +∞: the one rounding of a layer.
    ///
    /// Range: |accumulator · mantissa| ≤ 2³¹·(2³¹−1) < 2⁶². The result saturates to 32 bits.
    #[inline(always)]
    pub const fn scale(self, accumulator: i32) -> i32 {
        rounded(accumulator as i64 * self.mantissa as i64, self.shift)
    }
}

/// Least shift of which only the upper half of a 64-bit sum counts.
pub const FAST_SHIFT: u8 = 33;

/// As [`round_shift`], fast for shifts of at least [`FAST_SHIFT`], as those of most factors are.
///
/// Range: with |sum| ≤ 2⁶² its upper half is below 2³⁰ in magnitude, and the rounding term at most 2²⁹; the lower
/// half cannot reach that term, which stands above it.
#[inline(always)]
pub const fn rounded(sum: i64, shift: u8) -> i32 {
    if shift < FAST_SHIFT || shift > 62 {
        return seldom(sum, shift);
    }
    ((sum >> 32) as i32 + (1 << (shift - FAST_SHIFT))) >> (shift - 32)
}

/// The other shifts.
#[cold]
#[inline(never)]
const fn seldom(sum: i64, shift: u8) -> i32 {
    round_shift(sum, shift)
}

/// `round(sum / 2^shift)`, ties towards +∞, saturated to 32 bits, for |sum| ≤ 2⁶² and a shift of
/// 1 … 62 (others count as the nearest of these).
pub const fn round_shift(sum: i64, shift: u8) -> i32 {
    let shift = if shift < 1 {
        1
    } else if shift > 62 {
        62
    } else {
        shift
    };
    saturate((sum + (1 << (shift - 1))) >> shift)
}

const fn saturate(wide: i64) -> i32 {
    if wide > i32::MAX as i64 {
        i32::MAX
    } else if wide < i32::MIN as i64 {
        i32::MIN
    } else {
        wide as i32
    }
}

/// How a layer's accumulators become int8 activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// The integer that stands for zero.
    pub zero_point: i8,
    /// Lower clamp, fused ReLU included.
    pub min: i8,
    /// Upper clamp.
    pub max: i8,
}

impl Output {
    /// Scales, shifts to the zero point and clamps.
    #[inline(always)]
    pub fn requantize(&self, accumulator: i32, multiplier: Multiplier) -> i8 {
        self.shifted(multiplier.scale(accumulator))
    }

    /// Shifts what is already in the output's steps to the zero point and clamps.
    #[inline(always)]
    pub fn shifted(&self, steps: i32) -> i8 {
        self.clamp(steps.saturating_add(self.zero_point as i32))
    }

    /// Scales and clamps for an int16 output: a lower clamp at the zero point, which is 0, or above is a
    /// ReLU, any other none.
    #[inline(always)]
    pub fn requantize_wide(&self, accumulator: i32, multiplier: Multiplier) -> i16 {
        self.clamp_wide(multiplier.scale(accumulator))
    }

    /// Clamps for an int16 output.
    #[inline(always)]
    pub fn clamp_wide(&self, q: i32) -> i16 {
        let low = if self.min >= 0 { 0 } else { i16::MIN as i32 };
        let raised = if q < low { low } else { q };
        (if raised > i16::MAX as i32 {
            i16::MAX as i32
        } else {
            raised
        }) as i16
    }

    /// Clamps to the range; a lower bound above the upper one yields the upper one.
    #[inline(always)]
    pub fn clamp(&self, q: i32) -> i8 {
        let (min, max) = (self.min as i32, self.max as i32);
        let raised = if q < min { min } else { q };
        (if raised > max { max } else { raised }) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in arbitrary-precision terms: floor(x·m/2^s + 1/2).
    fn oracle(accumulator: i32, m: Multiplier) -> i128 {
        let twice = 2 * accumulator as i128 * m.mantissa as i128 + (1i128 << m.shift);
        twice.div_euclid(1i128 << (m.shift + 1))
    }

    #[test]
    fn scale_rounds_once_with_ties_up_over_the_whole_range() {
        let accumulators = [
            i32::MIN,
            -MAX_BIAS,
            -1_000_003,
            -3,
            -2,
            -1,
            0,
            1,
            2,
            3,
            77_777,
            MAX_BIAS,
            i32::MAX,
        ];
        for shift in 1..=62 {
            for mantissa in [0, 1, 3, 1 << 30, 0x5555_5555, i32::MAX] {
                let m = Multiplier::new(mantissa, shift).expect("in range");
                for a in accumulators {
                    let expected = oracle(a, m).clamp(i32::MIN as i128, i32::MAX as i128);
                    assert_eq!(m.scale(a) as i128, expected, "{a} * {mantissa} >> {shift}");
                }
            }
        }
    }

    #[test]
    fn gains_are_sixteenths_and_halvings() {
        let common = Multiplier::new(0x7fff_fff0, 40).expect("in range");
        for gain in 0..=u8::MAX {
            let (low, high) = (i32::from(gain % 8), gain / 8);
            let expected = Multiplier::new(0x07ff_ffff * (8 + low), 40 + high);
            assert_eq!(common.with_gain(gain), expected.filter(|_| high <= 22));
        }
    }

    #[test]
    fn multipliers_out_of_range_are_refused() {
        assert!(Multiplier::new(-1, 5).is_none());
        assert!(Multiplier::new(1, 0).is_none());
        assert!(Multiplier::new(1, 63).is_none());
    }

    #[test]
    fn requantize_saturates_and_honours_the_clamp() {
        let m = Multiplier::new(1 << 30, 30).expect("one");
        let relu = Output {
            zero_point: -128,
            min: -128,
            max: 127,
        };
        assert_eq!(relu.requantize(i32::MIN, m), -128);
        assert_eq!(relu.requantize(i32::MAX, m), 127);
        assert_eq!(relu.requantize(100, m), -28);
        assert_eq!(
            Output {
                zero_point: 0,
                min: 5,
                max: -5
            }
            .clamp(0),
            -5
        );
    }
}
