//! A filter's weights that are not zero, two at a time.

#![allow(unsafe_code)]

use crate::arch::sparse::{Entry, Places, Rescale};
use core::arch::asm;

/// What the loop reads, and where it stands.
#[repr(C)]
struct Job {
    x: *const i8,
    y: *mut i8,
    fours: usize,
    entries: *const Entry,
    /// Of entries, the first of an odd number alone.
    pairs: usize,
    step: usize,
    apart: usize,
    bias: i32,
    mantissa: i32,
    /// What is left of the shift for a product's upper half.
    shift: u32,
    zero_point: i32,
    /// Four times each.
    min: u32,
    max: u32,
    odd: usize,
}

/// The next weight and the four products with it.
macro_rules! entry {
    () => {
        concat!(
            "ldr {weight}, [{entry}], #4\n",
            "uxtah {at}, {x}, {weight}\n",
            "asr {weight}, {weight}, #24\n",
            "ldrsb {t}, [{at}]\n",
            "ldrsb {u}, [{at}, {step}]\n",
            "mla {a}, {t}, {weight}, {a}\n",
            "ldrsb {t}, [{at}, {step}, lsl #1]\n",
            "mla {b}, {u}, {weight}, {b}\n",
            "ldrsb {u}, [{at}, {thrice}]\n",
            "mla {c}, {t}, {weight}, {c}\n",
            "mla {d}, {u}, {weight}, {d}\n",
        )
    };
}

/// The outputs of four sums: a shift leaves its rounding bit in the carry, the zero point is added with that, and
/// four bytes are clamped at once.
macro_rules! outputs {
    () => {
        concat!(
            "ldrd {weight}, {u}, [{t}, #32]\n",
            "ldr {pairs}, [{t}, #40]\n",
            "smull {at}, {a}, {a}, {weight}\n",
            "smull {at}, {b}, {b}, {weight}\n",
            "smull {at}, {c}, {c}, {weight}\n",
            "smull {at}, {d}, {d}, {weight}\n",
            "asrs {a}, {a}, {u}\n",
            "adc {a}, {a}, {pairs}\n",
            "asrs {b}, {b}, {u}\n",
            "adc {b}, {b}, {pairs}\n",
            "asrs {c}, {c}, {u}\n",
            "adc {c}, {c}, {pairs}\n",
            "asrs {d}, {d}, {u}\n",
            "adc {d}, {d}, {pairs}\n",
            "ssat {a}, #8, {a}\n",
            "ssat {b}, #8, {b}\n",
            "ssat {c}, #8, {c}\n",
            "ssat {d}, #8, {d}\n",
            "bfi {a}, {b}, #8, #8\n",
            "bfi {a}, {c}, #16, #8\n",
            "bfi {a}, {d}, #24, #8\n",
            "ldrd {weight}, {u}, [{t}, #44]\n",
            "ssub8 {at}, {a}, {weight}\n",
            "sel {a}, {a}, {weight}\n",
            "ssub8 {at}, {u}, {a}\n",
            "sel {a}, {a}, {u}\n",
            "ldrd {b}, {pairs}, [{t}, #4]\n",
            "ldr {c}, [{t}, #24]\n",
            "strb {a}, [{b}]\n",
            "lsr {d}, {a}, #8\n",
            "strb {d}, [{b}, {c}]\n",
            "lsr {d}, {a}, #16\n",
            "strb {d}, [{b}, {c}, lsl #1]\n",
            "add {b}, {b}, {c}\n",
            "lsr {d}, {a}, #24\n",
            "strb {d}, [{b}, {c}, lsl #1]\n",
            "add {b}, {b}, {c}\n",
            "add {b}, {b}, {c}, lsl #1\n",
            "add {x}, {x}, {step}, lsl #2\n",
            "strd {x}, {b}, [{t}]\n",
            "subs {pairs}, {pairs}, #1\n",
            "str {pairs}, [{t}, #8]\n",
        )
    };
}

/// The outputs of `places.fours` times four windows.
///
/// # Safety
/// All that an entry stands for may be read, and all outputs written; there is an entry, and one four at least.
#[inline(never)]
pub(crate) unsafe fn fours(entries: &[Entry], rescale: &Rescale, places: &Places) {
    let each = |byte: i8| u32::from_ne_bytes([byte as u8; 4]);
    let mut job = Job {
        x: places.x,
        y: places.y,
        fours: places.fours,
        entries: entries.as_ptr(),
        pairs: entries.len().div_ceil(2),
        step: places.step,
        apart: places.apart,
        bias: rescale.bias,
        mantissa: rescale.multiplier.mantissa,
        shift: (rescale.multiplier.shift as u32).wrapping_sub(32),
        zero_point: rescale.range.zero_point.into(),
        min: each(rescale.range.min),
        max: each(rescale.range.max),
        odd: entries.len() & 1,
    };
    // SAFETY: the job is read at its fields' places and written at the first three. Two entries a pair, or one, are
    // read from the first on, elements and outputs as the caller says; no address but the job's is asked to be a
    // word's. What is pushed is popped. Registers and flags are declared.
    unsafe {
        asm!(
            "push {{{t}}}",
            "ldr {step}, [{t}, #20]",
            "add {thrice}, {step}, {step}, lsl #1",
            "2:",
            "ldr {t}, [sp]",
            "ldr {x}, [{t}]",
            "ldrd {entry}, {pairs}, [{t}, #12]",
            "ldr {a}, [{t}, #28]",
            "mov {b}, {a}",
            "mov {c}, {a}",
            "ldr {u}, [{t}, #52]",
            "mov {d}, {a}",
            "cmp {u}, #0",
            "bne 4f",
            "3:",
            entry!(),
            "4:",
            entry!(),
            "subs {pairs}, {pairs}, #1",
            "bne 3b",
            "ldr {t}, [sp]",
            outputs!(),
            "bne 2b",
            "pop {{{t}}}",
            t = inout(reg) &raw mut job => _,
            u = out(reg) _,
            x = out(reg) _,
            step = out(reg) _,
            thrice = out(reg) _,
            entry = out(reg) _,
            pairs = out(reg) _,
            weight = out(reg) _,
            at = out(reg) _,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
        );
    }
}
