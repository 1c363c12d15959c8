//! Magnitude pruning (Han 2015): train with L2, drop links below a threshold, retrain from the
//! survivors' current values, drop again, along a schedule.

use super::charge::highest_charged;
use super::layout::{Rows, block_means, n_of_m};
use super::schedule::cubic;
use trainer::graph::{Graph, Op, ParamId, Parametrization};

/// How much to prune.
#[derive(Clone, Debug, PartialEq)]
pub enum Amounts {
    /// One threshold for the whole network, so that this share of all weights goes.
    Global(f64),
    /// One threshold for the whole network on scores that do not depend on a layer's scale
    /// (LAMP; Lee et al. 2021), so that this share of all weights goes.
    Adaptive(f64),
    /// One threshold for the whole network on what the loss minds (optimal brain damage with the Fisher
    /// information's diagonal; LeCun et al. 1990, Theis et al. 2018), so that this share of all weights
    /// goes: a weight's square times the mean square of its gradient, given for every parameter.
    Fisher(f64, Vec<Vec<f32>>),
    /// A share for each weight matrix, in order of the nodes.
    PerLayer(Vec<f64>),
}

impl Amounts {
    /// Whether nothing is known yet of what the loss minds.
    pub(super) fn unknown(&self) -> bool {
        matches!(self, Amounts::Fisher(_, squares) if squares.is_empty())
    }
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
    prune_blocks(graph, amounts, [1, 1], 0.0, |share| share * cubic(progress));
}

/// As [`prune`], in blocks of so many outputs by so many neighbouring inputs, which stay or go as one by
/// their mean score. `at` says how much of an amount goes now, `rate` what a bit of a weight's place is
/// worth in mean scores of the living; it is of no use to amounts per layer.
pub fn prune_blocks(
    graph: &mut Graph,
    amounts: &Amounts,
    block: [usize; 2],
    rate: f64,
    at: impl Fn(f64) -> f64,
) {
    let ids = weights(graph);
    let values: Vec<_> = ids.iter().map(|&id| graph.parameter(id).latent()).collect();
    let masks = masks(graph, &values, amounts, block, rate, at);
    for ((id, values), mask) in ids.into_iter().zip(values).zip(masks) {
        mask_by(graph, id, values, mask);
    }
}

/// Leaves of every `of` neighbouring inputs of an output the `keep` largest.
pub fn prune_pattern(graph: &mut Graph, keep: usize, of: usize) {
    for id in weights(graph) {
        let values = graph.parameter(id).latent();
        let mask = n_of_m(&values, &Rows::of(graph, id), keep, of);
        mask_by(graph, id, values, mask);
    }
}

/// Zeros stay zero, whatever a mask says.
fn mask_by(graph: &mut Graph, id: ParamId, values: Vec<f32>, mask: Vec<bool>) {
    let mask = mask.iter().zip(&values).map(|(keep, v)| *keep && *v != 0.0);
    let mask = mask.collect();
    graph.parameters[id.0].set_form(Parametrization::Masked { values, mask });
}

/// Which entries of each weight tensor stay.
fn masks(
    graph: &Graph,
    values: &[Vec<f32>],
    amounts: &Amounts,
    block: [usize; 2],
    rate: f64,
    at: impl Fn(f64) -> f64,
) -> Vec<Vec<bool>> {
    let ids = weights(graph);
    let lives = |values: &Vec<f32>| values.iter().map(|v| *v != 0.0).collect();
    let highest_of = |scores: &[Vec<f32>], share: f64| {
        let living: Vec<Vec<bool>> = values.iter().map(lives).collect();
        highest_charged(scores, &living, rate, at(share))
    };
    let in_blocks = |(scores, id): (Vec<f32>, &ParamId)| match block {
        [1, 1] => scores,
        block => block_means(&scores, &Rows::of(graph, *id), block),
    };
    let magnitudes = values.iter().map(|values| magnitudes(values));
    let magnitudes = magnitudes.zip(&ids).map(in_blocks);
    match amounts {
        Amounts::Global(share) if rate == 0.0 => {
            highest(&magnitudes.collect::<Vec<_>>(), at(*share))
        }
        Amounts::Global(share) => {
            // The loss minds squares.
            let square = |scores: Vec<f32>| scores.iter().map(|m| m * m).collect();
            let scores: Vec<Vec<f32>> = magnitudes.map(square).collect();
            highest_of(&scores, *share)
        }
        Amounts::Adaptive(share) => {
            let scores = magnitudes.map(|m| adaptive_scores(&m));
            let scores: Vec<_> = scores.zip(&ids).map(in_blocks).collect();
            highest_of(&scores, *share)
        }
        Amounts::Fisher(share, squares) => {
            let scores = values.iter().zip(&ids).map(|(values, id)| {
                let squares = &squares[id.0];
                let minded = values.iter().zip(squares).map(|(w, s)| w * w * s);
                minded.collect::<Vec<f32>>()
            });
            let scores: Vec<_> = scores.zip(&ids).map(in_blocks).collect();
            highest_of(&scores, *share)
        }
        Amounts::PerLayer(shares) => magnitudes
            .zip(shares)
            .flat_map(|(scores, share)| highest(&[scores], at(*share)))
            .collect(),
    }
}

/// Which scores are above the threshold below which `share` of all lie.
pub(super) fn highest(scores: &[Vec<f32>], share: f64) -> Vec<Vec<bool>> {
    let threshold = threshold(scores.concat(), share);
    let above = |scores: &Vec<f32>| scores.iter().map(|&s| s > threshold).collect();
    scores.iter().map(above).collect()
}

/// Share of weights that are zero, over the whole network.
pub fn sparsity(graph: &Graph) -> f64 {
    let values: Vec<f32> = weights(graph)
        .iter()
        .flat_map(|&id| graph.parameter(id).latent())
        .collect();
    values.iter().filter(|&&v| v == 0.0).count() as f64 / values.len().max(1) as f64
}

fn magnitudes(values: &[f32]) -> Vec<f32> {
    values.iter().map(|v| v.abs()).collect()
}

/// A weight's square over the sum of the squares of its layer's weights that are not smaller: what
/// the layer would lose by it, relative to what it would have left. A layer's largest weight has 1.
fn adaptive_scores(magnitudes: &[f32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..magnitudes.len()).collect();
    order.sort_unstable_by(|&a, &b| magnitudes[b].total_cmp(&magnitudes[a]));
    let mut scores = vec![0.0; magnitudes.len()];
    let mut left = 0.0f64;
    for place in order {
        let square = f64::from(magnitudes[place]).powi(2);
        left += square;
        scores[place] = (square / left.max(f64::MIN_POSITIVE)) as f32;
    }
    scores
}

/// The score below which this share of weights lies.
fn threshold(mut scores: Vec<f32>, share: f64) -> f32 {
    let count = ((scores.len() as f64 * share).round() as usize).min(scores.len());
    match count.checked_sub(1) {
        Some(last) => *scores.select_nth_unstable_by(last, f32::total_cmp).1,
        None => -1.0,
    }
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

    /// As a network has them whose weights were shared before.
    #[test]
    fn gains_are_in_the_weights_that_stay() {
        let mut graph = two_layers();
        let before = graph.parameters[0].materialize();
        graph.parameters[0].gains = vec![3.0; graph.parameters[0].shape[0]];
        prune(&mut graph, &Amounts::Global(0.0), 1.0);
        let after = graph.parameters[0].materialize();
        assert_eq!(after, before.iter().map(|w| 3.0 * w).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_loss_minds_least_goes_first() {
        let mut graph = two_layers();
        // w² times these: .04, .25, .09, .04 and .08, 0, 1, .9.
        let squares = vec![vec![4.0, 1.0, 1.0, 0.01], vec![2.0, 0.0, 1.0, 0.1]];
        prune(&mut graph, &Amounts::Fisher(0.5, squares), 1.0);
        assert_eq!(graph.parameters[0].materialize(), [0.0, -0.5, 0.3, 0.0]);
        assert_eq!(graph.parameters[1].materialize(), [0.0, 0.0, 1.0, -3.0]);
    }

    #[test]
    fn adaptive_amounts_do_not_depend_on_a_layers_scale() {
        let masks = |scale: f32| {
            let mut graph = two_layers();
            graph.parameters[0]
                .free_mut()
                .iter_mut()
                .for_each(|w| *w *= scale);
            prune(&mut graph, &Amounts::Adaptive(0.5), 1.0);
            let zero = |p: &Parameter| p.materialize().iter().map(|w| *w == 0.0).collect();
            graph
                .parameters
                .iter()
                .map(zero)
                .collect::<Vec<Vec<bool>>>()
        };
        // Squares over the sums of those not smaller: .01/4.35, .25/4.25, .09/4.34, 1 and .04/10.2,
        // .16/10.16, .1, 1.
        let expected = [[true, false, true, false], [true, true, false, false]];
        assert_eq!(masks(1.0), expected);
        assert_eq!(masks(1.0 / 255.0), expected);
    }
}
