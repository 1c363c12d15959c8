//! Arithmetic of a value with a constant, one for all elements or one per channel.

use crate::graph::{Op, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, Tensor};
use crate::onnx::tensor::Constant;

/// Two values, or a bias.
pub(super) fn add(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (x, c) = match (node.tensor(0), node.tensor(1)) {
        (Some(Tensor::Value(a)), Some(Tensor::Value(b))) => {
            return importer.push(node, Op::Add, &[*a, *b]);
        }
        (Some(Tensor::Constant(_)), _) => (1, 0),
        _ => (0, 1),
    };
    let value = node.value(x)?;
    let constant = node.constant(c)?;
    let bias = per_channel(constant, &importer.graph.value(value).shape)?;
    if importer.reads_alone(node, x, value)
        && let Some(tensor) = fold_bias(importer, node, value, constant, &bias)?
    {
        return Ok(tensor);
    }
    normalization(importer, node, value, constant, None, Some(bias))
}

/// Makes the sum the bias of the linear operator before it, if that has none.
fn fold_bias(
    importer: &mut Importer,
    node: &NodeView,
    value: ValueId,
    constant: &Constant,
    values: &[f32],
) -> Result<Option<Tensor>, Fault> {
    let producer = importer.graph.nodes.iter().rposition(|n| n.output == value);
    let Some(producer) = producer else {
        return Ok(None);
    };
    let op = &importer.graph.nodes[producer].op;
    if op.weight().is_none() || op.bias().is_some() {
        return Ok(None);
    }
    let added = importer.parameter(&constant.name, &[values.len()], values.to_vec())?;
    if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } = &mut importer.graph.nodes[producer].op {
        *bias = Some(added);
    }
    importer.graph.values[value.0].name = node.proto.output.first().cloned().unwrap_or_default();
    Ok(Some(Tensor::Value(value)))
}

pub(super) fn sub(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (value, constant, values, constant_first) = operands(importer, node)?;
    if constant_first {
        let scale = vec![-1.0; values.len()];
        return normalization(importer, node, value, constant, Some(scale), Some(values));
    }
    let bias = values.iter().map(|v| -v).collect();
    normalization(importer, node, value, constant, None, Some(bias))
}

pub(super) fn mul(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (value, constant, values, _) = operands(importer, node)?;
    normalization(importer, node, value, constant, Some(values), None)
}

pub(super) fn div(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (value, constant, values, constant_first) = operands(importer, node)?;
    if constant_first {
        return Err(Fault::new(
            "divides by a computed value",
            "only division by constants is supported",
        ));
    }
    let scale = values.iter().map(|v| 1.0 / v).collect();
    normalization(importer, node, value, constant, Some(scale), None)
}

/// The value, the constant, its element for each channel, and whether it comes first.
fn operands<'n>(
    importer: &Importer,
    node: &'n NodeView,
) -> Result<(ValueId, &'n Constant, Vec<f32>, bool), Fault> {
    if matches!(
        (node.tensor(0), node.tensor(1)),
        (Some(Tensor::Value(_)), Some(Tensor::Value(_)))
    ) {
        return Err(Fault::new(
            "combines two computed values",
            "only Add does that, the others take a constant",
        ));
    }
    let constant_first = matches!(node.tensor(0), Some(Tensor::Constant(_)));
    let (x, c) = if constant_first { (1, 0) } else { (0, 1) };
    let value = node.value(x)?;
    let constant = node.constant(c)?;
    let values = per_channel(constant, &importer.graph.value(value).shape)?;
    Ok((value, constant, values, constant_first))
}

/// `scale·x + bias` as a batch normalization of mean 0 and variance 1. The constant lends its name
/// to the one parameter it is.
fn normalization(
    importer: &mut Importer,
    node: &NodeView,
    value: ValueId,
    constant: &Constant,
    scale: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
) -> Result<Tensor, Fault> {
    let channels = importer.graph.value(value).shape[0];
    let named = if bias.is_some() { "bias" } else { "scale" };
    let mut add = |role: &str, values: Option<Vec<f32>>, default: f32| {
        let values = values.unwrap_or_else(|| vec![default; channels]);
        if role == named {
            importer.parameter(&constant.name, &[channels], values)
        } else {
            importer.made_up(format!("{}.{role}", node.name), values)
        }
    };
    let op = Op::BatchNormalization {
        scale: add("scale", scale, 1.0)?,
        bias: add("bias", bias, 0.0)?,
        mean: add("mean", None, 0.0)?,
        variance: add("variance", None, 1.0)?,
        epsilon: 0.0,
    };
    importer.push(node, op, &[value])
}

/// A constant's element for each channel of a value of this per-example shape, if it differs along
/// no other axis.
pub(super) fn per_channel(constant: &Constant, shape: &[usize]) -> Result<Vec<f32>, Fault> {
    let values = constant.floats()?;
    let channels = shape.first().copied().unwrap_or(1);
    // Aligned at the right with [batch, channels, ...].
    let rank = shape.len() + 1;
    let fits = constant.shape.len() <= rank
        && (constant.shape.iter().rev().enumerate())
            .all(|(i, &d)| d == 1 || (i + 2 == rank && d == channels));
    match values {
        &[value] if fits => Ok(vec![value; channels]),
        _ if fits => Ok(values.to_vec()),
        _ => Err(Fault::new(
            format!(
                "combines a value of shape {shape:?} per example with a constant of shape {:?}",
                constant.shape
            ),
            "the constant must be one number, or one per channel ([channels, 1, 1] for an image)",
        )),
    }
}
