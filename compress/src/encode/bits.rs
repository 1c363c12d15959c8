/// Bits on their way to bytes, most significant first: the mirror of `no_std_core::bits`.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    /// Appends the low `count` bits of `value`, at most 32.
    pub(super) fn put(&mut self, value: u32, count: usize) {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> shift & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    /// Bits so far.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
