use no_std_core::functions::reciprocal_sqrt;
use no_std_core::numerics::{Output, round_shift};
use no_std_core::operator::{Integers, Operator};

/// `requantize(d/√(n²·(variance + ε))·scale + bias)`, `d = n·x − Σx` exact.
///
/// With `V = n·Σx² − (Σx)²`, which is n² variances, the root is of `2¹⁶·V + n²·ε`, below 2⁶³ for n up
/// to 2¹⁵, and is right to 2⁻²⁹. The quotient, at most √n, is rounded to 2⁻²⁰, and the scaled quotient
/// to 1/256 of a step before the bias, in 1/256ths itself, is added: the result is within 1/2 + 1/256 +
/// |scale|·(2⁻²¹ + √n·2⁻²⁹) steps of the exact value.
#[inline(never)]
pub(crate) fn layer_norm(
    values: &mut [i8],
    channels: usize,
    epsilon: u32,
    [scales, biases]: [Integers; 2],
    shift: u8,
    range: &Output,
) {
    let n = channels as i64;
    for place in values.chunks_exact_mut(channels.max(1)) {
        // At most 2²² and 2²⁹.
        let sum: i32 = place.iter().map(|&x| x as i32).sum();
        let squares: i32 = place.iter().map(|&x| x as i32 * x as i32).sum();
        let spread = n * squares as i64 - sum as i64 * sum as i64;
        let (root, exponent) = reciprocal_sqrt(((spread << 16) + n * n * epsilon as i64) as u64);
        let (mut scales, mut biases) = (scales, biases);
        for y in place {
            // 1/√(2¹⁶·v) = root·2^(exponent − 62); 8 bits more for 1/√v, 20 for the result. |d| is
            // below 2²³, the root at most 2³¹.
            let d = n * *y as i64 - sum as i64;
            let quotient = round_shift(d * root as i64, (34 - exponent) as u8);
            let scaled = round_shift(quotient as i64 * scales.take() as i64, shift + 12);
            let steps = (scaled as i64 + biases.take() as i64 + 128) >> 8;
            *y = range.shifted(steps as i32);
        }
    }
}

/// `requantize((x − z)·f(Σ(x − z)²))`, f in between its entries on a straight line; rounded once.
///
/// Range: a sum of at most 2¹⁵ squares below 2¹⁶; 2⁸·2³²·2²⁰ in i64.
#[inline(never)]
pub(crate) fn lrn(
    x: &[i8],
    y: &mut [i8],
    op: &Operator,
    size: usize,
    table: &[u8],
    step: u8,
    range: &Output,
) {
    let entry = |place: usize| {
        let place = (4 * place).min(table.len().saturating_sub(4));
        let bytes = table.get(place..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as i64)
    };
    let (channels, zero_point) = (op.output.shape.channels.max(1), op.input.zero_point as i32);
    let value = |x: i8| x as i32 - zero_point;
    let before = size.saturating_sub(1) / 2;
    let places = x.chunks_exact(channels).zip(y.chunks_exact_mut(channels));
    for (x, y) in places {
        for (channel, y) in y.iter_mut().enumerate() {
            let (from, to) = (channel.saturating_sub(before), channel + size - before);
            let summed = x.get(from..to.min(x.len())).unwrap_or(&[]);
            let sum: u32 = summed
                .iter()
                .map(|&x| value(x))
                .map(|v| (v * v) as u32)
                .sum();
            let (place, rest) = ((sum >> step) as usize, (sum & ((1 << step) - 1)) as i64);
            let factor = entry(place) * ((1 << step) - rest) + entry(place + 1) * rest;
            let x = x.get(channel).map_or(0, |&x| value(x)) as i64;
            *y = range.shifted(round_shift(x * factor, step + 16));
        }
    }
}
