//! What looks along axes: means, largest places, softmax.

use super::pool;
use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::Kind;
use crate::onnx::value::{Computed, Tensor};

pub(super) fn softmax(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    along(importer, node, |axis| Op::Softmax { axis })
}

pub(super) fn log_softmax(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    along(importer, node, |axis| Op::LogSoftmax { axis })
}

/// Before opset 13 the default axis is 1 and all later axes join in.
fn along(
    importer: &mut Importer,
    node: &NodeView,
    op: impl Fn(usize) -> Op,
) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let joined = importer.opset < 13;
    let default = if joined { 1 } else { -1 };
    let whole = Tensor::Value(x.clone());
    let axis = importer.axis(&whole, node.attributes.int("axis", default)?)?;
    let proper: Vec<usize> = (axis..x.shape.len()).filter(|&a| x.shape[a] != 1).collect();
    let (view, axis) = match proper.as_slice() {
        _ if !joined => (importer.view(x, &[axis])?, axis),
        [] => (importer.view(x, &[axis])?, axis),
        &[only] => (importer.view(x, &[only])?, only),
        _ => {
            let mut shape = x.shape[..axis].to_vec();
            shape.push(x.shape[axis..].iter().product());
            let flat = importer.seen_as(&whole, shape)?;
            match flat.value() {
                Some(flat) => (importer.view(flat, &[axis])?, axis),
                None => return Ok(flat),
            }
        }
    };
    let id = importer.push(op(view.axis(axis)), &[view.id])?;
    Ok(Computed::float(id, x.shape.clone()))
}

pub(super) fn arg_max(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let whole = Tensor::Value(x.clone());
    let axis = importer.axis(&whole, node.attributes.int("axis", 0)?)?;
    let select_last_index = node.attributes.int("select_last_index", 0)? != 0;
    let view = importer.view(x, &[axis])?;
    let op = Op::ArgMax {
        axis: view.axis(axis),
        select_last_index,
    };
    let id = importer.push(op, &[view.id])?;
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    let result = Tensor::Value(Computed {
        id,
        shape,
        kind: Kind::Int64,
    });
    without(importer, node, result, &[axis])
}

/// Drops axes of one element, where `keepdims` says so.
fn without(
    importer: &mut Importer,
    node: &NodeView,
    x: Tensor,
    axes: &[usize],
) -> Result<Tensor, Fault> {
    if node.attributes.int("keepdims", 1)? != 0 {
        return Ok(x);
    }
    let kept = (0..x.shape().len()).filter(|a| !axes.contains(a));
    let shape: Vec<usize> = kept.map(|a| x.shape()[a]).collect();
    importer.reshape(&x, shape)
}

/// The mean over all axes behind the channels is `GlobalAveragePool`.
pub(super) fn reduce_mean(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let rank = x.shape.len();
    let whole = Tensor::Value(x.clone());
    let named = node.ints("axes", 1)?.unwrap_or_default();
    if named.is_empty() && node.attributes.int("noop_with_empty_axes", 0)? != 0 {
        return Ok(whole);
    }
    let all: Vec<i64> = (0..rank as i64).collect();
    let named = if named.is_empty() { all } else { named };
    let mut axes = importer.axes(&whole, &named)?;
    axes.sort_unstable();
    axes.dedup();
    // The mean over an axis of one element is the element.
    let proper: Vec<usize> = axes.iter().copied().filter(|&a| x.shape[a] != 1).collect();
    let image = rank == 4 && x.shape[0] == 1 && importer.graph.value(x.id).shape.len() == 3;
    let spatial = (2..rank).filter(|&a| x.shape[a] != 1);
    let result = if proper.is_empty() {
        whole
    } else if image && spatial.eq(proper.iter().copied()) {
        pool::global(importer, x)?
    } else {
        let view = importer.view(x, &proper)?;
        let mut graph_axes: Vec<usize> = proper.iter().map(|&a| view.axis(a)).collect();
        graph_axes.sort_unstable();
        let id = importer.push(Op::ReduceMean { axes: graph_axes }, &[view.id])?;
        let mut shape = x.shape.clone();
        proper.iter().for_each(|&a| shape[a] = 1);
        x.seen(id, shape)
    };
    without(importer, node, result, &axes)
}
