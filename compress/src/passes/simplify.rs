//! What a graph says in two nodes and an image in one.

use super::fold_batch_norm;
use trainer::graph::{Graph, Node, Op, Parameter, ValueId};

/// Brings a graph to the form that is trained and lowered: products by a constant matrix are dense
/// layers, zeros around a window are its padding, affine maps part of the layers beside them. The
/// function computed stays the same up to float rounding. No parameter may belong to two nodes.
pub fn simplify(graph: &mut Graph) {
    for place in 0..graph.nodes.len() {
        constant_factor(graph, place);
        padding(graph, place);
    }
    fold_batch_norm(graph);
}

fn writer(graph: &Graph, value: ValueId) -> Option<&Node> {
    graph.nodes.iter().find(|node| node.output == value)
}

/// `x·W` by a constant `[k, n]` is a dense layer.
fn constant_factor(graph: &mut Graph, place: usize) {
    let node = &graph.nodes[place];
    let (Op::MatMul, Some(Op::Constant { value })) = (
        &node.op,
        node.inputs
            .get(1)
            .and_then(|&b| writer(graph, b))
            .map(|n| &n.op),
    ) else {
        return;
    };
    let factor = graph.parameter(*value);
    let &[k, n] = &factor.shape[..] else { return };
    if graph.value(node.inputs[0]).shape.is_empty() || factor.grid.is_some() {
        return;
    }
    let values = factor.materialize();
    let turned = (0..n).flat_map(|j| (0..k).map(move |i| i * n + j));
    let weights = turned.map(|i| values[i]).collect();
    let weight = Parameter::dense(format!("{}.weight", node.name), &[n, k], weights);
    let weight = graph.add_parameter(weight);
    let node = &mut graph.nodes[place];
    node.op = Op::Gemm { weight, bias: None };
    node.inputs.truncate(1);
}

/// Zeros around the rows and columns that only a window reads become its padding.
fn padding(graph: &mut Graph, place: usize) {
    let Some((around, [top, left, bottom, right])) = zeros_before(graph, place) else {
        return;
    };
    let taken = match &mut graph.nodes[place].op {
        Op::Conv {
            window, dilation, ..
        }
        | Op::AveragePool {
            window,
            dilation,
            count_include_pad: true,
            ..
        } => {
            let own = window.padding;
            let padding = [own[0] + top, own[1] + left, own[2] + bottom, own[3] + right];
            let reach = |i: usize| (window.kernel[i % 2] - 1) * dilation[i % 2];
            let legal = (0..4).all(|i| padding[i] <= reach(i));
            if legal {
                window.padding = padding;
            }
            legal
        }
        _ => false,
    };
    if taken {
        graph.nodes[place].inputs[0] = around;
    }
}

/// What a Pad before a node reads, and its zeros above, to the left, below and to the right.
fn zeros_before(graph: &Graph, place: usize) -> Option<(ValueId, [usize; 4])> {
    let read = *graph.nodes[place].inputs.first()?;
    let pad = writer(graph, read)?;
    match &pad.op {
        Op::Pad {
            before,
            after,
            value: 0.0,
        } => match (&before[..], &after[..]) {
            (&[0, top, left], &[0, bottom, right]) => {
                Some((pad.inputs[0], [top, left, bottom, right]))
            }
            _ => None,
        },
        _ => None,
    }
}
