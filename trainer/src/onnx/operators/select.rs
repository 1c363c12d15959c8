//! Elements picked along axes.

use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, check_size};
use crate::onnx::tensor::Constant;
use crate::onnx::value::{Computed, Tensor, place};

/// Longest step through an axis: more than any axis has.
const FAR: i64 = 1 << 40;

/// An end that is none.
const ALL: i64 = i32::MAX as i64;

pub(super) fn slice(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let mut x = node.required(0)?.clone();
    let missing = || Fault::new("has no starts or no ends", "export the model again");
    let starts = node.ints("starts", 1)?.ok_or_else(missing)?;
    let ends = node.ints("ends", 2)?.ok_or_else(missing)?;
    let axes = match node.ints("axes", 3)? {
        Some(axes) => axes,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = node
        .ints("steps", 4)?
        .unwrap_or_else(|| vec![1; starts.len()]);
    let same = [ends.len(), axes.len(), steps.len()];
    if same.iter().any(|&len| len != starts.len()) || steps.contains(&0) {
        return Err(Fault::new(
            format!("slices from {starts:?} to {ends:?} along {axes:?} by {steps:?}"),
            "the file is damaged, export the model again",
        ));
    }
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        // Written for an axis that is not sliced at all.
        if start == 0 && end >= ALL && step == 1 {
            continue;
        }
        let axis = importer.axis(&x, axis)?;
        let indices = sliced(x.shape()[axis], start, end, step);
        x = importer.select(&x, axis, &indices)?;
    }
    Ok(x)
}

/// The places of a slice along an axis of this size.
fn sliced(size: usize, start: i64, end: i64, step: i64) -> Vec<usize> {
    let n = i64::try_from(size).unwrap_or(FAR);
    let step = step.clamp(-FAR, FAR);
    let place = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    // Backwards, the end before the first element is −1, which only a large negative end says.
    let (start, end) = if step > 0 {
        (place(start).clamp(0, n), place(end).clamp(0, n))
    } else {
        (place(start).clamp(-1, n - 1), place(end).clamp(-1, n - 1))
    };
    let inside = |&i: &i64| if step > 0 { i < end } else { i > end };
    std::iter::successors(Some(start), |i| Some(i + step))
        .take_while(inside)
        .filter_map(|i| usize::try_from(i).ok())
        .collect()
}

pub(super) fn split(importer: &mut Importer, node: &NodeView) -> Result<Vec<Tensor>, Fault> {
    let x = node.required(0)?;
    let axis = importer.axis(x, node.attributes.int("axis", 0)?)?;
    let size = x.shape()[axis];
    let count = node.proto.output.len();
    let sizes = match node.ints("split", 1)? {
        Some(sizes) => sizes,
        None => {
            let chunk = size.div_ceil(count.max(1));
            (0..count)
                .map(|i| chunk.min(size.saturating_sub(i * chunk)) as i64)
                .collect()
        }
    };
    let sizes: Vec<usize> = sizes
        .iter()
        .filter_map(|&s| usize::try_from(s).ok())
        .collect();
    let total = sizes.iter().try_fold(0_usize, |n, &s| n.checked_add(s));
    if sizes.len() != count || total != Some(size) {
        return Err(Fault::new(
            format!("splits {size} places into {sizes:?} for {count} outputs"),
            "the file is damaged, export the model again",
        ));
    }
    let mut from = 0;
    let mut parts = Vec::with_capacity(count);
    for (i, size) in sizes.into_iter().enumerate() {
        let indices: Vec<usize> = (from..from + size).collect();
        from += size;
        parts.push(if node.used(i) {
            importer.select(x, axis, &indices)?
        } else {
            Tensor::Unknown
        });
    }
    Ok(parts)
}

/// Places that constants name, or rows of a constant table at places that are computed.
pub(super) fn gather(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (x, indices) = (node.required(0)?, node.required(1)?);
    let axis = node.attributes.int("axis", 0)?;
    match (x, indices) {
        (_, Tensor::Constant(indices)) => {
            let axis = importer.axis(x, axis)?;
            let size = x.shape()[axis];
            let places: Option<Vec<usize>> =
                indices.ints()?.iter().map(|&i| place(i, size)).collect();
            let places = places.ok_or_else(|| {
                Fault::new(
                    format!(
                        "gathers {:?} of {size} places",
                        indices.ints().unwrap_or_default()
                    ),
                    "the file is damaged, export the model again",
                )
            })?;
            let picked = importer.select(x, axis, &places)?;
            let mut shape = x.shape().to_vec();
            shape.splice(axis..=axis, indices.shape.iter().copied());
            importer.seen_as(&picked, shape)
        }
        (Tensor::Constant(table), Tensor::Value(indices)) => {
            embedding(importer, table, axis, indices)
        }
        _ => Err(Fault::new(
            "gathers computed values at computed places",
            "only places that are constant, or rows of a constant table, can be gathered",
        )),
    }
}

fn embedding(
    importer: &mut Importer,
    table: &Constant,
    axis: i64,
    indices: &Computed,
) -> Result<Tensor, Fault> {
    let shape = table.shape.as_slice();
    let axis = place(axis, shape.len()).filter(|&a| shape[..a].iter().product::<usize>() == 1);
    let Some(axis) = axis else {
        return Err(Fault::new(
            format!("gathers from a table of shape {shape:?} along a later axis"),
            "gather rows, transposing the table before",
        ));
    };
    let (rows, columns) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    check_size(&[rows, columns])?;
    let grid = table.grid(axis);
    let table_id = importer.on_grid(&table.name, &[rows, columns], table.reals(), grid)?;
    let count = indices.shape.iter().product();
    let id = importer.under(indices, &[count])?;
    let id = importer.push(Op::Embedding { table: table_id }, &[id])?;
    let lead = shape[..axis].iter().chain(&indices.shape);
    let shape: Vec<usize> = lead.chain(&shape[axis + 1..]).copied().collect();
    Ok(Tensor::Value(Computed {
        id,
        shape,
        kind: table.kind,
    }))
}

/// Axes of one element repeated.
pub(super) fn expand(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?;
    let mut target = node.ints("shape", 1)?.unwrap_or_default();
    let batch = importer.batch_size() as i64;
    if batch > 1 && x.value().is_some() && target.len() == x.shape().len() {
        // The batch is there already.
        if let Some(first) = target.first_mut().filter(|first| **first == batch) {
            *first = 1;
        }
    }
    let rank = target.len().max(x.shape().len());
    let mut shape = vec![1; rank - x.shape().len()];
    if !shape.is_empty() && x.value().is_some() {
        importer.keep_apart()?;
    }
    shape.extend_from_slice(x.shape());
    let mut x = importer.seen_as(x, shape.clone())?;
    let missing = rank - target.len();
    for (i, &size) in target.iter().enumerate() {
        let axis = i + missing;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size == 1 || size == shape[axis] {
            continue;
        }
        shape[axis] = if shape[axis] == 1 { size } else { usize::MAX };
        check_size(&shape)?;
        let axis = importer.axis(&x, axis as i64)?;
        x = importer.select(&x, axis, &vec![0; size])?;
    }
    Ok(x)
}

pub(super) fn tile(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let mut x = node.required(0)?.clone();
    let repeats = node.ints("repeats", 1)?.unwrap_or_default();
    let mut shape = x.shape().to_vec();
    if repeats.len() != shape.len() {
        return Err(Fault::new(
            format!("repeats {shape:?} {repeats:?} times"),
            "as many numbers as axes are needed",
        ));
    }
    for (i, &times) in repeats.iter().enumerate().filter(|&(_, &times)| times != 1) {
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        let size = shape[i];
        shape[i] = size.saturating_mul(times);
        check_size(&shape)?;
        let axis = importer.axis(&x, i as i64)?;
        let indices: Vec<usize> = (0..times).flat_map(|_| 0..size).collect();
        x = importer.select(&x, axis, &indices)?;
    }
    Ok(x)
}
