//! Writes adaptive range codes: the mirror of `no_std_core::range`.

use no_std_core::range::{MIN_RANGE, Probability};
use std::sync::LazyLock;

/// Decisions on their way to bytes, each with what it should cost.
#[derive(Clone, Debug)]
pub(super) struct RangeEncoder {
    bytes: Vec<u8>,
    /// Where the range begins, below what was written; bit 32 is a carry to that.
    low: u64,
    range: u32,
    /// Σ −log₂ p of the decisions so far.
    bits: f64,
}

/// −log₂ of probabilities in 4,096ths.
static COSTS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let cost = |p: u32| 12.0 - f64::from(p.max(1)).log2();
    (0..=4096).map(cost).collect()
});

impl Default for RangeEncoder {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            low: 0,
            range: u32::MAX,
            bits: 0.0,
        }
    }
}

impl RangeEncoder {
    /// A decision, from which its probability learns.
    pub(super) fn bit(&mut self, probability: &mut Probability, bit: bool) {
        let one = probability.of_one();
        let bound = (self.range >> 12) * one;
        self.bits += COSTS[if bit { one } else { 4096 - one } as usize];
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        *probability = probability.learn(bit);
        self.widen();
    }

    /// A number of `count` bits, at most 16, as probable as any other.
    pub(super) fn even(&mut self, value: u32, count: u32) {
        self.range >>= count;
        self.low += u64::from(value) * u64::from(self.range);
        self.bits += f64::from(count);
        self.widen();
    }

    /// What the decisions so far should cost under their probabilities, in bits.
    pub(super) fn bits(&self) -> f64 {
        self.bits
    }

    fn widen(&mut self) {
        while self.range < MIN_RANGE {
            self.range <<= 8;
            self.shift_out();
        }
    }

    fn shift_out(&mut self) {
        if self.low >> 32 > 0 {
            self.carry();
        }
        self.bytes.push((self.low >> 24) as u8);
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// What was written is a number below all that the range ever was, so that it has room for one more.
    fn carry(&mut self) {
        self.low &= 0xffff_ffff;
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return;
            }
        }
    }

    /// Ends with the number of the range that has the most zeros behind it, without them: a reader finds
    /// zeros past the end.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let end = self.low + u64::from(self.range);
        let rounded = (0..=32)
            .rev()
            .map(|zeros| (self.low + (1 << zeros) - 1) >> zeros << zeros)
            .find(|&number| number < end);
        self.low = rounded.unwrap_or(self.low);
        for _ in 0..4 {
            self.shift_out();
        }
        let used = self.bytes.iter().rposition(|&byte| byte != 0);
        self.bytes.truncate(used.map_or(0, |last| last + 1));
        self.bytes
    }
}
