//! Networks of seeded random weights, built in integers: those that CMSIS-NN was measured on, plain
//! and compressed, and a small one with every operator.

use crate::mcu::Core;
use compress::encode::{Coding, EncodeError, encode};
use compress::program::{Kind, Linear, Operator, Program, Tensor};
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
    coding: Coding::Smallest,
    cmsis_nn: [1_638_245, 903_898, 519_855],
    build: lenet_300_100,
    weights: Weights::Sparse(3),
};

const SPARSE_5: Network = Network {
    name: "lenet-5-sparse",
    coding: Coding::Smallest,
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
/// a filter.
pub const MACS: u32 = 80 * 8 * 27 + 80 * 8 * 8 + 6 * 8 * 9 + 64 * 8 + 10 * 64;

/// Convolutions plain, pointwise and depthwise, a sum, poolings, dense layers, clamp and softmax;
/// each layer's weights ask for another form.
pub fn every_operator() -> Program {
    let mut b = Builder::new(Weights::Skewed);
    let input = b.tensor([10, 8, 3]);
    let first = b.conv(input, [10, 8, 8], window(3, 1, 1), 1);
    // Activations spread less than inputs, and means less than what they are of.
    b.gain = 1.5;
    b.weights = Weights::Any;
    let pointwise = b.conv(first, [10, 8, 8], window(1, 1, 0), 1);
    let sum = b.add(first, pointwise);
    let pooled = b.apply(sum, [5, 4, 8], Kind::MaxPool(window(2, 2, 0)));
    b.weights = Weights::Sparse(30);
    let depthwise = b.conv(pooled, [3, 2, 8], window(3, 2, 1), 8);
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
    b.weights = Weights::Sparse(10);
    let logits = b.dense(curved, CLASSES);
    let exponentials = (0..80).map(|d| (65535.0 * (-0.05 * f64::from(d)).exp()).round() as u16);
    let softmax = Kind::Softmax(exponentials.collect());
    let output = b.apply(logits, [1, 1, CLASSES], softmax);
    b.finish(output)
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
    /// Any int8.
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
            Self::Any => bits as i8,
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

    /// The multiplier spreads outputs over int8, with inputs of a deviation of 74.
    fn linear(&mut self, rows: usize, columns: usize) -> Linear {
        let sum = 74.0 * self.weights.deviation() * (columns as f64).sqrt();
        let factor = 60.0 * self.gain / sum;
        let shift = 30 - factor.log2().floor() as i32;
        let multiplier = Multiplier {
            mantissa: (factor * 2f64.powi(shift)) as i32,
            shift: shift as u8,
        };
        Linear {
            name: String::new(),
            shape: vec![rows, columns],
            rows,
            columns,
            weights: (0..rows * columns)
                .map(|_| self.weights.draw(&mut self.random))
                .collect(),
            multipliers: vec![multiplier],
            biases: (0..rows)
                .map(|row| (row as i32 % 16 - 7) * (sum / 80.0) as i32)
                .collect(),
            bias_shift: 0,
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
