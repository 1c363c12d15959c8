//! Guest time. With `-icount shift=7` every instruction takes 128 ns of it, so a timer read before
//! and after a call says exactly how many there were.

use crate::board::TIMER;
use crate::subject::Timed;
use core::arch::{asm, global_asm};
use core::ffi::c_void;
use core::ptr::{null_mut, read_volatile, write_volatile};

/// A routine as the timer calls it: its argument in r0.
pub type Routine = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn pith_nothing(argument: *mut c_void);
}

global_asm!(
    ".section .text.pith_nothing,\"ax\"",
    ".global pith_nothing",
    ".type pith_nothing,%function",
    ".thumb_func",
    "pith_nothing:",
    "bx lr",
    ".size pith_nothing, . - pith_nothing",
    ".text",
);

fn read(offset: usize) -> u32 {
    // SAFETY: a register of the board's timer.
    unsafe { read_volatile((TIMER + offset) as *const u32) }
}

fn write(offset: usize, value: u32) {
    // SAFETY: a register of the board's timer, which touches no memory.
    unsafe { write_volatile((TIMER + offset) as *mut u32, value) }
}

/// CMSDK APB timer: counts down from its reload value, and remembers that it began anew.
#[cfg(timer = "cmsdk")]
mod device {
    use super::{read, write};

    const CTRL: usize = 0x0;
    const RELOAD: usize = 0x8;
    const INTERRUPT: usize = 0xc;
    pub const VALUE: usize = 0x4;

    pub fn enable() {
        write(RELOAD, u32::MAX);
        write(VALUE, u32::MAX);
        write(CTRL, 1);
    }

    pub fn restart() {
        write(VALUE, u32::MAX);
        write(INTERRUPT, 1);
    }

    pub fn elapsed(before: u32, after: u32) -> Option<u32> {
        (read(INTERRUPT) & 1 == 0).then(|| before.wrapping_sub(after))
    }
}

/// System counter of the SSE-300: 64 bits, counts up.
#[cfg(timer = "system")]
mod device {
    use super::{read, write};

    const CTRL: usize = 0x0;
    const HIGH: usize = 0xc;
    pub const VALUE: usize = 0x8;

    pub fn enable() {
        write(CTRL, 1);
    }

    pub fn restart() {
        write(CTRL, 0);
        write(VALUE, 0);
        write(HIGH, 0);
        write(CTRL, 1);
    }

    pub fn elapsed(before: u32, after: u32) -> Option<u32> {
        (read(HIGH) == 0).then(|| after.wrapping_sub(before))
    }
}

pub use device::enable;

/// Ticks of an inference, or nothing if there were more than the timer holds.
pub fn ticks_of<T: Timed>(subject: &mut T) -> Option<u32> {
    device::restart();
    // SAFETY: the routine takes the subject it belongs to, which nobody else holds.
    let (before, after) = unsafe { time(T::ROUTINE, (&raw mut *subject).cast()) };
    device::elapsed(before, after)
}

/// Ticks of a call that does nothing: what measuring costs.
pub fn ticks_of_nothing() -> u32 {
    device::restart();
    // SAFETY: the routine only returns.
    let (before, after) = unsafe { time(pith_nothing, null_mut()) };
    device::elapsed(before, after).unwrap_or(0)
}

/// The timer's value just before and just after a call.
///
/// # Safety
/// The routine must be sound to call with this argument.
// The labels stand once: this is neither inlined nor generic.
#[allow(named_asm_labels)]
#[inline(never)]
unsafe fn time(routine: Routine, argument: *mut c_void) -> (u32, u32) {
    let (before, after);
    // SAFETY: calls a routine of the C ABI with its argument in r0; r4 and r5, which it preserves,
    // hold the register's address and its first value.
    unsafe {
        asm!(
            "ldr r5, [r4]",
            // For who looks at what is executed between.
            ".global pith_call",
            "pith_call: blx r1",
            ".global pith_call_end",
            "pith_call_end: ldr r0, [r4]",
            in("r4") TIMER + device::VALUE,
            out("r5") before,
            inout("r0") argument => after,
            inout("r1") routine => _,
            clobber_abi("C"),
        );
    }
    (before, after)
}
