//! Dense layers whose weights were prepared for this processor.

use super::panels::patch;
use crate::arch::Plain;
use core::cell::Cell;
use no_std_core::operator::{Kind, Linear, Operator};
use std::vec::Vec;

pub(crate) use crate::arch::Prepared;

/// What is worth being prepared: a dense layer of plain weights; none where there is no order for it.
pub(crate) fn prepare(op: &Operator) -> Option<Prepared> {
    match &op.kind {
        Kind::Dense(linear) if !op.is_wide() => match linear.panels() {
            Some(panels) => Prepared::of_panels(panels, op.output.shape.len(), &linear.range),
            None if linear.weights.is_plain() => plain(linear),
            None => None,
        },
        _ => None,
    }
}

fn plain(linear: &Linear) -> Option<Prepared> {
    let (mut biases, mut multipliers) = (linear.biases(), linear.multipliers());
    let mut factors = Vec::new();
    factors.try_reserve_exact(linear.weights.rows).ok()?;
    factors.extend((0..linear.weights.rows).map(|_| {
        let multiplier = multipliers.take();
        [biases.take(), multiplier.mantissa, multiplier.shift.into()]
    }));
    Prepared::of_rows(&Plain {
        weights: linear.weights.stream(),
        factors: &factors,
        range: linear.range,
    })
}

/// The outputs; whether it was done: all of it, or nothing.
pub(crate) fn run(op: &Operator, prepared: &Prepared, arena: &mut [i8]) -> bool {
    let arena = Cell::from_mut(arena).as_slice_of_cells();
    let part = |from: usize, len: usize| arena.get(from..from + len).unwrap_or_default();
    let x = part(op.input.offset, op.input.shape.len());
    let y = part(op.output.offset, op.output.shape.len());
    let scratch = match &op.kind {
        Kind::Dense(linear) if linear.panels().is_some() => op.kind.scratch_bytes(),
        _ => 0,
    };
    let (fours, rest) = patch(x, part(op.scratch, scratch)).as_chunks();
    rest.is_empty() && prepared.dense(fours, y)
}
