//! The weights of a filter that are not zero, each with the place of its element under a window.

#![allow(unsafe_code)]

use super::fours;
use no_std_core::numerics::{FAST_SHIFT, Multiplier, Output};
use no_std_core::operator::{FILTER_ENTRY_BYTES, MAX_TAPS};

/// Offset from the window's corner (u16), tap, weight.
pub(crate) type Entry = [i8; FILTER_ENTRY_BYTES];

/// A bit for each tap of a window that falls on padding.
pub(crate) type Padded = [u32; MAX_TAPS / 32];

/// Windows that a weight is multiplied under, once it is at hand.
pub(crate) const WINDOWS: usize = 4;

/// One of each of these.
type Sums = [i32; WINDOWS];

/// How sums of products become outputs.
pub(crate) struct Rescale {
    pub(crate) bias: i32,
    pub(crate) multiplier: Multiplier,
    pub(crate) range: Output,
}

impl Rescale {
    /// Of a sum that the bias is in.
    #[inline(always)]
    pub(super) fn output(&self, sum: i32) -> i8 {
        self.range.requantize(sum, self.multiplier)
    }

    #[inline(never)]
    fn put(&self, sum: i32, y: &mut [i8], place: usize) {
        if let Some(y) = y.get_mut(place) {
            *y = self.output(sum);
        }
    }
}

/// Windows in a row or a column, and their outputs.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    /// Where the first window has its corner in the input, modulo 2³² or more: it may be before it.
    pub(crate) corner: usize,
    /// From one window to the next.
    pub(crate) step: usize,
    /// Where the first output stands.
    pub(crate) first: usize,
    /// From one output to the next.
    pub(crate) apart: usize,
    pub(crate) count: usize,
}

/// As a [`Line`], of four windows several times.
pub(super) struct Places {
    pub(super) x: *const i8,
    pub(super) y: *mut i8,
    pub(super) step: usize,
    pub(super) apart: usize,
    pub(super) fours: usize,
}

/// A decoded filter.
pub(crate) struct Filter<'s> {
    entries: &'s [Entry],
    /// The largest offset.
    reach: usize,
}

impl<'s> Filter<'s> {
    pub(crate) fn new(entries: &'s [Entry]) -> Self {
        let offsets = entries.iter().map(|entry| fields(entry).0);
        Self {
            entries,
            reach: offsets.fold(0, usize::max),
        }
    }

    /// Whether [`inside`](Self::inside) may be used: on a processor with DSP instructions for weights that there
    /// are, and where only the upper half of a product counts.
    pub(crate) fn is_fast(&self, rescale: &Rescale) -> bool {
        let upper = (FAST_SHIFT..=62).contains(&rescale.multiplier.shift);
        cfg!(not(dsp)) || upper && !self.entries.is_empty()
    }

    /// The outputs of at least four windows that lie within `x`; nothing where they are fewer, or not all there.
    /// The last four begin among those before where they are no whole number of times four.
    #[inline(never)]
    pub(crate) fn inside(&self, rescale: &Rescale, x: &[i8], y: &mut [i8], line: &Line) {
        let Some(last) = line.count.checked_sub(WINDOWS) else {
            return;
        };
        let end = |start: usize, step: usize, reach: usize| {
            let windows = step.checked_mul(line.count - 1)?;
            start.checked_add(windows)?.checked_add(reach)
        };
        let read = end(line.corner, line.step, self.reach);
        let written = end(line.first, line.apart, 0);
        let are_in =
            read.is_some_and(|end| end < x.len()) && written.is_some_and(|end| end < y.len());
        if !are_in || !self.is_fast(rescale) {
            return;
        }
        let y = y.as_mut_ptr();
        let run = |from: usize, times: usize| {
            let places = Places {
                x: x.as_ptr().wrapping_add(line.corner + from * line.step),
                y: y.wrapping_add(line.first + from * line.apart),
                step: line.step,
                apart: line.apart,
                fours: times,
            };
            // SAFETY: the filter is fast; no window is behind the last, whose corner is in `x` with `reach` elements behind it, and no
            // offset is beyond `reach`; the last output is in `y`.
            unsafe { fours(self.entries, rescale, &places) };
        };
        run(0, line.count / WINDOWS);
        if !line.count.is_multiple_of(WINDOWS) {
            run(last, 1);
        }
    }

    /// The outputs of windows that all have the same taps on `padding`. Elements that are not in `x` count as nothing.
    #[inline(never)]
    pub(crate) fn at_border(
        &self,
        rescale: &Rescale,
        x: &[i8],
        y: &mut [i8],
        line: &Line,
        (padding, padded): (i32, &Padded),
    ) {
        let of_padding = self.entries.iter().map(|entry| {
            let (_, tap, weight) = fields(entry);
            if is_padded(padded, tap) { weight } else { 0 }
        });
        let bias = rescale
            .bias
            .wrapping_add(of_padding.fold(0, i32::wrapping_add).wrapping_mul(padding));
        let mut put = |window: usize, sum: i32| {
            let place = line.first + window * line.apart;
            rescale.put(sum.wrapping_add(bias), y, place);
        };
        let place = |window: usize| line.corner.wrapping_add(window * line.step);
        let Some(last) = line.count.checked_sub(WINDOWS) else {
            for window in 0..line.count {
                let [sum, ..] = self.sums_at_border(x, [place(window), 0], padded);
                put(window, sum);
            }
            return;
        };
        let mut from = 0;
        loop {
            let [a, b, c, d] = self.sums_at_border(x, [place(from), line.step], padded);
            put(from, a);
            put(from + 1, b);
            put(from + 2, c);
            put(from + 3, d);
            if from == last {
                return;
            }
            from = last.min(from + WINDOWS);
        }
    }

    /// Under four windows, of the taps that are not on padding.
    #[inline(never)]
    fn sums_at_border(&self, x: &[i8], [corner, step]: [usize; 2], padded: &Padded) -> Sums {
        let [mut a, mut b, mut c, mut d] = [0; WINDOWS];
        let span = step.saturating_mul(WINDOWS - 1);
        let end = x.len().saturating_sub(span);
        for entry in self.entries {
            let (offset, tap, weight) = fields(entry);
            let place = corner.wrapping_add(offset);
            if !is_padded(padded, tap) && place < end {
                // SAFETY: three steps further on is a place of `x` too.
                let x = unsafe { four(x.as_ptr().add(place), step) };
                [a, b, c, d] = add([a, b, c, d], x, weight);
            }
        }
        [a, b, c, d]
    }
}

#[inline(always)]
fn is_padded(padded: &Padded, tap: usize) -> bool {
    padded[tap / 32 % padded.len()] >> (tap % 32) & 1 == 1
}

/// Elements a step apart.
///
/// # Safety
/// Those of up to three steps from `x` on may be read.
#[inline(always)]
pub(super) unsafe fn four(x: *const i8, step: usize) -> Sums {
    // SAFETY: as the caller says.
    unsafe {
        [
            *x as i32,
            *x.add(step) as i32,
            *x.add(2 * step) as i32,
            *x.add(3 * step) as i32,
        ]
    }
}

#[inline(always)]
pub(super) fn add([a, b, c, d]: Sums, [e, f, g, h]: Sums, weight: i32) -> Sums {
    [
        a.wrapping_add(e * weight),
        b.wrapping_add(f * weight),
        c.wrapping_add(g * weight),
        d.wrapping_add(h * weight),
    ]
}

/// Offset, tap and weight of an entry.
#[inline(always)]
pub(super) fn fields(entry: &Entry) -> (usize, usize, i32) {
    let word = u32::from_le_bytes(entry.map(|byte| byte as u8));
    let (offset, tap) = (word & 0xffff, word >> 16 & 0xff);
    (offset as usize, tap as usize, word as i32 >> 24)
}
