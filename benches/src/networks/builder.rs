//! Programs of random weights, operator by operator.

use super::weights::Weights;
use compress::program::{Cell, Kind, Linear, Operator, Program, Recurrent, Tensor};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
use no_std_core::tensor::Shape;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub(super) const INT8: Output = Output {
    zero_point: 3,
    min: -128,
    max: 127,
};

pub(super) fn window(kernel: usize, stride: usize, padding: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
    }
}

/// Positions and leading padding of a kernel under TensorFlow's SAME: a position a stride, and of the padding
/// that they need the smaller half in front. An image says no more: the rest follows from the positions.
fn same(size: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let positions = size.div_ceil(stride);
    let covered = (positions - 1) * stride + kernel;
    (positions, covered.saturating_sub(size) / 2)
}

pub(super) fn multiplier(factor: f64) -> Multiplier {
    let shift = 30 - factor.log2().floor() as i32;
    Multiplier {
        mantissa: (factor * 2f64.powi(shift)) as i32,
        shift: shift as u8,
    }
}

/// Builds a program operator by operator; tensors are named by their place.
#[derive(Debug)]
pub(super) struct Builder {
    random: ChaCha8Rng,
    /// Of the next layers.
    pub(super) weights: Weights,
    /// Of the next layers' outputs over the usual spread.
    pub(super) gain: f64,
    pub(super) program: Program,
}

impl Builder {
    pub(super) fn new(weights: Weights) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(3),
            weights,
            gain: 1.0,
            program: Program {
                tensors: vec![],
                operators: vec![],
                input: 0,
                output: 0,
                macs: 0,
                metadata: vec![],
            },
        }
    }

    pub(super) fn finish(mut self, output: usize) -> Program {
        self.program.output = output;
        self.program.macs = self.program.dense_macs();
        self.program
    }

    pub(super) fn vector(&mut self, channels: usize) -> usize {
        self.tensor([1, 1, channels])
    }

    pub(super) fn tensor(&mut self, [height, width, channels]: [usize; 3]) -> usize {
        self.program.tensors.push(Tensor {
            name: String::new(),
            shape: Shape {
                height,
                width,
                channels,
            },
            scale: 0.05,
            zero_point: INT8.zero_point,
            wide: false,
        });
        self.program.tensors.len() - 1
    }

    pub(super) fn channels(&self, tensor: usize) -> usize {
        self.program.tensors[tensor].shape.channels
    }

    /// Adds an operator and returns the tensor it writes.
    pub(super) fn apply(&mut self, input: usize, shape: [usize; 3], kind: Kind) -> usize {
        let output = self.tensor(shape);
        self.program.operators.push(Operator {
            name: String::new(),
            input,
            output,
            kind,
        });
        output
    }

    pub(super) fn conv(
        &mut self,
        input: usize,
        shape: [usize; 3],
        window: Window,
        groups: usize,
    ) -> usize {
        let channels = self.channels(input) / groups;
        let taps = window.kernel[0] * window.kernel[1];
        let linear = self.linear(shape[2], taps * channels);
        let kind = Kind::Conv {
            window,
            groups,
            linear,
        };
        self.apply(input, shape, kind)
    }

    /// A convolution with TensorFlow's SAME padding.
    pub(super) fn same_conv(
        &mut self,
        input: usize,
        filters: usize,
        (kernel, stride): ([usize; 2], usize),
        groups: usize,
    ) -> usize {
        let Shape { height, width, .. } = self.program.tensors[input].shape;
        let (rows, top) = same(height, kernel[0], stride);
        let (columns, left) = same(width, kernel[1], stride);
        let window = Window {
            kernel,
            padding: [top, left],
            ..window(1, stride, 0)
        };
        self.conv(input, [rows, columns, filters], window, groups)
    }

    /// The mean of all places.
    pub(super) fn average_all(&mut self, input: usize) -> usize {
        let Shape {
            height,
            width,
            channels,
        } = self.program.tensors[input].shape;
        let average = Kind::AveragePool {
            window: Window {
                kernel: [height, width],
                ..window(1, 1, 0)
            },
            count_include_pad: false,
        };
        self.apply(input, [1, 1, channels], average)
    }

    pub(super) fn dense(&mut self, input: usize, rows: usize) -> usize {
        let columns = self.program.tensors[input].shape.len();
        let linear = self.linear(rows, columns);
        self.apply(input, [1, 1, rows], Kind::Dense(linear))
    }

    pub(super) fn add(&mut self, input: usize, other: usize) -> usize {
        let shape = self.program.tensors[input].shape;
        let kind = Kind::Add {
            other,
            mantissas: [600_000_000, 500_000_000],
            shift: 30,
            range: INT8,
        };
        self.apply(input, [shape.height, shape.width, shape.channels], kind)
    }

    pub(super) fn recurrent(&mut self, input: usize, cell: Cell, units: usize) -> usize {
        let Shape {
            width, channels, ..
        } = self.program.tensors[input].shape;
        let unit = match cell {
            Cell::Lstm => 30,
            Cell::Gru { .. } => 14,
            Cell::Rnn(_) => 15,
        };
        let kind = Kind::Recurrent(Recurrent {
            cell,
            input: self.gates(cell.gates() * units, channels),
            hidden: self.gates(cell.gates() * units, units),
            multiplier: multiplier(120.0 / 2f64.powi(unit)),
            range: INT8,
            state_bits: if cell.has_state() { 14 } else { 0 },
            initial_hidden: None,
            initial_state: None,
            cell_output: None,
            carried: false,
        });
        self.apply(input, [1, width, units], kind)
    }

    /// As [`Builder::linear`], to pre-activations in 1/4,096ths.
    pub(super) fn gates(&mut self, rows: usize, columns: usize) -> Linear {
        let mut linear = self.linear(rows, columns);
        linear.multipliers[0].shift -= 5;
        linear
    }

    /// The multiplier spreads outputs over int8, with inputs of a deviation of 74.
    pub(super) fn linear(&mut self, rows: usize, columns: usize) -> Linear {
        let sum = 74.0 * self.weights.deviation() * (columns as f64).sqrt();
        Linear {
            name: String::new(),
            shape: vec![rows, columns],
            rows,
            hashed: None,
            vectors: None,
            columns,
            weights: (0..rows * columns)
                .map(|_| self.weights.draw(&mut self.random))
                .collect(),
            multipliers: vec![multiplier(60.0 * self.gain / sum)],
            biases: (0..rows)
                .map(|row| (row as i32 % 16 - 7) * (sum / 80.0) as i32)
                .collect(),
            range: INT8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    /// By TensorFlow's documentation: `max(kernel − stride, 0)` in all where the stride divides the size,
    /// else `max(kernel − size mod stride, 0)`, and the odd one at the end.
    #[test]
    fn padding_is_tensorflows() {
        for (size, kernel, stride) in [
            (32, 3, 1),
            (32, 3, 2),
            (96, 3, 2),
            (49, 10, 2),
            (10, 4, 2),
            (16, 1, 2),
        ] {
            let rest = if size % stride == 0 {
                stride
            } else {
                size % stride
            };
            let all = kernel.max(rest) - rest;
            assert_eq!(same(size, kernel, stride), (size.div_ceil(stride), all / 2));
        }
        assert_eq!(same(32, 3, 2), (16, 0), "one at the end");
        assert_eq!(same(49, 10, 2), (25, 4), "four in front, five at the end");
    }
}
