//! int16 activations: the operators that may read or write them, element by element. They are for the
//! few tensors that eight bits are too few for, so they are plain and small rather than fast.

use super::conv::Conv;
use no_std_core::numerics::{Multiplier, Output, round_shift};
use no_std_core::operator::{Kind, Linear, Operator, Window};
use no_std_core::tensor::{Shape, Tensor};

/// Runs an operator one of whose tensors is wide.
#[inline(never)]
pub(crate) fn wide(arena: &mut [i8], op: &Operator) {
    match &op.kind {
        Kind::Dense(linear) => {
            let Shape { height, width, .. } = op.input.shape;
            // One position, at which the window is the whole input.
            let window = Window {
                kernel: [height, width],
                stride: [1, 1],
                padding: [0, 0],
                dilation: [1, 1],
            };
            let filters = op.output.shape.len();
            linear_at_each(arena, op, &Conv::once(op, &window, filters, linear), linear);
        }
        Kind::Conv {
            window,
            groups,
            linear,
            ..
        } => linear_at_each(arena, op, &Conv::new(op, window, *groups, linear), linear),
        Kind::Add {
            other,
            mantissas,
            shift,
            range,
        } => add(arena, op, other, *mantissas, *shift, range),
        _ => {}
    }
}

fn element(arena: &[i8], tensor: &Tensor, place: usize) -> i32 {
    if tensor.wide {
        let bytes = arena.get(tensor.offset + 2 * place..).unwrap_or(&[]);
        let pair = bytes.first_chunk().copied().unwrap_or([0; 2]);
        i16::from_le_bytes(pair.map(|b: i8| b as u8)) as i32
    } else {
        arena.get(tensor.offset + place).copied().unwrap_or(0) as i32
    }
}

fn store(arena: &mut [i8], tensor: &Tensor, place: usize, narrow: i8, wide: i16) {
    if tensor.wide {
        let pair = wide.to_le_bytes().map(|b| b as i8);
        if let Some(bytes) = arena.get_mut(tensor.offset + 2 * place..) {
            bytes.iter_mut().zip(pair).for_each(|(to, b)| *to = b);
        }
    } else if let Some(to) = arena.get_mut(tensor.offset + place) {
        *to = narrow;
    }
}

/// Sums wrap around: that none does is for the writer to prove from the weights.
fn linear_at_each(arena: &mut [i8], op: &Operator, conv: &Conv, linear: &Linear) {
    let mut place = 0;
    for at in conv.positions() {
        let filters = linear
            .weights
            .stream()
            .chunks_exact(linear.weights.columns.max(1));
        let (mut biases, mut multipliers) = (linear.biases(), linear.multipliers());
        for (filter, weights) in filters.enumerate() {
            let mut sum = biases.take();
            conv.each_tap(at, filter, |tap, channel, column| {
                let weight = weights.get(column).copied().unwrap_or(0) as i8 as i32;
                let value = match tap {
                    Some(tap) => element(arena, &op.input, tap + channel),
                    None => op.input.zero_point as i32,
                };
                sum = sum.wrapping_add(value.wrapping_mul(weight));
            });
            requantize(
                arena,
                &op.output,
                place,
                sum,
                multipliers.take(),
                &linear.range,
            );
            place += 1;
        }
    }
}

fn requantize(
    arena: &mut [i8],
    output: &Tensor,
    place: usize,
    sum: i32,
    multiplier: Multiplier,
    range: &Output,
) {
    let (narrow, wide) = (
        range.requantize(sum, multiplier),
        range.requantize_wide(sum, multiplier),
    );
    store(arena, output, place, narrow, wide);
}

/// Range: two products of at most 2¹⁶·2³⁰ in i64.
fn add(
    arena: &mut [i8],
    op: &Operator,
    other: &Tensor,
    mantissas: [i32; 2],
    shift: u8,
    range: &Output,
) {
    let value = |arena: &[i8], tensor: &Tensor, place: usize| {
        (element(arena, tensor, place) - tensor.zero_point as i32) as i64
    };
    let Shape {
        height,
        width,
        channels,
    } = other.shape;
    let shape = &op.output.shape;
    let mut place = 0;
    for y in 0..shape.height {
        for x in 0..shape.width {
            for c in 0..shape.channels {
                // Sides of 1 are stretched.
                let row = y.min(height - 1) * width + x.min(width - 1);
                let stretched = row * channels + c.min(channels - 1);
                let a = value(arena, &op.input, place) * mantissas[0] as i64;
                let b = value(arena, other, stretched) * mantissas[1] as i64;
                let sum = round_shift(a + b, shift);
                store(
                    arena,
                    &op.output,
                    place,
                    range.shifted(sum),
                    range.clamp_wide(sum),
                );
                place += 1;
            }
        }
    }
}
