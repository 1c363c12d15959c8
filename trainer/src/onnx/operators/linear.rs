use super::affine::per_channel;
use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, Tensor};
use crate::onnx::tensor::Constant;

/// `alpha·x·W + beta·c`
pub(super) fn gemm(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let attributes = node.attributes;
    if attributes.int("transA", 0)? != 0 {
        return Err(Fault::new(
            "transposes its input (transA), which mixes the examples of a batch",
            "export with transA=0",
        ));
    }
    let x = node.value(0)?;
    let transposed = attributes.int("transB", 0)? != 0;
    let (shape, mut weights) = matrix(node.constant(1)?, transposed)?;
    scale(&mut weights, attributes.float("alpha")?);
    let weight = importer.parameter(&node.constant(1)?.name, &shape, weights)?;
    let beta = attributes.float("beta")?;
    let bias = match node.optional(2)? {
        Some(c) if beta != Some(0.0) => {
            let mut values = per_channel(c, &shape[..1])?;
            scale(&mut values, beta);
            Some(importer.parameter(&c.name, &shape[..1], values)?)
        }
        _ => None,
    };
    importer.push(node, Op::Gemm { weight, bias }, &[x])
}

/// `x·W` with a constant matrix.
pub(super) fn mat_mul(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let w = node.constant(1)?;
    let (shape, weights) = matrix(w, false)?;
    let weight = importer.parameter(&w.name, &shape, weights)?;
    importer.push(node, Op::Gemm { weight, bias: None }, &[x])
}

/// A weight matrix as `[out, in]`; `transposed` where the file has it so.
fn matrix(w: &Constant, transposed: bool) -> Result<([usize; 2], Vec<f32>), Fault> {
    let values = w.floats()?;
    let &[rows, columns] = w.shape.as_slice() else {
        return Err(Fault::new(
            format!("multiplies by weights of shape {:?}", w.shape),
            "only matrices are supported, reshape to [batch, features] before it",
        ));
    };
    if values.is_empty() {
        return Err(Fault::new("has no weights", "remove the node"));
    }
    if transposed {
        return Ok(([rows, columns], values.to_vec()));
    }
    let column = |c: usize| values.iter().skip(c).step_by(columns).copied();
    Ok(([columns, rows], (0..columns).flat_map(column).collect()))
}

fn scale(values: &mut [f32], factor: Option<f32>) {
    if let Some(factor) = factor {
        values.iter_mut().for_each(|v| *v *= factor);
    }
}

pub(super) fn batch_normalization(
    importer: &mut Importer,
    node: &NodeView,
) -> Result<Tensor, Fault> {
    if node.attributes.int("training_mode", 0)? != 0 || node.attributes.int("spatial", 1)? != 1 {
        return Err(Fault::new(
            "is in training mode or not per channel",
            "export the model for inference (model.eval() in PyTorch)",
        ));
    }
    let x = node.value(0)?;
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    let constants = [1, 2, 3, 4].map(|i| node.constant(i));
    let [scale, bias, mean, variance] = constants;
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    // Written so that a NaN is refused too.
    let positive = |v: &f32| v + epsilon > 0.0;
    if !variance.floats()?.iter().all(positive) {
        return Err(Fault::new(
            "has a variance + epsilon that is not positive",
            "repair the running variance",
        ));
    }
    let mut add = |c: &Constant| match c.shape.as_slice() {
        [n] if Some(n) == scale.shape.first() => {
            importer.parameter(&c.name, &c.shape, c.floats()?.to_vec())
        }
        shape => Err(Fault::new(
            format!("has parameters of shape {:?} and {shape:?}", scale.shape),
            "every parameter is [channels]",
        )),
    };
    let op = Op::BatchNormalization {
        scale: add(scale)?,
        bias: add(bias)?,
        mean: add(mean)?,
        variance: add(variance)?,
        epsilon,
    };
    importer.push(node, op, &[x])
}
