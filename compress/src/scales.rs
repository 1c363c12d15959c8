//! Which values of a graph have a scale of their own, and which share one.

use crate::lower::{self, PLACES, SOFTMAX_OUTPUT, Step, Steps};
use crate::passes::{codebook, weights};
use std::collections::{BTreeMap, HashMap};
use trainer::graph::{Graph, Op, Quantization, ValueId};

/// How the output of a step gets its scale.
enum Rule {
    /// By the values seen.
    Own,
    /// By the operator: it gives just these integers.
    Fixed(Quantization),
    /// From the input, of whose integers some are picked.
    Picked,
    /// From the input, whose integers are averaged.
    Averaged,
    /// By the values seen; the inputs, which it brings together, are to have the same.
    Joined,
}

/// The scales of a graph's values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scales {
    /// Values of one scale, by the value whose range decides.
    groups: BTreeMap<ValueId, Vec<ValueId>>,
    fixed: Vec<(ValueId, Quantization)>,
    /// Averages, which are rounded to the integers of the step they read.
    averages: Vec<(ValueId, ValueId)>,
}

impl Scales {
    pub(crate) fn of(graph: &Graph, steps: &Steps) -> Self {
        let mut scales = Self::default();
        let mut leaders: HashMap<ValueId, ValueId> = HashMap::new();
        for step in steps.steps.iter().rev() {
            let output = step.output;
            let leader = leaders.get(&output).copied();
            let joins = match rule(graph, step) {
                Rule::Fixed(q) => {
                    scales.fixed.push((output, q));
                    None
                }
                Rule::Picked => leader,
                Rule::Averaged => {
                    scales.averages.push((output, step.inputs[0]));
                    None
                }
                rule => {
                    let leader = leader.unwrap_or(output);
                    scales.groups.entry(leader).or_default().push(output);
                    matches!(rule, Rule::Joined).then_some(leader)
                }
            };
            let free = |v: &&ValueId| **v != graph.input && steps.has_one_reader(**v);
            if let Some(leader) = joins {
                leaders.extend(step.inputs.iter().filter(free).map(|&v| (v, leader)));
            }
        }
        match input_of_integers(graph, steps) {
            Some(q) => scales.fixed.push((graph.input, q)),
            None => {
                scales.groups.insert(graph.input, vec![graph.input]);
            }
        }
        scales.averages.reverse();
        scales
    }

    /// Values whose ranges decide and that have no scale yet.
    pub(crate) fn to_measure(&self, graph: &Graph) -> Vec<ValueId> {
        let open = |v: &&ValueId| graph.value(**v).quantization.is_none();
        self.groups.keys().filter(open).copied().collect()
    }

    /// Gives scales to all values that have none, those of the leaders being `measured`.
    pub(crate) fn assign(&self, graph: &mut Graph, measured: impl Fn(ValueId) -> Quantization) {
        let give = |graph: &mut Graph, value: ValueId, q: Quantization| {
            graph.values[value.0].quantization.get_or_insert(q);
        };
        for &(value, q) in &self.fixed {
            give(graph, value, q);
        }
        for (&leader, members) in &self.groups {
            let given = graph.value(leader).quantization;
            let q = given.unwrap_or_else(|| measured(leader));
            members.iter().for_each(|&value| give(graph, value, q));
        }
    }

    /// Averages are rounded to their input's integers; training must see that rounding.
    pub(crate) fn round_averages(&self, graph: &mut Graph, steps: &Steps) {
        for &(average, input) in &self.averages {
            let q = source(graph, steps, input);
            let own = &mut graph.values[average.0].quantization;
            *own = own.or(q);
        }
    }
}

/// A quantized model may round a view of a value and not the value: then both have that scale.
pub(crate) fn take_from_views(graph: &mut Graph, steps: &Steps) {
    for i in 0..graph.nodes.len() {
        let view = graph.nodes[i].output;
        let root = steps.roots.get(&view).copied().unwrap_or(view);
        let q = graph.value(view).quantization;
        let own = &mut graph.values[root.0].quantization;
        *own = own.or(q);
    }
}

/// The scale of a value, or of the step from which it is picked.
fn source(graph: &Graph, steps: &Steps, mut value: ValueId) -> Option<Quantization> {
    loop {
        if let Some(q) = graph.value(value).quantization {
            return Some(q);
        }
        value = *steps.writer(value)?.inputs.first()?;
    }
}

fn rule(graph: &Graph, step: &Step) -> Rule {
    match &graph.nodes[step.node].op {
        Op::MaxPool { .. } | Op::Relu | Op::Clip { .. } | Op::Select { .. } => Rule::Picked,
        Op::AveragePool { .. } | Op::GlobalAveragePool | Op::ReduceMean { .. } => Rule::Averaged,
        Op::Pad { value: 0.0, .. } => Rule::Picked,
        Op::Pad { .. } | Op::Concat { .. } => Rule::Joined,
        Op::Softmax { .. } => Rule::Fixed(SOFTMAX_OUTPUT),
        Op::ArgMax { .. } => Rule::Fixed(PLACES),
        op => interface(op).map_or(Rule::Own, Rule::Fixed),
    }
}

/// The scale behind an operator at the edge of a model with integers for inputs or outputs.
fn interface(op: &Op) -> Option<Quantization> {
    match op {
        Op::QuantizeLinear(affine) => lower::integers(affine).ok(),
        Op::DequantizeLinear(affine) => lower::dequantized(affine).ok(),
        _ => None,
    }
}

/// The scale of an input of integers: of places in a table, or of what is dequantized at once.
fn input_of_integers(graph: &Graph, steps: &Steps) -> Option<Quantization> {
    let reader = |step: &&Step| step.inputs.contains(&graph.input);
    match &graph.nodes[steps.steps.iter().find(reader)?.node].op {
        Op::Embedding { .. } => Some(PLACES),
        Op::DequantizeLinear(affine) => lower::integers(affine).ok(),
        _ => None,
    }
}

/// The graph with a scale and a grid wherever one is missing, all scales different: it is lowered to
/// the operators that the calibrated graph will be.
pub(crate) fn tentative(graph: &Graph) -> Graph {
    let mut trial = graph.clone();
    for id in weights(graph) {
        if trial.parameter(id).grid.is_none() {
            codebook::per_tensor_grid(&mut trial, id, 127);
        }
    }
    let steps = lower::steps(graph);
    take_from_views(&mut trial, &steps);
    let scales = Scales::of(&trial, &steps);
    let distinct = |value: ValueId| Quantization {
        scale: 1.0 + value.0 as f32 / 4096.0,
        zero_point: 0,
    };
    scales.assign(&mut trial, distinct);
    scales.round_averages(&mut trial, &steps);
    trial
}
