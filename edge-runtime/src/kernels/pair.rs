use no_std_core::numerics::{Multiplier, Output, round_shift};
use no_std_core::operator::Operator;
use no_std_core::tensor::Tensor;

/// The distance of an element from its tensor's zero point, −255 … 255.
#[inline(always)]
fn value(arena: &[i8], tensor: &Tensor, place: usize) -> i32 {
    let q = arena.get(tensor.offset + place).copied().unwrap_or(0);
    q as i32 - tensor.zero_point as i32
}

/// `f(a, b)` of each element of the input and the one of `other` that stands there when sides of 1
/// are stretched. Each is read before the output's is written, so they may be the same memory.
#[inline(always)]
fn each(arena: &mut [i8], op: &Operator, other: &Tensor, f: impl Fn(i32, i32) -> i8) {
    let (mut shape, mut side) = (op.output.shape, other.shape);
    if !cfg!(feature = "pairs") {
        // Nothing stretches: both are one row.
        (shape.height, shape.width, shape.channels) = (1, 1, shape.len());
        side = shape;
    }
    let step = |side: usize, elements: usize| if side == 1 { 0 } else { elements };
    let down = step(side.height, side.width * side.channels);
    let (across, along) = (step(side.width, side.channels), step(side.channels, 1));
    let mut place = 0;
    for y in 0..shape.height {
        for x in 0..shape.width {
            let mut stretched = y * down + x * across;
            for _ in 0..shape.channels {
                let result = f(
                    value(arena, &op.input, place),
                    value(arena, other, stretched),
                );
                if let Some(y) = arena.get_mut(op.output.offset + place) {
                    *y = result;
                }
                (place, stretched) = (place + 1, stretched + along);
            }
        }
    }
}

/// `requantize((a − zₐ)·mₐ + (b − z_b)·m_b)`. Range: two products of at most 2⁸·2³⁰ in i64.
#[inline(never)]
pub(crate) fn add(
    arena: &mut [i8],
    op: &Operator,
    other: &Tensor,
    mantissas: [i32; 2],
    shift: u8,
    range: &Output,
) {
    each(arena, op, other, |a, b| {
        let sum = a as i64 * mantissas[0] as i64 + b as i64 * mantissas[1] as i64;
        range.shifted(round_shift(sum, shift))
    });
}

/// `requantize((a − zₐ)·(b − z_b))`
#[inline(never)]
pub(crate) fn mul(
    arena: &mut [i8],
    op: &Operator,
    other: &Tensor,
    multiplier: Multiplier,
    range: &Output,
) {
    each(arena, op, other, |a, b| range.requantize(a * b, multiplier));
}

/// `requantize(Σ(a − zₐ)·(b − z_b))` at each row. Range: at most 2¹⁴ products of at most 2¹⁶.
#[inline(never)]
pub(crate) fn mat_mul(
    arena: &mut [i8],
    op: &Operator,
    other: &Tensor,
    transposed: bool,
    multiplier: Multiplier,
    range: &Output,
) {
    let (a, b, y) = (&op.input.shape, &other.shape, &op.output.shape);
    let row_step = if b.height == 1 {
        0
    } else {
        b.width * b.channels
    };
    // Elements of the second factor from column to column, and from one term of a sum to the next.
    let (across, along) = if transposed {
        (b.channels, 1)
    } else {
        (1, b.channels)
    };
    let mut place = op.output.offset;
    for row in 0..y.height {
        for left in (row * y.width..(row + 1) * y.width).map(|m| m * a.channels) {
            for column in 0..y.channels {
                let mut right = row * row_step + column * across;
                let mut sum = 0;
                for k in 0..a.channels {
                    sum += value(arena, &op.input, left + k) * value(arena, other, right);
                    right += along;
                }
                if let Some(y) = arena.get_mut(place) {
                    *y = range.requantize(sum, multiplier);
                }
                place += 1;
            }
        }
    }
}
