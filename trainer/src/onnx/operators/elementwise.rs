use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::value::{Computed, Tensor, canonical};

pub(super) fn relu(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    Ok(x.with(importer.push(Op::Relu, &[x.id])?))
}

/// Bounds are attributes before opset 11, inputs after.
pub(super) fn clip(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let min = bound(node, "min", 1, f32::MIN)?;
    let max = bound(node, "max", 2, f32::MAX)?;
    clamp(importer, x, min, max)
}

/// Where bounds cross, all is the upper one, as ONNX has it since opset 12 and `Op::Clip` reads it;
/// executors may then clamp to an ordered range.
pub(super) fn clamp(
    importer: &mut Importer,
    x: &Computed,
    min: f32,
    max: f32,
) -> Result<Tensor, Fault> {
    let min = min.min(max);
    Ok(x.with(importer.push(Op::Clip { min, max }, &[x.id])?))
}

fn bound(node: &NodeView, name: &str, input: usize, default: f32) -> Result<f32, Fault> {
    let value = match node.optional(input)? {
        Some(constant) => constant.real()?,
        None => node.attributes.float(name)?.unwrap_or(default),
    };
    if value.is_nan() {
        return Err(Fault::new(
            format!("has NaN for {name}"),
            "repair the bound",
        ));
    }
    // An infinite bound bounds nothing; a finite one can be calculated with.
    Ok(value.clamp(f32::MIN, f32::MAX))
}

pub(super) fn prelu(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let slope = node.constant(1)?;
    if slope.shape.len() == x.shape.len() && slope.shape.first().is_some_and(|&d| d != 1) {
        importer.keep_apart()?;
    }
    let id = importer.plain(x)?;
    let shape = canonical(&slope.shape);
    let slope = importer.parameter(&slope.name, &shape, slope.floats()?.to_vec())?;
    Ok(x.with(importer.push(Op::PRelu { slope }, &[id])?))
}
