//! Networks of seeded random weights, built in integers: those that CMSIS-NN was measured on, plain
//! and compressed, and a small one with every operator.

use crate::mcu::Core;
use compress::encode::{Coding, EncodeError, encode};
use compress::program::{
    Activation, Axis, Block, Cell, Kind, Linear, Operator, Program, Recurrent, Tensor,
};
use edge_runtime::frontend::{FRACTION_BITS, Parameters};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
use no_std_core::tensor::Shape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A network by name.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Name, after the architecture and what was done to its weights.
    pub name: &'static str,
    /// How its weights may be written.
    pub coding: Coding,
    /// Instructions of CMSIS-NN's int8 kernels on M0, M3 and M4, for the dense network (gcc 12.2
    /// -O3, the same emulator, second inference).
    pub cmsis_nn: [u64; 3],
    build: fn(&mut Builder) -> usize,
    weights: Weights,
}

impl Network {
    /// Its image.
    ///
    /// # Errors
    /// When the network is beyond what an image can hold, which none of these is.
    pub fn image(&self) -> Result<Vec<u8>, EncodeError> {
        let mut builder = Builder::new(self.weights);
        let output = (self.build)(&mut builder);
        encode(&builder.finish(output), self.coding).map(|encoded| encoded.bytes)
    }

    /// CMSIS-NN's instructions, where they were counted.
    pub const fn cmsis_nn_on(&self, core: Core) -> Option<u64> {
        let [m0, m3, m4] = self.cmsis_nn;
        match core {
            Core::M0 => Some(m0),
            Core::M3 => Some(m3),
            Core::M4 => Some(m4),
            _ => None,
        }
    }
}

/// The networks to compare with CMSIS-NN.
pub const NETWORKS: [Network; 5] = [
    Network {
        name: "dense-784-300",
        coding: Coding::Plain,
        cmsis_nn: [1_440_217, 795_124, 455_927],
        build: |b| {
            let input = b.vector(784);
            b.dense(input, 300)
        },
        weights: Weights::Any,
    },
    Network {
        name: "lenet-300-100",
        coding: Coding::Plain,
        build: lenet_300_100,
        ..SPARSE_300_100
    },
    SPARSE_300_100,
    Network {
        name: "lenet-5",
        coding: Coding::Plain,
        build: lenet_5,
        ..SPARSE_5
    },
    SPARSE_5,
];

const SPARSE_300_100: Network = Network {
    name: "lenet-300-100-sparse",
    coding: Coding::Huffman,
    cmsis_nn: [1_638_245, 903_898, 519_855],
    build: lenet_300_100,
    weights: Weights::Sparse(3),
};

const SPARSE_5: Network = Network {
    name: "lenet-5-sparse",
    coding: Coding::Huffman,
    cmsis_nn: [17_053_199, 7_759_367, 5_515_574],
    build: lenet_5,
    weights: Weights::Sparse(2),
};

fn lenet_300_100(b: &mut Builder) -> usize {
    let input = b.vector(784);
    let hidden = b.dense(input, 300);
    let hidden = b.dense(hidden, 100);
    b.dense(hidden, 10)
}

fn lenet_5(b: &mut Builder) -> usize {
    let input = b.tensor([28, 28, 1]);
    let maps = b.conv(input, [24, 24, 20], window(5, 1, 0), 1);
    let maps = b.apply(maps, [12, 12, 20], Kind::MaxPool(window(2, 2, 0)));
    let maps = b.conv(maps, [8, 8, 50], window(5, 1, 0), 1);
    let maps = b.apply(maps, [4, 4, 50], Kind::MaxPool(window(2, 2, 0)));
    let hidden = b.dense(maps, 500);
    b.dense(hidden, 10)
}

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

/// A convolution and a dense layer on features of sound, as its metadata say.
pub fn listener(features: &Parameters) -> Program {
    let mut b = Builder::new(Weights::Any);
    let (frames, bands) = (features.frames(), features.frame_len());
    let input = b.tensor([frames, bands, 1]);
    b.program.tensors[input].scale = 1.0 / (1 << FRACTION_BITS) as f32;
    b.program.tensors[input].zero_point = features.zero_point();
    let places = [frames.div_ceil(2), bands.div_ceil(2), 4];
    let hidden = b.conv(input, places, window(3, 2, 1), 1);
    let output = b.dense(hidden, CLASSES);
    let metadata = (Parameters::KEY.to_owned(), features.to_string());
    b.program.metadata.push(metadata);
    b.finish(output)
}

const INT8: Output = Output {
    zero_point: 3,
    min: -128,
    max: 127,
};

/// What a layer's weights look like.
#[derive(Clone, Copy, Debug)]
enum Weights {
    /// Any of int8's symmetric grid.
    Any,
    /// One of four, equally often.
    Four,
    /// So many in a hundred are not zero, and small ones of those are common.
    Sparse(u32),
    /// A common one and rare ones.
    Skewed,
}

impl Weights {
    fn draw(self, random: &mut ChaCha8Rng) -> i8 {
        let bits = random.next_u32();
        match self {
            Self::Any => (bits as i8).max(-127),
            Self::Four => [-90, -20, 31, 77][bits as usize % 4],
            Self::Sparse(percent) if bits % 100 >= percent => 0,
            Self::Sparse(_) => {
                let magnitude = 30 + 18 * ((bits >> 8) as u8).leading_zeros().min(5) as i8;
                if bits >> 31 == 0 {
                    magnitude
                } else {
                    -magnitude
                }
            }
            Self::Skewed => [5, 5, 5, 5, 5, 5, 5, -70, 5, 5, 5, 118][bits as usize % 12],
        }
    }

    /// Root of the mean square, by the definition above.
    fn deviation(self) -> f64 {
        match self {
            Self::Any => 74.0,
            Self::Four => 61.0,
            Self::Sparse(percent) => 45.0 * (f64::from(percent) / 100.0).sqrt(),
            Self::Skewed => 40.0,
        }
    }
}

fn window(kernel: usize, stride: usize, padding: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
    }
}

fn multiplier(factor: f64) -> Multiplier {
    let shift = 30 - factor.log2().floor() as i32;
    Multiplier {
        mantissa: (factor * 2f64.powi(shift)) as i32,
        shift: shift as u8,
    }
}

/// Builds a program operator by operator; tensors are named by their place.
#[derive(Debug)]
struct Builder {
    random: ChaCha8Rng,
    weights: Weights,
    /// Of the next layers' outputs over the usual spread.
    gain: f64,
    program: Program,
}

impl Builder {
    fn new(weights: Weights) -> Self {
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

    fn finish(mut self, output: usize) -> Program {
        self.program.output = output;
        self.program.macs = self.program.dense_macs();
        self.program
    }

    fn vector(&mut self, channels: usize) -> usize {
        self.tensor([1, 1, channels])
    }

    fn tensor(&mut self, [height, width, channels]: [usize; 3]) -> usize {
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

    /// Adds an operator and returns the tensor it writes.
    fn apply(&mut self, input: usize, shape: [usize; 3], kind: Kind) -> usize {
        let output = self.tensor(shape);
        self.program.operators.push(Operator {
            name: String::new(),
            input,
            output,
            kind,
        });
        output
    }

    fn conv(&mut self, input: usize, shape: [usize; 3], window: Window, groups: usize) -> usize {
        let channels = self.program.tensors[input].shape.channels / groups;
        let taps = window.kernel[0] * window.kernel[1];
        let linear = self.linear(shape[2], taps * channels);
        let kind = Kind::Conv {
            window,
            groups,
            linear,
        };
        self.apply(input, shape, kind)
    }

    fn dense(&mut self, input: usize, rows: usize) -> usize {
        let columns = self.program.tensors[input].shape.len();
        let linear = self.linear(rows, columns);
        self.apply(input, [1, 1, rows], Kind::Dense(linear))
    }

    fn add(&mut self, input: usize, other: usize) -> usize {
        let shape = self.program.tensors[input].shape;
        let kind = Kind::Add {
            other,
            mantissas: [600_000_000, 500_000_000],
            shift: 30,
            range: INT8,
        };
        self.apply(input, [shape.height, shape.width, shape.channels], kind)
    }

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

    fn recurrent(&mut self, input: usize, cell: Cell, units: usize) -> usize {
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
    fn gates(&mut self, rows: usize, columns: usize) -> Linear {
        let mut linear = self.linear(rows, columns);
        linear.multipliers[0].shift -= 5;
        linear
    }

    /// Each step's largest unit by the row of a table for it, added to the step.
    fn name(&mut self, states: usize) -> usize {
        let largest = self.apply(states, [1, 8, 1], Kind::ArgMax { last: false });
        let table = (0..16).map(|i| (i * 37 % 101 - 50) as i8).collect();
        let names = Kind::Embedding { columns: 4, table };
        let names = self.apply(largest, [1, 8, 4], names);
        self.add(states, names)
    }

    /// The multiplier spreads outputs over int8, with inputs of a deviation of 74.
    fn linear(&mut self, rows: usize, columns: usize) -> Linear {
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
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::mcu::Inputs;
    use edge_runtime::Session;
    use no_std_core::Model;
    use std::collections::BTreeSet;

    /// Saturated or constant outputs would hide differences between the device and the host.
    #[test]
    fn outputs_are_spread() {
        for network in NETWORKS {
            let image = network.image().expect("within bounds");
            let model = Model::parse(&image).expect("just encoded");
            let mut arena = vec![0; model.arena_bytes()];
            let mut session = Session::new(&model, &mut arena).expect("long enough");
            let inputs = Inputs::random(&model, 1, 5);
            session
                .input_mut()
                .copy_from_slice(inputs.iter().next().expect("one"));
            session.run();
            let output = session.output();
            let inside = output.iter().filter(|&&q| q > -128 && q < 127).count();
            assert!(inside * 2 > output.len(), "{}: {output:?}", network.name);
            assert!(output.iter().any(|q| q != &output[0]), "{}", network.name);
        }
    }

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

    #[test]
    fn the_lenets_have_their_macs() {
        for (network, macs) in NETWORKS
            .iter()
            .zip([235_200, 266_200, 266_200, 2_293_000, 2_293_000])
        {
            let image = network.image().expect("within bounds");
            let model = Model::parse(&image).expect("just encoded");
            assert_eq!(model.macs(), macs, "{}", network.name);
        }
    }
}
