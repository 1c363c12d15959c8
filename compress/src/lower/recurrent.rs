//! Recurrent layers: gates in 1/4,096ths, states in the output's integers.

use super::arrange::{Order, Sides};
use super::linear::{Matrix, finite, multiplier};
use super::view::View;
use super::{LowerError, Lowering, full_range, refused};
use crate::program::{self, Activation, Kind, Tensor};
use no_std_core::tensor::Shape;
use trainer::graph::{Cell, Node, ParamId, Quantization, Recurrent, Unary};

/// One step of a gate's pre-activation.
const GATE_STEP: f64 = 1.0 / 4096.0;

/// Values between −1 and 1.
const UNIT: Quantization = Quantization {
    scale: 1.0 / 127.0,
    zero_point: 0,
};

/// Fractional bits of an LSTM's cell state: beyond ±16 its hyperbolic tangent is ±1 by far.
const CELL_BITS: u8 = 11;

/// Fractional bits of a GRU's hidden state, a mean of hyperbolic tangents and itself.
const HIDDEN_BITS: u8 = 14;

impl Lowering<'_> {
    pub(super) fn recurrent(&mut self, node: &Node, layer: &Recurrent) -> Result<View, LowerError> {
        let cell = cell(layer.cell)?;
        let q = self.own_quantization(node.output)?;
        let order = Order::new(&[], &[0], &[1]);
        let input = self.arrange(node.inputs[0], &order, Sides::All)?;
        let Shape {
            width, channels, ..
        } = self.tensors[input].shape;
        let out = self.shape(node.output);
        let units = out[out.len() - 1];
        let steps = if layer.cell_output { 1 } else { width };
        let shape = Shape::new(1, steps, units);
        let shape = shape.ok_or_else(|| refused(super::too_large(steps * units)))?;
        // Hidden states that nobody sees are between −1 and 1.
        let hidden = if layer.cell_output { UNIT } else { q };
        let state = Tensor {
            name: node.name.clone(),
            shape,
            scale: hidden.scale,
            zero_point: hidden.zero_point as i8,
            wide: false,
        };
        let [on_input, on_hidden] = self.gate_biases(layer)?;
        let gates = |id: ParamId, columns: usize, biases: Vec<f64>, x: &Tensor| {
            let order: Vec<usize> = (0..columns).collect();
            let matrix = Matrix {
                biases,
                ..Matrix::new(self.graph, id, None, &order)?
            };
            matrix.linear(x, GATE_STEP, full_range(hidden), self.biases)
        };
        let state_bits = match cell {
            program::Cell::Lstm => CELL_BITS,
            program::Cell::Gru { .. } => HIDDEN_BITS,
            program::Cell::Rnn(_) => 0,
        };
        let state_step = (-f64::from(state_bits)).exp2();
        let unit = match cell {
            program::Cell::Lstm => (-30f64).exp2(),
            program::Cell::Gru { .. } => state_step,
            program::Cell::Rnn(Activation::Relu) => GATE_STEP,
            program::Cell::Rnn(_) => (-15f64).exp2(),
        };
        let cell_output = (multiplier(state_step / f64::from(q.scale)), full_range(q));
        let int8 = |v: f64| (v + f64::from(hidden.zero_point)).clamp(-128.0, 127.0) as i8;
        let int16 = |v: f64| v.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        let gru = matches!(cell, program::Cell::Gru { .. });
        let (initial_hidden, initial_state) = if gru {
            (None, layer.initial_hidden)
        } else {
            (layer.initial_hidden, layer.initial_cell)
        };
        let kind = Kind::Recurrent(program::Recurrent {
            cell,
            input: gates(layer.weight, channels, on_input, &self.tensors[input])?,
            hidden: gates(layer.recurrence, units, on_hidden, &state)?,
            multiplier: multiplier(unit / f64::from(hidden.scale)),
            range: full_range(hidden),
            state_bits,
            initial_hidden: self.initial(initial_hidden, hidden.scale.into(), int8)?,
            initial_state: self.initial(initial_state, state_step, int16)?,
            cell_output: layer.cell_output.then_some(cell_output),
            carried: false,
        });
        let tensor = self.emit(node, input, shape, q, kind);
        Ok(View::rows(tensor, steps * units))
    }

    /// Those beside the inputs and those beside the hidden state.
    fn gate_biases(&self, layer: &Recurrent) -> Result<[Vec<f64>; 2], LowerError> {
        let rows = self.graph.parameter(layer.weight).shape[0];
        let biases = match layer.bias {
            Some(id) => finite(self.graph, id)?,
            None => vec![0.0; 2 * rows],
        };
        let biases: Vec<f64> = biases.into_iter().map(f64::from).collect();
        let (on_input, on_hidden) = biases.split_at(rows);
        Ok([on_input.to_vec(), on_hidden.to_vec()])
    }

    fn initial<T>(
        &self,
        state: Option<ParamId>,
        scale: f64,
        integer: impl Fn(f64) -> T,
    ) -> Result<Option<Vec<T>>, LowerError> {
        let Some(id) = state else { return Ok(None) };
        let values = finite(self.graph, id)?.into_iter();
        let steps = values.map(|v| integer((f64::from(v) / scale).round_ties_even()));
        Ok(Some(steps.collect()))
    }
}

fn cell(cell: Cell) -> Result<program::Cell, LowerError> {
    Ok(match cell {
        Cell::Lstm => program::Cell::Lstm,
        Cell::Gru {
            linear_before_reset,
        } => program::Cell::Gru {
            linear_before_reset,
        },
        Cell::Rnn { activation } => program::Cell::Rnn(match activation {
            Unary::Tanh => Activation::Tanh,
            Unary::Sigmoid => Activation::Sigmoid,
            Unary::LeakyRelu { alpha: 0.0 } => Activation::Relu,
            other => {
                let reason = format!(
                    "has the activation {}; images have Tanh, Sigmoid and Relu",
                    other.name()
                );
                return Err(refused(reason));
            }
        }),
    })
}
