//! Recurrent layers, over several steps and with everything they may have.

use super::*;
use trainer::graph::{Cell, ParamId, Recurrent, Unary};

const FEATURES: usize = 3;
const HIDDEN: usize = 4;

fn cells() -> [Cell; 5] {
    [
        Cell::Rnn {
            activation: Unary::Tanh,
        },
        Cell::Rnn {
            activation: Unary::Sigmoid,
        },
        Cell::Lstm,
        Cell::Gru {
            linear_before_reset: false,
        },
        Cell::Gru {
            linear_before_reset: true,
        },
    ]
}

/// A layer after the graph's output, with a bias and initial states or without.
fn layer(graph: &mut Graph, name: &str, cell: Cell, whole: bool, cell_output: bool) {
    let rows = cell.gates() * HIDDEN;
    let features = graph.value(graph.output).shape[1];
    let mut optional = |role: &str, len: usize| -> Option<ParamId> {
        whole.then(|| dense(graph, &format!("{name}.{role}"), &[len], 0.5))
    };
    let bias = optional("bias", 2 * rows);
    let initial_hidden = optional("hidden", HIDDEN);
    let lstm = matches!(cell, Cell::Lstm);
    let initial_cell = lstm.then(|| optional("cell", HIDDEN)).flatten();
    let layer = Recurrent {
        cell,
        weight: dense(graph, &format!("{name}.w"), &[rows, features], 0.8),
        recurrence: dense(graph, &format!("{name}.r"), &[rows, HIDDEN], 0.8),
        bias,
        initial_hidden,
        initial_cell,
        cell_output,
    };
    add(graph, name, Op::Recurrent(layer));
}

#[test]
fn every_cell_through_time() {
    for cell in cells() {
        for whole in [false, true] {
            for time in [1, 5] {
                let name = format!("{cell:?}, {time} steps, with states: {whole}");
                let mut graph = Graph::new(name, "x", &[time, FEATURES]);
                layer(&mut graph, "layer", cell, whole, false);
                gemm(&mut graph, 3);
                // Of one step without a past, the recurrence has no gradient.
                if whole || time > 1 {
                    check(&graph, SMOOTH, reference_loss);
                } else {
                    check_outputs(&graph, &examples(&graph, 9).inputs);
                }
            }
        }
    }
}

#[test]
fn the_last_cell_state() {
    let mut graph = Graph::new("cell state", "x", &[5, FEATURES]);
    layer(&mut graph, "layer", Cell::Lstm, true, true);
    gemm(&mut graph, 3);
    check(&graph, SMOOTH, reference_loss);
}

/// Two directions, joined, below a second layer whose last step is read.
#[test]
fn layers_on_layers_in_both_directions() {
    for cell in [Cell::Lstm, cells()[4]] {
        let mut graph = Graph::new(format!("two of {cell:?}"), "x", &[3, FEATURES]);
        layer(&mut graph, "forth", cell, true, false);
        let forth = graph.output;
        let reverse = Op::Select {
            axis: 0,
            indices: (0..3).rev().collect(),
        };
        graph.push("turn", reverse.clone(), &[graph.input]).unwrap();
        layer(&mut graph, "back", cell, true, false);
        add(&mut graph, "return", reverse);
        let back = graph.output;
        let both = Op::Concat { axis: 1 };
        graph.push("both", both, &[forth, back]).unwrap();
        layer(&mut graph, "second", cell, true, false);
        let indices = vec![2];
        add(&mut graph, "last", Op::Select { axis: 0, indices });
        gemm(&mut graph, 3);
        check(&graph, FAINT, reference_loss);
    }
}
