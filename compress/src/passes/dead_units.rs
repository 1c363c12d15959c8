//! Units that pruning has cut off: one without outgoing weights is never read; one without incoming
//! weights is a constant, which goes into the next layer's biases. Both are removed, and the network
//! shrinks while computing the same function.

use crate::lower::{Step, Steps, steps};
use trainer::graph::{Graph, Op, ParamId, Parameter, Parametrization, ValueId};

/// Removes cut-off units between consecutive layers until none is left; returns how many went.
pub fn remove_dead_units(graph: &mut Graph) -> usize {
    let mut removed = 0;
    loop {
        let mut changed = 0;
        for link in links(graph) {
            changed += link.shrink(graph);
        }
        if changed == 0 {
            break;
        }
        removed += changed;
    }
    // Shapes only shrink together with the weights that name them.
    let _ = graph.infer_shapes();
    graph.remove_unused();
    removed
}

/// Two layers of which the second alone reads the first, with nothing but pooling between them.
struct Link {
    first: usize,
    second: usize,
    /// Bounds of the activation between them.
    min: f32,
    max: f32,
    /// Columns of the second layer for each unit of the first.
    columns_per_unit: usize,
}

fn links(graph: &Graph) -> Vec<Link> {
    let steps = steps(graph);
    let has_units = |i: &usize| {
        let op = &graph.nodes[steps.steps[*i].node].op;
        matches!(op, Op::Gemm { .. } | Op::Conv { groups: 1, .. })
    };
    let ends = (0..steps.steps.len()).filter(has_units);
    ends.filter_map(|i| link(graph, &steps, i)).collect()
}

/// Follows the only reader through poolings to the next layer.
fn link(graph: &Graph, all: &Steps, start: usize) -> Option<Link> {
    let steps = &all.steps;
    let mut at = start;
    loop {
        let Step { node, output, .. } = steps[at];
        if !all.has_one_reader(output) {
            return None;
        }
        let reader = (at + 1..steps.len()).find(|&i| steps[i].inputs.contains(&output))?;
        let written = graph.nodes[node].output;
        let flat = keeps_units(graph, written, graph.nodes[steps[reader].node].inputs[0])?;
        at = reader;
        match &graph.nodes[steps[at].node].op {
            Op::MaxPool { .. }
            | Op::GlobalAveragePool
            | Op::AveragePool {
                count_include_pad: false,
                ..
            } if !flat => {}
            // Padding would make a constant channel differ at the border.
            Op::Conv {
                window, groups: 1, ..
            } if window.padding == [0; 4] && !flat => break,
            // Each place of a unit's image is a column, or each unit itself.
            Op::Gemm { .. } if flat || graph.value(written).shape.len() == 1 => break,
            _ => return None,
        }
    }
    let (first, second) = (steps[start].node, steps[at].node);
    let (units, columns) = (rows(graph, first)?, columns(graph, second)?);
    let same_weight = graph.nodes[first].op.weight() == graph.nodes[second].op.weight();
    (!same_weight && columns % units == 0).then(|| Link {
        first,
        second,
        min: steps[start].min,
        max: steps[start].max,
        columns_per_unit: columns / units,
    })
}

/// Whether what a reader sees of a value is flattened, units first; `None` where views put its elements
/// in any other order.
fn keeps_units(graph: &Graph, value: ValueId, seen: ValueId) -> Option<bool> {
    let (mut at, mut flat) = (seen, false);
    while at != value {
        let node = graph.nodes.iter().find(|n| n.output == at)?;
        match &node.op {
            Op::Relu | Op::Clip { .. } | Op::Dropout { .. } => {}
            Op::Flatten | Op::Reshape { .. } if graph.value(at).shape.len() == 1 => flat = true,
            _ => return None,
        }
        at = *node.inputs.first()?;
    }
    Some(flat)
}

fn rows(graph: &Graph, node: usize) -> Option<usize> {
    graph.nodes[node]
        .op
        .weight()
        .map(|w| graph.parameter(w).shape[0])
}

fn columns(graph: &Graph, node: usize) -> Option<usize> {
    graph.nodes[node]
        .op
        .weight()
        .map(|w| graph.parameter(w).shape[1..].iter().product())
}

impl Link {
    fn shrink(&self, graph: &mut Graph) -> usize {
        let (Some(w1), Some(w2)) = (
            graph.nodes[self.first].op.weight(),
            graph.nodes[self.second].op.weight(),
        ) else {
            return 0;
        };
        let units = graph.parameter(w1).shape[0];
        let (incoming, outgoing) = (graph.parameter(w1).latent(), graph.parameter(w2).latent());
        let fan_in = incoming.len() / units;
        let width = units * self.columns_per_unit;
        let used = |u: usize| {
            incoming[u * fan_in..(u + 1) * fan_in]
                .iter()
                .any(|&w| w != 0.0)
        };
        let read = |u: usize| {
            outgoing
                .chunks(width)
                .any(|row| self.of_unit(row, u).iter().any(|&w| w != 0.0))
        };
        let keep: Vec<bool> = (0..units).map(|u| used(u) && read(u)).collect();
        let kept = keep.iter().filter(|&&k| k).count();
        // A layer keeps at least one unit: a network must stay one.
        if kept == units || kept == 0 {
            return 0;
        }
        self.move_constants(graph, &keep, &outgoing, width);
        self.drop_units(graph, w1, w2, &keep);
        units - kept
    }

    fn of_unit<'r>(&self, row: &'r [f32], unit: usize) -> &'r [f32] {
        &row[unit * self.columns_per_unit..(unit + 1) * self.columns_per_unit]
    }

    /// What a unit without inputs always says, times the weights that listen to it.
    fn move_constants(&self, graph: &mut Graph, keep: &[bool], outgoing: &[f32], width: usize) {
        let Some(bias) = graph.nodes[self.first].op.bias() else {
            return;
        };
        let biases = graph.parameter(bias).materialize();
        let constants: Vec<f32> = biases
            .iter()
            .map(|b| b.max(self.min).min(self.max))
            .collect();
        let shifts: Vec<f32> = outgoing
            .chunks(width)
            .map(|row| {
                let of = |u: usize| self.of_unit(row, u).iter().sum::<f32>() * constants[u];
                (0..keep.len()).filter(|&u| !keep[u]).map(of).sum()
            })
            .collect();
        add_to_bias(graph, self.second, &shifts);
    }

    fn drop_units(&self, graph: &mut Graph, w1: ParamId, w2: ParamId, keep: &[bool]) {
        let fan_in = graph.parameter(w1).len() / keep.len();
        retain(&mut graph.parameters[w1.0], 0, |i| keep[i / fan_in]);
        if let Some(bias) = graph.nodes[self.first].op.bias() {
            retain(&mut graph.parameters[bias.0], 0, |i| keep[i]);
        }
        let width = keep.len() * self.columns_per_unit;
        retain(&mut graph.parameters[w2.0], 1, |i| {
            keep[i % width / self.columns_per_unit]
        });
    }
}

fn add_to_bias(graph: &mut Graph, node: usize, shifts: &[f32]) {
    if let Some(bias) = graph.nodes[node].op.bias() {
        graph.parameters[bias.0]
            .free_mut()
            .iter_mut()
            .zip(shifts)
            .for_each(|(b, s)| *b += s);
    } else if shifts.iter().any(|&s| s != 0.0) {
        let name = format!("{}.bias", graph.nodes[node].name);
        let id = graph.add_parameter(Parameter::dense(name, &[shifts.len()], shifts.to_vec()));
        if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } = &mut graph.nodes[node].op {
            *bias = Some(id);
        }
    }
}

/// Keeps the elements that the predicate names by their place; `axis` shrinks accordingly.
fn retain(parameter: &mut Parameter, axis: usize, keep: impl Fn(usize) -> bool) {
    let before = parameter.len();
    match &mut parameter.parametrization {
        Parametrization::Dense { values } => retain_places(values, &keep),
        Parametrization::Masked { values, mask }
        | Parametrization::Clustered { values, mask, .. } => {
            retain_places(values, &keep);
            retain_places(mask, &keep);
        }
        Parametrization::Shared { indices, .. } => retain_places(indices, &keep),
        Parametrization::Signs(weights) => retain_places(&mut weights.values, &keep),
        // The hash does not know the places that are left.
        Parametrization::Hashed(weights) => {
            let mut values = weights.expand();
            retain_places(&mut values, &keep);
            parameter.parametrization = Parametrization::Dense { values };
        }
    }
    let after = (0..before).filter(|&i| keep(i)).count();
    parameter.shape[axis] = parameter.shape[axis] * after / before;
    if let Parametrization::Signs(weights) = &mut parameter.parametrization
        && weights.channels > 1
    {
        weights.channels = parameter.shape[0];
    }
}

fn retain_places<T>(items: &mut Vec<T>, keep: &impl Fn(usize) -> bool) {
    let mut place = 0;
    items.retain(|_| {
        place += 1;
        keep(place - 1)
    });
}
