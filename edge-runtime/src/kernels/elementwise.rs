use no_std_core::numerics::Output;
use no_std_core::tensor::Tensor;

/// Clamps in place.
pub(crate) fn clamp(values: &mut [i8], range: &Output) {
    for value in values {
        *value = range.clamp(*value as i32);
    }
}

/// Replaces each x by `table[x + 128]`.
pub(crate) fn look_up(values: &mut [i8], table: &[u8]) {
    for value in values {
        let place = (*value as u8 ^ 0x80) as usize;
        *value = table.get(place).copied().unwrap_or(0) as i8;
    }
}

/// `requantize((a − zₐ)·mₐ + (b − z_b)·m_b)`. Range: two products of at most 2⁸·2³⁰, plus a
/// rounding term of at most 2⁶¹, in i64.
pub(crate) fn add(
    arena: &mut [i8],
    inputs: [&Tensor; 2],
    output: &Tensor,
    mantissas: [i32; 2],
    shift: u8,
    range: &Output,
) {
    let value = |arena: &[i8], tensor: &Tensor, i: usize| {
        let q = arena.get(tensor.offset + i).copied().unwrap_or(0);
        (q as i32 - tensor.zero_point as i32) as i64
    };
    let half = 1i64 << (shift.clamp(1, 62) - 1);
    for i in 0..output.shape.len() {
        let sum = value(arena, inputs[0], i) * mantissas[0] as i64
            + value(arena, inputs[1], i) * mantissas[1] as i64;
        let rounded = (sum + half) >> shift.clamp(1, 62);
        let q = (rounded + range.zero_point as i64).clamp(i8::MIN as i64, i8::MAX as i64);
        if let Some(y) = arena.get_mut(output.offset + i) {
            *y = range.clamp(q as i32);
        }
    }
}
