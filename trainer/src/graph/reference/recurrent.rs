//! Recurrent layers, step by step after ONNX's equations. States stay in `f64` between steps.

use super::Step;
use crate::graph::{Cell, Recurrent, Unary};

/// The matrices of a layer, by gate.
struct Layer {
    features: usize,
    hidden: usize,
    weight: Vec<f32>,
    recurrence: Vec<f32>,
    /// Of the inputs, then of the hidden state.
    bias: Vec<f32>,
}

fn sigmoid(x: f64) -> f64 {
    Unary::Sigmoid.apply(x)
}

fn row_times(row: &[f32], x: &[f64]) -> f64 {
    row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()
}

impl Layer {
    /// `W·x + b`, of one gate and unit.
    fn of_input(&self, gate: usize, unit: usize, x: &[f64]) -> f64 {
        let row = gate * self.hidden + unit;
        let weights = &self.weight[row * self.features..][..self.features];
        row_times(weights, x) + f64::from(self.bias[row])
    }

    /// `R·h + b`, of one gate and unit.
    fn of_hidden(&self, gate: usize, unit: usize, h: &[f64]) -> f64 {
        let row = gate * self.hidden + unit;
        let weights = &self.recurrence[row * self.hidden..][..self.hidden];
        row_times(weights, h) + f64::from(self.bias[self.bias.len() / 2 + row])
    }

    /// `W·x + R·h + b` of each unit.
    fn gate(&self, gate: usize, x: &[f64], h: &[f64]) -> Vec<f64> {
        let unit = |u| self.of_input(gate, u, x) + self.of_hidden(gate, u, h);
        (0..self.hidden).map(unit).collect()
    }

    fn rnn(&self, activation: Unary, x: &[f64], h: &[f64]) -> Vec<f64> {
        let sums = self.gate(0, x, h);
        sums.into_iter().map(|v| activation.apply(v)).collect()
    }

    /// Changes the cell state.
    fn lstm(&self, x: &[f64], h: &[f64], c: &mut [f64]) -> Vec<f64> {
        let [i, o, f, g] = [0, 1, 2, 3].map(|gate| self.gate(gate, x, h));
        let unit = |(u, c): (usize, &mut f64)| {
            *c = sigmoid(f[u]) * *c + sigmoid(i[u]) * g[u].tanh();
            sigmoid(o[u]) * c.tanh()
        };
        c.iter_mut().enumerate().map(unit).collect()
    }

    fn gru(&self, linear_before_reset: bool, x: &[f64], h: &[f64]) -> Vec<f64> {
        let [z, r] = [0, 1].map(|gate| self.gate(gate, x, h));
        let reset: Vec<f64> = r.iter().zip(h).map(|(r, h)| sigmoid(*r) * h).collect();
        let unit = |u: usize| {
            let past = if linear_before_reset {
                sigmoid(r[u]) * self.of_hidden(2, u, h)
            } else {
                self.of_hidden(2, u, &reset)
            };
            let proposal = (self.of_input(2, u, x) + past).tanh();
            let keep = sigmoid(z[u]);
            (1.0 - keep) * proposal + keep * h[u]
        };
        (0..self.hidden).map(unit).collect()
    }
}

impl Step<'_> {
    pub(super) fn recurrent(&self, layer: &Recurrent) -> Vec<f32> {
        let [rows, features] = [0, 1].map(|axis| self.parameter_shape(layer.weight)[axis]);
        let hidden = rows / layer.cell.gates();
        let state = |id| -> Vec<f64> {
            let values = self.parameter_or_zeros(id, hidden);
            values.into_iter().map(f64::from).collect()
        };
        let (mut h, mut c) = (state(layer.initial_hidden), state(layer.initial_cell));
        let matrices = Layer {
            features,
            hidden,
            weight: self.parameter(layer.weight),
            recurrence: self.parameter(layer.recurrence),
            bias: self.parameter_or_zeros(layer.bias, 2 * rows),
        };
        let mut states = Vec::new();
        for x in self.x().data.chunks(features) {
            let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
            h = match layer.cell {
                Cell::Rnn { activation } => matrices.rnn(activation, &x, &h),
                Cell::Lstm => matrices.lstm(&x, &h, &mut c),
                Cell::Gru {
                    linear_before_reset,
                } => matrices.gru(linear_before_reset, &x, &h),
            };
            states.extend_from_slice(&h);
        }
        let output = if layer.cell_output { c } else { states };
        output.into_iter().map(|v| v as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apply, assert_near, graph};
    use super::*;
    use crate::graph::{Op, ParamId};

    /// Far enough that a sigmoid is 1 or, negative, 0.
    const FAR: f32 = 100.0;

    /// A layer of one unit and one feature with all matrices in place: weight, recurrence, bias and
    /// initial states.
    fn unit(
        cell: Cell,
        [weight, recurrence]: [&[f32]; 2],
        bias: &[f32],
        [hidden, state]: [f32; 2],
        x: &[f32],
    ) -> [Vec<f32>; 2] {
        let rows = cell.gates();
        let parameters: [(&[usize], &[f32]); 5] = [
            (&[rows, 1], weight),
            (&[rows, 1], recurrence),
            (&[2 * rows], bias),
            (&[1], &[hidden]),
            (&[1], &[state]),
        ];
        [false, true].map(|cell_output| {
            let op = Op::Recurrent(Recurrent {
                cell,
                weight: ParamId(0),
                recurrence: ParamId(1),
                bias: Some(ParamId(2)),
                initial_hidden: Some(ParamId(3)),
                initial_cell: Some(ParamId(4)),
                cell_output,
            });
            apply(graph(&[x.len(), 1], &parameters), op, x)
        })
    }

    #[test]
    fn an_rnn_adds_both_biases_and_its_past() {
        let activation = Unary::LeakyRelu { alpha: 0.0 };
        let cell = Cell::Rnn { activation };
        let [y, _] = unit(
            cell,
            [&[2.], &[10.]],
            &[0.5, 0.25],
            [1., 0.],
            &[1., -40., 1.],
        );
        // 2 + 10 + 0.75, then −80 + 127.5 + 0.75, then 2 + 482.5 + 0.75.
        assert_eq!(y, [12.75, 48.25, 485.25]);
    }

    #[test]
    fn an_lstm_has_its_gates_in_onnx_order() {
        let lstm = |i: f32, o: f32, f: f32| {
            let bias = [i, o, f, 0., 0., 0., 0., 0.];
            let matrices: [&[f32]; 2] = [&[0., 0., 0., 1.], &[0., 0., 0., 2.]];
            unit(Cell::Lstm, matrices, &bias, [0.25, 3.], &[0.5, 1.])
        };
        // Input and output open, the old cell forgotten.
        let first = 1_f32.tanh().tanh();
        let second = (1. + 2. * first).tanh();
        let [y, c] = lstm(FAR, FAR, -FAR);
        assert_near(&y, &[first, second.tanh()]);
        assert_near(&c, &[second]);
        // Nothing comes in, nothing is forgotten.
        let [y, c] = lstm(-FAR, FAR, FAR);
        assert_near(&y, &[3_f32.tanh(); 2]);
        assert_near(&c, &[3.]);
        // Nothing comes out: the past is 0.
        let [y, c] = lstm(FAR, -FAR, FAR);
        assert_near(&y, &[0., 0.]);
        assert_near(&c, &[3. + 1_f32.tanh() + 1_f32.tanh()]);
    }

    #[test]
    fn a_gru_resets_before_or_behind_the_product() {
        let gru = |linear_before_reset, z: f32, r: f32| {
            let cell = Cell::Gru {
                linear_before_reset,
            };
            let bias = [z, r, 0.125, 0., 0., 0.5];
            let matrices: [&[f32]; 2] = [&[0., 0., 1.], &[0., 0., 2.]];
            let [y, _] = unit(cell, matrices, &bias, [0.25, 0.], &[0.5]);
            y
        };
        for linear_before_reset in [false, true] {
            assert_near(&gru(linear_before_reset, FAR, FAR), &[0.25]);
            let open = 1.625_f32.tanh();
            assert_near(&gru(linear_before_reset, -FAR, FAR), &[open]);
            assert_near(&gru(linear_before_reset, 0., FAR), &[(open + 0.25) / 2.]);
        }
        // The product's bias is reset with it, or not.
        assert_near(&gru(true, -FAR, -FAR), &[0.625_f32.tanh()]);
        assert_near(&gru(false, -FAR, -FAR), &[1.125_f32.tanh()]);
    }
}
