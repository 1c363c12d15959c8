//! Bits, most significant first.

/// A position in a bit stream. Reading past the end yields zeros, so it cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bits, left-justified; at least the upper 25 are valid.
    #[inline(always)]
    pub fn peek(&self) -> u32 {
        match self.peek_inside() {
            Some(next) => next,
            None => self.peek_at_end(),
        }
    }

    /// As [`peek`](Self::peek), unless the last three bytes have been reached.
    #[inline(always)]
    pub fn peek_inside(&self) -> Option<u32> {
        let byte = self.at >> 3;
        match self.bytes.get(byte..byte + 4) {
            Some(&[a, b, c, d]) => Some(u32::from_be_bytes([a, b, c, d]) << (self.at & 7)),
            _ => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn peek_at_end(&self) -> u32 {
        let rest = self.bytes.get(self.at >> 3..).unwrap_or(&[]);
        let bytes = rest.iter().take(3).zip([24, 16, 8]);
        bytes.fold(0, |word, (&b, shift)| word | (b as u32) << shift) << (self.at & 7)
    }

    /// Moves past `count` bits.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        *self = self.after(count);
    }

    /// The position `count` bits further on. It wraps with `usize`, far past any image.
    #[inline(always)]
    pub fn after(&self, count: u32) -> Self {
        Self {
            bytes: self.bytes,
            at: self.at.wrapping_add(count as usize),
        }
    }

    /// The next `count` bits, 0 … 25, as a number.
    #[inline(always)]
    pub fn read(&mut self, count: u32) -> u32 {
        // Two shifts: a single one by 32 would overflow when nothing is asked for.
        let value = self.peek() >> 1 >> (31 - (count & 31));
        self.skip(count);
        value
    }

    /// As [`read`](Self::read), in two's complement; 1 … 25 bits.
    #[inline(always)]
    pub fn read_signed(&mut self, count: u32) -> i32 {
        let value = (self.peek() as i32) >> (32 - count.clamp(1, 32));
        self.skip(count);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_most_significant_bit_first_and_zeros_past_the_end() {
        let mut bits = BitReader::new(&[0b1011_0001, 0xff, 0x80]);
        assert_eq!(bits.read(1), 1);
        assert_eq!(bits.read(3), 0b011);
        assert_eq!(bits.read(0), 0);
        assert_eq!(bits.read(13), 0b11_1111_1111);
        assert_eq!(bits.read(25), 0);
        assert_eq!(bits.read(25), 0);
    }

    #[test]
    fn signed_reads_extend_the_sign() {
        let mut bits = BitReader::new(&[0b1000_0111, 0, 0, 0, 0]);
        assert_eq!(bits.read_signed(4), -8);
        assert_eq!(bits.read_signed(4), 7);
    }
}
