//! Dense layers and convolutions of weights in panels: four outputs at once.

#[cfg(x86)]
use super::batches;
use super::conv::{Conv, Position};
use crate::arch::{self, Taps, copy, copy_rows, dense};
use core::cell::Cell;
use core::ops::Range;
use no_std_core::operator::{Kind, Linear, Operator};
use no_std_core::panels::{Layout, PLACE_BYTES, Panels};

/// A part of the arena.
type Part<'s> = &'s [Cell<i8>];

/// `y = requantize(W·x + b)` of what is under the window at every position. The output may follow the window into
/// its input.
pub(crate) fn panels(op: &Operator, linear: &Linear, panels: Panels, arena: Part) {
    let part = |range: Range<usize>| arena.get(range).unwrap_or_default();
    let [x, y] = [op.input, op.output].map(|t| part(t.offset..t.end()));
    let scratch = part(op.scratch..op.scratch + op.kind.scratch_bytes());
    match &op.kind {
        #[cfg(x86)]
        Kind::Conv { window, .. } if batches::batches(op, window, linear, panels, arena) => {}
        Kind::Conv { window, groups, .. } => {
            let conv = Conv::new(op, window, *groups, linear);
            match panels.layout {
                Layout::Shared => shared(&conv, linear, panels, [x, y, scratch]),
                Layout::Channels => by_channel(op, &conv, linear, panels, [arena, y, scratch]),
            }
        }
        _ => dense(patch(x, scratch).as_chunks().0, y, panels, &linear.range),
    }
}

/// `x` in whole tiles.
pub(super) fn patch<'s>(x: Part<'s>, scratch: Part<'s>) -> Part<'s> {
    if scratch.is_empty() {
        return x;
    }
    copy(x, scratch);
    scratch
}

/// A dense layer at every position, of what is gathered in `scratch` first, unless it stands side by side.
#[inline(never)]
fn shared(conv: &Conv, linear: &Linear, panels: Panels, [x, y, scratch]: [Part; 3]) {
    let rows = conv.rows();
    for (at, y) in conv.positions().zip(y.chunks_exact(conv.filters())) {
        let corner = conv
            .corner(at)
            .map(|corner| x.get(corner..).unwrap_or_default());
        let patch = match (corner, rows) {
            (Some(x), _) if scratch.is_empty() => x,
            (Some(x), Some([len, apart])) => {
                copy_rows(x, scratch, len, apart);
                scratch
            }
            _ => {
                gather(conv, at, x, scratch);
                scratch
            }
        };
        dense(patch.as_chunks().0, y, panels, &linear.range);
    }
}

/// Tap by tap, as at the borders.
fn gather(conv: &Conv, at: Position, x: Part, scratch: Part) {
    for (tap, to) in conv.taps(at).zip(scratch.chunks_exact(conv.channels())) {
        match tap {
            Some(start) => copy(x.get(start..).unwrap_or_default(), to),
            None => to.iter().for_each(|x| x.set(conv.padding())),
        }
    }
}

/// Each channel with its own filter, at the places of the taps: in the input, or in the padding that stands in
/// `scratch`. Windows within the input have the same places, some further.
#[inline(never)]
fn by_channel(
    op: &Operator,
    conv: &Conv,
    linear: &Linear,
    panels: Panels,
    [arena, y, scratch]: [Part; 3],
) {
    let (padding, places) = scratch.split_at(conv.channels().min(scratch.len()));
    padding.iter().for_each(|x| x.set(conv.padding()));
    let places = places.as_chunks().0;
    let mut noted = None;
    let mut last = 0;
    for (at, y) in conv.positions().zip(y.chunks_exact(conv.filters())) {
        let corner = conv.corner(at);
        if corner.is_none() || noted.is_none() {
            last = note(op, conv, at, places);
            noted = corner;
        }
        let further = corner
            .zip(noted)
            .map_or(0, |(corner, noted)| corner.wrapping_sub(noted));
        let taps = Taps {
            places,
            further,
            last,
        };
        arch::by_channel(arena, taps, y, panels, &linear.range);
    }
}

/// Writes down where taps stand; the last place.
fn note(op: &Operator, conv: &Conv, at: Position, places: &[[Cell<i8>; PLACE_BYTES]]) -> usize {
    let mut last = 0;
    for (tap, to) in conv.taps(at).zip(places) {
        let place = tap.map_or(op.scratch, |tap| op.input.offset + tap);
        last = last.max(place);
        let bytes = (place as u32).to_le_bytes();
        to.iter()
            .zip(bytes)
            .for_each(|(to, byte)| to.set(byte as i8));
    }
    last
}
