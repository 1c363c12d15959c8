//! A small network with every operator.

use super::builder::{Builder, INT8, multiplier, window};
use super::weights::Weights;
use compress::program::{Activation, Axis, Block, Cell, Kind, Operator, Program};
use no_std_core::numerics::Output;
use no_std_core::operator::Window;

/// Classes of [`every_operator`].
pub const CLASSES: usize = 10;

/// Multiply-accumulates of [`every_operator`], by its definition: positions × filters × weights of
/// a filter, twice a product of 8 × 8 matrices, steps × gates × units × (features + units).
pub const MACS: u32 = 80 * 8 * 27
    + 80 * 8 * 8
    + 80 * 8 * 9
    + 6 * 8 * 9
    + 64 * 8
    + 10 * 32
    + 2 * 8 * 8 * 8
    + 8 * 4 * 4 * (8 + 4)
    + 8 * 3 * 4 * (4 + 4) * 2
    + 8 * 4 * (4 + 4);

/// Convolutions plain, pointwise and by channel, a sum, poolings, normalizations, dense layers, clamp and
/// table; attention, recurrent layers and an embedding over eight steps; each layer's weights ask for
/// another form.
pub fn every_operator() -> Program {
    let mut b = Builder::new(Weights::Skewed);
    let input = b.tensor([10, 8, 3]);
    let first = b.conv(input, [10, 8, 8], window(3, 1, 1), 1);
    // Activations spread less than inputs, and means less than what they are of.
    b.gain = 1.5;
    b.weights = Weights::Any;
    let pointwise = b.conv(first, [10, 8, 8], window(1, 1, 0), 1);
    let by_channel = b.conv(pointwise, [10, 8, 8], window(3, 1, 1), 8);
    let sum = b.add(first, by_channel);
    let pooled = b.apply(sum, [5, 4, 8], Kind::MaxPool(window(2, 2, 0)));
    let normal = b.normalize(pooled, [5, 4, 8]);
    b.weights = Weights::Sparse(30);
    let depthwise = b.conv(normal, [3, 2, 8], window(3, 2, 1), 8);
    let average = Kind::AveragePool {
        window: Window {
            kernel: [3, 2],
            ..window(1, 1, 0)
        },
        count_include_pad: false,
    };
    let mean = b.apply(depthwise, [1, 1, 8], average);
    b.weights = Weights::Four;
    b.gain = 2.0;
    let hidden = b.dense(mean, 64);
    let clamped = b.apply(hidden, [1, 1, 64], Kind::Clamp(Output { min: -20, ..INT8 }));
    // Hyperbolic tangent, say.
    let table = (-128..128).map(|q| ((f64::from(q) / 40.0).tanh() * 100.0).round() as i8);
    let curved = b.apply(clamped, [1, 1, 64], Kind::Table(table.collect()));
    let steps = b.attend(curved);
    let states = b.recur(steps);
    let sequence = b.name(states);
    b.weights = Weights::Sparse(10);
    b.gain = 1.0;
    let logits = b.dense(sequence, CLASSES);
    let output = b.apply(
        logits,
        [1, 1, CLASSES],
        Kind::LogSoftmax {
            exponentials: exponentials(0.1),
            // To steps of 0.2, from those of 0.1 and from 2⁻¹⁶.
            mantissas: [1 << 25, -(5 << 10)],
            shift: 26,
            range: Output {
                zero_point: 127,
                ..INT8
            },
        },
    );
    b.program.tensors[output].zero_point = 127;
    b.finish(output)
}

fn exponentials(scale: f64) -> Vec<u16> {
    let entry = |d: i32| (65535.0 * (-scale * f64::from(d)).exp()).round() as u16;
    (0..60).map(entry).collect()
}

impl Builder {
    /// A ReLU with slopes, then normalizations by channels and by their neighbours.
    fn normalize(&mut self, input: usize, shape: [usize; 3]) -> usize {
        let channels = 0..shape[2] as i32;
        let leaky = Kind::PRelu {
            positive: 1 << 22,
            negative: channels.clone().map(|c| c << 18).collect(),
            shift: 22,
            range: INT8,
        };
        let leaky = self.apply(input, shape, leaky);
        let layer = Kind::LayerNorm {
            epsilon: 700,
            scales: channels.clone().map(|c| (40 + c) << 12).collect(),
            shift: 12,
            biases: channels.map(|c| (c - 4) << 9).collect(),
            range: INT8,
        };
        let layer = self.apply(leaky, shape, layer);
        let local = Kind::Lrn {
            size: 5,
            table: (0..12).map(|i| 90_000 - 5_000 * i).collect(),
            step: 10,
            range: INT8,
        };
        self.apply(layer, shape, local)
    }

    /// Eight steps of eight features out of 64, and the sum of all steps weighted by their likeness.
    fn attend(&mut self, input: usize) -> usize {
        let sequence = [1, 8, 8];
        let flat = Axis {
            count: 64,
            from_step: 1,
            to_step: 1,
        };
        let block = Block {
            from: 0,
            to: 0,
            axes: vec![flat],
        };
        let x = self.apply(input, sequence, Kind::Copy(block));
        let likeness = self.product(x, x, true, 1.0 / 400.0);
        let gains = self.constant(8);
        let weighted = Kind::Mul {
            other: gains,
            multiplier: multiplier(0.06),
            range: INT8,
        };
        let likeness = self.apply(likeness, sequence, weighted);
        let shares = self.apply(likeness, sequence, Kind::Softmax(exponentials(0.1)));
        self.program.tensors[shares].zero_point = -128;
        self.product(shares, x, false, 1.0 / 100.0)
    }

    /// A vector of constants.
    fn constant(&mut self, channels: usize) -> usize {
        let constant = self.vector(channels);
        let elements = (0..channels as i8).map(|c| 25 - 9 * c).collect();
        self.program.operators.push(Operator {
            name: String::new(),
            input: constant,
            output: constant,
            kind: Kind::Constant(elements),
        });
        constant
    }

    fn product(&mut self, input: usize, other: usize, transposed: bool, factor: f64) -> usize {
        let kind = Kind::MatMul {
            other,
            transposed,
            multiplier: multiplier(factor),
            range: INT8,
        };
        self.apply(input, [1, 8, 8], kind)
    }

    /// A layer of each kind of cell, four units each.
    fn recur(&mut self, input: usize) -> usize {
        let gru = |linear_before_reset| Cell::Gru {
            linear_before_reset,
        };
        let layers = [
            (Cell::Lstm, Weights::Any),
            (gru(false), Weights::Sparse(50)),
            (gru(true), Weights::Four),
            (Cell::Rnn(Activation::Tanh), Weights::Any),
        ];
        layers.into_iter().fold(input, |input, (cell, weights)| {
            self.weights = weights;
            self.recurrent(input, cell, 4)
        })
    }

    /// Each step's largest unit by the row of a table for it, added to the step.
    fn name(&mut self, states: usize) -> usize {
        let largest = self.apply(states, [1, 8, 1], Kind::ArgMax { last: false });
        let table = (0..16).map(|i| (i * 37 % 101 - 50) as i8).collect();
        let names = Kind::Embedding { columns: 4, table };
        let names = self.apply(largest, [1, 8, 4], names);
        self.add(states, names)
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::every_operator;
    use crate::mcu::Inputs;
    use compress::encode::{Coding, encode};
    use edge_runtime::Session;
    use no_std_core::Model;
    use std::collections::BTreeSet;

    #[test]
    fn every_operators_output_depends_on_the_input() {
        let image = encode(&every_operator(), Coding::Smallest).expect("within bounds");
        let model = Model::parse(&image.bytes).expect("just encoded");
        let mut arena = vec![0; model.arena_bytes()];
        let mut session = Session::new(&model, &mut arena).expect("long enough");
        let inputs = Inputs::random(&model, 20, 5);
        let outputs: BTreeSet<Vec<i8>> = inputs
            .iter()
            .map(|input| {
                session.input_mut().copy_from_slice(input);
                session.run();
                session.output().to_vec()
            })
            .collect();
        assert_eq!(outputs.len(), 20);
    }
}
