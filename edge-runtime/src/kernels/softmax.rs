/// `round(256·e_i/Σe) − 128`, saturated, with `e_i` looked up by the distance to the maximum.
///
/// The table is exact to half a unit of 2⁻¹⁶ and the quotient is rounded once, so the result is
/// within one unit of the real softmax for up to 128 classes: n table errors of 2⁻¹⁷ shift the
/// quotient by less than n·2⁻⁹ units, plus half a unit of rounding.
pub(crate) fn softmax(x: &[i8], y: &mut [i8], exponentials: &[u8]) {
    let max = x.iter().copied().max().unwrap_or(0);
    let exponential = |x: i8| {
        let distance = (max as i32 - x as i32) as usize;
        let entry = exponentials
            .get(2 * distance..)
            .and_then(|rest| rest.first_chunk::<2>());
        entry.map_or(0, |bytes| u16::from_le_bytes(*bytes) as u32)
    };
    let sum: u32 = x.iter().map(|&x| exponential(x)).sum();
    for (y, &x) in y.iter_mut().zip(x) {
        // At most 2²⁴ + 2³⁰.
        let probability = (exponential(x) * 256 + sum / 2)
            .checked_div(sum)
            .unwrap_or(0);
        *y = (probability.min(255) as i32 - 128) as i8;
    }
}
