//! Functions of one element.

use crate::graph::{Op, Unary};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::value::Tensor;

fn push(importer: &mut Importer, node: &NodeView, function: Unary) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    Ok(x.with(importer.push(Op::Unary(function), &[x.id])?))
}

/// An attribute that is a finite number.
fn number(node: &NodeView, name: &str, default: f32) -> Result<f32, Fault> {
    let value = node.attributes.float(name)?.unwrap_or(default);
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Fault::new(
            format!("has {value} for {name}"),
            "repair the attribute",
        ))
    }
}

pub(super) fn sigmoid(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::Sigmoid)
}

pub(super) fn tanh(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::Tanh)
}

pub(super) fn hard_sigmoid(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (alpha, beta) = (number(node, "alpha", 0.2)?, number(node, "beta", 0.5)?);
    push(importer, node, Unary::HardSigmoid { alpha, beta })
}

pub(super) fn hard_swish(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::HardSwish)
}

pub(super) fn leaky_relu(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let alpha = number(node, "alpha", 0.01)?;
    push(importer, node, Unary::LeakyRelu { alpha })
}

pub(super) fn elu(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let alpha = number(node, "alpha", 1.0)?;
    push(importer, node, Unary::Elu { alpha })
}

pub(super) fn softplus(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::Softplus)
}

pub(super) fn gelu(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let approximate = match node.attributes.string("approximate")? {
        None | Some(b"none") => false,
        Some(b"tanh") => true,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Fault::new(
                format!("has approximate '{}'", other.escape_debug()),
                "use none or tanh",
            ));
        }
    };
    push(importer, node, Unary::Gelu { approximate })
}

pub(super) fn exp(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::Exp)
}

pub(super) fn sqrt(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::Sqrt)
}

pub(super) fn erf(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    push(importer, node, Unary::Erf)
}
