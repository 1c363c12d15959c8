//! What patterns of operators are told by.

use crate::graph::{Graph, Node, Op, ParamId, ValueId};

/// The node that writes a value.
pub(super) fn producer(graph: &Graph, value: ValueId) -> Option<&Node> {
    graph.nodes.iter().find(|n| n.output == value)
}

/// The place of the node that alone reads a value.
pub(super) fn only_reader(graph: &Graph, value: ValueId) -> Option<usize> {
    let mut readers = (0..graph.nodes.len()).filter(|&i| graph.nodes[i].inputs.contains(&value));
    let reader = readers.next()?;
    let alone = readers.next().is_none() && graph.output != value;
    alone.then_some(reader)
}

/// The operands of an operator of two, both ways round.
pub(super) fn both_ways(node: &Node) -> Vec<(ValueId, ValueId)> {
    match node.inputs.as_slice() {
        &[a, b] => vec![(a, b), (b, a)],
        _ => Vec::new(),
    }
}

/// `scale` and `bias`, per channel, of a batch normalization that is arithmetic with constants.
pub(super) fn per_channel(graph: &Graph, op: &Op) -> Option<(Vec<f32>, Vec<f32>)> {
    let &Op::BatchNormalization {
        scale,
        bias,
        mean,
        variance,
        epsilon,
    } = op
    else {
        return None;
    };
    let values = |id: ParamId| graph.parameter(id).materialize();
    let all = |id: ParamId, number: f32| values(id).iter().all(|&v| v == number);
    let plain = epsilon == 0.0 && all(mean, 0.0) && all(variance, 1.0);
    plain.then(|| (values(scale), values(bias)))
}

/// The value `x` of which this one is `scale·x + bias`, the same numbers everywhere.
pub(super) fn affine_of(graph: &Graph, value: ValueId, scale: f32, bias: f32) -> Option<ValueId> {
    let node = producer(graph, value)?;
    let (scales, biases) = per_channel(graph, &node.op)?;
    let close = |values: &[f32], number: f32| {
        values
            .iter()
            .all(|v| (v - number).abs() <= 1e-5 * number.abs().max(0.1))
    };
    (close(&scales, scale) && close(&biases, bias)).then(|| node.inputs[0])
}

/// The one input of the node that writes a value, if its operator is this.
pub(super) fn input_of(
    graph: &Graph,
    value: ValueId,
    operator: impl Fn(&Op) -> bool,
) -> Option<ValueId> {
    let node = producer(graph, value).filter(|n| operator(&n.op))?;
    node.inputs.first().copied()
}

/// Makes a node another one, of one input; what it read is dropped if nothing else reads it.
pub(super) fn replace(graph: &mut Graph, place: usize, op: Op, input: ValueId) {
    graph.nodes[place].op = op;
    graph.nodes[place].inputs = vec![input];
}
