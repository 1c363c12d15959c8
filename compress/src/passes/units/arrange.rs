//! Operators that only move elements, and those that work on each alone.

use trainer::graph::strides::{Split, broadcast_strides, places, strides};
use trainer::graph::{Graph, Node, Op};

/// Where an element of an output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// This element of this input.
    Element { input: usize, place: usize },
    /// Nowhere: padding, nearest to this element of the only input.
    Padding { nearest: usize },
}

/// The source of each element of a node's output, where each has one.
pub(super) fn sources(graph: &Graph, node: &Node) -> Option<Vec<Source>> {
    let first = |place: usize| Source::Element { input: 0, place };
    let to = graph.value(node.output).shape.as_slice();
    let from = graph.value(*node.inputs.first()?).shape.as_slice();
    Some(match &node.op {
        Op::Relu
        | Op::Clip { .. }
        | Op::Unary(_)
        | Op::Dropout { .. }
        | Op::Flatten
        | Op::Reshape { .. } => (0..graph.value(node.output).len()).map(first).collect(),
        Op::QuantizeLinear(affine) | Op::DequantizeLinear(affine) if affine.scale.len() == 1 => {
            (0..graph.value(node.output).len()).map(first).collect()
        }
        Op::Transpose { perm } => {
            let own = strides(from);
            let moved: Vec<usize> = perm.iter().map(|&axis| own[axis]).collect();
            places(to, &moved).map(first).collect()
        }
        Op::Select { axis, indices } => {
            let (own, new) = (Split::new(from, *axis), Split::new(to, *axis));
            let place = |i: usize| {
                let (outer, inner) = (i / (new.size * new.inner), i % new.inner);
                (outer * own.size + indices[new.along(i)]) * own.inner + inner
            };
            (0..to.iter().product()).map(place).map(first).collect()
        }
        Op::Pad { before, .. } => padded(from, to, before),
        Op::Concat { axis } => joined(graph, node, *axis),
        _ => return None,
    })
}

fn padded(from: &[usize], to: &[usize], before: &[usize]) -> Vec<Source> {
    let (own, new) = (strides(from), strides(to));
    let source = |i: usize| {
        let (mut place, mut inside) = (0, true);
        for axis in 0..to.len() {
            let along = i / new[axis] % to[axis];
            let within = along.saturating_sub(before[axis]).min(from[axis] - 1);
            inside &= within + before[axis] == along;
            place += within * own[axis];
        }
        match inside {
            true => Source::Element { input: 0, place },
            false => Source::Padding { nearest: place },
        }
    };
    (0..to.iter().product()).map(source).collect()
}

fn joined(graph: &Graph, node: &Node, axis: usize) -> Vec<Source> {
    let to = Split::new(&graph.value(node.output).shape, axis);
    let shapes = node.inputs.iter().map(|&v| &graph.value(v).shape);
    let splits: Vec<Split> = shapes.map(|shape| Split::new(shape, axis)).collect();
    let mut sources = Vec::with_capacity(to.outer * to.size * to.inner);
    for outer in 0..to.outer {
        for (input, split) in splits.iter().enumerate() {
            let block = split.size * split.inner;
            let places = outer * block..(outer + 1) * block;
            sources.extend(places.map(|place| Source::Element { input, place }));
        }
    }
    sources
}

/// Where an array that broadcasts to `shape` has each of its elements.
pub(super) fn spread(array: &[usize], shape: &[usize]) -> Vec<usize> {
    places(shape, &broadcast_strides(array, shape)).collect()
}
