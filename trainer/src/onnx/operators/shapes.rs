use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, Tensor, check_size};
use crate::onnx::tensor::{Constant, Data};
use std::rc::Rc;

/// The same tensor under another name. `Dropout` is this after training.
pub(super) fn identity(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    if let Some(training) = node.optional(2)?
        && training.data != Data::Int(vec![0])
    {
        return Err(Fault::new(
            "is in training mode",
            "export the model for inference (model.eval() in PyTorch)",
        ));
    }
    let missing = || {
        Fault::new(
            "has no input",
            "the file is damaged, export the model again",
        )
    };
    node.tensor(0).cloned().ok_or_else(missing)
}

pub(super) fn flatten(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let shape = &importer.graph.value(x).shape;
    let axis = node.attributes.int("axis", 1)?;
    let axis = if axis < 0 {
        axis + shape.len() as i64 + 1
    } else {
        axis
    };
    // Axes before `axis` join the batch axis, so they must be of one element.
    let joined = usize::try_from(axis)
        .ok()
        .and_then(|a| a.checked_sub(1))
        .and_then(|a| shape.get(..a));
    if !joined.is_some_and(|axes| axes.iter().all(|&d| d == 1)) {
        return Err(Fault::new(
            format!("flattens {shape:?} per example from axis {axis}"),
            "use axis 1, which keeps the batch apart",
        ));
    }
    importer.push(node, Op::Flatten, &[x])
}

pub(super) fn reshape(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let target = node.constant(1)?;
    if let Some(Tensor::Constant(c)) = node.tensor(0) {
        return reshape_constant(c, target.ints()?);
    }
    let x = node.value(0)?;
    let from = &importer.graph.value(x).shape;
    let allow_zero = node.attributes.int("allowzero", 0)? != 0;
    let batch = importer.batch.unwrap_or(1);
    let shape = per_example(from, target.ints()?, allow_zero, batch).ok_or_else(|| {
        Fault::new(
            format!(
                "reshapes {from:?} (per example) to {:?}",
                target.ints().unwrap_or_default()
            ),
            "the first axis must remain the batch, and the others hold as many elements as before",
        )
    })?;
    check_size(&shape)?;
    importer.push(node, Op::Reshape { shape }, &[x])
}

/// The target without its batch axis, every size known.
fn per_example(
    from: &[usize],
    target: &[i64],
    allow_zero: bool,
    batch: usize,
) -> Option<Vec<usize>> {
    let (&first, rest) = target.split_first()?;
    let elements: usize = from.iter().product();
    let mut shape = Vec::with_capacity(rest.len());
    for (i, &d) in rest.iter().enumerate() {
        shape.push(match d {
            -1 => None,
            0 if !allow_zero => Some(*from.get(i)?),
            _ => Some(usize::try_from(d).ok()?),
        });
    }
    let known = (shape.iter().flatten()).try_fold(1_usize, |n, &d| n.checked_mul(d))?;
    let unknown = shape.iter().filter(|d| d.is_none()).count();
    let keeps_batch = first == -1 && unknown == 0
        || first == 0 && !allow_zero
        || usize::try_from(first) == Ok(batch);
    if !keeps_batch || unknown > 1 || known == 0 || !elements.is_multiple_of(known) {
        return None;
    }
    if unknown == 0 && known != elements {
        return None;
    }
    let inferred = elements / known;
    Some(shape.into_iter().map(|d| d.unwrap_or(inferred)).collect())
}

fn reshape_constant(constant: &Constant, target: &[i64]) -> Result<Tensor, Fault> {
    // As if the whole tensor were one example of a batch of one.
    let target: Vec<i64> = [1].into_iter().chain(target.iter().copied()).collect();
    let shape = per_example(&constant.shape, &target, false, 1).ok_or_else(|| {
        Fault::new(
            format!(
                "reshapes a constant of {:?} to {:?}",
                constant.shape,
                &target[1..]
            ),
            "the file is damaged, export the model again",
        )
    })?;
    Ok(Tensor::Constant(Rc::new(Constant {
        shape,
        ..constant.clone()
    })))
}

/// The mean over height and width, which is `GlobalAveragePool`; without `keepdims`, a flat one.
pub(super) fn reduce_mean(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let axes = match node.optional(1)? {
        Some(axes) => Some(axes.ints()?),
        None => node.attributes.ints("axes")?,
    };
    let rank = importer.graph.value(x).shape.len() as i64 + 1;
    let mut normalized: Vec<i64> = (axes.unwrap_or_default().iter())
        .map(|&a| if a < 0 { a.saturating_add(rank) } else { a })
        .collect();
    normalized.sort_unstable();
    if rank != 4 || normalized != [2, 3] {
        return Err(Fault::new(
            format!("takes the mean over axes {:?}", axes.unwrap_or_default()),
            "only the mean over height and width (axes 2 and 3) of an image is supported",
        ));
    }
    if node.attributes.int("keepdims", 1)? != 0 {
        return importer.push(node, Op::GlobalAveragePool, &[x]);
    }
    let pooled = importer.fresh_name(format!("{}_pooled", node.name));
    let mean = importer.push_as(node.name.clone(), pooled, Op::GlobalAveragePool, &[x])?;
    let Tensor::Value(mean) = mean else {
        return Ok(mean);
    };
    let name = importer.fresh_node_name(format!("{}_flatten", node.name));
    let output = node.proto.output.first().cloned().unwrap_or_default();
    importer.push_as(name, output, Op::Flatten, &[mean])
}
