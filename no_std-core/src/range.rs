//! Adaptive binary range coding (G. N. N. Martin 1979; the carry-less decoder of LZMA): each decision
//! narrows a range of 32 bits by the probability that was learned from the decisions before it.

/// How probable a set bit is, learned from the bits seen so far: in the upper 16 bits the probability,
/// in 65,536ths, and below it how many bits were seen, plus two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability(u32);

/// Where a probability is kept in scratch memory.
pub(crate) type Cell = [i8; 4];

/// After so many bits (less two) the past fades at a constant rate, the 128th part each time.
const MAX_SEEN: u32 = 128;

impl Probability {
    /// Of nothing seen yet.
    pub const EVEN: Self = Self(0x8000 << 16 | 2);

    /// In 4,096ths, 1 … 4,095.
    #[inline(always)]
    pub const fn of_one(self) -> u32 {
        self.0 >> 20 | 1
    }

    /// After one more bit: the n-th moves the probability by about the n-th part of the way.
    #[inline(always)]
    pub const fn learn(self, bit: bool) -> Self {
        let Self(word) = self;
        let seen = word & 0xffff;
        // 17 … 23: the probability's own 16 bits, and log2 of seen, which is 2 … 128.
        let rate = 47 - seen.leading_zeros();
        let word = if bit {
            word + ((!word >> rate) << 16)
        } else {
            word - ((word >> rate) << 16)
        };
        Self(word + (seen < MAX_SEEN) as u32)
    }

    pub(crate) fn cell(self) -> Cell {
        self.0.to_le_bytes().map(|byte| byte as i8)
    }

    #[inline(always)]
    fn from_cell(cell: Cell) -> Self {
        Self(u32::from_le_bytes(cell.map(|byte| byte as u8)))
    }
}

/// The least that a range is between decisions: what is above it leaves a probability its precision.
pub const MIN_RANGE: u32 = 1 << 24;

/// Most bits read at once that are as probable as not.
pub const MAX_EVEN_BITS: u32 = 16;

/// Reads decisions. Bytes past the end are zeros, so it cannot fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
    range: u32,
    code: u32,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            rest: bytes,
            range: u32::MAX,
            code: 0,
        };
        for _ in 0..4 {
            decoder.shift_in();
        }
        decoder
    }

    #[inline(always)]
    fn shift_in(&mut self) {
        let mut byte = 0;
        if let Some((&first, rest)) = self.rest.split_first() {
            (byte, self.rest) = (first, rest);
        }
        self.code = self.code << 8 | byte as u32;
    }

    #[inline(always)]
    fn widen(&mut self) {
        if self.range < MIN_RANGE {
            self.widen_by_bytes();
        }
    }

    /// One or two: no decision narrows a range by more than 4,096, nor even bits by more than 2¹⁶.
    #[cold]
    #[inline(never)]
    fn widen_by_bytes(&mut self) {
        while self.range < MIN_RANGE {
            self.range <<= 8;
            self.shift_in();
        }
    }

    /// The next decision, from which its probability learns.
    #[inline(always)]
    pub(crate) fn bit(&mut self, cell: &mut Cell) -> bool {
        let probability = Probability::from_cell(*cell);
        // Not 0, and less than the range: 1 … 4,095 parts of at least 2¹², of 4,096.
        let bound = (self.range >> 12) * probability.of_one();
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        *cell = probability.learn(bit).cell();
        self.widen();
        bit
    }

    /// A number of `count` bits, 0 … [`MAX_EVEN_BITS`], of which any is as probable as any other.
    pub(crate) fn even(&mut self, count: u32) -> u32 {
        self.range >>= count.min(MAX_EVEN_BITS);
        // The range is at least 2⁸. A stream that no encoder wrote may hold more than `count` bits.
        let value = self.code.checked_div(self.range).unwrap_or(0);
        let value = value.min((1 << count.min(MAX_EVEN_BITS)) - 1);
        self.code = self.code.wrapping_sub(value.wrapping_mul(self.range));
        self.widen();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_stays_between_its_ends() {
        for bit in [false, true] {
            let mut p = Probability::EVEN;
            for _ in 0..10_000 {
                p = p.learn(bit);
                assert!((1..4096).contains(&p.of_one()));
            }
            assert_eq!(p.of_one() > 4000, bit);
        }
    }

    #[test]
    fn any_bytes_are_decisions() {
        let mut cells = [Probability::EVEN.cell(); 2];
        for bytes in [&[0xff; 40][..], &[0; 3], &[]] {
            let mut decoder = Decoder::new(bytes);
            for i in 0..1000 {
                decoder.bit(&mut cells[i % 2]);
                assert!(decoder.even(i as u32 % 17) < 1 << (i % 17));
                assert!(decoder.range >= MIN_RANGE);
            }
        }
    }
}
