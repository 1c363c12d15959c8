//! Magnitude pruning (Han 2015): train with L2, drop links below a threshold, retrain from the
//! survivors' current values, drop again, along a schedule.

use trainer::graph::{Graph, Op, ParamId, Parametrization};

/// How much to prune.
#[derive(Clone, Debug, PartialEq)]
pub enum Amounts {
    /// One threshold for the whole network, so that this share of all weights goes.
    Global(f64),
    /// A share for each weight matrix, in order of the nodes.
    PerLayer(Vec<f64>),
}

/// The weight matrices and filter banks of a graph, in order of its nodes.
pub fn weights(graph: &Graph) -> Vec<ParamId> {
    let of_node = |op: &Op| match op {
        Op::Recurrent(layer) => vec![layer.weight, layer.recurrence],
        op => op.weight().into_iter().collect(),
    };
    let mut ids: Vec<ParamId> = graph.nodes.iter().flat_map(|n| of_node(&n.op)).collect();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    ids
}

/// Masks all but the largest weights; those masked before stay so. `progress` (0 … 1) scales the
/// amounts along the cubic schedule of Zhu & Gupta (2017).
pub fn prune(graph: &mut Graph, amounts: &Amounts, progress: f64) {
    let reach = 1.0 - (1.0 - progress.clamp(0.0, 1.0)).powi(3);
    let ids = weights(graph);
    match amounts {
        Amounts::Global(share) => {
            let magnitudes = ids.iter().flat_map(|&id| magnitudes(graph, id)).collect();
            let threshold = threshold(magnitudes, share * reach);
            ids.iter().for_each(|&id| mask_below(graph, id, threshold));
        }
        Amounts::PerLayer(shares) => {
            for (&id, share) in ids.iter().zip(shares) {
                let threshold = threshold(magnitudes(graph, id), share * reach);
                mask_below(graph, id, threshold);
            }
        }
    }
}

/// Share of weights that are zero, over the whole network.
pub fn sparsity(graph: &Graph) -> f64 {
    let values: Vec<f32> = weights(graph)
        .iter()
        .flat_map(|&id| graph.parameter(id).latent())
        .collect();
    values.iter().filter(|&&v| v == 0.0).count() as f64 / values.len().max(1) as f64
}

fn magnitudes(graph: &Graph, id: ParamId) -> Vec<f32> {
    graph
        .parameter(id)
        .latent()
        .iter()
        .map(|v| v.abs())
        .collect()
}

/// The magnitude below which this share of weights lies.
fn threshold(mut magnitudes: Vec<f32>, share: f64) -> f32 {
    let count = ((magnitudes.len() as f64 * share).round() as usize).min(magnitudes.len());
    match count.checked_sub(1) {
        Some(last) => *magnitudes.select_nth_unstable_by(last, f32::total_cmp).1,
        None => -1.0,
    }
}

/// Weights of at most this magnitude go.
fn mask_below(graph: &mut Graph, id: ParamId, threshold: f32) {
    let parameter = &mut graph.parameters[id.0];
    let values = parameter.latent();
    let mask = values
        .iter()
        .map(|v| v.abs() > threshold && *v != 0.0)
        .collect();
    parameter.parametrization = Parametrization::Masked { values, mask };
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::graph::{Op, Parameter};

    fn two_layers() -> Graph {
        let mut graph = Graph::new("g", "x", &[2]);
        for (i, values) in [vec![0.1, -0.5, 0.3, 2.0], vec![-0.2, 0.4, 1.0, -3.0]]
            .into_iter()
            .enumerate()
        {
            let weight = graph.add_parameter(Parameter::dense(format!("w{i}"), &[2, 2], values));
            let input = graph.output;
            graph
                .push(format!("fc{i}"), Op::Gemm { weight, bias: None }, &[input])
                .expect("fits");
        }
        graph
    }

    #[test]
    fn a_global_threshold_removes_the_smallest_of_all() {
        let mut graph = two_layers();
        prune(&mut graph, &Amounts::Global(0.5), 1.0);
        assert_eq!(graph.parameters[0].materialize(), [0.0, -0.5, 0.0, 2.0]);
        assert_eq!(graph.parameters[1].materialize(), [0.0, 0.0, 1.0, -3.0]);
        assert_eq!(sparsity(&graph), 0.5);
    }

    #[test]
    fn shares_per_layer_and_progress_are_honoured() {
        let mut graph = two_layers();
        prune(&mut graph, &Amounts::PerLayer(vec![0.25, 0.75]), 1.0);
        assert_eq!(graph.parameters[0].materialize(), [0.0, -0.5, 0.3, 2.0]);
        assert_eq!(graph.parameters[1].materialize(), [0.0, 0.0, 0.0, -3.0]);
        let mut graph = two_layers();
        prune(&mut graph, &Amounts::Global(1.0), 0.0);
        assert_eq!(sparsity(&graph), 0.0);
    }

    #[test]
    fn what_was_pruned_stays_pruned() {
        let mut graph = two_layers();
        prune(&mut graph, &Amounts::Global(0.5), 1.0);
        if let Parametrization::Masked { values, .. } = &mut graph.parameters[0].parametrization {
            values[0] = 9.0;
        }
        prune(&mut graph, &Amounts::Global(0.5), 1.0);
        assert_eq!(graph.parameters[0].materialize()[0], 0.0);
    }
}
