//! Recurrent layers. A backward or bidirectional one is made of forward ones and of
//! [`Op::Select`](super::Op::Select), which turns time around.

use super::{ParamId, Unary};
use serde::{Deserialize, Serialize};

/// A recurrent layer over `[time, features]`, forward in time: `[time, hidden]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// What is computed at each step.
    pub cell: Cell,
    /// `[gates · hidden, features]`, gates in ONNX's order: i, o, f, c of an LSTM; z, r, h of a GRU.
    pub weight: ParamId,
    /// `[gates · hidden, hidden]`
    pub recurrence: ParamId,
    /// `[2 · gates · hidden]`: that of the inputs, then that of the hidden state.
    pub bias: Option<ParamId>,
    /// `[hidden]`; 0 without.
    pub initial_hidden: Option<ParamId>,
    /// `[hidden]`, of an LSTM; 0 without.
    pub initial_cell: Option<ParamId>,
    /// Whether the output is the last cell state of an LSTM, `[hidden]`, not the hidden states.
    pub cell_output: bool,
}

/// The kind of a recurrent layer and its functions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// `h = f(W·x + R·h + b)` (Elman 1990).
    Rnn {
        /// f; tanh unless said.
        activation: Unary,
    },
    /// `c = f∘c + i∘g`, `h = o∘tanh(c)` (Hochreiter & Schmidhuber 1997).
    Lstm,
    /// `h = (1 − z)∘h̃ + z∘h` (Cho et al. 2014).
    Gru {
        /// Whether the reset gate multiplies the product `R·h + b` (PyTorch) and not `h` before it.
        linear_before_reset: bool,
    },
}

impl Cell {
    /// The ONNX operator's name.
    pub const fn name(self) -> &'static str {
        match self {
            Cell::Rnn { .. } => "RNN",
            Cell::Lstm => "LSTM",
            Cell::Gru { .. } => "GRU",
        }
    }

    /// Matrices stacked in a weight.
    pub const fn gates(self) -> usize {
        match self {
            Cell::Rnn { .. } => 1,
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
        }
    }
}

impl Recurrent {
    pub(super) fn parameters_mut(&mut self) -> Vec<&mut ParamId> {
        let optional = [
            &mut self.bias,
            &mut self.initial_hidden,
            &mut self.initial_cell,
        ];
        [&mut self.weight, &mut self.recurrence]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .collect()
    }
}
