//! Recurrent layers: to the unit against the naive interpreter, in every form of weights; near the real
//! recurrence; the same whole or step by step.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use compress::encode::{Coding, encode};
use compress::program::{Activation, Cell, Kind, Linear, Program, Recurrent};
use no_std_core::operator::CELLS;
use no_std_core::{FormatError, Model, PREFIX_BYTES, crc32};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const INPUT_SCALE: f64 = 0.02;
const WEIGHT_SCALE: f64 = 0.008;
const TIME: usize = 11;

/// Real units per step of the int8 hidden state, and what it stands for.
const HIDDEN_SCALE: f64 = 1.0 / 127.0;

/// Fractional bits of int16 states.
const STATE_BITS: u8 = 12;

/// A matrix from int8 inputs of this scale and zero point to pre-activations in 1/4,096ths.
fn matrix(
    rng: &mut ChaCha8Rng,
    [rows, columns]: [usize; 2],
    [scale, zero_point]: [f64; 2],
    style: Style,
) -> Linear {
    let weights = weights(rng, rows * columns, style);
    let products = scale * WEIGHT_SCALE;
    let biases = weights.chunks(columns).map(|row| {
        let bias: f64 = rng.random_range(-0.5..0.5);
        let sum: i32 = row.iter().map(|&w| w as i32).sum();
        (bias / products).round() as i32 - zero_point as i32 * sum
    });
    Linear {
        name: "w".into(),
        shape: vec![rows, columns],
        rows,
        hashed: None,
        vectors: None,
        columns,
        biases: biases.collect(),
        weights,
        multipliers: vec![multiplier(products * 4_096.0)],
        range: range(0),
    }
}

/// From what a cell's hidden state is computed in to its int8 steps.
fn hidden_multiplier(cell: Cell) -> f64 {
    let unit = match cell {
        Cell::Rnn(Activation::Relu) => 1.0 / 4_096.0,
        Cell::Rnn(_) => 2f64.powi(-15),
        Cell::Lstm => 2f64.powi(-30),
        Cell::Gru { .. } => 2f64.powi(-(STATE_BITS as i32)),
    };
    unit / HIDDEN_SCALE
}

fn layer(
    rng: &mut ChaCha8Rng,
    cell: Cell,
    [features, hidden]: [usize; 2],
    style: Style,
) -> Program {
    let (zero_point, hidden_zero) = (rng.random_range(-30..30), rng.random_range(-10..10));
    let rows = cell.gates() * hidden;
    let has_state = cell.has_state();
    let starts = rng.random();
    let initial_hidden = (starts && !matches!(cell, Cell::Gru { .. }))
        .then(|| (0..hidden).map(|_| rng.random_range(-100..100)).collect());
    let initial_state = (starts && has_state).then(|| {
        (0..hidden)
            .map(|_| rng.random_range(-4_000..4_000))
            .collect()
    });
    let recurrent = Recurrent {
        cell,
        input: matrix(
            rng,
            [rows, features],
            [INPUT_SCALE, zero_point as f64],
            style,
        ),
        hidden: matrix(
            rng,
            [rows, hidden],
            [HIDDEN_SCALE, hidden_zero as f64],
            style,
        ),
        multiplier: multiplier(hidden_multiplier(cell)),
        range: range(hidden_zero),
        state_bits: if has_state { STATE_BITS } else { 0 },
        initial_hidden,
        initial_state,
        cell_output: None,
        carried: false,
    };
    let tensors = vec![
        tensor(rng, 1, TIME, features, zero_point),
        tensor(rng, 1, TIME, hidden, hidden_zero),
    ];
    chain(tensors, vec![Kind::Recurrent(recurrent)])
}

fn recurrent_mut(program: &mut Program) -> &mut Recurrent {
    match &mut program.operators[0].kind {
        Kind::Recurrent(layer) => layer,
        other => panic!("{other:?}"),
    }
}

const DENSE: Style = Style {
    density: 1.0,
    entries: 0,
};

const STYLES: [Style; 4] = [
    DENSE,
    Style {
        density: 1.0,
        entries: 16,
    },
    Style {
        density: 0.3,
        entries: 0,
    },
    Style {
        density: 0.05,
        entries: 6,
    },
];

#[test]
fn every_cell_in_every_form() {
    for (i, cell) in CELLS.into_iter().enumerate() {
        for (s, style) in STYLES.into_iter().enumerate() {
            for (k, sides) in [[1, 1], [3, 5], [16, 12]].into_iter().enumerate() {
                let seed = (i * 100 + s * 10 + k) as u64;
                check(&layer(&mut rng(seed), cell, sides, style), seed);
            }
        }
    }
}

#[test]
fn the_last_cell_state_can_be_the_output() {
    for seed in 0..6 {
        let mut rng = rng(seed);
        let mut program = layer(&mut rng, Cell::Lstm, [4, 6], DENSE);
        program.tensors[1] = tensor(&mut rng, 1, 1, 6, 7);
        let layer = recurrent_mut(&mut program);
        layer.cell_output = Some((multiplier(0.02), range(7)));
        check(&program, seed);
    }
}

/// States at their bounds, pre-activations that saturate, every number of fractional bits.
#[test]
fn extremes_saturate() {
    for seed in 0..64 {
        let mut rng = rng(seed);
        let cell = CELLS[seed as usize % CELLS.len()];
        let mut program = layer(&mut rng, cell, [4, 5], DENSE);
        let layer = recurrent_mut(&mut program);
        if cell.has_state() {
            layer.state_bits = (seed % 16) as u8;
            layer.initial_state = Some(vec![i16::MIN, i16::MAX, -1, 0, 12_345]);
        }
        let large = rng.random_range(0.5..100.0);
        layer.input.multipliers = vec![multiplier(large)];
        layer.hidden.multipliers = (0..layer.hidden.rows)
            .map(|i| multiplier(0.01 * (i + 1) as f64))
            .collect();
        check(&program, seed);
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The recurrence in real numbers, from the real values of inputs, weights and biases.
fn real(program: &Program, layer: &Recurrent, input: &[i8]) -> Vec<f64> {
    let [x_zero, h_zero] = [0, 1].map(|t| program.tensors[t].zero_point as f64);
    let (features, units) = (layer.input.columns, layer.hidden.columns);
    let product = |m: &Linear, row: usize, x: &[f64], [scale, zero]: [f64; 2]| -> f64 {
        let weights = &m.weights[row * m.columns..][..m.columns];
        let sum: f64 = weights.iter().map(|&w| w as f64).sum();
        let bias = (m.biases[row] as f64 + zero * sum) * scale * WEIGHT_SCALE;
        let products = weights
            .iter()
            .zip(x)
            .map(|(&w, x)| w as f64 * WEIGHT_SCALE * x);
        bias + products.sum::<f64>()
    };
    let mut h: Vec<f64> = vec![0.0; units];
    let mut c: Vec<f64> = vec![0.0; units];
    if let Some(initial) = &layer.initial_hidden {
        h = initial
            .iter()
            .map(|&q| (q as f64 - h_zero) * HIDDEN_SCALE)
            .collect();
    }
    if let Some(initial) = &layer.initial_state {
        c = initial
            .iter()
            .map(|&q| q as f64 / 2f64.powi(STATE_BITS as i32))
            .collect();
    }
    if let Cell::Gru { .. } = layer.cell {
        h = c.clone();
    }
    let mut y = Vec::new();
    for x in input.chunks(features) {
        let x: Vec<f64> = x
            .iter()
            .map(|&q| (q as f64 - x_zero) * INPUT_SCALE)
            .collect();
        let old = h.clone();
        let of_x = |gate: usize, i: usize| {
            product(&layer.input, gate * units + i, &x, [INPUT_SCALE, x_zero])
        };
        let of_h = |gate: usize, i: usize, h: &[f64]| {
            product(&layer.hidden, gate * units + i, h, [HIDDEN_SCALE, h_zero])
        };
        let sum = |gate: usize, i: usize| of_x(gate, i) + of_h(gate, i, &old);
        for i in 0..units {
            h[i] = match layer.cell {
                Cell::Rnn(Activation::Tanh) => sum(0, i).tanh(),
                Cell::Rnn(Activation::Sigmoid) => sigmoid(sum(0, i)),
                Cell::Rnn(Activation::Relu) => sum(0, i).max(0.0),
                Cell::Lstm => {
                    c[i] = sigmoid(sum(2, i)) * c[i] + sigmoid(sum(0, i)) * sum(3, i).tanh();
                    sigmoid(sum(1, i)) * c[i].tanh()
                }
                Cell::Gru {
                    linear_before_reset,
                } => {
                    let z = sigmoid(sum(0, i));
                    let r = |j: usize| sigmoid(sum(1, j));
                    let candidate = if linear_before_reset {
                        of_x(2, i) + r(i) * of_h(2, i, &old)
                    } else {
                        let faded: Vec<f64> = (0..units).map(|j| r(j) * old[j]).collect();
                        of_x(2, i) + of_h(2, i, &faded)
                    };
                    (1.0 - z) * candidate.tanh() + z * old[i]
                }
            };
        }
        y.extend(&h);
    }
    y
}

/// A step from any state: half a step of the int8 output, a hundredth of a unit of pre-activations,
/// gates and int16 states; a GRU's hidden state, int16 itself, is rounded to int8 for products, too.
#[test]
fn a_step_of_every_cell_is_near_the_real_one() {
    for (i, cell) in CELLS.into_iter().enumerate() {
        let (mut spread, mut worst) = (0.0f64, 0.0f64);
        for seed in 0..50 {
            let seed = i as u64 * 100 + seed;
            let mut rng = rng(seed);
            let mut program = layer(&mut rng, cell, [8, 10], DENSE);
            program.tensors.iter_mut().for_each(|t| t.shape.width = 1);
            let zero = program.tensors[1].zero_point as f64;
            let layer = recurrent_mut(&mut program);
            let states: Vec<i16> = (0..10).map(|_| rng.random_range(-4_000..4_000)).collect();
            let hidden = states.iter().map(|&s| (s as f64 / 32.0) as i8).collect();
            layer.initial_hidden = layer.initial_hidden.as_ref().map(|_| hidden);
            layer.initial_state = layer.initial_state.as_ref().map(|_| states);
            let layer = layer.clone();
            let input = random_input(seed, 8);
            let output = execute(&encode(&program, Coding::Smallest).unwrap().bytes, &input);
            let rounded = match cell {
                Cell::Gru { .. } => {
                    let rows = layer.hidden.weights.chunks(10);
                    let sums = rows.map(|row| row.iter().map(|&w| (w as f64).abs()).sum::<f64>());
                    0.5 * WEIGHT_SCALE * sums.fold(0.0, f64::max)
                }
                _ => 0.0,
            };
            for (&y, real) in output.iter().zip(&real(&program, &layer, &input)) {
                let real = (real / HIDDEN_SCALE + zero).clamp(-128.0, 127.0);
                spread = spread.max((real - zero).abs());
                let error = (y as f64 - real).abs();
                worst = worst.max(error);
                assert!(error <= 0.6 + rounded, "{cell:?} {seed}: {y} for {real}");
            }
        }
        assert!(spread > 60.0 && worst > 0.2, "{cell:?}: {spread} {worst}");
    }
}

/// Step by step, or in pieces of any length, with the state carried over: the same as at once.
#[test]
fn pieces_of_a_sequence_give_what_the_whole_gives() {
    for seed in 0..30 {
        let mut rng = rng(seed);
        let cell = CELLS[seed as usize % CELLS.len()];
        let mut program = layer(&mut rng, cell, [3, 5], STYLES[seed as usize % STYLES.len()]);
        let input = random_input(seed, TIME * 3);
        let whole = execute(&encode(&program, Coding::Smallest).unwrap().bytes, &input);
        recurrent_mut(&mut program).carried = true;

        // A piece length that divides nothing in particular: the rest is run with another image.
        let length = rng.random_range(1..=TIME);
        let images: Vec<Vec<u8>> = [length, 1]
            .map(|time| {
                for t in &mut program.tensors {
                    t.shape.width = time;
                }
                encode(&program, Coding::Smallest).unwrap().bytes
            })
            .into();
        let models = [0, 1].map(|i| Model::parse(&images[i]).unwrap());
        let mut arena = vec![0x55; models[0].arena_bytes().max(models[1].arena_bytes())];
        let mut pieces = Vec::new();
        let mut session = edge_runtime::Session::new(&models[0], &mut arena).unwrap();
        for piece in input.chunks_exact(3 * length) {
            session.input_mut().copy_from_slice(piece);
            session.run();
            pieces.extend_from_slice(session.output());
        }
        assert_eq!(pieces, whole[..pieces.len()], "{cell:?} in {length}s");

        let mut arena = vec![0x55; models[1].arena_bytes()];
        let mut session = edge_runtime::Session::new(&models[1], &mut arena).unwrap();
        for round in 0..2 {
            let mut steps = Vec::new();
            for step in input.chunks_exact(3) {
                session.input_mut().copy_from_slice(step);
                session.run();
                steps.extend_from_slice(session.output());
            }
            assert_eq!(steps, whole, "{cell:?} round {round}");
            // As if nothing had been before.
            session.reset();
        }
    }
}

/// Everything but the end of the arena may be used for something else between two steps.
#[test]
fn carried_state_stands_apart_at_the_end_of_the_arena() {
    let mut rng = rng(3);
    let mut program = layer(&mut rng, Cell::Lstm, [3, 5], DENSE);
    recurrent_mut(&mut program).carried = true;
    let second = {
        let mut other = layer(
            &mut rng,
            Cell::Gru {
                linear_before_reset: true,
            },
            [5, 4],
            DENSE,
        );
        recurrent_mut(&mut other).carried = true;
        other
    };
    program.tensors.push(second.tensors[1].clone());
    program.operators.push(compress::program::Operator {
        input: 1,
        output: 2,
        ..second.operators[0].clone()
    });
    program.output = 2;
    let image = encode(&program, Coding::Smallest).unwrap().bytes;
    let model = Model::parse(&image).unwrap();
    let kept = model.operators().map(|op| op.scratch).min().unwrap();
    let input = random_input(1, 3 * TIME);
    let mut expected = Interpreter::new(&program);
    let mut arena = vec![0x55; model.arena_bytes()];
    let mut session = edge_runtime::Session::new(&model, &mut arena).unwrap();
    session.input_mut().copy_from_slice(&input);
    session.run();
    assert_eq!(session.output(), expected.run(&input));
    assert!(model.tensors().all(|t| t.offset + t.shape.len() <= kept));

    // An image whose carried state lies under a tensor is refused: moved there, with a right checksum.
    let second = model.operators().nth(1).unwrap().scratch;
    let varint = [(second & 0x7f | 0x80) as u8, (second >> 7) as u8];
    let head = [19, 1, 2, varint[0], varint[1]];
    let at = image.windows(5).position(|bytes| bytes == head).unwrap();
    let mut moved = image.clone();
    moved[at + 3..at + 5].copy_from_slice(&[0x80, 0]);
    let checksum = crc32(&moved[PREFIX_BYTES..]).to_le_bytes();
    moved[PREFIX_BYTES - 4..PREFIX_BYTES].copy_from_slice(&checksum);
    assert_eq!(Model::parse(&moved).unwrap_err(), FormatError::Arena);
}
