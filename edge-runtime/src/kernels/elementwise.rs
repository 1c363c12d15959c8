use no_std_core::numerics::Output;

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
