use super::view::Pattern;
use std::collections::HashMap;
use trainer::graph::{Graph, Op, ValueId};

/// A node with the activations fused behind it and the views before it resolved: what becomes an
/// operator of an image, or a few.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Place of the node in the graph.
    pub node: usize,
    /// Values read, as outputs of earlier steps or the graph's input.
    pub inputs: Vec<ValueId>,
    /// The value after the last fused activation.
    pub output: ValueId,
    /// Lower bound of the fused activations, −∞ without one.
    pub min: f32,
    /// Upper bound, +∞ without one.
    pub max: f32,
}

/// A graph's steps, and the step behind each value.
#[derive(Clone, Debug)]
pub struct Steps {
    /// In order of execution.
    pub steps: Vec<Step>,
    /// For each value that is a view of another, or a fused activation's: the step's output.
    pub roots: HashMap<ValueId, ValueId>,
    /// How many steps, or the outside, read each step's output.
    pub readers: HashMap<ValueId, usize>,
}

impl Steps {
    /// Whether nothing but one step reads a value.
    pub(crate) fn has_one_reader(&self, value: ValueId) -> bool {
        self.readers.get(&value) == Some(&1)
    }

    /// The step that writes a value.
    pub(crate) fn writer(&self, value: ValueId) -> Option<&Step> {
        self.steps.iter().find(|step| step.output == value)
    }
}

/// The graph's steps in order of execution.
pub fn steps(graph: &Graph) -> Steps {
    let names = names(graph);
    let readers = readers(graph, &names);
    let mut steps: Vec<Step> = Vec::new();
    // Where the output of a step was renamed to that of an activation behind it.
    let mut fused: HashMap<ValueId, ValueId> = HashMap::new();
    for (place, node) in graph.nodes.iter().enumerate() {
        if names[&node.output] != node.output {
            continue;
        }
        let read = |v: &ValueId| names.get(v).copied().unwrap_or(*v);
        let inputs: Vec<ValueId> = node.inputs.iter().map(read).collect();
        let (min, max) = bounds(&node.op);
        let alone = inputs.first().is_some_and(|v| readers.get(v) == Some(&1));
        let before = steps.iter_mut().find(|step| {
            alone && fused_name(&fused, inputs[0]) == step.output && fuses(graph, step, node)
        });
        if let Some(step) = before {
            (step.min, step.max) = (step.min.max(min).min(max), step.max.min(max).max(min));
            fused.insert(step.output, node.output);
            step.output = node.output;
        } else {
            let inputs = inputs.iter().map(|&v| fused_name(&fused, v)).collect();
            steps.push(Step {
                node: place,
                inputs,
                output: node.output,
                min,
                max,
            });
        }
    }
    let root = |(&value, &name): (&ValueId, &ValueId)| (value, fused_name(&fused, name));
    let roots = names.iter().map(root).collect();
    let readers = readers
        .into_iter()
        .filter(|(value, _)| !fused.contains_key(value))
        .collect();
    Steps {
        steps,
        roots,
        readers,
    }
}

fn fused_name(fused: &HashMap<ValueId, ValueId>, mut value: ValueId) -> ValueId {
    while let Some(&behind) = fused.get(&value) {
        value = behind;
    }
    value
}

/// What each value is called where views are taken for nothing: the value before them.
fn names(graph: &Graph) -> HashMap<ValueId, ValueId> {
    let mut names = HashMap::from([(graph.input, graph.input)]);
    for node in &graph.nodes {
        let name = match node.inputs[..] {
            [input] if is_view(&node.op) => names.get(&input).copied().unwrap_or(input),
            _ => node.output,
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
    for value in read {
        *readers
            .entry(names.get(value).copied().unwrap_or(*value))
            .or_default() += 1;
    }
    readers
}

/// Whether an operator leaves the integers as they are and only names them otherwise.
fn is_view(op: &Op) -> bool {
    match op {
        Op::Flatten | Op::Reshape { .. } | Op::Transpose { .. } | Op::Dropout { .. } => true,
        Op::Select { indices, .. } => Pattern::of(indices).is_some(),
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

/// Whether an activation can be the clamp of the step before it: not where a quantized model rounds
/// between the two to other integers.
fn fuses(graph: &Graph, step: &Step, node: &trainer::graph::Node) -> bool {
    let clamps = matches!(node.op, Op::Relu | Op::Clip { .. });
    let between = graph.value(node.inputs[0]).quantization;
    let same = between.is_none() || between == graph.value(node.output).quantization;
    clamps && same && clamps_outputs(&graph.nodes[step.node].op)
}

/// Whether an operator's output has a clamp.
fn clamps_outputs(op: &Op) -> bool {
    matches!(
        op,
        Op::Gemm { .. }
            | Op::Conv { .. }
            | Op::ConvTranspose { .. }
            | Op::MatMul
            | Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Unary(_)
            | Op::PRelu { .. }
            | Op::LayerNormalization { .. }
            | Op::Lrn { .. }
            | Op::LogSoftmax { .. }
    )
}
