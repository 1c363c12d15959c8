//! Recurrent layers.

use super::linear::multiplier;
use super::{Kind, Linear, Operator, range};
use crate::FormatError;
use crate::cursor::Cursor;
use crate::numerics::{Multiplier, Output};

/// A recurrent layer over time, which is the width. Gates in ONNX's order: i, o, f, c of an LSTM; z, r,
/// h of a GRU.
#[derive(Clone, Copy, Debug)]
pub struct Recurrent<'a> {
    /// What is computed at each step.
    pub cell: Cell,
    /// Units of the hidden state.
    pub hidden: usize,
    /// From hidden states to their int8 steps.
    pub multiplier: Multiplier,
    /// Zero point and clamp of the int8 hidden state.
    pub range: Output,
    /// Fractional bits of the int16 state of an LSTM or GRU, at most 15.
    pub state_bits: u8,
    /// Whether the state stays from one inference to the next.
    pub carried: bool,
    /// If the output is the last cell state: from that to the output's steps, zero point and clamp.
    pub cell_output: Option<(Multiplier, Output)>,
    /// int8 hidden state at the start, one byte a unit; the zero point where there is none.
    pub initial_hidden: &'a [u8],
    /// int16 state at the start, two bytes a unit; 0 where there is none.
    pub initial_state: &'a [u8],
    table_bytes: usize,
    features: usize,
    input: Cursor<'a>,
    recurrence: Cursor<'a>,
}

/// The kind of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `h = f(W·x + R·h + b)`
    Rnn(Activation),
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru {
        /// Whether the reset gate multiplies the product `R·h + b`, not `h` before it.
        linear_before_reset: bool,
    },
}

/// f of an Elman layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `tanh x`
    Tanh,
    /// `1 / (1 + e^−x)`
    Sigmoid,
    /// `max(x, 0)`
    Relu,
}

/// Cells in the order of their numbers in an image.
pub const CELLS: [Cell; 6] = [
    Cell::Rnn(Activation::Tanh),
    Cell::Rnn(Activation::Sigmoid),
    Cell::Rnn(Activation::Relu),
    Cell::Lstm,
    Cell::Gru {
        linear_before_reset: false,
    },
    Cell::Gru {
        linear_before_reset: true,
    },
];

/// Bits of a recurrent layer's flag byte.
pub mod recurrent_flag {
    /// The int8 hidden state at the start follows (RNN, LSTM).
    pub const INITIAL_HIDDEN: u8 = 1;
    /// The int16 state at the start follows (LSTM, GRU).
    pub const INITIAL_STATE: u8 = 2;
    /// The output is the last cell state (LSTM).
    pub const CELL_OUTPUT: u8 = 4;
    /// The state stays from one inference to the next.
    pub const CARRIED: u8 = 8;
}

impl Cell {
    /// Matrices stacked in a weight.
    pub const fn gates(self) -> usize {
        match self {
            Cell::Rnn(_) => 1,
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
        }
    }

    /// Whether an int16 state goes from step to step beside the int8 one.
    pub const fn has_state(self) -> bool {
        !matches!(self, Cell::Rnn(_))
    }

    const fn flags(self) -> u8 {
        use recurrent_flag::*;
        match self {
            Cell::Rnn(_) => INITIAL_HIDDEN | CARRIED,
            Cell::Lstm => INITIAL_HIDDEN | INITIAL_STATE | CELL_OUTPUT | CARRIED,
            Cell::Gru { .. } => INITIAL_STATE | CARRIED,
        }
    }
}

impl<'a> Recurrent<'a> {
    /// `[gates · hidden, features]`: from inputs to pre-activations.
    pub fn input(&self) -> Option<Linear<'a>> {
        let mut cursor = self.input;
        // Both matrices were read when the image was parsed.
        Linear::matrix(&mut cursor, self.range, self.rows(), self.features).ok()
    }

    /// `[gates · hidden, hidden]`: from hidden states to pre-activations.
    pub fn recurrence(&self) -> Option<Linear<'a>> {
        let mut cursor = self.recurrence;
        Linear::matrix(&mut cursor, self.range, self.rows(), self.hidden).ok()
    }

    /// Pre-activations of a step.
    pub const fn rows(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// Scratch bytes of what goes from step to step: the hidden state, then the int16 state.
    pub const fn state_bytes(&self) -> usize {
        if self.cell.has_state() {
            3 * self.hidden
        } else {
            self.hidden
        }
    }

    /// Scratch bytes: the states, the int16 pre-activations, and the tables of the matrix being read.
    pub const fn scratch_bytes(&self) -> usize {
        self.state_bytes() + 2 * self.rows() + self.table_bytes
    }
}

/// Reads past a matrix and says what its tables need.
#[inline(never)]
fn table_bytes(
    cursor: &mut Cursor,
    range: Output,
    [rows, columns]: [usize; 2],
) -> Result<usize, FormatError> {
    let linear = Linear::matrix(cursor, range, rows, columns)?;
    linear.check()?;
    Ok(linear.weights.table_bytes())
}

#[inline(never)]
pub(super) fn recurrent<'a>(
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let (cell, flags) = (cursor.u8()?, cursor.u8()?);
    let cell = *CELLS.get(cell as usize).ok_or(FormatError::Operator)?;
    if flags & !cell.flags() != 0 {
        return Err(FormatError::Operator);
    }
    let has = |flag: u8| flags & flag != 0;
    let (x, y) = (op.input.shape, op.output.shape);
    let steps = if has(recurrent_flag::CELL_OUTPUT) {
        1
    } else {
        x.width
    };
    let (hidden, features) = (y.channels, x.channels);
    let rows = cell.gates().checked_mul(hidden);
    if [x.height, y.height] != [1, 1] || y.width != steps {
        return Err(FormatError::Shape);
    }
    let cell_output = if has(recurrent_flag::CELL_OUTPUT) {
        let range = range(cursor, op.output.zero_point)?;
        Some((multiplier(cursor)?, range))
    } else {
        None
    };
    let zero_point = if cell_output.is_some() {
        cursor.i8()?
    } else {
        op.output.zero_point
    };
    let range = range(cursor, zero_point)?;
    let multiplier = multiplier(cursor)?;
    let state_bits = if cell.has_state() { cursor.u8()? } else { 0 };
    if state_bits > 15 {
        return Err(FormatError::Operator);
    }
    let length = |flag: u8, bytes: usize| if has(flag) { hidden * bytes } else { 0 };
    let initial_hidden = cursor.take(length(recurrent_flag::INITIAL_HIDDEN, 1))?;
    let initial_state = cursor.take(length(recurrent_flag::INITIAL_STATE, 2))?;
    let rows = rows.ok_or(FormatError::Shape)?;
    let input = *cursor;
    let input_tables = table_bytes(cursor, range, [rows, features])?;
    let recurrence = *cursor;
    let tables = table_bytes(cursor, range, [rows, hidden])?;
    op.kind = Kind::Recurrent(Recurrent {
        cell,
        hidden,
        multiplier,
        range,
        state_bits,
        carried: has(recurrent_flag::CARRIED),
        cell_output,
        initial_hidden,
        initial_state,
        table_bytes: input_tables.max(tables),
        features,
        input,
        recurrence,
    });
    Ok(())
}
