//! A small network with every operator, and weights that ask for different forms.

use compress::program::{Kind, Linear, Operator, Program, Tensor};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
use no_std_core::tensor::Shape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Length of the output.
pub(crate) const CLASSES: usize = 10;

/// By the definition of the layers below: positions × filters × weights of a filter.
pub(crate) const MACS: u64 = 80 * 8 * 27 + 80 * 8 * 8 + 6 * 8 * 9 + 24 * 8 + 10 * 24;

const INT8: Output = Output {
    zero_point: 3,
    min: -128,
    max: 127,
};

/// What a layer's weights look like.
#[derive(Clone, Copy)]
enum Weights {
    /// Any int8.
    Any,
    /// One of four, equally often.
    Four,
    /// One in ten is not zero.
    Sparse,
    /// A common one and rare ones.
    Skewed,
}

impl Weights {
    fn draw(self, random: &mut ChaCha8Rng) -> i8 {
        let byte = random.next_u32() as u8;
        match self {
            Self::Any => byte as i8,
            Self::Four => [-90, -20, 31, 77][byte as usize % 4],
            Self::Sparse if byte >= 26 => 0,
            Self::Sparse => [-60, 44, 100][byte as usize % 3],
            Self::Skewed => [5, 5, 5, 5, 5, 5, 5, -70, 5, 5, 5, 118][byte as usize % 12],
        }
    }
}

/// Convolutions plain, pointwise and depthwise, a sum, poolings, dense layers, clamp and softmax.
pub(crate) fn program() -> Program {
    let mut network = Network {
        random: ChaCha8Rng::seed_from_u64(3),
        program: Program {
            tensors: vec![],
            operators: vec![],
            input: 0,
            output: 0,
            metadata: vec![],
        },
    };
    let input = network.tensor(10, 8, 3);
    let first = network.conv(input, [10, 8, 8], (3, 1, 1), 1, Weights::Any);
    let pointwise = network.conv(first, [10, 8, 8], (1, 1, 0), 1, Weights::Four);
    let sum = network.add(first, pointwise);
    let pooled = network.apply(sum, [5, 4, 8], Kind::MaxPool(window([2, 2], 2, 0)));
    let depthwise = network.conv(pooled, [3, 2, 8], (3, 2, 1), 8, Weights::Sparse);
    let average = Kind::AveragePool {
        window: window([3, 2], 1, 0),
        count_include_pad: false,
    };
    let mean = network.apply(depthwise, [1, 1, 8], average);
    let hidden = network.dense(mean, 8, 24, Weights::Sparse);
    let clamped = network.apply(hidden, [1, 1, 24], Kind::Clamp(Output { min: -20, ..INT8 }));
    let logits = network.dense(clamped, 24, CLASSES, Weights::Skewed);
    let exponentials = (0..80).map(|d| (65535.0 * (-0.05 * f64::from(d)).exp()).round() as u16);
    let softmax = Kind::Softmax(exponentials.collect());
    network.program.output = network.apply(logits, [1, 1, CLASSES], softmax);
    network.program
}

fn window(kernel: [usize; 2], stride: usize, padding: usize) -> Window {
    Window {
        kernel,
        stride: [stride; 2],
        padding: [padding; 2],
    }
}

struct Network {
    random: ChaCha8Rng,
    program: Program,
}

impl Network {
    fn tensor(&mut self, height: usize, width: usize, channels: usize) -> usize {
        self.program.tensors.push(Tensor {
            name: String::new(),
            shape: Shape::new(height, width, channels).expect("small"),
            scale: 0.05,
            zero_point: INT8.zero_point,
        });
        self.program.tensors.len() - 1
    }

    /// Adds an operator and returns the tensor it writes.
    fn apply(&mut self, input: usize, [height, width, channels]: [usize; 3], kind: Kind) -> usize {
        let output = self.tensor(height, width, channels);
        self.program.operators.push(Operator {
            name: String::new(),
            input,
            output,
            kind,
        });
        output
    }

    fn conv(
        &mut self,
        input: usize,
        shape: [usize; 3],
        (kernel, stride, padding): (usize, usize, usize),
        groups: usize,
        weights: Weights,
    ) -> usize {
        let channels = self.program.tensors[input].shape.channels / groups;
        let linear = self.linear(shape[2], kernel * kernel * channels, weights);
        let kind = Kind::Conv {
            window: window([kernel; 2], stride, padding),
            dilation: [1, 1],
            groups,
            linear,
        };
        self.apply(input, shape, kind)
    }

    fn dense(&mut self, input: usize, columns: usize, rows: usize, weights: Weights) -> usize {
        let linear = self.linear(rows, columns, weights);
        self.apply(input, [1, 1, rows], Kind::Dense(linear))
    }

    fn add(&mut self, input: usize, other: usize) -> usize {
        let kind = Kind::Add {
            other,
            mantissas: [600_000_000, 500_000_000],
            shift: 30,
            range: INT8,
        };
        self.apply(input, [10, 8, 8], kind)
    }

    /// Outputs spread over int8: products have a deviation of some 74², of which a row sums many.
    fn linear(&mut self, rows: usize, columns: usize, weights: Weights) -> Linear {
        let factor = 60.0 / (74.0 * 74.0 * (columns as f64).sqrt());
        let mantissa = (factor * 2f64.powi(40)) as i32;
        Linear {
            name: String::new(),
            shape: vec![rows, columns],
            rows,
            columns,
            weights: (0..rows * columns)
                .map(|_| weights.draw(&mut self.random))
                .collect(),
            multipliers: vec![Multiplier::new(mantissa, 40).expect("in range")],
            biases: (0..rows).map(|row| row as i32 * 900 - 4000).collect(),
            bias_shift: 0,
            range: INT8,
        }
    }
}
