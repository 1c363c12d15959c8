//! What kernels do with the processor's own means: the one place of unsafe code, each with its proof. On
//! every other processor [`portable`] does the same, and tests hold them to the same integers.

#[cfg(dsp)]
mod dsp;
#[cfg(feature = "panels")]
mod memory;
mod portable;
mod sparse;
#[cfg(x86)]
mod x86;

#[cfg(feature = "panels")]
use core::cell::Cell;
#[cfg(feature = "panels")]
use no_std_core::panels::PLACE_BYTES;

#[cfg(all(dsp, feature = "panels"))]
pub(crate) use dsp::panels::{by_channel, dense};
#[cfg(dsp)]
pub(crate) use dsp::raise;
#[cfg(dsp)]
use dsp::sparse::fours;
#[cfg(feature = "panels")]
pub(crate) use memory::{copy, copy_rows};
#[cfg(all(not(dsp), feature = "panels"))]
pub(crate) use portable::panels::by_channel;
#[cfg(all(not(any(dsp, x86)), feature = "panels"))]
pub(crate) use portable::panels::dense;
#[cfg(not(dsp))]
pub(crate) use portable::raise;
#[cfg(not(dsp))]
use portable::sparse::fours;
pub(crate) use sparse::{Entry, Filter, Line, Padded, Rescale, WINDOWS};
#[cfg(x86)]
pub(crate) use x86::{Plain, Prepared, SLACK, Sum, Windows, add, dense, dots, windows};

/// Elements that are read at once.
#[cfg(feature = "panels")]
pub(crate) type Four = [Cell<i8>; 4];

/// Where taps stand: for each a place of the arena, little-endian, to which `further` is added modulo 2³².
#[cfg(feature = "panels")]
#[derive(Clone, Copy)]
pub(crate) struct Taps<'s> {
    pub(crate) places: &'s [[Cell<i8>; PLACE_BYTES]],
    pub(crate) further: usize,
    /// The largest of the places.
    pub(crate) last: usize,
}

#[cfg(feature = "panels")]
impl Taps<'_> {
    /// Whether so many elements stand behind each.
    fn have(&self, elements: usize, arena: &[Cell<i8>]) -> bool {
        let end = self.last.wrapping_add(self.further).checked_add(elements);
        end.is_some_and(|end| end <= arena.len())
    }
}
