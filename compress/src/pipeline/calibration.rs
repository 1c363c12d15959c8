//! The inputs that activation ranges are measured on.

use super::Examples;
use crate::settings::Settings;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use trainer::data::Dataset;
use trainer::graph::{Graph, Node, Op};

/// Synthetic inputs without data.
pub const SYNTHETIC_INPUTS: usize = 64;

/// The first training examples, or random inputs; one after the other.
pub(super) fn inputs(
    graph: &Graph,
    train: Option<&Dataset>,
    examples: Examples,
    settings: &Settings,
) -> Vec<f32> {
    let length = graph.value(graph.input).len();
    match (train, examples) {
        (Some(train), _) => {
            let count = settings.calibration_examples.max(1).min(train.len());
            train.inputs[..count * train.input_len()].to_vec()
        }
        (None, Examples::Synthetic { range, seed }) => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let places = places_read(graph);
            let draw = |_| match (places, range) {
                (Some(count), _) => rng.random_range(0..count) as f32,
                (None, Some((low, high))) => rng.random_range(low..=high),
                (None, None) => rng.sample(StandardNormal),
            };
            (0..SYNTHETIC_INPUTS * length).map(draw).collect()
        }
        (None, Examples::Data(_)) => Vec::new(),
    }
}

/// Of how many places the input names some, where it goes into a table.
fn places_read(graph: &Graph) -> Option<usize> {
    let reader = |node: &&Node| node.inputs.contains(&graph.input);
    match graph.nodes.iter().find(reader)?.op {
        Op::Embedding { table } => Some(graph.parameter(table).shape[0]),
        _ => None,
    }
}
