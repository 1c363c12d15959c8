//! A [`Graph`] computed the slow, obviously right way: the oracle that faster executors are held to.
//!
//! Plain loops over the definition of each operator, sums in `f64`. Meaning is that of inference:
//! batch normalization uses the running statistics, dropout is the identity. Parameters are used as
//! materialized (masked, shared, rounded to their grid); values are *not* rounded to their
//! [`Quantization`](super::Quantization), but the operators that quantize are computed.

mod elementwise;
mod layout;
mod linear;
mod normalization;
mod pool;
mod quantization;
mod recurrent;
mod reduction;
#[cfg(test)]
mod tests;

use super::strides::{Split, broadcast_strides, places, strides};
use super::{Graph, Node, Op, ParamId};

/// The output for one example.
///
/// # Panics
/// When `input` does not have the input value's length, or the graph's shapes are inconsistent.
pub fn run(graph: &Graph, input: &[f32]) -> Vec<f32> {
    let mut values = run_all(graph, input);
    std::mem::take(&mut values[graph.output.0])
}

/// Every value for one example, indexed by [`ValueId`](super::ValueId); empty where no node writes
/// the value.
///
/// # Panics
/// As [`run`].
pub fn run_all(graph: &Graph, input: &[f32]) -> Vec<Vec<f32>> {
    assert_eq!(
        input.len(),
        graph.value(graph.input).len(),
        "input must fill its shape"
    );
    let mut values = vec![Vec::new(); graph.values.len()];
    values[graph.input.0] = input.to_vec();
    for node in &graph.nodes {
        let output = Step::new(graph, node, &values).compute();
        assert_eq!(
            output.len(),
            graph.value(node.output).len(),
            "output must fill its shape"
        );
        values[node.output.0] = output;
    }
    values
}

/// A value or a parameter, row-major.
#[derive(Clone, Copy)]
struct Array<'a> {
    shape: &'a [usize],
    data: &'a [f32],
}

/// One node, about to be computed.
struct Step<'a> {
    graph: &'a Graph,
    op: &'a Op,
    inputs: Vec<Array<'a>>,
    /// Of the output.
    shape: &'a [usize],
}

impl<'a> Step<'a> {
    fn new(graph: &'a Graph, node: &'a Node, values: &'a [Vec<f32>]) -> Self {
        let array = |id: &super::ValueId| Array {
            shape: &graph.value(*id).shape,
            data: &values[id.0],
        };
        Self {
            graph,
            op: &node.op,
            inputs: node.inputs.iter().map(array).collect(),
            shape: &graph.value(node.output).shape,
        }
    }

    /// The first input; of a constant, nothing.
    fn x(&self) -> Array<'a> {
        self.inputs.first().copied().unwrap_or(Array {
            shape: &[],
            data: &[],
        })
    }

    fn parameter(&self, id: ParamId) -> Vec<f32> {
        self.graph.parameter(id).materialize()
    }

    fn parameter_shape(&self, id: ParamId) -> &'a [usize] {
        &self.graph.parameter(id).shape
    }

    /// The parameter's values, or as many zeros.
    fn parameter_or_zeros(&self, id: Option<ParamId>, len: usize) -> Vec<f32> {
        id.map_or_else(|| vec![0.0; len], |id| self.parameter(id))
    }

    /// `f` of each element.
    fn map(&self, f: impl FnMut(f32) -> f32) -> Vec<f32> {
        self.x().data.iter().copied().map(f).collect()
    }

    fn compute(&self) -> Vec<f32> {
        let x = self.x();
        match self.op {
            Op::Gemm { weight, bias } => self.gemm(*weight, *bias),
            Op::Conv { .. } => self.conv(),
            Op::ConvTranspose { .. } => self.conv_transpose(),
            Op::MatMul => self.mat_mul(),
            Op::MaxPool { .. } | Op::AveragePool { .. } => self.pool(),
            Op::ReduceMean { axes } => self.reduce_mean(axes),
            Op::GlobalAveragePool => self.reduce_mean(&[1, 2]),
            Op::Relu => self.map(|v| v.max(0.0)),
            Op::Clip { min, max } => self.map(|v| v.max(*min).min(*max)),
            Op::Unary(function) => self.map(|v| function.apply(v.into()) as f32),
            Op::Flatten | Op::Reshape { .. } | Op::Dropout { .. } => x.data.to_vec(),
            Op::Softmax { axis } => self.softmax(*axis, false),
            Op::LogSoftmax { axis } => self.softmax(*axis, true),
            Op::ArgMax {
                axis,
                select_last_index,
            } => self.arg_max(*axis, *select_last_index),
            Op::BatchNormalization { .. } => self.batch_normalization(),
            Op::LayerNormalization { .. } => self.layer_normalization(),
            Op::Lrn { .. } => self.lrn(),
            Op::PRelu { slope } => self.prelu(*slope),
            Op::Add => self.pairs(|a, b| a + b),
            Op::Sub => self.pairs(|a, b| a - b),
            Op::Mul => self.pairs(|a, b| a * b),
            Op::Div => self.pairs(|a, b| a / b),
            Op::Constant { value } => self.parameter(*value),
            Op::Concat { axis } => self.concat(*axis),
            Op::Select { axis, indices } => self.select(*axis, indices),
            Op::Pad { before, value, .. } => self.pad(before, *value),
            Op::Transpose { perm } => self.transpose(perm),
            Op::Embedding { table } => self.embedding(*table),
            Op::Recurrent(layer) => self.recurrent(layer),
            Op::QuantizeLinear(affine) => quantization::quantize(affine, x),
            Op::DequantizeLinear(affine) => quantization::dequantize(affine, x),
            Op::DynamicQuantizeLinear { output } => quantization::dynamic_quantize(*output, x.data),
        }
    }
}
