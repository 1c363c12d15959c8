//! How deep the stack goes: paint what is free, and look for the first word that changed.

use core::arch::asm;
use core::ptr::{read_volatile, write_volatile};

const PAINT: u32 = 0xa5c3_5a3c;

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

#[inline(always)]
fn pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// The depth of what was measured, and of all there was.
#[derive(Clone, Copy)]
pub struct Stack {
    base: usize,
    run: usize,
    ever: usize,
}

impl Stack {
    /// Counts from the caller's frame, and begins.
    #[inline(always)]
    pub fn here() -> Self {
        let base = pointer();
        paint();
        Self {
            base,
            run: base,
            ever: base,
        }
    }

    /// Before a measured call.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.settle();
        paint();
    }

    /// After it.
    pub fn end(&mut self) {
        self.settle();
        self.run = self.run.min(lowest());
    }

    /// Takes note of what was not measured.
    pub fn settle(&mut self) {
        self.ever = self.ever.min(lowest());
    }

    /// Bytes below the first frame that a measured call used.
    pub fn deepest_run(&self) -> usize {
        self.base - self.run
    }

    /// Bytes of the whole stack that were ever used.
    pub fn deepest_ever(&self) -> usize {
        &raw const _stack_start as usize - self.ever
    }
}

/// Paints from the end of the stack up to the caller's frame.
#[inline(always)]
fn paint() {
    let top = pointer();
    let mut word = &raw const _stack_end as *mut u32;
    while (word as usize) < top {
        // SAFETY: an aligned word of the stack's memory below the stack pointer, where nothing
        // lives: there are no interrupts, and this is inlined and calls nothing.
        unsafe {
            write_volatile(word, PAINT);
            word = word.add(1);
        }
    }
}

/// The lowest word that is not painted any more.
fn lowest() -> usize {
    let mut word = &raw const _stack_end;
    // SAFETY: words of the stack's memory; the search ends at this function's own frame at last.
    unsafe {
        while read_volatile(word) == PAINT {
            word = word.add(1);
        }
    }
    word as usize
}
