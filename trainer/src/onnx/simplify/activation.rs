//! Gelu and HardSwish, which old operator sets spell out.

use super::pattern::{affine_of, both_ways, input_of, only_reader, producer, replace};
use crate::graph::{Graph, Op, Unary, ValueId};
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

pub(super) fn simplify(graph: &mut Graph) {
    for place in 0..graph.nodes.len() {
        if graph.nodes[place].op != Op::Mul {
            continue;
        }
        for (x, gate) in both_ways(&graph.nodes[place]) {
            if let Some((place, function, x)) = gated(graph, place, x, gate) {
                replace(graph, place, Op::Unary(function), x);
                break;
            }
        }
    }
}

/// The node that ends `x · gate(x)`, and what it computes of which value.
fn gated(
    graph: &Graph,
    place: usize,
    x: ValueId,
    gate: ValueId,
) -> Option<(usize, Unary, ValueId)> {
    let alpha = 1.0 / 6.0;
    let hard = |op: &Op| matches!(op, Op::Unary(Unary::HardSigmoid { alpha: a, beta: 0.5 }) if (a - alpha).abs() < 1e-6);
    if input_of(graph, gate, hard) == Some(x) {
        return Some((place, Unary::HardSwish, x));
    }
    let (function, input, factor) = gelu_gate(graph, gate)
        .map(|(approximate, input)| (Unary::Gelu { approximate }, input, 0.5))
        .or_else(|| relu6_gate(graph, gate).map(|input| (Unary::HardSwish, input, alpha)))?;
    // The factor stands before the product, or behind it.
    if affine_of(graph, x, factor, 0.0) == Some(input) {
        return Some((place, function, input));
    }
    let product = graph.nodes[place].output;
    let behind = only_reader(graph, product)?;
    let last = graph.nodes[behind].output;
    let scaled = x == input && affine_of(graph, last, factor, 0.0) == Some(product);
    scaled.then_some((behind, function, input))
}

/// The `x` of `1 + erf(x/√2)`, or of `1 + tanh(√(2/π)·(x + 0.044715·x³))`, which is the approximation.
fn gelu_gate(graph: &Graph, gate: ValueId) -> Option<(bool, ValueId)> {
    let inner = affine_of(graph, gate, 1.0, 1.0)?;
    if let Some(scaled) = input_of(graph, inner, |op| *op == Op::Unary(Unary::Erf)) {
        return Some((false, affine_of(graph, scaled, FRAC_1_SQRT_2, 0.0)?));
    }
    let scaled = input_of(graph, inner, |op| *op == Op::Unary(Unary::Tanh))?;
    let sum = affine_of(graph, scaled, FRAC_1_SQRT_2 * FRAC_2_SQRT_PI, 0.0)?;
    let sum = producer(graph, sum).filter(|n| n.op == Op::Add)?;
    let cubed = |x, cube| affine_of(graph, cube, 0.044_715, 0.0).filter(|&c| is_cube(graph, c, x));
    let found = both_ways(sum)
        .into_iter()
        .find(|&(x, cube)| cubed(x, cube).is_some())?;
    Some((true, found.0))
}

fn is_cube(graph: &Graph, cube: ValueId, x: ValueId) -> bool {
    let factors = |v| {
        producer(graph, v)
            .filter(|n| n.op == Op::Mul)
            .map(both_ways)
    };
    let square = |v| factors(v).is_some_and(|f| f.contains(&(x, x)));
    factors(cube).is_some_and(|f| f.into_iter().any(|(a, b)| a == x && square(b)))
}

/// The `x` of `min(max(x + 3, 0), 6)`.
fn relu6_gate(graph: &Graph, gate: ValueId) -> Option<ValueId> {
    let clip = Op::Clip { min: 0.0, max: 6.0 };
    affine_of(graph, input_of(graph, gate, |op| *op == clip)?, 1.0, 3.0)
}
