//! What only names the same elements differently, and permutations.

use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::Data;
use crate::onnx::value::{Tensor, place};
use std::collections::BTreeSet;

/// More than any tensor has.
const MAX_AXES: usize = 16;

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
    node.required(0).cloned()
}

/// All axes before `axis` become one, and all others.
pub(super) fn flatten(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?;
    let shape = x.shape();
    let axis = node.attributes.int("axis", 1)?;
    let axis = place(axis, shape.len() + usize::from(axis >= 0)).ok_or_else(|| {
        Fault::new(
            format!("flattens {shape:?} from axis {axis}"),
            "the file is damaged, export the model again",
        )
    })?;
    if axis != 1 && x.value().is_some() {
        importer.keep_apart()?;
    }
    let (before, after) = shape.split_at(axis);
    let target = vec![before.iter().product(), after.iter().product()];
    importer.reshape(x, target)
}

pub(super) fn reshape(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let target = node.ints("shape", 1)?.unwrap_or_default();
    let x = node.required(0)?;
    let allow_zero = node.attributes.int("allowzero", 0)? != 0;
    let mut from = x.shape().to_vec();
    let batch = importer.batch_size();
    if let (Some(first), Tensor::Value(_)) = (from.first_mut(), x) {
        *first *= batch;
    }
    let shape = resolve(&from, &target, allow_zero);
    let mut shape = shape.ok_or_else(|| {
        Fault::new(
            format!("reshapes {from:?} to {target:?}"),
            "as many elements are needed as before, export the model again",
        )
    })?;
    if batch > 1 && x.value().is_some() {
        match shape.first_mut() {
            Some(first) if *first == batch => *first = 1,
            _ => importer.keep_apart()?,
        }
    }
    importer.reshape(x, shape)
}

/// The target with every size known.
fn resolve(from: &[usize], target: &[i64], allow_zero: bool) -> Option<Vec<usize>> {
    let elements: usize = from.iter().product();
    let mut shape = Vec::with_capacity(target.len());
    for (i, &d) in target.iter().enumerate() {
        shape.push(match d {
            -1 => None,
            0 if !allow_zero => Some(*from.get(i)?),
            _ => Some(usize::try_from(d).ok()?),
        });
    }
    let known = (shape.iter().flatten()).try_fold(1_usize, |n, &d| n.checked_mul(d))?;
    let unknown = shape.iter().filter(|d| d.is_none()).count();
    let inferred = match unknown {
        0 => (known == elements).then_some(1),
        1 if known > 0 && elements.is_multiple_of(known) => Some(elements / known),
        _ => None,
    }?;
    Some(shape.into_iter().map(|d| d.unwrap_or(inferred)).collect())
}

/// Drops axes of one element: those named, or all.
pub(super) fn squeeze(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?;
    let shape = x.shape();
    let axes = match node.ints("axes", 1)? {
        Some(axes) => importer.axes(x, &axes)?,
        None => {
            if x.value().is_some() {
                importer.keep_apart()?;
            }
            (0..shape.len()).filter(|&a| shape[a] == 1).collect()
        }
    };
    if let Some(&axis) = axes.iter().find(|&&a| shape[a] != 1) {
        return Err(Fault::new(
            format!("drops axis {axis} of {shape:?}"),
            "only an axis of one element can be dropped, export the model again",
        ));
    }
    let kept = (0..shape.len()).filter(|a| !axes.contains(a));
    let target = kept.map(|a| shape[a]).collect();
    importer.seen_as(x, target)
}

/// Adds axes of one element.
pub(super) fn unsqueeze(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?;
    let axes = node.ints("axes", 1)?.unwrap_or_default();
    if axes.len() > MAX_AXES {
        let why = format!("adds {} axes", axes.len());
        return Err(Fault::new(why, format!("at most {MAX_AXES} are allowed")));
    }
    let rank = x.shape().len() + axes.len();
    let places: Option<BTreeSet<usize>> = axes.iter().map(|&a| place(a, rank)).collect();
    let places = places.filter(|p| p.len() == axes.len()).ok_or_else(|| {
        Fault::new(
            format!("adds axes {axes:?} to {:?}", x.shape()),
            "the file is damaged, export the model again",
        )
    })?;
    if places.contains(&0) && x.value().is_some() {
        importer.keep_apart()?;
    }
    let mut shape = x.shape().to_vec();
    places.iter().for_each(|&place| shape.insert(place, 1));
    importer.seen_as(x, shape)
}

pub(super) fn transpose(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?;
    let rank = x.shape().len();
    let perm: Vec<usize> = match node.attributes.ints("perm")? {
        Some(perm) => (perm.iter())
            .filter_map(|&p| usize::try_from(p).ok())
            .collect(),
        None => (0..rank).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(Fault::new(
            format!("permutes {:?} by {perm:?}", x.shape()),
            "the file is damaged, export the model again",
        ));
    }
    importer.transpose(x, &perm)
}

pub(super) fn concat(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let parts: Vec<_> = (0..node.inputs.len())
        .map(|i| node.required(i).cloned())
        .collect::<Result<_, _>>()?;
    let Some(first) = parts.iter().find(|p| p.value().is_some()).or(parts.first()) else {
        return Err(Fault::new("has no input", "export the model again"));
    };
    let axis = importer.axis(first, node.attributes.int("axis", 1)?)?;
    importer.concat(&parts, axis)
}
