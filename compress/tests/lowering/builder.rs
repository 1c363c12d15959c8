//! Random graphs, and images of them beside what the graphs are by their definitions.

use compress::calibrate::Method;
use compress::host;
use compress::pipeline::{Checkpoints, Compressed, Examples, compress};
use compress::settings::Settings;
use no_std_core::Model;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trainer::graph::{Graph, Op, ParamId, Parameter, ValueId, Window, reference};

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub(crate) struct Builder {
    pub(crate) graph: Graph,
    pub(crate) rng: ChaCha8Rng,
}

impl Builder {
    pub(crate) fn new(seed: u64, shape: &[usize]) -> Self {
        Self {
            graph: Graph::new("g", "x", shape),
            rng: rng(seed),
        }
    }

    pub(crate) fn input(&self) -> ValueId {
        self.graph.input
    }

    pub(crate) fn parameter(&mut self, shape: &[usize], low: f32, high: f32) -> ParamId {
        let count = shape.iter().product();
        let values = (0..count).map(|_| self.rng.random_range(low..high));
        let name = format!("p{}", self.graph.parameters.len());
        let parameter = Parameter::dense(name, shape, values.collect());
        self.graph.add_parameter(parameter)
    }

    pub(crate) fn push(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = format!("n{}", self.graph.nodes.len());
        self.graph.push(name, op, inputs).unwrap()
    }

    pub(crate) fn shape(&self, value: ValueId) -> Vec<usize> {
        self.graph.value(value).shape.clone()
    }

    pub(crate) fn conv(
        &mut self,
        x: ValueId,
        filters: usize,
        window: Window,
        groups: usize,
    ) -> ValueId {
        let channels = self.shape(x)[0] / groups;
        let [kh, kw] = window.kernel;
        let reach = 1.5 / ((channels * kh * kw) as f32).sqrt();
        let weight = self.parameter(&[filters, channels, kh, kw], -reach, reach);
        let bias = Some(self.parameter(&[filters], -0.2, 0.2));
        let dilation = [1, 1];
        let op = Op::Conv {
            weight,
            bias,
            window,
            dilation,
            groups,
        };
        self.push(op, &[x])
    }

    pub(crate) fn gemm(&mut self, x: ValueId, units: usize) -> ValueId {
        let columns = *self.shape(x).last().unwrap();
        let reach = 1.5 / (columns as f32).sqrt();
        let weight = self.parameter(&[units, columns], -reach, reach);
        let bias = Some(self.parameter(&[units], -0.2, 0.2));
        self.push(Op::Gemm { weight, bias }, &[x])
    }

    pub(crate) fn normalize(&mut self, x: ValueId) -> ValueId {
        let channels = self.shape(x)[0];
        let op = Op::BatchNormalization {
            scale: self.parameter(&[channels], 0.5, 1.5),
            bias: self.parameter(&[channels], -0.3, 0.3),
            mean: self.parameter(&[channels], -0.3, 0.3),
            variance: self.parameter(&[channels], 0.5, 1.5),
            epsilon: 1e-3,
        };
        self.push(op, &[x])
    }

    pub(crate) fn relu(&mut self, x: ValueId) -> ValueId {
        self.push(Op::Relu, &[x])
    }

    pub(crate) fn constant(&mut self, shape: &[usize], low: f32, high: f32) -> ValueId {
        let value = self.parameter(shape, low, high);
        self.push(Op::Constant { value }, &[])
    }

    pub(crate) fn reshape(&mut self, x: ValueId, shape: &[usize]) -> ValueId {
        let shape = shape.to_vec();
        self.push(Op::Reshape { shape }, &[x])
    }

    pub(crate) fn transpose(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        let perm = perm.to_vec();
        self.push(Op::Transpose { perm }, &[x])
    }

    pub(crate) fn select(&mut self, x: ValueId, axis: usize, indices: &[usize]) -> ValueId {
        let indices = indices.to_vec();
        self.push(Op::Select { axis, indices }, &[x])
    }
}

pub(crate) fn padded(kernel: usize, stride: usize, padding: [usize; 4]) -> Window {
    Window {
        padding,
        ..Window::square(kernel, stride)
    }
}

/// Nothing that was seen is clipped.
pub(crate) fn settings() -> Settings {
    Settings {
        calibration: Method::MinMax,
        ..Settings::default()
    }
}

pub(crate) fn image_of(graph: &Graph, settings: &Settings) -> Compressed {
    let range = Some((-1.0, 1.0));
    let examples = Examples::Synthetic { range, seed: 5 };
    compress(graph, &[], examples, settings, &Checkpoints::default()).unwrap()
}

/// An image beside its graph: outputs as real numbers, and what the compressed graph (weights on their
/// grids) says of the inputs as rounded to int8.
pub(crate) struct Pair {
    pub(crate) outputs: Vec<f32>,
    pub(crate) expected: Vec<f32>,
    /// Real units per step of the output.
    pub(crate) step: f32,
    pub(crate) operators: usize,
}

impl Pair {
    pub(crate) fn of(graph: &Graph) -> Self {
        let length: usize = graph.value(graph.input).len();
        let mut rng = rng(77);
        let inputs: Vec<f32> = (0..20 * length)
            .map(|_| rng.random_range(-0.9..0.9))
            .collect();
        Self::on(graph, &inputs)
    }

    pub(crate) fn on(graph: &Graph, inputs: &[f32]) -> Self {
        let compressed = image_of(graph, &settings());
        let model = Model::parse(&compressed.encoded.bytes).unwrap();
        let integers = host::run(&model, inputs).unwrap();
        let outputs = host::dequantize(&model.output(), &integers);
        // What was not seen in calibration may lead beyond the ends.
        let ends = host::dequantize(&model.output(), &[-128, 127]);
        let scale = f32::from_bits(model.input().scale_bits);
        let zero = f32::from(model.input().zero_point);
        let rounded: Vec<f32> = inputs
            .iter()
            .map(|x| ((x / scale).round_ties_even() + zero).clamp(-128.0, 127.0))
            .map(|q| (q - zero) * scale)
            .collect();
        let mut exact = compressed.graph.clone();
        exact.values.iter_mut().for_each(|v| v.quantization = None);
        let expected = rounded
            .chunks(model.input_len())
            .flat_map(|input| reference::run(&exact, input))
            .map(|y| y.clamp(ends[0], ends[1]))
            .collect();
        Self {
            outputs,
            expected,
            step: f32::from_bits(model.output().scale_bits),
            operators: model.operator_count(),
        }
    }

    /// The largest difference in steps of the output.
    pub(crate) fn steps_off(&self) -> f32 {
        assert_eq!(self.outputs.len(), self.expected.len());
        let apart = self.outputs.iter().zip(&self.expected);
        apart.fold(0.0, |most, (a, b)| most.max((a - b).abs() / self.step))
    }
}

/// The image is within some steps of its output from the graph.
#[track_caller]
pub(crate) fn within(graph: &Graph, steps: f32) -> Pair {
    let pair = Pair::of(graph);
    let most = pair.expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    assert!(most > 20.0 * pair.step, "the output should vary");
    let off = pair.steps_off();
    assert!(off <= steps, "{off} steps off, {steps} allowed");
    pair
}

/// One rounding, that of biases included.
pub(crate) const ROUNDED: f32 = 0.65;

/// No rounding but that of real numbers.
pub(crate) const EXACT: f32 = 1e-3;
