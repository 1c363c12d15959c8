//! Cortex-M4, M7, M33 and M55: four bytes, or two pairs of 16 bits, in one instruction.

#![allow(unsafe_code)]

#[cfg(feature = "panels")]
pub(super) mod panels;
pub(super) mod sparse;

use super::portable;
use core::arch::asm;
use core::cell::Cell;

/// Raises each of `y` to what stands at its place in `x`, where that is larger: four at once.
#[inline(never)]
pub(crate) fn raise(y: &[Cell<i8>], x: &[Cell<i8>]) {
    let x = x.get(..y.len()).unwrap_or(x);
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<4>(), y.as_chunks::<4>());
    let count = x.len().min(y.len());
    if count > 0 {
        // SAFETY: four bytes are read behind `x` and `y`, and four written behind `y`, whose cells may be, as
        // many times as both have fours; no address is asked to be a word's. Registers and flags are declared.
        unsafe {
            asm!(
                "2:",
                "ldr {a}, [{x}], #4",
                "ldr {b}, [{y}]",
                "ssub8 {t}, {a}, {b}",
                "sel {b}, {a}, {b}",
                "str {b}, [{y}], #4",
                "subs {count}, {count}, #1",
                "bne 2b",
                x = inout(reg) x.as_ptr() => _,
                y = inout(reg) y.as_ptr() => _,
                count = inout(reg) count => _,
                a = out(reg) _,
                b = out(reg) _,
                t = out(reg) _,
                options(nostack),
            );
        }
    }
    portable::raise(y_rest, x_rest);
}
