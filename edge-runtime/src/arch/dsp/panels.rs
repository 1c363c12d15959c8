//! Weights in panels: two products of 16 bits an instruction.

#![allow(unsafe_code)]

use crate::arch::{Four, Taps, memory, portable::panels as portable};
use core::arch::asm;
use core::cell::Cell;
use no_std_core::numerics::Output;
use no_std_core::panels::{COLUMNS, Layout, PLACE_BYTES, Panels, ROWS};

/// A tile times four columns, added to the sums of [`Sums`](no_std_core::panels::Sums).
macro_rules! tile {
    () => {
        concat!(
            "ldr {t1}, [{x}], #4\n",
            "ldrd {w0}, {w1}, [{w}], #8\n",
            "sxtb16 {t0}, {t1}\n",
            "sxtb16 {t1}, {t1}, ror #8\n",
            "smlad {both}, {w0}, {t0}, {both}\n",
            "sxtb16 {w0}, {w0}\n",
            "smlad {both}, {w1}, {t1}, {both}\n",
            "sxtb16 {w1}, {w1}\n",
            "smlad {even}, {w0}, {t0}, {even}\n",
            "smlad {even}, {w1}, {t1}, {even}\n",
            "ldrd {w0}, {w1}, [{w}], #8\n",
            "smlad {next_both}, {w0}, {t0}, {next_both}\n",
            "sxtb16 {w0}, {w0}\n",
            "smlad {next_both}, {w1}, {t1}, {next_both}\n",
            "sxtb16 {w1}, {w1}\n",
            "smlad {next_even}, {w0}, {t0}, {next_even}\n",
            "smlad {next_even}, {w1}, {t1}, {next_even}\n",
        )
    };
}

/// A panel's foot: [`Panel::outputs`](no_std_core::panels::Panel::outputs) of its four sums, written behind the job's
/// `y`; and whether it was the last panel. A shift leaves its rounding bit in the carry, the zero point is added with
/// that, and four bytes are clamped at once.
macro_rules! outputs {
    () => {
        concat!(
            // Mantissas: the products' upper halves.
            "ldrd {w0}, {w1}, [{w}], #8\n",
            "smull {t0}, {even}, {even}, {w0}\n",
            "smull {t0}, {both}, {both}, {w1}\n",
            "ldrd {w0}, {w1}, [{w}], #8\n",
            "smull {t0}, {next_even}, {next_even}, {w0}\n",
            "smull {t0}, {next_both}, {next_both}, {w1}\n",
            // Shifts, zero point.
            "ldr {t0}, [{w}], #4\n",
            "ldr {t1}, [{job}, #16]\n",
            "asrs {even}, {even}, {t0}\n",
            "adc {even}, {even}, {t1}\n",
            "lsr {t0}, {t0}, #8\n",
            "asrs {both}, {both}, {t0}\n",
            "adc {both}, {both}, {t1}\n",
            "lsr {t0}, {t0}, #8\n",
            "asrs {next_even}, {next_even}, {t0}\n",
            "adc {next_even}, {next_even}, {t1}\n",
            "lsr {t0}, {t0}, #8\n",
            "asrs {next_both}, {next_both}, {t0}\n",
            "adc {next_both}, {next_both}, {t1}\n",
            // Four bytes, clamped.
            "ssat {even}, #8, {even}\n",
            "ssat {both}, #8, {both}\n",
            "ssat {next_even}, #8, {next_even}\n",
            "ssat {next_both}, #8, {next_both}\n",
            "bfi {even}, {both}, #8, #8\n",
            "bfi {even}, {next_even}, #16, #8\n",
            "bfi {even}, {next_both}, #24, #8\n",
            "ldrd {t0}, {t1}, [{job}, #20]\n",
            "ssub8 {w0}, {even}, {t0}\n",
            "sel {even}, {even}, {t0}\n",
            "ssub8 {w0}, {t1}, {even}\n",
            "sel {even}, {even}, {t1}\n",
            "ldrd {t0}, {t1}, [{job}, #8]\n",
            "str {even}, [{t0}], #4\n",
            "subs {t1}, {t1}, #1\n",
            "strd {t0}, {t1}, [{job}, #8]\n",
        )
    };
}

/// The outputs of whole panels; columns beyond `x` count as zeros.
#[inline(never)]
pub(crate) fn dense(x: &[Four], y: &[Cell<i8>], panels: Panels, range: &Output) {
    let (whole, rest) = y.as_chunks::<ROWS>();
    let count = whole.len() + !rest.is_empty() as usize;
    let tiles = panels.columns().div_ceil(COLUMNS);
    if tiles == 0 || x.len() < tiles || !has(panels, Layout::Shared, count) {
        return portable::dense(x, y, panels, range);
    }
    let mut job = Job::new(x.as_ptr().cast(), tiles, whole, range);
    let mut weights = panels.bytes().as_ptr();
    if !whole.is_empty() {
        // SAFETY: as many panels as `whole` has fours, each of at least one tile and with as many columns,
        // stand in `bytes`, at a word.
        weights = unsafe { job.run(weights) };
    }
    if !rest.is_empty() {
        let last = [const { Cell::new(0) }; ROWS];
        (job.y, job.panels) = (&raw const last, 1);
        // SAFETY: the same with one more panel, for four outputs that are nowhere else.
        unsafe { job.run(weights) };
        memory::copy(&last, rest);
    }
}

/// Whether there are so many panels in this layout, from a word's address on.
fn has(panels: Panels, layout: Layout, count: usize) -> bool {
    let needed = panels.panel_bytes().saturating_mul(count);
    let bytes = panels.bytes();
    let at_a_word = bytes.as_ptr().addr().is_multiple_of(4);
    panels.layout == layout && bytes.len() >= needed && at_a_word
}

/// The outputs of whole panels whose rows have a channel of the arena each, from those of the taps on.
#[inline(never)]
pub(crate) fn by_channel(
    arena: &[Cell<i8>],
    taps: Taps,
    y: &[Cell<i8>],
    panels: Panels,
    range: &Output,
) {
    let (fours, rest) = y.as_chunks::<ROWS>();
    let enough = taps.have(y.len(), arena);
    let count = panels.columns();
    let whole = !fours.is_empty() && rest.is_empty() && count > 0;
    if !whole || !enough || taps.places.len() < count || !has(panels, Layout::Channels, fours.len())
    {
        return portable::by_channel(arena, taps, y, panels, range);
    }
    let x = arena.as_ptr().cast::<u8>().wrapping_add(taps.further);
    let mut job = Job::new(x, count, fours, range);
    // SAFETY: as many panels as there are fours, each of as many taps as there are places, at least one, stand
    // at a word; behind every place there are as many elements as outputs. The two are not the same memory.
    unsafe { job.run_by_channel(panels.bytes().as_ptr(), taps.places.as_ptr()) };
}

/// What the loop over panels keeps in memory.
#[repr(C)]
struct Job {
    x: *const u8,
    /// Tiles or taps of a panel.
    count: usize,
    /// Written to: cells may be.
    y: *const Four,
    panels: usize,
    zero_point: i32,
    /// Four times.
    min: u32,
    /// Four times.
    max: u32,
}

impl Job {
    fn new(x: *const u8, count: usize, y: &[Four], range: &Output) -> Self {
        let all = |byte: i8| u32::from_ne_bytes([byte as u8; ROWS]);
        Self {
            x,
            count,
            y: y.as_ptr(),
            panels: y.len(),
            zero_point: range.zero_point.into(),
            min: all(range.min),
            max: all(range.max),
        }
    }

    /// Goes through the panels at `weights` and returns where they end.
    ///
    /// Thirty-six instructions for thirty-two products: columns are widened once for four rows, and odd rows
    /// are never taken apart from even ones.
    ///
    /// # Safety
    ///
    /// There are as many panels as said, at least one, each of as many tiles as said, at least one, from a
    /// word's address on; as many columns behind `x`; and a four for each panel behind `y`, which may be written to.
    #[inline(never)]
    unsafe fn run(&mut self, weights: *const u8) -> *const u8 {
        let end;
        // SAFETY: all that is read and written is what the caller vouches for, and this job; `ldrd` and `strd`
        // ask for a word's address, which tiles, feet and the job begin at, and which their sizes keep; `ldr` and
        // `str` do not. Registers and flags are declared.
        unsafe {
            asm!(
                "2:",
                "ldrd {x}, {count}, [{job}]",
                "ldrd {even}, {both}, [{w}], #8",
                "ldrd {next_even}, {next_both}, [{w}], #8",
                // Two tiles at a time; of an odd number the first alone.
                "lsrs {count}, {count}, #1",
                "bcc 3f",
                "add {count}, {count}, #1",
                "b 4f",
                "3:",
                tile!(),
                "4:",
                tile!(),
                "subs {count}, {count}, #1",
                "bne 3b",
                // Odd rows' sums.
                "sub {both}, {both}, {even}",
                "sub {next_both}, {next_both}, {next_even}",
                outputs!(),
                "bne 2b",
                job = in(reg) self,
                w = inout(reg) weights => end,
                x = out(reg) _,
                count = out(reg) _,
                even = out(reg) _,
                both = out(reg) _,
                next_even = out(reg) _,
                next_both = out(reg) _,
                t0 = out(reg) _,
                t1 = out(reg) _,
                w0 = out(reg) _,
                w1 = out(reg) _,
                options(nostack),
            );
        }
        end
    }

    /// Goes through the panels at `weights`, whose rows have channels of their own, with each tap at one of
    /// `places`, an offset from `x`.
    ///
    /// # Safety
    ///
    /// There are as many panels as said, at least one, each of as many taps as said, at least one, from a
    /// word's address on; as many places; behind each of them four channels for each panel; and a four for each
    /// panel behind `y`, which may be written to and is not where the places are.
    #[inline(never)]
    unsafe fn run_by_channel(
        &mut self,
        weights: *const u8,
        places: *const [Cell<i8>; PLACE_BYTES],
    ) {
        // SAFETY: as in `run`.
        unsafe {
            asm!(
                "2:",
                "ldrd {x}, {count}, [{job}]",
                "ldrd {even}, {both}, [{w}], #8",
                "ldrd {next_even}, {next_both}, [{w}], #8",
                "3:",
                "ldr {t0}, [{places}], #4",
                "ldr {w1}, [{w}], #4",
                "ldr {t1}, [{x}, {t0}]",
                "sxtb16 {w0}, {w1}",
                "sxtb16 {w1}, {w1}, ror #8",
                "sxtb16 {t0}, {t1}",
                "sxtb16 {t1}, {t1}, ror #8",
                "smlabb {even}, {t0}, {w0}, {even}",
                "smlabb {both}, {t1}, {w1}, {both}",
                "smlatt {next_even}, {t0}, {w0}, {next_even}",
                "smlatt {next_both}, {t1}, {w1}, {next_both}",
                "subs {count}, {count}, #1",
                "bne 3b",
                // The next four channels, the first tap.
                "ldrd {t0}, {t1}, [{job}]",
                "sub {places}, {places}, {t1}, lsl #2",
                "add {t0}, {t0}, #4",
                "str {t0}, [{job}]",
                outputs!(),
                "bne 2b",
                job = in(reg) self,
                w = inout(reg) weights => _,
                places = inout(reg) places => _,
                x = out(reg) _,
                count = out(reg) _,
                even = out(reg) _,
                both = out(reg) _,
                next_even = out(reg) _,
                next_both = out(reg) _,
                t0 = out(reg) _,
                t1 = out(reg) _,
                w0 = out(reg) _,
                w1 = out(reg) _,
                options(nostack),
            );
        }
    }
}
