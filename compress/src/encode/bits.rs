/// Bits on their way to bytes, most significant first: the mirror of `no_std_core::bits`.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, right-justified, fewer than eight.
    pending: u64,
    pending_bits: usize,
}

impl BitWriter {
    /// For so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Appends the low `count` bits of `value`, at most 32.
    pub(super) fn put(&mut self, value: u32, count: usize) {
        let low = u64::from(value) & ((1 << count) - 1);
        self.pending = self.pending << count | low;
        self.pending_bits += count;
        while self.pending_bits >= 8 {
            self.pending_bits -= 8;
            self.bytes.push((self.pending >> self.pending_bits) as u8);
        }
        self.pending &= (1 << self.pending_bits) - 1;
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.put(0, 8 - self.pending_bits);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_top() {
        let mut bits = BitWriter::default();
        bits.put(0b101, 3);
        bits.put(0, 0);
        bits.put(0xffff_ff00, 10);
        bits.put(u32::MAX, 32);
        assert_eq!(
            bits.into_bytes(),
            [0b1011_1000, 0b0000_0111, 0xff, 0xff, 0xff, 0b1111_1000]
        );
    }
}
