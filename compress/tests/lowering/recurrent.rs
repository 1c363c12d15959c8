//! Recurrent layers and what goes with them.

use super::builder::{Builder, Pair, within};
use trainer::graph::{Cell, Op, Recurrent, Unary};

const CELLS: [Cell; 6] = [
    Cell::Lstm,
    Cell::Gru {
        linear_before_reset: false,
    },
    Cell::Gru {
        linear_before_reset: true,
    },
    Cell::Rnn {
        activation: Unary::Tanh,
    },
    Cell::Rnn {
        activation: Unary::Sigmoid,
    },
    Cell::Rnn {
        activation: Unary::LeakyRelu { alpha: 0.0 },
    },
];

fn layer(b: &mut Builder, features: usize, cell: Cell, hidden: usize, initial: bool) -> Recurrent {
    let rows = cell.gates() * hidden;
    let weight = b.parameter(&[rows, features], -0.6, 0.6);
    let recurrence = b.parameter(&[rows, hidden], -0.3, 0.3);
    let bias = Some(b.parameter(&[2 * rows], -0.2, 0.2));
    let initial_hidden = initial.then(|| b.parameter(&[hidden], -0.5, 0.5));
    let lstm = initial && matches!(cell, Cell::Lstm);
    Recurrent {
        cell,
        weight,
        recurrence,
        bias,
        initial_hidden,
        initial_cell: lstm.then(|| b.parameter(&[hidden], -0.5, 0.5)),
        cell_output: false,
    }
}

/// Each step rounds the hidden state to half a step, of which the recurrence keeps less than all.
#[test]
fn every_cell_over_a_sequence() {
    for cell in CELLS {
        for initial in [false, true] {
            let mut b = Builder::new(8, &[10, 5]);
            let layer = layer(&mut b, 5, cell, 8, initial);
            b.push(Op::Recurrent(layer), &[b.input()]);
            eprintln!("{cell:?} {initial} {}", Pair::of(&b.graph).steps_off());
            let pair = within(&b.graph, 8.0);
            assert_eq!(pair.operators, 1, "{cell:?}");
        }
    }
}

#[test]
fn the_last_cell_state() {
    let mut b = Builder::new(8, &[10, 5]);
    let mut layer = layer(&mut b, 5, Cell::Lstm, 8, true);
    layer.cell_output = true;
    b.push(Op::Recurrent(layer), &[b.input()]);
    within(&b.graph, 3.0);
}

/// Backwards is a reversal before and behind.
#[test]
fn both_directions() {
    let mut b = Builder::new(8, &[10, 5]);
    let forward = layer(&mut b, 5, Cell::Lstm, 8, false);
    let backward = layer(&mut b, 5, Cell::Lstm, 8, false);
    let x = b.push(Op::Recurrent(forward), &[b.input()]);
    let turned: Vec<usize> = (0..10).rev().collect();
    let y = b.select(b.input(), 0, &turned);
    let y = b.push(Op::Recurrent(backward), &[y]);
    let y = b.select(y, 0, &turned);
    let x = b.push(Op::Concat { axis: 1 }, &[x, y]);
    let x = b.select(x, 0, &[9]);
    let x = b.reshape(x, &[16]);
    b.gemm(x, 4);
    within(&b.graph, 4.0);
}

/// Words named by integers.
#[test]
fn rows_of_a_table() {
    let mut b = Builder::new(8, &[7]);
    let table = b.parameter(&[20, 6], -1.0, 1.0);
    let x = b.push(Op::Embedding { table }, &[b.input()]);
    let inputs: Vec<f32> = (0..70).map(|i| (i * 13 % 20) as f32).collect();
    assert!(Pair::on(&b.graph, &inputs).steps_off() <= 0.51);
    let layer = layer(&mut b, 6, Cell::Lstm, 8, false);
    b.push(Op::Recurrent(layer), &[x]);
    assert!(Pair::on(&b.graph, &inputs).steps_off() <= 3.0);
}
