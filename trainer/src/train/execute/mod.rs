//! A graph's operators on burn tensors. Values are `[batch, elements]` and take their rank inside
//! each operator.

mod batch_normalization;
mod columns;
mod convolution;
mod elementwise;
mod fake_quantize;
mod flex;
mod layout;
mod linear;
mod max_pool;
mod normalization;
mod recurrent;
mod reduction;
mod windows;

pub(super) use normalization::BatchStatistics;

use crate::graph::{Graph, Node, Op, ParamId, ValueId};
use burn::tensor::{Device, Tensor, TensorData, activation};
use elementwise::{dynamic_quantize, unary};
use fake_quantize::fake_quantize;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What differs between training and use.
#[derive(Clone)]
pub(super) enum Mode {
    /// Dropout is the identity, normalization uses running statistics.
    Inference,
    /// Dropout drops, normalization uses the batch's statistics.
    Training(Box<ChaCha8Rng>),
}

/// A graph with its parameters on a device.
#[derive(Clone)]
pub(super) struct Network<'g> {
    graph: &'g Graph,
    /// Materialized, flat.
    parameters: Vec<Tensor<1>>,
    device: Device,
    mode: Mode,
    /// Mean and variance of the batch at each normalization node, in order of the nodes.
    statistics: Vec<BatchStatistics>,
}

impl<'g> Network<'g> {
    /// For use: nothing is recorded for gradients.
    pub(super) fn for_inference(graph: &'g Graph, device: &Device) -> Self {
        Self::new(graph, materialized(graph), device, Mode::Inference, false)
    }

    /// For use, but recorded for gradients.
    pub(super) fn for_gradients(graph: &'g Graph, device: &Device) -> Self {
        let device = device.clone().autodiff();
        Self::new(graph, materialized(graph), &device, Mode::Inference, true)
    }

    /// For a part of a training step, with the graph's [`materialized`] parameters.
    pub(super) fn for_training(
        graph: &'g Graph,
        parameters: Vec<TensorData>,
        device: &Device,
        seed: u64,
    ) -> Self {
        let mode = Mode::Training(Box::new(ChaCha8Rng::seed_from_u64(seed)));
        Self::new(graph, parameters, &device.clone().autodiff(), mode, true)
    }

    fn new(
        graph: &'g Graph,
        parameters: Vec<TensorData>,
        device: &Device,
        mode: Mode,
        gradients: bool,
    ) -> Self {
        let parameters = parameters
            .into_iter()
            .map(|p| {
                let tensor = Tensor::from_data(p, device);
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
        let [batch, _] = input.dims();
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
            let output = if logits && self.is_last_softmax(node) {
                inputs[0].clone()
            } else {
                let output = self.node(place, node, inputs, batch);
                self.quantized(node.output, output)
            };
            observe(node.output, &output);
            values[node.output.0] = Some(output);
        }
        values[graph.output.0]
            .take()
            .unwrap_or_else(|| Tensor::zeros([0, 0], &self.device))
    }

    /// Whether a node is the graph's output and a softmax over all of it.
    fn is_last_softmax(&self, node: &Node) -> bool {
        let output = self.graph.value(node.output);
        node.output == self.graph.output
            && matches!(node.op, Op::Softmax { axis } if output.shape[axis] == output.len())
    }

    fn shape(&self, id: ValueId) -> &'g [usize] {
        &self.graph.value(id).shape
    }

    fn parameter(&self, id: ParamId) -> Tensor<1> {
        self.parameters[id.0].clone()
    }

    fn matrix(&self, id: ParamId) -> Tensor<2> {
        let shape = &self.graph.parameter(id).shape;
        self.parameter(id).reshape([shape[0], shape[1]])
    }

    fn node(
        &mut self,
        place: usize,
        node: &Node,
        mut inputs: Vec<Tensor<2>>,
        batch: usize,
    ) -> Tensor<2> {
        match &node.op {
            Op::Constant { value } => return self.constant(*value, batch),
            Op::Concat { axis } => return self.concat(node, inputs, *axis),
            _ => {}
        }
        let x = inputs.remove(0);
        let shape = self.shape(node.inputs[0]);
        match &node.op {
            Op::Gemm { weight, bias } => self.gemm(x, *weight, *bias),
            Op::Conv { .. } => self.conv(node, x),
            Op::ConvTranspose { .. } => self.conv_transpose(node, x),
            Op::MatMul => self.mat_mul(node, [x, inputs.remove(0)]),
            Op::MaxPool { .. } => self.max_pool(node, x),
            Op::AveragePool { .. } => self.average_pool(node, x),
            Op::ReduceMean { axes } => self.reduce_mean(x, shape, axes),
            Op::GlobalAveragePool => self.reduce_mean(x, shape, &[1, 2]),
            Op::Relu => activation::relu(x),
            Op::Clip { min, max } => x.clamp(*min, *max),
            Op::Unary(function) => unary(*function, x),
            Op::Flatten | Op::Reshape { .. } => x,
            Op::Softmax { axis } => self.softmax(x, shape, *axis, false),
            Op::LogSoftmax { axis } => self.softmax(x, shape, *axis, true),
            Op::ArgMax {
                axis,
                select_last_index,
            } => self.arg_max(x, shape, *axis, *select_last_index),
            Op::BatchNormalization { .. } => self.batch_normalization(place, node, x),
            Op::LayerNormalization { .. } => self.layer_normalization(node, x),
            Op::Lrn { .. } => self.lrn(node, x),
            Op::PRelu { slope } => self.prelu(x, *slope, shape),
            Op::Add => self.pair(node, [x, inputs.remove(0)], |a, b| a + b),
            Op::Sub => self.pair(node, [x, inputs.remove(0)], |a, b| a - b),
            Op::Mul => self.pair(node, [x, inputs.remove(0)], |a, b| a * b),
            Op::Div => self.pair(node, [x, inputs.remove(0)], |a, b| a / b),
            Op::Constant { .. } | Op::Concat { .. } => x,
            Op::Select { axis, indices } => self.select(x, shape, *axis, indices),
            Op::Pad { before, value, .. } => self.pad(node, x, before, *value),
            Op::Transpose { perm } => self.transpose(x, shape, perm),
            Op::Embedding { table } => self.embedding(x, *table),
            Op::Recurrent(layer) => self.recurrent(layer, x),
            Op::QuantizeLinear(affine) => self.quantize(affine, x, shape),
            Op::DequantizeLinear(affine) => self.dequantize(affine, x, shape),
            Op::DynamicQuantizeLinear { output } => dynamic_quantize(*output, x),
            Op::Dropout { probability } => self.drop_out(x, *probability),
        }
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
        let value = self.graph.value(id);
        match value.quantization {
            Some(quantization) => fake_quantize(x, quantization, value.integers()),
            None => x,
        }
    }
}

/// Every parameter's elements, flat.
pub(super) fn materialized(graph: &Graph) -> Vec<TensorData> {
    let parameters = graph.parameters.iter();
    parameters
        .map(|p| TensorData::new(p.materialize(), [p.len()]))
        .collect()
}

/// A tensor's elements on the host.
pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .unwrap_or_default()
}
