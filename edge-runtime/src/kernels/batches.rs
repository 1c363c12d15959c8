//! Convolutions of weights in panels at several positions at once, on hosts: the input is framed by its padding in
//! memory of its own, so that every window lies within it and nothing is written over.

use crate::arch::{self, SLACK, Windows};
use core::cell::Cell;
use no_std_core::operator::{Linear, Operator, Window};
use no_std_core::panels::{Layout, Panels};
use no_std_core::tensor::Shape;
use std::vec::Vec;

type Part<'s> = &'s [Cell<i8>];

/// Most bytes of a frame.
const MAX_FRAME: usize = 1 << 24;

/// Whether it was done: all of it, or nothing.
pub(super) fn batches(
    op: &Operator,
    window: &Window,
    linear: &Linear,
    panels: Panels,
    arena: Part,
) -> bool {
    let (input, output) = (&op.input, &op.output);
    let side_by_side = panels.layout == Layout::Channels || window.dilation[1] == 1;
    if output.shape.height * output.shape.width < 2 || !side_by_side {
        return false;
    }
    let Some(y) = arena.get(output.offset..output.end()) else {
        return false;
    };
    let x = arena.get(input.offset..input.end()).unwrap_or_default();
    let needed = needed(window, &output.shape);
    let frame = frame(x, &input.shape, needed, window.padding, input.zero_point);
    frame.is_some_and(|frame| {
        let windows = windows(&frame, needed[1], window, op);
        arch::windows(&windows, y, panels, &linear.range)
    })
}

/// Rows and columns that windows slide over.
fn needed(window: &Window, output: &Shape) -> [usize; 2] {
    let of = |axis: usize, positions: usize| {
        (positions - 1) * window.stride[axis]
            + (window.kernel[axis] - 1) * window.dilation[axis]
            + 1
    };
    [of(0, output.height), of(1, output.width)]
}

/// Over so many columns.
fn windows<'s>(x: &'s [u8], columns: usize, window: &Window, op: &Operator) -> Windows<'s> {
    let channels = op.input.shape.channels;
    let elements = |[down, across]: [usize; 2]| [down * columns * channels, across * channels];
    Windows {
        x,
        positions: [op.output.shape.height, op.output.shape.width],
        steps: elements(window.stride),
        taps: window.kernel,
        apart: elements(window.dilation),
        channels,
    }
}

/// So many rows and columns of the input within its padding, as elements `x + 128`; none if they are too many.
fn frame(
    x: Part,
    shape: &Shape,
    [rows, columns]: [usize; 2],
    [top, left]: [usize; 2],
    padding: i8,
) -> Option<Vec<u8>> {
    let row = columns.checked_mul(shape.channels)?;
    let bytes = rows.checked_mul(row)?.checked_add(SLACK)?;
    let mut frame = Vec::new();
    frame
        .try_reserve_exact(Some(bytes).filter(|&bytes| bytes <= MAX_FRAME)?)
        .ok()?;
    let raised = |x: i8| x as u8 ^ 0x80;
    frame.resize(bytes, raised(padding));
    let within = frame.get_mut(top * row..)?.chunks_exact_mut(row.max(1));
    let rows = x.chunks_exact((shape.width * shape.channels).max(1));
    for (from, to) in rows.zip(within) {
        let to = to.get_mut(left * shape.channels..).unwrap_or_default();
        to.iter_mut()
            .zip(from)
            .for_each(|(to, x)| *to = raised(x.get()));
    }
    Some(frame)
}
