//! Cycles of a Cortex-M4, estimated from what was executed and Arm's published timings (Cortex-M4 Technical
//! Reference Manual, "Instruction set summary" and "Load/store timings"), with memory that never waits.
//!
//! | instructions | cycles |
//! |---|---|
//! | data processing, multiplication (of any width), moves to and from floating-point registers | 1 |
//! | loads | 2, or 1 right behind another single load, with which they are pipelined |
//! | stores | 1; with a register as offset 2, or 1 right behind a single load |
//! | loads and stores of N registers, PUSH, POP | 1 + N |
//! | division | 2 to 12, by the operands |
//! | TBB, TBH | 3, and the branch |
//! | a branch that is taken | 1 + P, P from 1 to 3, by the target's width and place |
//! | an instruction that its condition skips | 1 |
//!
//! Not looked at: the cycle that an access waits whose address the instruction before has computed or loaded,
//! and IT instructions that fold into the one before. Flash that waits adds to all of this on a real board: its
//! own counter of cycles is the truth.

use serde::Serialize;
use std::ops::AddAssign;

/// Bounds of an estimate, by what the timings leave open: branches and divisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cycles {
    /// Pipelines refilled in one cycle, divisions done in two.
    pub low: u64,
    /// In three, and in twelve.
    pub high: u64,
}

impl AddAssign for Cycles {
    fn add_assign(&mut self, other: Self) {
        self.low += other.low;
        self.high += other.high;
    }
}

impl Cycles {
    const fn exactly(cycles: u64) -> Self {
        Self {
            low: cycles,
            high: cycles,
        }
    }

    /// So many times as many.
    pub(super) const fn times(self, count: u64) -> Self {
        Self {
            low: self.low * count,
            high: self.high * count,
        }
    }

    /// What a taken branch takes beside its own cycle.
    pub(super) const REFILL: Self = Self { low: 1, high: 3 };
}

/// Instructions of straight code, and their cycles but for refills; none where the code ends within one.
pub(super) fn straight(code: &[u8]) -> Option<(u64, Cycles)> {
    let (mut count, mut cycles) = (0, Cycles::default());
    let mut before = Kind::Plain;
    let (halves, rest) = code.as_chunks::<2>();
    let mut halves = halves.iter().map(|&half| u16::from_le_bytes(half));
    while let Some(first) = halves.next() {
        let kind = if is_wide(first) {
            wide(first, halves.next()?)
        } else {
            narrow(first)
        };
        cycles += kind.cycles(before);
        count += 1;
        before = kind;
    }
    rest.is_empty().then_some((count, cycles))
}

/// Bytes of an instruction, by its first two.
pub(super) fn bytes(code: &[u8]) -> Option<u64> {
    let first = u16::from_le_bytes(*code.first_chunk()?);
    Some(if is_wide(first) { 4 } else { 2 })
}

const fn is_wide(first: u16) -> bool {
    first >> 11 >= 0b11101
}

/// What an instruction is, as far as timings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Load,
    Store,
    /// At a register's offset from another.
    IndexedStore,
    /// Words moved to or from memory by one instruction.
    Several(u32),
    Divide,
}

impl Kind {
    fn cycles(self, before: Self) -> Cycles {
        match self {
            Self::Plain | Self::Store => Cycles::exactly(1),
            Self::Load | Self::IndexedStore if before == Self::Load => Cycles::exactly(1),
            Self::Load | Self::IndexedStore => Cycles::exactly(2),
            Self::Several(words) => Cycles::exactly(1 + u64::from(words)),
            Self::Divide => Cycles { low: 2, high: 12 },
        }
    }

    const fn single(is_load: bool) -> Self {
        if is_load { Self::Load } else { Self::Store }
    }
}

/// Of 16 bits (Armv7-M Architecture Reference Manual, A5.2).
fn narrow(code: u16) -> Kind {
    match code >> 12 {
        0b0100 if code >> 11 == 0b01001 => Kind::Load,
        // By a register: three stores, then five loads.
        0b0101 if code >> 9 & 0b111 < 3 => Kind::IndexedStore,
        0b0101 => Kind::Load,
        0b0110..=0b1001 => Kind::single(code >> 11 & 1 == 1),
        // PUSH and POP, with LR and PC as a ninth register.
        0b1011 if code >> 9 & 0b11 == 0b10 => Kind::Several((code & 0x1ff).count_ones()),
        0b1100 => Kind::Several((code & 0xff).count_ones()),
        _ => Kind::Plain,
    }
}

/// Of 32 bits (A5.3).
fn wide(first: u16, second: u16) -> Kind {
    let is_load = first >> 4 & 1 == 1;
    match first >> 9 & 0x3f {
        // TBB and TBH: a load and a sum.
        0b110100 if first & 0xfff0 == 0xe8d0 && second & 0xffe0 == 0xf000 => Kind::Several(2),
        0b110100 if first >> 6 & 1 == 0 => Kind::Several(second.count_ones()),
        // Exclusive ones have neither of P, U and W, but for 0xe8c and 0xe8d.
        0b110100 if matches!(first & 0xffe0, 0xe840 | 0xe8c0) => Kind::single(is_load),
        0b110100 => Kind::Several(2),
        0b111100 if !is_load && first & 0x80 == 0 && second & 0xfc0 == 0 => Kind::IndexedStore,
        0b111100 => Kind::single(is_load),
        0b111101 if first & 0xffd0 == 0xfb90 => Kind::Divide,
        // Floating-point registers: two moved, one loaded or stored, several.
        0b110110 if first & 0xffe0 == 0xec40 => Kind::Several(1),
        0b110110 if first & 0xff20 == 0xed00 && second & 0x100 == 0 => Kind::single(is_load),
        0b110110 if first & 0xff20 == 0xed00 => Kind::Several(2),
        0b110110 => Kind::Several(u32::from(second & 0xff)),
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manual's examples and one of each kind, assembled by LLVM.
    #[test]
    fn instructions_take_what_the_manual_says() {
        let takes_from = |code: &[u16], low, high| {
            let bytes: Vec<u8> = code.iter().flat_map(|half| half.to_le_bytes()).collect();
            let (_, cycles) = straight(&bytes).unwrap_or_default();
            assert_eq!(cycles, Cycles { low, high }, "{code:x?}");
        };
        let takes = |code: &[u16], cycles| takes_from(code, cycles, cycles);
        // ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]: four cycles, as the manual says.
        // ldr r0, [r1]; ldr r1, [r2] and ldr r0, [r1, r2]; str r1, [r3, r2]: three each.
        takes(&[0x5948, 0x6811, 0x685a], 4);
        takes(&[0x6808, 0x6811], 3);
        takes(&[0x5888, 0x5099], 3);
        // adds; ldr of the pool; strb by a register and ldrsb: nothing is pipelined behind a store.
        takes(&[0x1840], 1);
        takes(&[0x4801], 2);
        takes(&[0x5488, 0x5688], 2 + 2);
        // str.w r0, [r1, r2, lsl #2] and str r0, [r1], #4.
        takes(&[0xf841, 0x0022, 0xf841, 0x0b04], 2 + 1);
        takes(&[0x9801, 0x1840, 0x9001], 2 + 1 + 1);
        // push {r4, r5, lr}; pop {r4, pc}; ldm r0!, {r1, r2}; stm r0!, {r1}.
        takes(&[0xb530], 1 + 3);
        takes(&[0xbd10], 1 + 2);
        takes(&[0xc806, 0xc002], 3 + 2);
        // bx lr; cbz; beq, without refills; it eq; muleq.
        takes(&[0x4770, 0xb100, 0xd0ff, 0xbf08, 0x4348], 5);
        // ldm.w r0, {r8, r9, r10}; push.w {r4-r11, lr}; ldrd and strd, one with an index.
        takes(&[0xe890, 0x0700], 1 + 3);
        takes(&[0xe92d, 0x4ff0], 1 + 9);
        takes(&[0xe9d2, 0x0102, 0xe8e2, 0x0102], 3 + 3);
        // ldr r0, [r1], #4; ldrsb.w; str.w; ldrh.w by a register; ldrex; strexb; tbb.
        takes(&[0xf851, 0x0b04, 0xf991, 0x012c, 0xf8c1, 0x012c], 2 + 1 + 1);
        takes(&[0xf831, 0x0012], 2);
        takes(&[0xe851, 0x0f00, 0xe8c2, 0x1f40, 0xe8df, 0xf000], 2 + 1 + 3);
        // smlad; smlald; sxtb16; the same rotated; ssat; add.w; bl.
        takes(
            &[
                0xfb21, 0x3002, 0xfbc2, 0x01c3, 0xfa2f, 0xf081, 0xfa2f, 0xf091,
            ],
            4,
        );
        takes(&[0xf301, 0x0007, 0xeb01, 0x0002, 0xf7ff, 0xfffe], 3);
        // udiv; sdiv.
        takes_from(&[0xfbb1, 0xf0f2, 0xfb91, 0xf0f2], 2 + 2, 12 + 12);
        // vldr s0; vstr s0; vmov s0, r0; vmov r0, s0; vmov d0, r0, r1; vpush {d8, d9}; vldm of four.
        takes(
            &[
                0xed90, 0x0a00, 0xed80, 0x0a00, 0xee00, 0x0a10, 0xee10, 0x0a10,
            ],
            5,
        );
        takes(&[0xec41, 0x0b10, 0xed2d, 0x8b04, 0xecb0, 0x0a04], 2 + 5 + 5);
    }

    #[test]
    fn code_that_ends_within_an_instruction_is_none() {
        assert_eq!(straight(&[0xd2, 0xe9]), None);
        assert_eq!(straight(&[0]), None);
        assert_eq!(straight(&[]), Some((0, Cycles::default())));
    }
}
