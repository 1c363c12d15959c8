//! Elements around a value.

use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, check_size};
use crate::onnx::value::Tensor;

/// Largest padding: enough for any axis, far from overflow.
const MAX_PADDING: i64 = 1 << 24;

pub(super) fn pad(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let mut x = node.required(0)?.clone();
    let pads = node.ints("pads", 1)?.unwrap_or_default();
    let axes: Vec<i64> = match node.optional(3)? {
        Some(axes) => axes.ints()?.to_vec(),
        None => (0..x.shape().len() as i64).collect(),
    };
    let (starts, ends) = pads.split_at(pads.len() / 2);
    if pads.len() != 2 * axes.len() || pads.iter().any(|p| p.abs() > MAX_PADDING) {
        return Err(Fault::new(
            format!("pads {:?} by {pads:?}", x.shape()),
            "two numbers for each axis are needed, start and end",
        ));
    }
    let mode = node.attributes.string("mode")?.unwrap_or(b"constant");
    let mut sides = vec![[0; 2]; x.shape().len()];
    for (&axis, (&start, &end)) in axes.iter().zip(starts.iter().zip(ends)) {
        if [start, end] != [0, 0] {
            sides[importer.axis(&x, axis)?] = [start, end];
        }
    }
    if mode == b"constant" {
        let value = match node.optional(2)? {
            Some(value) => value.real()?,
            None => node.attributes.float("value")?.unwrap_or(0.0),
        };
        return with_constant(importer, &x, &sides, value);
    }
    for (axis, &[start, end]) in sides.iter().enumerate().filter(|(_, s)| **s != [0, 0]) {
        let size = x.shape()[axis] as i64;
        let mut shape = x.shape().to_vec();
        shape[axis] = usize::try_from(size + start + end).unwrap_or(0);
        check_size(&shape)?;
        let place = |i: i64| mirrored(i, size, mode);
        let indices = (-start..size + end)
            .map(place)
            .collect::<Result<Vec<_>, _>>()?;
        x = importer.select(&x, axis, &indices)?;
    }
    Ok(x)
}

/// The place inside that stands at place `i`, perhaps outside.
fn mirrored(i: i64, size: i64, mode: &[u8]) -> Result<usize, Fault> {
    let place = match mode {
        b"edge" => i.clamp(0, size - 1),
        b"wrap" => i.rem_euclid(size),
        b"reflect" => {
            // Once there and back, without the ends twice.
            let period = (2 * (size - 1)).max(1);
            let i = i.rem_euclid(period);
            i.min(period - i).min(size - 1)
        }
        other => {
            let other = String::from_utf8_lossy(other);
            return Err(Fault::new(
                format!("has mode '{}'", other.escape_debug()),
                "use constant, edge, reflect or wrap",
            ));
        }
    };
    Ok(place as usize)
}

fn with_constant(
    importer: &mut Importer,
    x: &Tensor,
    sides: &[[i64; 2]],
    value: f32,
) -> Result<Tensor, Fault> {
    let mut x = x.clone();
    for (axis, &[start, end]) in sides.iter().enumerate() {
        // A negative pad takes away.
        let size = x.shape()[axis] as i64;
        let (from, to) = ((-start).max(0), size - (-end).max(0));
        if from > 0 || to < size {
            let indices: Vec<usize> = (from..to).map(|i| i as usize).collect();
            x = importer.select(&x, axis, &indices)?;
        }
    }
    let side = |a: usize, s: usize| usize::try_from(sides[a][s]).unwrap_or(0);
    let padded: Vec<usize> = (0..sides.len())
        .filter(|&a| side(a, 0) + side(a, 1) > 0)
        .collect();
    let Tensor::Value(x) = x else { return Ok(x) };
    if padded.is_empty() {
        return Ok(Tensor::Value(x));
    }
    if !value.is_finite() {
        return Err(Fault::new(
            format!("pads with {value}"),
            "pad with a finite number",
        ));
    }
    let mut shape = x.shape.clone();
    padded
        .iter()
        .for_each(|&a| shape[a] += side(a, 0) + side(a, 1));
    check_size(&shape)?;
    let view = importer.view(&x, &padded)?;
    let rank = importer.graph.value(view.id).shape.len();
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for &a in &padded {
        before[view.axis(a)] = side(a, 0);
        after[view.axis(a)] = side(a, 1);
    }
    let id = importer.push(
        Op::Pad {
            before,
            after,
            value,
        },
        &[view.id],
    )?;
    Ok(x.seen(id, shape))
}
