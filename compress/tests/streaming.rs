//! A recurrent network run step by step says what it says of the whole sequence, bit for bit.
#![allow(clippy::unwrap_used)]

use compress::host;
use compress::pipeline::{Checkpoints, CompressError, Examples, compress};
use compress::settings::Settings;
use no_std_core::Model;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trainer::graph::{Cell, Graph, Op, Parameter, Recurrent, Unary};

const TIME: usize = 13;
const FEATURES: usize = 5;
const HIDDEN: usize = 7;
const CLASSES: usize = 3;

/// A recurrent layer, the last step of it, and a dense layer.
fn network(cell: Cell) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut graph = Graph::new("sequence", "x", &[TIME, FEATURES]);
    let mut add = |graph: &mut Graph, name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let values = (0..count).map(|_| rng.random_range(-0.8..0.8)).collect();
        graph.add_parameter(Parameter::dense(name, shape, values))
    };
    let rows = cell.gates() * HIDDEN;
    let layer = Recurrent {
        cell,
        weight: add(&mut graph, "w", &[rows, FEATURES]),
        recurrence: add(&mut graph, "r", &[rows, HIDDEN]),
        bias: Some(add(&mut graph, "b", &[2 * rows])),
        initial_hidden: Some(add(&mut graph, "h", &[HIDDEN])),
        initial_cell: None,
        cell_output: false,
    };
    let states = graph.push("cell", Op::Recurrent(layer), &[graph.input]);
    let last = Op::Select {
        axis: 0,
        indices: vec![TIME - 1],
    };
    let last = graph.push("last", last, &[states.unwrap()]).unwrap();
    let flat = graph.push("flat", Op::Flatten, &[last]).unwrap();
    let dense = Op::Gemm {
        weight: add(&mut graph, "fc", &[CLASSES, HIDDEN]),
        bias: None,
    };
    graph.push("dense", dense, &[flat]).unwrap();
    graph
}

fn image(graph: &Graph, stream: bool) -> Result<Vec<u8>, CompressError> {
    let settings = Settings {
        stream,
        ..Settings::default()
    };
    let range = Some((-1.0, 1.0));
    let examples = Examples::Synthetic { range, seed: 5 };
    let compressed = compress(graph, &[], examples, &settings, &Checkpoints::default());
    compressed.map(|c| c.encoded.bytes)
}

#[test]
fn steps_say_what_the_whole_sequence_says() {
    for cell in [
        Cell::Lstm,
        Cell::Gru {
            linear_before_reset: true,
        },
        Cell::Gru {
            linear_before_reset: false,
        },
        Cell::Rnn {
            activation: Unary::Tanh,
        },
    ] {
        let graph = network(cell);
        let (whole, steps) = (image(&graph, false).unwrap(), image(&graph, true).unwrap());
        let (whole, steps) = (Model::parse(&whole).unwrap(), Model::parse(&steps).unwrap());
        assert_eq!(
            (whole.input_len(), steps.input_len()),
            (TIME * FEATURES, FEATURES)
        );
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        for _ in 0..20 {
            let sequence: Vec<f32> = (0..TIME * FEATURES)
                .map(|_| rng.random_range(-1.0..1.0))
                .collect();
            let said = host::run(&whole, &sequence).unwrap();
            let in_steps = host::run(&steps, &sequence).unwrap();
            assert_eq!(in_steps.len(), TIME * CLASSES, "{}", cell.name());
            assert_eq!(in_steps[(TIME - 1) * CLASSES..], said, "{}", cell.name());
            // The state matters: the last step alone says something else.
            let alone = host::run(&steps, &sequence[(TIME - 1) * FEATURES..]).unwrap();
            assert_ne!(alone, said, "{}", cell.name());
        }
    }
}

#[test]
fn what_cannot_run_in_steps_is_refused_before_anything_is_done() {
    let mut graph = Graph::new("sequence", "x", &[TIME, FEATURES]);
    graph
        .push("mean", Op::ReduceMean { axes: vec![0] }, &[graph.input])
        .unwrap();
    let error = image(&graph, true).unwrap_err().to_string();
    assert!(
        error.contains("no recurrent layer") && !error.contains('\n'),
        "{error}"
    );
}
