use core::cell::Cell;
use no_std_core::numerics::{FAST_SHIFT, Multiplier, Output, rounded};
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
    let arena = Cell::from_mut(arena).as_slice_of_cells();
    let part = |t: &Tensor| arena.get(t.offset..t.end()).unwrap_or_default();
    let (x, y, others) = (part(&op.input), part(&op.output), part(other));
    let (mut shape, mut side) = (op.output.shape, other.shape);
    if !cfg!(feature = "pairs") || side == shape {
        // Nothing stretches: both are one row.
        (shape.height, shape.width, shape.channels) = (1, 1, shape.len());
        side = shape;
    }
    let step = |side: usize, elements: usize| if side == 1 { 0 } else { elements };
    let down = step(side.height, side.width * side.channels);
    let (across, along) = (step(side.width, side.channels), step(side.channels, 1));
    let zeros = [&op.input, other].map(|t| t.zero_point as i32);
    let mut pairs = x.iter().zip(y);
    for row in 0..shape.height {
        for column in 0..shape.width {
            let mut stretched = row * down + column * across;
            for (a, y) in pairs.by_ref().take(shape.channels) {
                let b = others.get(stretched).map_or(0, Cell::get);
                y.set(f(a.get() as i32 - zeros[0], b as i32 - zeros[1]));
                stretched += along;
            }
        }
    }
}

/// `requantize((a − zₐ)·mₐ + (b − z_b)·m_b)`. Range: two products of at most 2⁸·2²²·2³⁰ in i64.
#[inline(never)]
pub(crate) fn add(
    arena: &mut [i8],
    op: &Operator,
    other: &Tensor,
    mantissas: [i32; 2],
    shift: u8,
    range: &Output,
) {
    // Differences have room for what a shift lacks of a fast one.
    let lacking = match shift {
        11..FAST_SHIFT => FAST_SHIFT - shift,
        _ => 0,
    };
    #[cfg(x86)]
    if other.shape == op.output.shape {
        let zero_points = [op.input.zero_point, other.zero_point];
        let sum = crate::arch::Sum {
            zero_points,
            mantissas,
            up: lacking,
            shift: shift + lacking,
            range,
        };
        let arena = Cell::from_mut(arena).as_slice_of_cells();
        let part = |t: &Tensor| arena.get(t.offset..t.end()).unwrap_or_default();
        if crate::arch::add(&sum, part(&op.input), part(other), part(&op.output)) {
            return;
        }
    }
    let term = |difference: i32, mantissa: i32| (difference << lacking) as i64 * mantissa as i64;
    each(arena, op, other, |a, b| {
        let sum = term(a, mantissas[0]) + term(b, mantissas[1]);
        range.shifted(rounded(sum, shift + lacking))
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
