//! What ONNX Runtime's dynamic quantizer makes of a layer: the input quantized by its own range, an
//! integer product, and the scales multiplied back in. All of it is the float layer of the weights
//! that the integers stand for; the input is quantized by calibration here.

use super::pattern::{both_ways, per_channel, producer, replace};
use crate::graph::{DynamicOutput, Graph, Grid, Op, ParamId, Parameter, ValueId};

pub(super) fn simplify(graph: &mut Graph) {
    for place in 0..graph.nodes.len() {
        if graph.nodes[place].op != Op::Mul {
            continue;
        }
        for (product, scales) in both_ways(&graph.nodes[place]) {
            if let Some((op, x)) = layer(graph, product, scales) {
                replace(graph, place, op, x);
                break;
            }
        }
    }
}

/// The float layer, if `product` is one of integers and `scales` their scales.
fn layer(graph: &mut Graph, product: ValueId, scales: ValueId) -> Option<(Op, ValueId)> {
    let node = producer(graph, product)?;
    let mut op = node.op.clone();
    let x = quantized_input(graph, *node.inputs.first()?)?;
    let (of, factors) = scales_of(graph, scales)?;
    let weight = op.weight().filter(|_| op.bias().is_none() && of == x)?;
    let scaled = scaled(graph, weight, &factors)?;
    match &mut op {
        Op::Gemm { weight, .. } | Op::Conv { weight, .. } => *weight = scaled,
        _ => return None,
    }
    Some((op, x))
}

fn dynamic(graph: &Graph, value: ValueId, output: DynamicOutput) -> Option<ValueId> {
    let node = producer(graph, value)?;
    (node.op == Op::DynamicQuantizeLinear { output }).then(|| node.inputs[0])
}

/// What was quantized dynamically, if the value is its integers less their zero point.
fn quantized_input(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let node = producer(graph, value).filter(|n| n.op == Op::Sub)?;
    let &[integers, zero] = node.inputs.as_slice() else {
        return None;
    };
    let x = dynamic(graph, integers, DynamicOutput::Quantized)?;
    (dynamic(graph, zero, DynamicOutput::ZeroPoint) == Some(x)).then_some(x)
}

/// What was quantized dynamically with this scale, and the constant factors of it.
fn scales_of(graph: &Graph, value: ValueId) -> Option<(ValueId, Vec<f32>)> {
    if let Some(x) = dynamic(graph, value, DynamicOutput::Scale) {
        return Some((x, vec![1.0]));
    }
    let node = producer(graph, value)?;
    if let Some((factors, biases)) = per_channel(graph, &node.op) {
        let x = dynamic(graph, node.inputs[0], DynamicOutput::Scale)?;
        return biases.iter().all(|&b| b == 0.0).then_some((x, factors));
    }
    let found = both_ways(node).into_iter().find_map(|(scale, constant)| {
        let x = dynamic(graph, scale, DynamicOutput::Scale)?;
        match producer(graph, constant)?.op {
            Op::Constant { value } => Some((x, graph.parameter(value).materialize())),
            _ => None,
        }
    });
    found.filter(|_| node.op == Op::Mul)
}

/// The weights times a factor for all, or for each output channel.
fn scaled(graph: &mut Graph, id: ParamId, factors: &[f32]) -> Option<ParamId> {
    let parameter = graph.parameter(id);
    let channels = *parameter.shape.first()?;
    let integers = parameter.grid.as_ref()?;
    if factors.len() != 1 && factors.len() != channels || integers.scale.iter().any(|&s| s != 1.0) {
        return None;
    }
    let inner = parameter.len() / channels.max(1);
    let factor = |i: usize| {
        factors[if factors.len() == 1 {
            0
        } else {
            i / inner.max(1)
        }]
    };
    let values = parameter.materialize();
    let values = values
        .iter()
        .enumerate()
        .map(|(i, v)| v * factor(i))
        .collect();
    let name = format!("{}.scaled", parameter.name);
    let grid = Grid {
        scale: factors.to_vec(),
        max: integers.max,
    };
    let mut scaled = Parameter::dense(name, &parameter.shape.clone(), values);
    scaled.grid = Some(grid);
    Some(graph.add_parameter(scaled))
}
