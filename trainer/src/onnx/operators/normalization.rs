use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::Constant;
use crate::onnx::value::{Computed, Tensor};

pub(super) fn batch_normalization(
    importer: &mut Importer,
    node: &NodeView,
) -> Result<Tensor, Fault> {
    if node.attributes.int("training_mode", 0)? != 0 || node.attributes.int("spatial", 1)? != 1 {
        return Err(Fault::new(
            "is in training mode (training_mode) or not per channel (spatial)",
            "export the model for inference (model.eval() in PyTorch)",
        ));
    }
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
    importer.each_example(node.value(0)?, |importer, x| {
        let id = channels_first(importer, x)?;
        Ok(x.with(importer.push(op.clone(), &[id])?))
    })
}

/// The value with the channels (axis 1 of the file) as the graph's first axis.
fn channels_first(importer: &mut Importer, x: &Computed) -> Result<crate::graph::ValueId, Fault> {
    let own = &importer.graph.value(x.id).shape;
    match x.shape.get(1) {
        Some(channels) if own.first() == Some(channels) => Ok(x.id),
        Some(_) => importer.plain(x),
        None => Err(Fault::new(
            format!("normalizes the channels of {:?}", x.shape),
            "the channels are the second axis, after the batch",
        )),
    }
}

pub(super) fn layer_normalization(
    importer: &mut Importer,
    node: &NodeView,
) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let whole = Tensor::Value(x.clone());
    let axis = importer.axis(&whole, node.attributes.int("axis", -1)?)?;
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    let view = if axis == 0 && x.shape.len() > 1 {
        importer.view(x, &[0])?
    } else {
        let id = importer.plain(x)?;
        importer.view(
            &Computed { id, ..x.clone() },
            &(axis..x.shape.len()).collect::<Vec<_>>(),
        )?
    };
    let normalized = x.shape[axis..].len();
    let mut add = |c: &Constant| {
        // Axes before those normalized over can only be of one element.
        let from = c.shape.len().saturating_sub(normalized);
        let shape: Vec<usize> = match c.shape[from..].to_vec() {
            shape if shape.is_empty() => vec![1],
            shape => shape,
        };
        if c.shape[..from].iter().any(|&d| d != 1) {
            return Err(Fault::new(
                format!(
                    "has parameters of shape {:?} for {:?}",
                    c.shape,
                    &x.shape[axis..]
                ),
                "they must broadcast to the axes normalized over",
            ));
        }
        importer.parameter(&c.name, &shape, c.floats()?.to_vec())
    };
    let op = Op::LayerNormalization {
        axis: view.axis(axis),
        scale: add(node.constant(1)?)?,
        bias: node.optional(2)?.map(|b| add(b)).transpose()?,
        epsilon,
    };
    Ok(x.with(importer.push(op, &[view.id])?))
}

pub(super) fn lrn(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let attributes = node.attributes;
    let size = attributes.int("size", 0)?;
    let op = Op::Lrn {
        size: usize::try_from(size)
            .ok()
            .filter(|&s| s > 0)
            .ok_or_else(|| {
                Fault::new(format!("sums {size} channels"), "the size must be positive")
            })?,
        alpha: attributes.float("alpha")?.unwrap_or(1e-4),
        beta: attributes.float("beta")?.unwrap_or(0.75),
        bias: attributes.float("bias")?.unwrap_or(1.0),
    };
    importer.each_example(node.value(0)?, |importer, x| {
        let id = channels_first(importer, x)?;
        Ok(x.with(importer.push(op.clone(), &[id])?))
    })
}
