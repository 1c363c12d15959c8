//! Operators of two tensors.

use super::{Kind, Operator, linear::multiplier, range};
use crate::FormatError;
use crate::cursor::Cursor;
use crate::tensor::{Shape, Tensor, Tensors};

/// Longest sum of a product of two matrices: differences of two int8 are below 2⁸ in magnitude, so it
/// stays below 2³⁰.
pub const MAX_INNER: usize = 1 << 14;

/// Factors of a sum of two, as mantissas of a magnitude below 2³⁰ over one shift of 1 … 62.
pub(super) fn factors(cursor: &mut Cursor) -> Result<([i32; 2], u8), FormatError> {
    let mantissas = [cursor.u32()? as i32, cursor.u32()? as i32];
    let shift = cursor.u8()?;
    let bounded = mantissas.iter().all(|m| m.unsigned_abs() < 1 << 30);
    if bounded && (1..=62).contains(&shift) {
        Ok((mantissas, shift))
    } else {
        Err(FormatError::Operator)
    }
}

/// The second tensor, each side of which is the first one's or 1. The result has the first one's shape.
fn broadcast(cursor: &mut Cursor, tensors: &Tensors, op: &Operator) -> Result<Tensor, FormatError> {
    let other = tensors.nth(cursor.varint()?)?;
    if !cfg!(feature = "pairs") {
        return match (
            op.output.shape == op.input.shape,
            other.shape == op.input.shape,
        ) {
            (true, true) => Ok(other),
            (true, false) => Err(FormatError::LeftOut),
            _ => Err(FormatError::Shape),
        };
    }
    let suits = |side: usize, whole: usize| side == whole || side == 1;
    let (a, b) = (&op.input.shape, &other.shape);
    let fits = suits(b.height, a.height) && suits(b.width, a.width);
    if !fits || !suits(b.channels, a.channels) || op.output.shape != *a {
        Err(FormatError::Shape)
    } else {
        Ok(other)
    }
}

pub(super) fn add(
    cursor: &mut Cursor,
    tensors: &Tensors,
    op: &mut Operator,
) -> Result<(), FormatError> {
    let other = broadcast(cursor, tensors, op)?;
    let range = range(cursor, op.output.zero_point)?;
    let (mantissas, shift) = factors(cursor)?;
    op.kind = Kind::Add {
        other,
        mantissas,
        shift,
        range,
    };
    Ok(())
}

pub(super) fn mul(
    cursor: &mut Cursor,
    tensors: &Tensors,
    op: &mut Operator,
) -> Result<(), FormatError> {
    let other = broadcast(cursor, tensors, op)?;
    let range = range(cursor, op.output.zero_point)?;
    op.kind = Kind::Mul {
        other,
        multiplier: multiplier(cursor)?,
        range,
    };
    Ok(())
}

pub(super) fn mat_mul(
    cursor: &mut Cursor,
    tensors: &Tensors,
    op: &mut Operator,
) -> Result<(), FormatError> {
    let other = tensors.nth(cursor.varint()?)?;
    let transposed = match cursor.u8()? {
        0 => false,
        1 => true,
        _ => return Err(FormatError::Operator),
    };
    let (a, b, y) = (&op.input.shape, &other.shape, &op.output.shape);
    let [inner, columns] = if transposed {
        [b.channels, b.width]
    } else {
        [b.width, b.channels]
    };
    let product = Shape {
        channels: columns,
        ..*a
    };
    let rows_fit = b.height == a.height || b.height == 1;
    if inner != a.channels || inner > MAX_INNER || !rows_fit || *y != product {
        return Err(FormatError::Shape);
    }
    let range = range(cursor, op.output.zero_point)?;
    op.kind = Kind::MatMul {
        other,
        transposed,
        multiplier: multiplier(cursor)?,
        range,
    };
    Ok(())
}
