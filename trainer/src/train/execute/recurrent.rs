//! Recurrent layers: one product for the inputs of all steps, then step by step.

use super::Network;
use super::elementwise::unary;
use crate::graph::{Cell, Recurrent, Unary};
use burn::tensor::module::linear;
use burn::tensor::{Tensor, activation};

/// What turns a hidden state into the gates' sums.
struct Recurrence {
    /// `[hidden, gates · hidden]`
    weight: Tensor<2>,
    /// `[gates · hidden]`
    bias: Option<Tensor<1>>,
    hidden: usize,
}

/// `size` columns from the `at`-th such block on.
fn block(x: &Tensor<2>, at: usize, size: usize) -> Tensor<2> {
    x.clone().narrow(1, at * size, size)
}

/// The steps of `[time, batch, rows]`. Halved again and again: the gradient of taking a part is a
/// tensor as large as the whole.
fn steps(x: Tensor<3>) -> Vec<Tensor<2>> {
    let [time, batch, rows] = x.dims();
    if time <= 1 {
        return vec![x.reshape([batch, rows])];
    }
    let half = time / 2;
    let mut all = steps(x.clone().narrow(0, 0, half));
    all.append(&mut steps(x.narrow(0, half, time - half)));
    all
}

impl Recurrence {
    fn product(&self, h: &Tensor<2>) -> Tensor<2> {
        linear(h.clone(), self.weight.clone(), self.bias.clone())
    }

    fn rnn(&self, activation: Unary, x: Tensor<2>, h: &Tensor<2>) -> Tensor<2> {
        unary(activation, x + self.product(h))
    }

    /// The hidden state and the cell state.
    fn lstm(&self, x: Tensor<2>, h: &Tensor<2>, c: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let n = self.hidden;
        let sums = x + self.product(h);
        let gates = activation::sigmoid(sums.clone().narrow(1, 0, 3 * n));
        let [input, output, forget] = [0, 1, 2].map(|gate| block(&gates, gate, n));
        let c = forget * c + input * block(&sums, 3, n).tanh();
        (output * c.clone().tanh(), c)
    }

    fn gru(&self, linear_before_reset: bool, x: Tensor<2>, h: &Tensor<2>) -> Tensor<2> {
        let n = self.hidden;
        let (gates, past) = if linear_before_reset {
            let product = self.product(h);
            let gates = x.clone().narrow(1, 0, 2 * n) + product.clone().narrow(1, 0, 2 * n);
            let gates = activation::sigmoid(gates);
            let past = block(&gates, 1, n) * block(&product, 2, n);
            (gates, past)
        } else {
            let gates = x.clone().narrow(1, 0, 2 * n) + self.part(0, 2, h);
            let gates = activation::sigmoid(gates);
            let past = self.part(2, 1, &(block(&gates, 1, n) * h.clone()));
            (gates, past)
        };
        let proposal = (block(&x, 2, n) + past).tanh();
        proposal.clone() + block(&gates, 0, n) * (h.clone() - proposal)
    }

    /// The products of some gates.
    fn part(&self, first: usize, gates: usize, h: &Tensor<2>) -> Tensor<2> {
        let (start, len) = (first * self.hidden, gates * self.hidden);
        let weight = self.weight.clone().narrow(1, start, len);
        let bias = self.bias.clone().map(|b| b.narrow(0, start, len));
        linear(h.clone(), weight, bias)
    }
}

impl Network<'_> {
    pub(super) fn recurrent(&self, layer: &Recurrent, x: Tensor<2>) -> Tensor<2> {
        let [batch, elements] = x.dims();
        let weight = self.matrix(layer.weight);
        let [rows, features] = weight.dims();
        let (time, hidden) = (elements / features, rows / layer.cell.gates());
        let half = |at: usize| {
            let bias = layer.bias.map(|b| self.parameter(b));
            bias.map(|b| b.narrow(0, at * rows, rows))
        };
        // Time first, so that a step's rows lie together.
        let x = x.reshape([batch, time, features]).swap_dims(0, 1);
        let x = x.reshape([time * batch, features]);
        let from_inputs = linear(x, weight.transpose(), half(0)).reshape([time, batch, rows]);
        let recurrence = Recurrence {
            weight: self.matrix(layer.recurrence).transpose(),
            bias: half(1),
            hidden,
        };
        let state = |id: Option<_>| match id {
            Some(id) => self.constant(id, batch),
            None => Tensor::zeros([batch, hidden], &self.device),
        };
        let (mut h, mut c) = (state(layer.initial_hidden), state(layer.initial_cell));
        let mut states = Vec::with_capacity(time);
        for x in steps(from_inputs) {
            h = match layer.cell {
                Cell::Rnn { activation } => recurrence.rnn(activation, x, &h),
                Cell::Lstm => {
                    let (next, cell) = recurrence.lstm(x, &h, c);
                    c = cell;
                    next
                }
                Cell::Gru {
                    linear_before_reset,
                } => recurrence.gru(linear_before_reset, x, &h),
            };
            states.push(h.clone());
        }
        if layer.cell_output {
            return c;
        }
        Tensor::cat(states, 1)
    }
}
