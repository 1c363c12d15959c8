use no_std_core::functions::ln_q16;
use no_std_core::numerics::{Output, round_shift};
use no_std_core::operator::Integers;

/// The largest channel; the smallest int8 of none.
fn largest(channels: &[i8]) -> i8 {
    channels
        .iter()
        .fold(i8::MIN, |max, &x| if x > max { x } else { max })
}

/// The table's entry for the distance of `x` to the largest.
fn exponential(exponentials: &[u8], max: i8, x: i8) -> u32 {
    let distance = (max as i32 - x as i32) as usize;
    let entry = exponentials.get(2 * distance..);
    let entry = entry.and_then(|rest| rest.first_chunk::<2>());
    entry.map_or(0, |bytes| u16::from_le_bytes(*bytes) as u32)
}

/// `round(256·e_i/Σe) − 128`, saturated, with `e_i` looked up by the distance to the maximum.
///
/// The table is exact to half a unit of 2⁻¹⁶ and the quotient is rounded once, so the result is
/// within one unit of the real softmax for up to 128 classes: n table errors of 2⁻¹⁷ shift the
/// quotient by less than n·2⁻⁹ units, plus half a unit of rounding.
#[inline(never)]
pub(crate) fn softmax(values: &mut [i8], channels: usize, exponentials: &[u8]) {
    for place in values.chunks_exact_mut(channels.max(1)) {
        let max = largest(place);
        let sum: u32 = place
            .iter()
            .map(|&x| exponential(exponentials, max, x))
            .sum();
        for y in place {
            // At most 2²⁴ + 2³⁰.
            let probability = (exponential(exponentials, max, *y) * 256 + sum / 2)
                .checked_div(sum)
                .unwrap_or(0);
            *y = (probability.min(255) as i32 - 128) as i8;
        }
    }
}

/// `requantize((x − max)·m₀ + ln Σe·m₁)`, the logarithm in 1/65,536ths.
///
/// Range: 2⁸·2³⁰ and 2²⁰·2³⁰ in i64. The n entries of the table are each within 2⁻¹⁷ of the real
/// exponentials, of which one is 1, so the logarithm is within `(n + 2)·2⁻¹⁷` of the real one.
#[inline(never)]
pub(crate) fn log_softmax(
    values: &mut [i8],
    channels: usize,
    exponentials: &[u8],
    mantissas: [i32; 2],
    shift: u8,
    range: &Output,
) {
    for place in values.chunks_exact_mut(channels.max(1)) {
        let max = largest(place);
        let sum = place
            .iter()
            .map(|&x| exponential(exponentials, max, x))
            .sum();
        let total = ln_q16(sum) as i64 * mantissas[1] as i64;
        for y in place {
            let distance = (*y as i32 - max as i32) as i64;
            let steps = round_shift(distance * mantissas[0] as i64 + total, shift);
            *y = range.shifted(steps);
        }
    }
}

/// `requantize((x − z)·m)`, m by the sign of `x − z`. Range: 2⁸·2³⁰ in i64.
#[inline(never)]
pub(crate) fn p_relu(
    values: &mut [i8],
    channels: usize,
    zero_point: i8,
    [mut positive, negative]: [Integers; 2],
    per_channel: bool,
    shift: u8,
    range: &Output,
) {
    let (above, single) = (positive.take(), negative.clone().take());
    for place in values.chunks_exact_mut(channels.max(1)) {
        let mut slopes = negative;
        for y in place {
            let below = if per_channel { slopes.take() } else { single };
            let x = *y as i32 - zero_point as i32;
            let factor = if x < 0 { below } else { above };
            *y = range.shifted(round_shift(x as i64 * factor as i64, shift));
        }
    }
}

/// `min(place, 255) − 128` of the largest channel.
#[inline(never)]
pub(crate) fn arg_max(x: &[i8], y: &mut [i8], channels: usize, last: bool) {
    for (y, place) in y.iter_mut().zip(x.chunks_exact(channels.max(1))) {
        let start = (0, i8::MIN);
        let (best, _) = place.iter().enumerate().fold(start, |best, (i, &x)| {
            if x > best.1 || (last && x == best.1) {
                (i, x)
            } else {
                best
            }
        });
        *y = (best.min(255) as i32 - 128) as i8;
    }
}
