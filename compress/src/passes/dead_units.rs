//! Units that pruning has cut off: one without outgoing weights is never read; one without incoming
//! weights is a constant, which goes into the next layer's biases. Both are removed with all that hangs
//! on them, and the network shrinks while computing the same function.

use super::units::{Coupling, Reads, shrink};
use trainer::graph::{Graph, Op, Parameter};

/// Removes cut-off units until none is left; returns how many went. A unit stays where it alone makes a
/// value, or where its constant cannot go into a bias: beside the padding of a convolution, say.
pub fn remove_dead_units(graph: &mut Graph) -> usize {
    let coupling = Coupling::of(graph);
    let reads = Reads::of(graph, &coupling);
    let mut gone: Vec<bool> = reads.alive(coupling.count()).iter().map(|a| !a).collect();
    coupling.spare(&mut gone, |_| 0.0);
    let removed = gone.iter().filter(|&&gone| gone).count();
    if removed == 0 {
        return 0;
    }
    let before = graph.clone();
    for (node, shifts) in reads.shifts(&gone) {
        add_to_bias(graph, node, &shifts);
    }
    // Biases that were added have units of their own.
    let coupling = Coupling::of(graph);
    if shrink(graph, &coupling, &gone).is_err() {
        *graph = before;
        return 0;
    }
    graph.remove_unused();
    removed
}

fn add_to_bias(graph: &mut Graph, node: usize, shifts: &[f32]) {
    if let Some(bias) = graph.nodes[node].op.bias() {
        let biases = graph.parameters[bias.0].free_mut().iter_mut();
        biases.zip(shifts).for_each(|(b, s)| *b += s);
        return;
    }
    let name = format!("{}.bias", graph.nodes[node].name);
    let id = graph.add_parameter(Parameter::dense(name, &[shifts.len()], shifts.to_vec()));
    if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } = &mut graph.nodes[node].op {
        *bias = Some(id);
    }
}
