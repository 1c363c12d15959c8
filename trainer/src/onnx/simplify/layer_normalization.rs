//! LayerNormalization, which operator sets before 17 spell out.

use super::pattern::{both_ways, input_of, only_reader, per_channel, producer, replace};
use crate::graph::{Graph, Op, ParamId, Parameter, Unary, ValueId};

pub(super) fn simplify(graph: &mut Graph) {
    for place in 0..graph.nodes.len() {
        if graph.nodes[place].op == Op::Div
            && let Some((x, axis, epsilon)) = normalized(graph, place)
        {
            let shape = graph.value(x).shape[axis..].to_vec();
            let name = format!("{}.scale", graph.nodes[place].name);
            let ones = Parameter::dense(name, &shape, vec![1.0; shape.iter().product()]);
            let scale = graph.add_parameter(ones);
            let op = Op::LayerNormalization {
                axis,
                scale,
                bias: None,
                epsilon,
            };
            replace(graph, place, op, x);
            absorb(graph, place, x);
        }
    }
}

/// What `(x − mean) / √(mean((x − mean)²) + ε)` normalizes, from which axis on, and its ε.
fn normalized(graph: &Graph, place: usize) -> Option<(ValueId, usize, f32)> {
    let &[centred, deviation] = graph.nodes[place].inputs.as_slice() else {
        return None;
    };
    let (x, axes) = centre(graph, centred)?;
    let variance = input_of(graph, deviation, |op| *op == Op::Unary(Unary::Sqrt))?;
    let plus = producer(graph, variance)?;
    let (scales, epsilons) = per_channel(graph, &plus.op)?;
    let epsilon = *epsilons.first()?;
    let same = scales.iter().all(|&s| s == 1.0) && epsilons.iter().all(|&e| e == epsilon);
    let square = input_of(graph, plus.inputs[0], |op| {
        *op == Op::ReduceMean { axes: axes.clone() }
    })?;
    let square = producer(graph, square).filter(|n| n.op == Op::Mul)?;
    let &[a, b] = square.inputs.as_slice() else {
        return None;
    };
    let squared = a == b && (a == centred || centre(graph, a) == Some((x, axes.clone())));
    let last = graph.value(x).shape.len();
    let trailing = axes.iter().copied().eq(axes[0]..last);
    (same && squared && trailing && epsilon > 0.0).then_some((x, axes[0], epsilon))
}

/// The `x` of `x − mean(x)`, and the axes of the mean.
fn centre(graph: &Graph, centred: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let node = producer(graph, centred).filter(|n| n.op == Op::Sub)?;
    let &[x, mean] = node.inputs.as_slice() else {
        return None;
    };
    match producer(graph, mean) {
        Some(n) if n.inputs == [x] => match &n.op {
            Op::ReduceMean { axes } if !axes.is_empty() => Some((x, axes.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// Takes a product with a constant that follows as the scale, and a sum as the bias.
fn absorb(graph: &mut Graph, place: usize, x: ValueId) {
    let Op::LayerNormalization {
        axis,
        scale,
        epsilon,
        ..
    } = graph.nodes[place].op
    else {
        return;
    };
    let shape = graph.value(x).shape[axis..].to_vec();
    let op = |scale, bias| Op::LayerNormalization {
        axis,
        scale,
        bias,
        epsilon,
    };
    let Some((product, scale_id)) = constant_reader(graph, place, &Op::Mul, &shape) else {
        if let Some((sum, bias)) = constant_reader(graph, place, &Op::Add, &shape) {
            replace(graph, sum, op(scale, Some(bias)), x);
        }
        return;
    };
    replace(graph, product, op(scale_id, None), x);
    if let Some((sum, bias)) = constant_reader(graph, product, &Op::Add, &shape) {
        replace(graph, sum, op(scale_id, Some(bias)), x);
    }
}

/// The only reader of a node, if it is this operator with a constant that fits the axes normalized
/// over, and that constant.
fn constant_reader(
    graph: &mut Graph,
    place: usize,
    op: &Op,
    shape: &[usize],
) -> Option<(usize, ParamId)> {
    let value = graph.nodes[place].output;
    let reader = only_reader(graph, value)?;
    let node = &graph.nodes[reader];
    if node.op == *op {
        let constant = both_ways(node).into_iter().find(|(a, _)| *a == value)?.1;
        return match producer(graph, constant)?.op {
            Op::Constant { value: id } if fits(&graph.parameter(id).shape, shape) => {
                Some((reader, id))
            }
            _ => None,
        };
    }
    // Of a vector, per channel is per feature.
    let (scales, biases) = per_channel(graph, &node.op)?;
    let vector = graph.value(value).shape == shape && shape.len() == 1;
    let (Op::BatchNormalization { scale, bias, .. }, true) = (&node.op, vector) else {
        return None;
    };
    match op {
        Op::Mul if biases.iter().all(|&b| b == 0.0) => Some((reader, *scale)),
        Op::Add if scales.iter().all(|&s| s == 1.0) => Some((reader, *bias)),
        _ => None,
    }
}

/// Whether a parameter of this shape broadcasts to the axes normalized over without adding any.
fn fits(parameter: &[usize], shape: &[usize]) -> bool {
    let own = parameter.iter().rev().zip(shape.iter().rev());
    parameter.len() <= shape.len() && own.into_iter().all(|(p, s)| p == s || *p == 1)
}
