use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, Tensor};

pub(super) fn relu(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    importer.push(node, Op::Relu, &[x])
}

/// Bounds are attributes before opset 11, inputs after. Where they cross, all is the upper one, as
/// ONNX has it since opset 12 and `Op::Clip` reads it; executors may then clamp to an ordered range.
pub(super) fn clip(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let max = bound(node, "max", 2, f32::MAX)?;
    let min = bound(node, "min", 1, f32::MIN)?.min(max);
    let op = Op::Clip { min, max };
    importer.push(node, op, &[x])
}

fn bound(node: &NodeView, name: &str, input: usize, default: f32) -> Result<f32, Fault> {
    let value = match node.optional(input)? {
        Some(constant) => match constant.floats()? {
            &[value] => value,
            values => {
                return Err(Fault::new(
                    format!("has {} values for {name}", values.len()),
                    "one is expected",
                ));
            }
        },
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

/// Over the features of a vector. Before opset 13 the default axis is 1 and all later axes join in,
/// which is the same for a vector.
pub(super) fn softmax(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let rank = importer.graph.value(x).shape.len() as i64 + 1;
    let axis = node
        .attributes
        .int("axis", if importer.opset < 13 { 1 } else { -1 })?;
    if rank == 2 && axis != 1 && axis != -1 {
        return Err(Fault::new(
            format!("runs over axis {axis}, which mixes the examples of a batch"),
            "use axis 1",
        ));
    }
    importer.push(node, Op::Softmax { axis: 0 }, &[x])
}
