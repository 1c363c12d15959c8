//! What each operator is written as. Axes move behind the batch.

use super::proto::{float, int, ints, string};
use super::writer::Writer;
use crate::graph::{Node, Op, ParamId, Unary, ValueId, Window};
use tract_onnx::pb::AttributeProto;
use tract_onnx::pb::tensor_proto::DataType;

/// The first operator set in which reductions read their axes from a tensor.
const AXES_OPSET: i64 = 18;

/// Inputs and attributes of a node.
type Operands = (Vec<String>, Vec<AttributeProto>);

/// An axis of an example, as one of a batch.
pub(super) fn behind_batch(axis: usize) -> AttributeProto {
    int("axis", axis as i64 + 1)
}

/// The shape of a batch of examples, for Reshape.
pub(super) fn batch_of(shape: &[usize]) -> Vec<i64> {
    let sizes = shape.iter().map(|&d| d as i64);
    [-1].into_iter().chain(sizes).collect()
}

pub(super) fn to(kind: DataType) -> Vec<AttributeProto> {
    vec![int("to", kind as i64)]
}

impl Writer<'_> {
    /// Writes the nodes of one operator.
    pub(super) fn node(&mut self, node: &Node) -> Result<(), String> {
        match &node.op {
            Op::Gemm { weight, bias } if self.shape(node.inputs[0]).len() != 1 => {
                self.gemm_of_rows(node, *weight, *bias);
            }
            Op::Constant { value } => {
                let axes = self.ints(format!("{}_axes", node.name), &[0]);
                let inputs = vec![self.parameter(*value), axes];
                self.last(node, "Unsqueeze", inputs, Vec::new());
            }
            Op::Lrn { .. } if self.shape(node.output).len() != 3 => self.lrn_of_no_image(node),
            Op::ArgMax {
                axis,
                select_last_index,
            } => self.arg_max(node, *axis, *select_last_index),
            Op::Embedding { table } => {
                let mut rows = self.value(node.inputs[0]);
                if node.inputs[0] != self.graph.input || !self.reads_places() {
                    let base = format!("{}_rows", node.name);
                    rows = self.helper(&base, "Cast", vec![rows], to(DataType::Int64));
                }
                let inputs = vec![self.parameter(*table), rows];
                self.last(node, "Gather", inputs, vec![int("axis", 0)]);
            }
            Op::Recurrent(layer) => self.recurrent(node, layer)?,
            Op::QuantizeLinear(affine) => self.quantize(node, affine),
            Op::DequantizeLinear(affine) => self.dequantize(node, affine),
            Op::DynamicQuantizeLinear { output } => self.dynamic_quantize(node, *output),
            _ => {
                let (inputs, attributes) = self.operands(node);
                self.last(node, node.op.name(), inputs, attributes);
            }
        }
        Ok(())
    }

    /// Of an operator that is one node.
    fn operands(&mut self, node: &Node) -> Operands {
        let name = &node.name;
        let mut inputs: Vec<String> = node.inputs.iter().map(|&v| self.value(v)).collect();
        let parameters = node.op.parameters();
        inputs.extend(parameters.iter().map(|&p| self.parameter(p)));
        match &node.op {
            Op::MatMul | Op::Add | Op::Sub | Op::Mul | Op::Div => inputs = self.aligned(node),
            Op::ReduceMean { axes } => {
                let axes: Vec<i64> = axes.iter().map(|&a| a as i64 + 1).collect();
                return self.over(name, inputs, &axes);
            }
            Op::LayerNormalization { axis, .. } => {
                let normalized = &self.shape(node.output)[*axis..];
                for (input, &id) in inputs[1..].iter_mut().zip(&parameters) {
                    *input = self.spread(name, id, normalized);
                }
            }
            Op::Reshape { shape } => {
                inputs.push(self.ints(format!("{name}_shape"), &batch_of(shape)));
            }
            Op::Clip { min, max } => {
                inputs.push(self.scalar(format!("{name}_min"), *min));
                inputs.push(self.scalar(format!("{name}_max"), *max));
            }
            Op::Concat { .. } if self.varies(node.output) => {
                let part = |(i, &v): (usize, &ValueId)| {
                    self.for_each_example(&format!("{name}_input{i}"), v)
                };
                inputs = node.inputs.iter().enumerate().map(part).collect();
            }
            Op::Select { indices, .. } => {
                let indices: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
                inputs.push(self.ints(format!("{name}_indices"), &indices));
            }
            Op::Pad {
                before,
                after,
                value,
            } => {
                let pads = [0].iter().chain(before).chain(&[0]).chain(after);
                let pads: Vec<i64> = pads.map(|&n| n as i64).collect();
                inputs.push(self.ints(format!("{name}_pads"), &pads));
                inputs.push(self.scalar(format!("{name}_value"), *value));
            }
            _ => {}
        }
        let mut attributes = attributes(&node.op);
        if self.opset < super::DILATED_POOL_OPSET && matches!(node.op, Op::AveragePool { .. }) {
            attributes.retain(|a| a.name != "dilations");
        }
        (inputs, attributes)
    }

    /// The inputs of an operator that broadcasts, each with as many axes as the output: ONNX would
    /// align the batch axis of the one with another axis of the other.
    fn aligned(&mut self, node: &Node) -> Vec<String> {
        let rank = self.shape(node.output).len();
        let align = |(i, &id): (usize, &ValueId)| {
            let missing = rank - self.shape(id).len();
            let axes: Vec<i64> = (1..=missing as i64).collect();
            let tensor = self.value(id);
            if axes.is_empty() {
                return tensor;
            }
            self.unsqueeze(&format!("{}_input{i}", node.name), tensor, &axes)
        };
        node.inputs.iter().enumerate().map(align).collect()
    }

    /// A parameter broadcast to `shape`, where it has another.
    fn spread(&mut self, base: &str, id: ParamId, shape: &[usize]) -> String {
        let parameter = self.parameter(id);
        if self.graph.parameter(id).shape == shape {
            return parameter;
        }
        let base = format!("{base}_{parameter}");
        let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let shape = self.ints(format!("{base}_shape"), &shape);
        self.helper(&base, "Expand", vec![parameter, shape], Vec::new())
    }

    /// Of a reduction over these axes of a batch.
    pub(super) fn over(&mut self, base: &str, mut inputs: Vec<String>, axes: &[i64]) -> Operands {
        if self.opset >= AXES_OPSET {
            inputs.push(self.ints(format!("{base}_axes"), axes));
            return (inputs, Vec::new());
        }
        let axes: Vec<usize> = axes.iter().map(|&a| a as usize).collect();
        (inputs, vec![ints("axes", &axes)])
    }

    /// Over the last of several axes: a product with the turned weight, and a sum.
    fn gemm_of_rows(&mut self, node: &Node, weight: ParamId, bias: Option<ParamId>) {
        let x = self.value(node.inputs[0]);
        let weight = vec![self.parameter(weight)];
        let base = format!("{}_weight", node.name);
        let weight = self.helper(&base, "Transpose", weight, vec![ints("perm", &[1, 0])]);
        let Some(bias) = bias else {
            self.last(node, "MatMul", vec![x, weight], Vec::new());
            return;
        };
        let base = format!("{}_product", node.name);
        let product = self.helper(&base, "MatMul", vec![x, weight], Vec::new());
        self.last(node, "Add", vec![product, self.parameter(bias)], Vec::new());
    }

    fn arg_max(&mut self, node: &Node, axis: usize, select_last_index: bool) {
        let last = int("select_last_index", i64::from(select_last_index));
        let x = vec![self.value(node.inputs[0])];
        let base = format!("{}_place", node.name);
        let place = self.helper(&base, "ArgMax", x, vec![behind_batch(axis), last]);
        self.last(node, "Cast", vec![place], to(DataType::Float));
    }

    /// As an image: ONNX Runtime takes no other.
    fn lrn_of_no_image(&mut self, node: &Node) {
        let shape = self.shape(node.output);
        let inner = shape[1..].iter().product();
        let image = self.ints(
            format!("{}_image_shape", node.name),
            &batch_of(&[shape[0], inner, 1]),
        );
        let inputs = vec![self.value(node.inputs[0]), image];
        let image = self.helper(
            &format!("{}_image", node.name),
            "Reshape",
            inputs,
            Vec::new(),
        );
        let base = format!("{}_normalized", node.name);
        let y = self.helper(&base, "LRN", vec![image], attributes(&node.op));
        let shape = self.ints(format!("{}_shape", node.name), &batch_of(shape));
        self.last(node, "Reshape", vec![y, shape], Vec::new());
    }
}

fn attributes(op: &Op) -> Vec<AttributeProto> {
    match op {
        Op::Gemm { .. } => vec![int("transB", 1)],
        Op::Conv {
            window,
            dilation,
            groups,
            ..
        } => layer_attributes(window, dilation, *groups),
        Op::ConvTranspose {
            window,
            dilation,
            groups,
            output_padding,
            ..
        } => {
            let mut attributes = layer_attributes(window, dilation, *groups);
            attributes.push(ints("output_padding", output_padding));
            attributes
        }
        Op::MaxPool { window, dilation } => pool_attributes(window, dilation),
        Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        } => {
            let mut attributes = pool_attributes(window, dilation);
            attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
            attributes
        }
        Op::Flatten => vec![int("axis", 1)],
        Op::Softmax { axis }
        | Op::LogSoftmax { axis }
        | Op::Concat { axis }
        | Op::Select { axis, .. } => vec![behind_batch(*axis)],
        Op::BatchNormalization { epsilon, .. } => vec![float("epsilon", *epsilon)],
        Op::LayerNormalization { axis, epsilon, .. } => {
            vec![behind_batch(*axis), float("epsilon", *epsilon)]
        }
        Op::Lrn {
            size,
            alpha,
            beta,
            bias,
        } => vec![
            int("size", *size as i64),
            float("alpha", *alpha),
            float("beta", *beta),
            float("bias", *bias),
        ],
        Op::Transpose { perm } => {
            let behind = perm.iter().map(|axis| axis + 1);
            let perm: Vec<usize> = [0].into_iter().chain(behind).collect();
            vec![ints("perm", &perm)]
        }
        Op::Unary(function) => unary_attributes(*function),
        _ => Vec::new(),
    }
}

fn window_attributes(window: &Window, dilation: &[usize]) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &window.kernel),
        ints("pads", &window.padding),
        ints("strides", &window.stride),
        ints("dilations", dilation),
    ]
}

fn layer_attributes(window: &Window, dilation: &[usize], groups: usize) -> Vec<AttributeProto> {
    let mut attributes = window_attributes(window, dilation);
    attributes.push(int("group", groups as i64));
    attributes
}

fn pool_attributes(window: &Window, dilation: &[usize]) -> Vec<AttributeProto> {
    let mut attributes = window_attributes(window, dilation);
    attributes.push(int("ceil_mode", i64::from(window.ceil_mode)));
    attributes
}

fn unary_attributes(function: Unary) -> Vec<AttributeProto> {
    match function {
        Unary::HardSigmoid { alpha, beta } => vec![float("alpha", alpha), float("beta", beta)],
        Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![float("alpha", alpha)],
        Unary::Gelu { approximate } => {
            let how = if approximate { "tanh" } else { "none" };
            vec![string("approximate", how)]
        }
        _ => Vec::new(),
    }
}
