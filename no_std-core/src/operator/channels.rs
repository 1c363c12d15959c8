//! Operators over the channels of each place.

use super::{Integers, Kind, Operator, pair::factors, range};
use crate::FormatError;
use crate::cursor::Cursor;

/// Most channels of operators that sum over them: 2¹⁵ terms below 2¹⁶ leave a bit for rounding.
pub const MAX_CHANNELS: usize = 1 << 15;

/// Most bits by which the entries of a table of [`Kind::Lrn`] can be apart.
const MAX_STEP: u8 = 20;

fn exponentials<'a>(cursor: &mut Cursor<'a>, op: &Operator) -> Result<&'a [u8], FormatError> {
    let count = cursor.u8()? as usize + 1;
    if op.input.shape.channels > MAX_CHANNELS {
        return Err(FormatError::Shape);
    }
    cursor.take(count * 2)
}

pub(super) fn softmax<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    op.kind = Kind::Softmax {
        exponentials: exponentials(cursor, op)?,
    };
    Ok(())
}

pub(super) fn log_softmax<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let exponentials = exponentials(cursor, op)?;
    let range = range(cursor, op.output.zero_point)?;
    let (mantissas, shift) = factors(cursor)?;
    op.kind = Kind::LogSoftmax {
        exponentials,
        mantissas,
        shift,
        range,
    };
    Ok(())
}

pub(super) fn p_relu<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let range = range(cursor, op.output.zero_point)?;
    let (flags, shift) = (cursor.u8()?, cursor.u8()?);
    if flags > 1 || !(1..=62).contains(&shift) {
        return Err(FormatError::Operator);
    }
    let per_channel = flags == 1;
    let slopes = if per_channel {
        op.input.shape.channels
    } else {
        1
    };
    op.kind = Kind::PRelu {
        positive: Integers::parse(cursor, 1)?,
        negative: Integers::parse(cursor, slopes)?,
        per_channel,
        shift,
        range,
    };
    Ok(())
}

pub(super) fn arg_max(cursor: &mut Cursor, op: &mut Operator) -> Result<(), FormatError> {
    let (input, output) = (&op.input.shape, &op.output.shape);
    if output.channels != 1 || [input.height, input.width] != [output.height, output.width] {
        return Err(FormatError::Shape);
    }
    op.kind = match cursor.u8()? {
        0 => Kind::ArgMax { last: false },
        1 => Kind::ArgMax { last: true },
        _ => return Err(FormatError::Operator),
    };
    Ok(())
}

pub(super) fn layer_norm<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let channels = op.input.shape.channels;
    let range = range(cursor, op.output.zero_point)?;
    let (epsilon, shift) = (cursor.varint()?, cursor.u8()?);
    if channels > MAX_CHANNELS || !(1..=50).contains(&shift) {
        return Err(FormatError::Operator);
    }
    op.kind = Kind::LayerNorm {
        epsilon,
        scales: Integers::parse(cursor, channels)?,
        shift,
        biases: Integers::parse(cursor, channels)?,
        range,
    };
    Ok(())
}

pub(super) fn lrn<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let range = range(cursor, op.output.zero_point)?;
    let (size, step) = (cursor.size()?, cursor.u8()?);
    if !(1..=MAX_CHANNELS).contains(&size) || step > MAX_STEP {
        return Err(FormatError::Operator);
    }
    let entries = cursor.u8()? as usize + 1;
    op.kind = Kind::Lrn {
        size,
        table: cursor.take(entries * 4)?,
        step,
        range,
    };
    Ok(())
}
