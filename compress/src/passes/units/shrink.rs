//! Units taken out of a graph.

use super::coupling::{Coupling, Slices};
use trainer::graph::strides::Split;
use trainer::graph::{Graph, Node, Op, Parameter, Parametrization, ShapeError};

/// Takes units out: their slices of all parameters and values. Nothing is said of the function: that
/// stays where no unit that is left reads one that goes.
///
/// # Errors
/// When the graph is not the one whose units these are.
pub fn shrink(graph: &mut Graph, coupling: &Coupling, gone: &[bool]) -> Result<(), ShapeError> {
    let mut nodes = graph.nodes.clone();
    for node in &mut nodes {
        adapt(node, coupling, gone);
    }
    graph.nodes = nodes;
    for (place, parameter) in graph.parameters.iter_mut().enumerate() {
        for slices in coupling.of_parameter(trainer::graph::ParamId(place)) {
            cut(parameter, slices, gone);
        }
    }
    graph.infer_shapes()
}

/// What of an operator names units: places, shapes, groups.
fn adapt(node: &mut Node, coupling: &Coupling, gone: &[bool]) {
    let of_input = node.inputs.first().and_then(|&v| coupling.of_value(v));
    let of_output = coupling.of_value(node.output);
    match (&mut node.op, of_input, of_output) {
        (Op::Reshape { shape }, _, Some(to)) => shape[to.axis] = to.kept(gone),
        (Op::Select { axis, indices }, Some(from), _) if from.axis == *axis => {
            indices.retain(|&i| from.keeps(i, gone));
            let before = |&i: &usize| (0..i).filter(|&j| from.keeps(j, gone)).count();
            *indices = indices.iter().map(before).collect();
        }
        (Op::Conv { groups, .. }, Some(channels), _) if *groups == channels.units.len() => {
            *groups = channels.kept(gone);
        }
        _ => {}
    }
}

fn cut(parameter: &mut Parameter, slices: &Slices, gone: &[bool]) {
    let split = Split::new(&parameter.shape, slices.axis);
    let kept = slices.kept(gone);
    if kept == split.size {
        return;
    }
    let keep = |place: usize| slices.keeps(split.along(place), gone);
    match &mut parameter.parametrization {
        Parametrization::Dense { values } => retain(values, keep),
        Parametrization::Masked { values, mask }
        | Parametrization::Clustered { values, mask, .. } => {
            retain(values, keep);
            retain(mask, keep);
        }
        Parametrization::Shared { indices, .. } => retain(indices, keep),
        Parametrization::Signs(weights) => {
            retain(&mut weights.values, keep);
            if weights.channels > 1 && slices.axis == 0 {
                weights.channels = kept;
            }
        }
        // Neither the hash nor the cut knows the places that are left.
        Parametrization::Hashed(_) | Parametrization::Vectors(_) => {
            let mut values = parameter.parametrization.values();
            retain(&mut values, keep);
            parameter.parametrization = Parametrization::Dense { values };
        }
    }
    if slices.axis == 0 {
        let keep = |channel| slices.keeps(channel, gone);
        retain(&mut parameter.gains, keep);
        if let Some(grid) = parameter.grid.as_mut().filter(|g| g.scale.len() > 1) {
            retain(&mut grid.scale, keep);
        }
    }
    parameter.shape[slices.axis] = kept;
}

fn retain<T>(items: &mut Vec<T>, keep: impl Fn(usize) -> bool) {
    let mut place = 0;
    items.retain(|_| {
        place += 1;
        keep(place - 1)
    });
}
