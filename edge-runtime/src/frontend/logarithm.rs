//! Binary logarithms.

/// Intervals of the table.
const INTERVALS: usize = 64;

/// `log2(1 + i/64)` in Q15.
const TABLE_Q15: [u16; INTERVALS + 1] = table();

const fn table() -> [u16; INTERVALS + 1] {
    let mut table = [0; INTERVALS + 1];
    let mut i = 0;
    while i <= INTERVALS {
        let log_q24 = log2_q24((INTERVALS + i) as u32) - log2_q24(INTERVALS as u32);
        table[i] = ((log_q24 + (1 << 8)) >> 9) as u16;
        i += 1;
    }
    table
}

/// `log2(x)` in Q24, below the real number by less than 2⁻²²; 0 of 0. Bit by bit: where the square of
/// a number from 1 to 2 passes 2, the next digit of its logarithm is one.
pub(super) const fn log2_q24(x: u32) -> u32 {
    let x = if x == 0 { 1 } else { x };
    let mut log = 31 - x.leading_zeros();
    let mut mantissa_q31 = x << x.leading_zeros();
    let mut digit = 0;
    while digit < 24 {
        // From 2⁶² to 2⁶⁴.
        let square_q62 = mantissa_q31 as u64 * mantissa_q31 as u64;
        let carry = (square_q62 >> 63) as u32;
        log = log << 1 | carry;
        mantissa_q31 = (square_q62 >> (31 + carry)) as u32;
        digit += 1;
    }
    log
}

/// `log2(x)` in Q15, within 10⁻⁴ of the real number; 0 of 0. Below 2²¹.
#[inline(always)]
pub(super) fn log2_q15(x: u64) -> i32 {
    let x = x.max(1);
    let zeros = x.leading_zeros();
    // What follows the leading one.
    let fraction_q32 = (x << zeros << 1 >> 32) as u32;
    let place = (fraction_q32 >> 26) as usize;
    let within_q15 = (fraction_q32 >> 11) as i32 & 0x7fff;
    let at = |i: usize| i32::from(TABLE_Q15.get(i).copied().unwrap_or(0));
    let (below, above) = (at(place), at(place + 1));
    // The difference is below 2¹⁰, the product below 2²⁵.
    let interpolated = below + (((above - below) * within_q15 + (1 << 14)) >> 15);
    ((63 - zeros as i32) << 15) + interpolated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_within_their_bounds_over_the_whole_range() {
        let interesting = (0..64).flat_map(|bit| {
            let low = 1u64 << bit;
            let within = (0..200).map(move |i| low + ((low - 1) / 199) * i);
            within.chain([low, low - 1, low | 1])
        });
        for x in interesting.filter(|&x| x > 0).chain([u64::MAX]) {
            let real = (x as f64).log2();
            let error = f64::from(log2_q15(x)) / 32768.0 - real;
            assert!(error.abs() < 1e-4, "log2({x}) is off by {error}");
            if let Ok(x) = u32::try_from(x) {
                let error = real - f64::from(log2_q24(x)) / 2f64.powi(24);
                assert!((-1e-9..2f64.powi(-22)).contains(&error), "{x}: {error}");
            }
        }
        assert_eq!((log2_q15(0), log2_q24(0)), (0, 0));
    }
}
