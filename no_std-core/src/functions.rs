//! Functions of real numbers by integers alone, with their error bounds.

/// `round(65536·σ(i/32))` for i = 0, 1, … 337.
const SIGMOIDS: [u16; 338] = [
    32768, 33280, 33792, 34303, 34813, 35323, 35831, 36338, 36843, 37346, 37847, 38345, 38841,
    39334, 39824, 40310, 40793, 41273, 41748, 42220, 42687, 43150, 43608, 44062, 44511, 44954,
    45393, 45826, 46254, 46677, 47094, 47505, 47911, 48310, 48704, 49092, 49474, 49850, 50220,
    50584, 50941, 51293, 51638, 51977, 52310, 52637, 52957, 53272, 53581, 53883, 54179, 54470,
    54754, 55033, 55306, 55572, 55834, 56089, 56339, 56583, 56822, 57055, 57284, 57506, 57724,
    57936, 58144, 58346, 58544, 58737, 58925, 59108, 59287, 59462, 59632, 59797, 59959, 60116,
    60270, 60419, 60565, 60706, 60844, 60979, 61109, 61237, 61360, 61481, 61598, 61712, 61823,
    61931, 62036, 62138, 62238, 62334, 62428, 62519, 62608, 62694, 62778, 62859, 62938, 63015,
    63090, 63162, 63233, 63301, 63368, 63432, 63495, 63556, 63615, 63672, 63728, 63782, 63835,
    63886, 63935, 63983, 64030, 64075, 64119, 64162, 64203, 64244, 64283, 64321, 64357, 64393,
    64427, 64461, 64494, 64525, 64556, 64585, 64614, 64642, 64669, 64696, 64721, 64746, 64770,
    64793, 64816, 64838, 64859, 64880, 64900, 64919, 64938, 64956, 64974, 64991, 65008, 65024,
    65039, 65055, 65069, 65084, 65097, 65111, 65124, 65136, 65149, 65160, 65172, 65183, 65194,
    65204, 65215, 65224, 65234, 65243, 65252, 65261, 65269, 65277, 65285, 65293, 65300, 65308,
    65315, 65321, 65328, 65334, 65341, 65347, 65352, 65358, 65364, 65369, 65374, 65379, 65384,
    65388, 65393, 65397, 65402, 65406, 65410, 65414, 65417, 65421, 65425, 65428, 65431, 65435,
    65438, 65441, 65444, 65446, 65449, 65452, 65454, 65457, 65459, 65462, 65464, 65466, 65468,
    65470, 65472, 65474, 65476, 65478, 65480, 65482, 65483, 65485, 65486, 65488, 65489, 65491,
    65492, 65494, 65495, 65496, 65497, 65499, 65500, 65501, 65502, 65503, 65504, 65505, 65506,
    65507, 65508, 65509, 65509, 65510, 65511, 65512, 65513, 65513, 65514, 65515, 65515, 65516,
    65517, 65517, 65518, 65518, 65519, 65519, 65520, 65520, 65521, 65521, 65522, 65522, 65523,
    65523, 65523, 65524, 65524, 65525, 65525, 65525, 65526, 65526, 65526, 65527, 65527, 65527,
    65527, 65528, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532,
    65532, 65532, 65532, 65533, 65533, 65533, 65533, 65533, 65533, 65533, 65533, 65533, 65533,
    65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534,
];

/// 65,536 · σ(x) for x in 1/32,768ths, 2 … 65,534: entries at every 1/32 with straight lines between.
/// A line is at most `σ″/8 · 2⁻¹⁰` off, 0.8 units; entry and line are rounded, half a unit each.
fn sigmoid_q16(x: i32) -> i32 {
    let magnitude = x.unsigned_abs();
    let (place, rest) = ((magnitude >> 10) as usize, (magnitude & 1023) as i32);
    let entry = |place: usize| SIGMOIDS.get(place).map_or(65_534, |&s| s as i32);
    let (from, to) = (entry(place), entry(place + 1));
    let above = from + (((to - from) * rest + 512) >> 10);
    if x < 0 { 65_536 - above } else { above }
}

/// `1 / (1 + e^−x)`, from 1/32,768ths to 1/32,768ths, 1 … 32,767; within 1.5 units for |x| ≤ 8.
pub fn sigmoid(x: i32) -> i32 {
    (sigmoid_q16(x) + 1) >> 1
}

/// `tanh x = 2σ(2x) − 1`, from 1/32,768ths to 1/32,768ths, −32,766 … 32,766; within 2 units.
pub fn tanh(x: i32) -> i32 {
    sigmoid_q16(x.saturating_mul(2)) - 32_768
}

/// `ln(n / 65535)` in 1/65,536ths, within 0.6 units; 0 counts as 1.
///
/// The binary logarithm is found bit by bit by squaring (Majithia & Levan 1973), 20 bits after the
/// point.
pub fn ln_q16(n: u32) -> i32 {
    let zeros = n.max(1).leading_zeros();
    let mut mantissa = (n.max(1) << zeros) as u64; // of 2³¹ … 2³²
    let mut log2 = (31 - zeros) as i64;
    for _ in 0..LOG_BITS {
        mantissa = (mantissa * mantissa) >> 31;
        let carry = mantissa >> 32;
        log2 = log2 << 1 | carry as i64;
        mantissa >>= carry;
    }
    // Half a unit of the last bit, which was cut off, and one of the result. Below 2⁵⁷.
    let twice = (2 * log2 + 1) * LN_2_Q31;
    ((twice - LN_65535_Q52 + (1 << 35)) >> 36) as i32
}

const LOG_BITS: u32 = 20;

/// ln 2 · 2³¹
const LN_2_Q31: i64 = 1_488_522_236;

/// ln 65535 · 2⁵²
const LN_65535_Q52: i64 = 49_946_449_425_321_844;

/// `1/√n` as `(r, e)` for `r · 2^(e − 62)`, r in 2³⁰ … 2³¹ and e in 0 … 31; relative error below
/// 2⁻²⁹. 0 counts as 1.
pub fn reciprocal_sqrt(n: u64) -> (u32, u32) {
    let n = n.max(1);
    let half = n.leading_zeros() / 2;
    // At least 2³¹, so that the quotient is at most 2³¹.
    let root = sqrt(n << (2 * half)).max(1 << 31);
    (((1u64 << 62) / root as u64) as u32, half)
}

/// `⌊√n⌋`, bit by bit.
fn sqrt(n: u64) -> u32 {
    let mut root = 0u32;
    for bit in (0..32).rev() {
        let larger = root | 1 << bit;
        if larger as u64 * larger as u64 <= n {
            root = larger;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_sigmoid() {
        for (i, &entry) in SIGMOIDS.iter().enumerate() {
            let real = 65_536.0 / (1.0 + (-(i as f64) / 32.0).exp());
            assert_eq!(entry as f64, real.round(), "{i}");
        }
    }

    #[test]
    fn gates_are_within_their_bounds_for_every_pre_activation() {
        for q in i16::MIN..=i16::MAX {
            let x = q as f64 / 4096.0;
            let (sigmoid, tanh) = (sigmoid((q as i32) << 3), tanh((q as i32) << 3));
            let real = 32_768.0 / (1.0 + (-x).exp());
            assert!((sigmoid as f64 - real).abs() <= 1.5, "σ({x}): {sigmoid}");
            assert!((1..=32_767).contains(&sigmoid));
            assert!(
                (tanh as f64 - 32_768.0 * x.tanh()).abs() <= 2.0,
                "tanh({x})"
            );
            assert!(tanh.abs() <= 32_766);
        }
    }

    #[test]
    fn far_arguments_saturate() {
        for x in [i32::MAX, i32::MIN, 1 << 30] {
            let sign = if x < 0 { -1 } else { 1 };
            assert_eq!(tanh(x), 32_766 * sign);
        }
        assert_eq!((sigmoid(i32::MIN), sigmoid(i32::MAX)), (1, 32_767));
    }

    #[test]
    fn logarithms_are_within_their_bound() {
        let numbers = (0..31).flat_map(|bit| [0u32, 1, 12_345].map(|more| (1 << bit) + more));
        for n in numbers.chain([65_535, u32::MAX, 65_534, 999_999_937]) {
            let real = 65_536.0 * (f64::from(n) / 65_535.0).ln();
            assert!((f64::from(ln_q16(n)) - real).abs() <= 0.6, "{n}");
        }
        assert_eq!(ln_q16(65_535), 0);
    }

    #[test]
    fn reciprocal_roots_are_within_their_bound() {
        let numbers = (0..64).flat_map(|bit| [0u64, 1, 12_345].map(|more| (1 << bit) + more));
        for n in numbers.chain([u64::MAX, u64::MAX - 1, 999_999_999_999_937]) {
            let (r, e) = reciprocal_sqrt(n);
            let found = f64::from(r) * 2f64.powi(e as i32 - 62);
            let error = found * (n as f64).sqrt() - 1.0;
            assert!(error.abs() < 2f64.powi(-29), "{n}: {error:e}");
        }
    }
}
