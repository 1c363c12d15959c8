use super::{LowerError, unsupported};
use std::collections::HashMap;
use trainer::graph::{Graph, Op, ValueId};

/// A node with the activations fused behind it and the no-ops before it resolved: what becomes one
/// operator of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Place of the node in the graph.
    pub node: usize,
    /// Values read: outputs of earlier steps, or the graph's input.
    pub inputs: Vec<ValueId>,
    /// The value after the last fused activation.
    pub output: ValueId,
    /// Lower bound of the fused activations, −∞ without one.
    pub min: f32,
    /// Upper bound, +∞ without one.
    pub max: f32,
}

/// The graph's steps in order of execution.
///
/// # Errors
/// When an operator has no fixed-point form.
pub fn steps(graph: &Graph) -> Result<Vec<Step>, LowerError> {
    let names = names(graph);
    let readers = readers(graph, &names);
    let mut steps: Vec<Step> = Vec::new();
    for (place, node) in graph.nodes.iter().enumerate() {
        if names[&node.output] != node.output {
            continue;
        }
        if let Op::BatchNormalization { .. } = node.op {
            return Err(unsupported(
                node,
                "follows no convolution or dense layer it could be folded into",
            ));
        }
        if let Op::Reshape { .. } = node.op {
            return Err(unsupported(
                node,
                "changes the layout of an image; only flattening is possible",
            ));
        }
        let inputs: Vec<ValueId> = node.inputs.iter().map(|v| names[v]).collect();
        let (min, max) = bounds(&node.op);
        let alone = readers.get(&inputs[0]) == Some(&1);
        let fused = steps
            .last_mut()
            .filter(|s| s.output == inputs[0] && alone && fuses(graph, s, &node.op));
        if let Some(step) = fused {
            (step.min, step.max) = (step.min.max(min).min(max), step.max.min(max).max(min));
            step.output = node.output;
        } else {
            steps.push(Step {
                node: place,
                inputs,
                output: node.output,
                min,
                max,
            });
        }
    }
    Ok(steps)
}

/// What each value is called where no-ops are taken for nothing: the value before them.
fn names(graph: &Graph) -> HashMap<ValueId, ValueId> {
    let mut names = HashMap::from([(graph.input, graph.input)]);
    for node in &graph.nodes {
        let name = if is_no_op(graph, &node.op, node.inputs[0], node.output) {
            names[&node.inputs[0]]
        } else {
            node.output
        };
        names.insert(node.output, name);
    }
    names
}

/// How many operators, or the outside, read each value.
fn readers(graph: &Graph, names: &HashMap<ValueId, ValueId>) -> HashMap<ValueId, usize> {
    let nodes = graph.nodes.iter().filter(|n| names[&n.output] == n.output);
    let read = nodes.flat_map(|n| &n.inputs).chain([&graph.output]);
    let mut readers = HashMap::new();
    read.for_each(|value| *readers.entry(names[value]).or_default() += 1);
    readers
}

/// Whether an operator leaves the integers as they are.
fn is_no_op(graph: &Graph, op: &Op, input: ValueId, output: ValueId) -> bool {
    let (from, to) = (&graph.value(input).shape, &graph.value(output).shape);
    match op {
        Op::Flatten | Op::Dropout { .. } => true,
        Op::Reshape { .. } => from == to || to.len() == 1,
        _ => false,
    }
}

fn bounds(op: &Op) -> (f32, f32) {
    match *op {
        Op::Relu => (0.0, f32::INFINITY),
        Op::Clip { min, max } => (min, max),
        _ => (f32::NEG_INFINITY, f32::INFINITY),
    }
}

/// Whether an activation can be the clamp of the step before it.
fn fuses(graph: &Graph, step: &Step, op: &Op) -> bool {
    let clamps = matches!(op, Op::Relu | Op::Clip { .. });
    let requantizes = matches!(
        graph.nodes[step.node].op,
        Op::Gemm { .. } | Op::Conv { .. } | Op::Add | Op::Unary(_)
    );
    clamps && requantizes
}
