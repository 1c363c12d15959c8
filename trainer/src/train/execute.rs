//! A graph's operators on burn tensors. Values are `[batch, elements]` and take their rank inside
//! each operator.

use crate::graph::{Graph, Node, Op, Quantization, Unary, ValueId, Window};
use burn::tensor::module::{avg_pool2d, conv2d, linear, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What differs between training and use.
pub(super) enum Mode {
    /// Dropout is the identity, normalization uses running statistics.
    Inference,
    /// Dropout drops, normalization uses the batch's statistics.
    Training(Box<ChaCha8Rng>),
}

/// A graph with its parameters on a device.
pub(super) struct Network<'g> {
    graph: &'g Graph,
    /// Materialized, flat.
    parameters: Vec<Tensor<1>>,
    device: Device,
    mode: Mode,
    /// Mean and variance of the batch at each normalization node, in order of the nodes.
    statistics: Vec<BatchStatistics>,
}

/// What a batch normalization saw.
#[derive(Clone, Debug)]
pub(super) struct BatchStatistics {
    /// Place of the node.
    pub(super) node: usize,
    /// Elements per channel.
    count: f32,
    /// Per channel.
    pub(super) mean: Vec<f32>,
    /// Per channel; the mean square deviation (biased).
    variance: Vec<f32>,
}

impl BatchStatistics {
    /// Takes in what the same node saw in another part of the batch (Chan et al. 1979).
    pub(super) fn merge(&mut self, other: &Self) {
        let total = self.count + other.count;
        let (own, others) = (self.count / total, other.count / total);
        for c in 0..self.mean.len() {
            let apart = other.mean[c] - self.mean[c];
            self.mean[c] += others * apart;
            self.variance[c] =
                own * self.variance[c] + others * other.variance[c] + own * others * apart * apart;
        }
        self.count = total;
    }

    /// Whether there is more than one element to tell a variance from.
    pub(super) fn have_variance(&self) -> bool {
        self.count > 1.0
    }

    /// Per channel, unbiased: what the running variance estimates.
    pub(super) fn unbiased_variance(&self) -> Vec<f32> {
        let factor = self.count / (self.count - 1.0).max(1.0);
        self.variance.iter().map(|v| v * factor).collect()
    }
}

impl<'g> Network<'g> {
    /// For use: nothing is recorded for gradients.
    pub(super) fn for_inference(graph: &'g Graph, device: &Device) -> Self {
        Self::new(graph, device, Mode::Inference, false)
    }

    /// For one training step.
    pub(super) fn for_training(graph: &'g Graph, device: &Device, seed: u64) -> Self {
        let mode = Mode::Training(Box::new(ChaCha8Rng::seed_from_u64(seed)));
        Self::new(graph, &device.clone().autodiff(), mode, true)
    }

    fn new(graph: &'g Graph, device: &Device, mode: Mode, gradients: bool) -> Self {
        let parameters = graph
            .parameters
            .iter()
            .map(|p| {
                let tensor = Tensor::from_data(TensorData::new(p.materialize(), [p.len()]), device);
                if gradients {
                    tensor.require_grad()
                } else {
                    tensor
                }
            })
            .collect();
        Self {
            graph,
            parameters,
            device: device.clone(),
            mode,
            statistics: Vec::new(),
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn parameters(&self) -> &[Tensor<1>] {
        &self.parameters
    }

    pub(super) fn statistics(&self) -> &[BatchStatistics] {
        &self.statistics
    }

    /// The graph's output for a batch `[n, elements]`; `observe` sees every value, the input first.
    /// With `logits`, a final softmax is left out.
    pub(super) fn forward(
        &mut self,
        input: Tensor<2>,
        logits: bool,
        mut observe: impl FnMut(ValueId, &Tensor<2>),
    ) -> Tensor<2> {
        let graph = self.graph;
        let mut values: Vec<Option<Tensor<2>>> = vec![None; graph.values.len()];
        let mut readers = vec![0usize; graph.values.len()];
        graph
            .nodes
            .iter()
            .flat_map(|n| &n.inputs)
            .for_each(|v| readers[v.0] += 1);
        readers[graph.output.0] += 1;
        let input = self.quantized(graph.input, input);
        observe(graph.input, &input);
        values[graph.input.0] = Some(input);
        for (place, node) in graph.nodes.iter().enumerate() {
            let inputs = node
                .inputs
                .iter()
                .map(|v| {
                    readers[v.0] -= 1;
                    if readers[v.0] == 0 {
                        values[v.0].take()
                    } else {
                        values[v.0].clone()
                    }
                })
                .collect::<Option<Vec<_>>>();
            let Some(inputs) = inputs else { continue };
            let skip =
                logits && node.output == graph.output && matches!(node.op, Op::Softmax { .. });
            let output = if skip {
                inputs[0].clone()
            } else {
                self.node(place, node, inputs)
            };
            let output = if skip {
                output
            } else {
                self.quantized(node.output, output)
            };
            observe(node.output, &output);
            values[node.output.0] = Some(output);
        }
        values[graph.output.0]
            .take()
            .unwrap_or_else(|| Tensor::zeros([0, 0], &self.device))
    }

    fn node(&mut self, place: usize, node: &Node, mut inputs: Vec<Tensor<2>>) -> Tensor<2> {
        let x = inputs.remove(0);
        match &node.op {
            Op::Gemm { weight, bias } => {
                let shape = &self.graph.parameter(*weight).shape;
                let w = self.parameters[weight.0]
                    .clone()
                    .reshape([shape[0], shape[1]]);
                linear(x, w.transpose(), bias.map(|b| self.parameters[b.0].clone()))
            }
            Op::Conv {
                weight,
                bias,
                window,
                dilation,
                groups,
            } => {
                let shape: [usize; 4] = self
                    .graph
                    .parameter(*weight)
                    .shape
                    .clone()
                    .try_into()
                    .unwrap_or([0; 4]);
                let w = self.parameters[weight.0].clone().reshape(shape);
                let options = ConvOptions::new_with_padding(
                    window.stride,
                    padding(window),
                    *dilation,
                    *groups,
                );
                let bias = bias.map(|b| self.parameters[b.0].clone());
                flat(conv2d(self.image(node.inputs[0], x), w, bias, options))
            }
            Op::MaxPool { window, .. } => {
                let mut options = MaxPoolOptions::new(window.kernel);
                (options.stride, options.padding, options.ceil_mode) =
                    (window.stride, padding(window), window.ceil_mode);
                flat(max_pool2d(self.image(node.inputs[0], x), options))
            }
            Op::AveragePool {
                window,
                dilation: _,
                count_include_pad,
            } => {
                let mut options = AvgPoolOptions::new(window.kernel);
                (options.stride, options.padding, options.ceil_mode) =
                    (window.stride, padding(window), window.ceil_mode);
                options.count_include_pad = *count_include_pad;
                flat(avg_pool2d(self.image(node.inputs[0], x), options))
            }
            Op::GlobalAveragePool => flat(self.image(node.inputs[0], x).mean_dim(3).mean_dim(2)),
            Op::Relu => activation::relu(x),
            Op::Clip { min, max } => x.clamp(*min, *max),
            Op::Unary(function) => unary(*function, x),
            Op::Flatten | Op::Reshape { .. } => x,
            Op::Softmax { .. } => activation::softmax(x, 1),
            Op::BatchNormalization { .. } => self.normalize(place, node, x),
            Op::Add => x + inputs.remove(0),
            Op::Dropout { probability } => self.drop_out(x, *probability),
            op => unimplemented!("{}", op.name()),
        }
    }

    fn image(&self, value: ValueId, x: Tensor<2>) -> Tensor<4> {
        let shape = &self.graph.value(value).shape;
        let [batch, _] = x.dims();
        x.reshape([batch, shape[0], shape[1], shape[2]])
    }

    /// Over `[batch, channels, plane]`; in training by the statistics of the part of the batch at hand.
    fn normalize(&mut self, place: usize, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::BatchNormalization {
            scale,
            bias,
            mean,
            variance,
            epsilon,
        } = node.op
        else {
            return x;
        };
        let [batch, elements] = x.dims();
        let channels = self.graph.parameter(scale).len();
        let x = x.reshape([batch, channels, elements / channels.max(1)]);
        let column = |t: &Tensor<1>| t.clone().reshape([1, channels, 1]);
        let (mean, variance) = match self.mode {
            Mode::Inference => (
                column(&self.parameters[mean.0]),
                column(&self.parameters[variance.0]),
            ),
            Mode::Training(_) => {
                let mean = x.clone().mean_dim(2).mean_dim(0);
                let variance = (x.clone() - mean.clone())
                    .powf_scalar(2.0)
                    .mean_dim(2)
                    .mean_dim(0);
                self.statistics.push(BatchStatistics {
                    node: place,
                    count: (batch * elements / channels.max(1)) as f32,
                    mean: host(mean.clone().reshape([channels])),
                    variance: host(variance.clone().reshape([channels])),
                });
                (mean, variance)
            }
        };
        let normal = (x - mean) / (variance + epsilon).sqrt();
        let y = normal * column(&self.parameters[scale.0]) + column(&self.parameters[bias.0]);
        y.reshape([batch, elements])
    }

    fn drop_out(&mut self, x: Tensor<2>, probability: f32) -> Tensor<2> {
        let Mode::Training(rng) = &mut self.mode else {
            return x;
        };
        let [batch, elements] = x.dims();
        let scale = 1.0 / (1.0 - probability).max(f32::MIN_POSITIVE);
        let mut draw = || {
            if rng.random::<f32>() < probability {
                0.0
            } else {
                scale
            }
        };
        let mask: Vec<f32> = (0..batch * elements).map(|_| draw()).collect();
        x * Tensor::from_data(TensorData::new(mask, [batch, elements]), &self.device)
    }

    /// Through a value's quantizer, with a straight-through gradient inside its range.
    fn quantized(&self, id: ValueId, x: Tensor<2>) -> Tensor<2> {
        match self.graph.value(id).quantization {
            Some(quantization) => fake_quantize(x, quantization),
            None => x,
        }
    }
}

fn unary(function: Unary, x: Tensor<2>) -> Tensor<2> {
    match function {
        Unary::Sigmoid => activation::sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::HardSigmoid { alpha, beta } => x.mul_scalar(alpha).add_scalar(beta).clamp(0.0, 1.0),
        Unary::HardSwish => {
            let gate = x.clone().div_scalar(6.0).add_scalar(0.5).clamp(0.0, 1.0);
            x * gate
        }
        Unary::LeakyRelu { alpha } => activation::leaky_relu(x, alpha.into()),
        Unary::Elu { alpha } => {
            // Without e^x of a large x, whose gradient would be no number.
            let below = x.clone().clamp_max(0.0).exp().sub_scalar(1.0);
            activation::relu(x) + below.mul_scalar(alpha)
        }
        Unary::Softplus => {
            let tail = x.clone().abs().neg().exp().add_scalar(1.0).log();
            activation::relu(x) + tail
        }
        Unary::Gelu { approximate: false } => activation::gelu(x),
        Unary::Gelu { approximate: true } => activation::gelu_approximate(x),
        Unary::Exp => x.exp(),
        Unary::Sqrt => x.sqrt(),
    }
}

fn fake_quantize(x: Tensor<2>, q: Quantization) -> Tensor<2> {
    let (low, high) = ((-128 - q.zero_point) as f32, (127 - q.zero_point) as f32);
    let steps = x.div_scalar(q.scale).clamp(low, high);
    let rounded = steps.clone().round();
    let difference = (rounded - steps.clone()).detach();
    (steps + difference).mul_scalar(q.scale)
}

fn padding(window: &Window) -> [(usize, usize); 2] {
    let [top, left, bottom, right] = window.padding;
    [(top, bottom), (left, right)]
}

fn flat(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels * height * width])
}

/// A tensor's elements on the host.
pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .unwrap_or_default()
}
