//! Operators that move elements or bring constant ones.

use super::{Kind, Operator};
use crate::FormatError;
use crate::cursor::Cursor;
use crate::tensor::MAX_ELEMENTS;

/// Most loops of a [`Block`].
pub const MAX_AXES: usize = 6;

/// A block of elements moved from one tensor to another: nested loops, each with a step for reads and
/// one for writes.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// First element read.
    pub from: usize,
    /// First element written.
    pub to: usize,
    count: u8,
    axes: Cursor<'a>,
}

/// One loop of a [`Block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Steps, at least 1.
    pub count: usize,
    /// Elements between two reads; 0 repeats, negative goes backwards.
    pub from_step: isize,
    /// Elements between two writes.
    pub to_step: usize,
}

impl Axis {
    /// A loop of one step.
    pub const ONCE: Self = Self {
        count: 1,
        from_step: 0,
        to_step: 0,
    };

    /// Reads: `varint` count, `varint` read step with its sign in the lowest bit, `varint` write step.
    fn parse(cursor: &mut Cursor) -> Result<Self, FormatError> {
        let (count, from_step, to_step) = (cursor.size()?, cursor.varint()?, cursor.size()?);
        let magnitude = (from_step >> 1) as isize;
        Ok(Self {
            count,
            from_step: if from_step & 1 == 1 {
                !magnitude
            } else {
                magnitude
            },
            to_step,
        })
    }
}

impl Block<'_> {
    /// The loops, outermost first; what is not there runs once.
    pub fn axes(&self) -> [Axis; MAX_AXES] {
        let (mut cursor, mut axes) = (self.axes, [Axis::ONCE; MAX_AXES]);
        for axis in axes.iter_mut().take(self.count as usize) {
            // All were read when the image was parsed.
            *axis = Axis::parse(&mut cursor).unwrap_or(Axis::ONCE);
        }
        axes
    }

    /// How many loops there are, at most [`MAX_AXES`].
    pub const fn axis_count(&self) -> usize {
        self.count as usize
    }

    /// Whether all reads fall into `input` elements and all writes into `output`, none written twice
    /// or at least no more of them than there are elements.
    ///
    /// Range: counts and steps are below 2³², so a loop spans less than 2⁶⁴; it is refused as soon as
    /// it leaves a tensor.
    fn fits(&self, input: usize, output: usize) -> bool {
        let (mut low, mut high, mut last, mut moved) = (self.from, self.from, self.to, 1usize);
        for axis in self.axes() {
            let Some(steps) = axis.count.checked_sub(1) else {
                return false;
            };
            let reach = steps.checked_mul(axis.from_step.unsigned_abs());
            let written = steps.checked_mul(axis.to_step);
            let (Some(reach), Some(written)) = (reach, written) else {
                return false;
            };
            let (below, above) = if axis.from_step < 0 {
                (reach, 0)
            } else {
                (0, reach)
            };
            let bounds = (
                low.checked_sub(below),
                high.checked_add(above),
                last.checked_add(written),
                moved.checked_mul(axis.count),
            );
            let (Some(new_low), Some(new_high), Some(new_last), Some(new_moved)) = bounds else {
                return false;
            };
            (low, high, last, moved) = (new_low, new_high, new_last, new_moved);
        }
        high < input && last < output && moved <= output
    }
}

pub(super) fn copy<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let (from, to, count) = (cursor.size()?, cursor.size()?, cursor.u8()?);
    if count as usize > MAX_AXES {
        return Err(FormatError::Operator);
    }
    let axes = *cursor;
    for _ in 0..count {
        Axis::parse(cursor)?;
    }
    let block = Block {
        from,
        to,
        count,
        axes,
    };
    if !block.fits(op.input.shape.len(), op.output.shape.len()) {
        return Err(FormatError::Shape);
    }
    op.kind = Kind::Copy(block);
    Ok(())
}

pub(super) fn constant<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let count = cursor.size()?;
    if count != 1 && count != op.output.shape.len() {
        return Err(FormatError::Shape);
    }
    if op.input.number != op.output.number {
        return Err(FormatError::Operator);
    }
    op.kind = Kind::Constant(cursor.take(count)?);
    Ok(())
}

pub(super) fn embedding<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let (input, output) = (&op.input.shape, &op.output.shape);
    if input.channels != 1 || [input.height, input.width] != [output.height, output.width] {
        return Err(FormatError::Shape);
    }
    let rows = cursor.u8()? as usize + 1;
    let bytes = rows.checked_mul(output.channels);
    op.kind = Kind::Embedding(cursor.take(bytes.unwrap_or(MAX_ELEMENTS))?);
    Ok(())
}
