//! Weights in panels.

use crate::arch::memory::words;
use crate::arch::{Four, Taps};
use core::cell::Cell;
use no_std_core::numerics::Output;
use no_std_core::panels::{Layout, Panels, ROWS, Sums, TILE_BYTES};

/// The outputs of whole panels; columns beyond `x` count as zeros.
#[cfg_attr(dsp, cold)]
#[inline(never)]
pub(crate) fn dense(x: &[Four], y: &[Cell<i8>], panels: Panels, range: &Output) {
    for (panel, y) in panels.iter().zip(y.chunks(ROWS)) {
        let sums = match words(panel.tiles()) {
            Some(tiles) => add_up(panel.starts(), x, tiles.iter().copied()),
            None => add_up(panel.starts(), x, panel.tiles().iter().map(from_bytes)),
        };
        let outputs = panel.outputs(sums, Layout::Shared, range);
        y.iter().zip(outputs).for_each(|(y, output)| y.set(output));
    }
}

fn from_bytes(tile: &[u8; TILE_BYTES]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(tile.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[inline(always)]
fn add_up(starts: Sums, x: &[Four], tiles: impl Iterator<Item = [u32; 4]>) -> Sums {
    let [mut even, mut both, mut next_even, mut next_both] = starts;
    for ([x0, x1, x2, x3], [first, second, third, fourth]) in x.iter().zip(tiles) {
        // Columns 0 and 2, for two rows and the other two; then 1 and 3.
        let (low, high) = (x0.get() as i32, x2.get() as i32);
        (even, both) = add([even, both], first, low, high);
        (next_even, next_both) = add([next_even, next_both], third, low, high);
        let (low, high) = (x1.get() as i32, x3.get() as i32);
        (even, both) = add([even, both], second, low, high);
        (next_even, next_both) = add([next_even, next_both], fourth, low, high);
    }
    [even, both, next_even, next_both]
}

#[inline(always)]
fn add([even, both]: [i32; 2], word: u32, low: i32, high: i32) -> (i32, i32) {
    let of_even = low * (word as i8 as i32) + high * ((word >> 16) as i8 as i32);
    let of_both = low * (word as i16 as i32) + high * (word as i32 >> 16);
    (even.wrapping_add(of_even), both.wrapping_add(of_both))
}

/// The outputs of whole panels whose rows have a channel of the arena each, from those of the taps on; none where
/// these are not all inside.
#[cfg_attr(dsp, cold)]
#[inline(never)]
pub(crate) fn by_channel(
    arena: &[Cell<i8>],
    taps: Taps,
    y: &[Cell<i8>],
    panels: Panels,
    range: &Output,
) {
    if !taps.have(y.len(), arena) {
        return;
    }
    let mut channel = 0;
    for (panel, y) in panels.iter().zip(y.chunks_exact(ROWS)) {
        let mut sums = panel.starts();
        for (place, weights) in taps.places.iter().zip(panel.taps()) {
            let place = u32::from_le_bytes(place.each_ref().map(|byte| byte.get() as u8));
            let from = (place as usize).wrapping_add(taps.further) + channel;
            let x = arena.get(from..).unwrap_or_default();
            for ((sum, x), weight) in sums.iter_mut().zip(x).zip(weights) {
                *sum = sum.wrapping_add(x.get() as i32 * *weight as i8 as i32);
            }
        }
        let outputs = panel.outputs(sums, Layout::Channels, range);
        y.iter().zip(outputs).for_each(|(y, output)| y.set(output));
        channel += ROWS;
    }
}
