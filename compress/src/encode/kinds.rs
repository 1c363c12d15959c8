//! What an image's operators compute, back as parts of a program.

use crate::program::{Block, Kind, Linear, Recurrent, Vectors};
use no_std_core::numerics::Multiplier;
use no_std_core::operator;
use no_std_core::weights::{Positions, Weights};

pub(super) fn kind(place: usize, op: &operator::Operator) -> Kind {
    let channels = op.input.shape.channels;
    let zero_point = op.input.zero_point;
    match &op.kind {
        operator::Kind::Dense(stored) => {
            Kind::Dense(linear(place.to_string(), stored, zero_point, Vec::new()))
        }
        operator::Kind::Conv {
            window,
            groups,
            linear: stored,
            ..
        } => {
            let shape = vec![
                stored.weights.rows,
                op.input.shape.channels / groups,
                window.kernel[0],
                window.kernel[1],
            ];
            let linear = linear(place.to_string(), stored, zero_point, shape);
            Kind::Conv {
                window: *window,
                groups: *groups,
                linear,
            }
        }
        operator::Kind::MaxPool(window) => Kind::MaxPool(*window),
        operator::Kind::AveragePool {
            window,
            count_include_pad,
        } => Kind::AveragePool {
            window: *window,
            count_include_pad: *count_include_pad,
        },
        operator::Kind::Clamp(range) => Kind::Clamp(*range),
        operator::Kind::Table(table) => Kind::Table(signed(table)),
        operator::Kind::Softmax { exponentials } => Kind::Softmax(words(exponentials)),
        operator::Kind::Add {
            other,
            mantissas,
            shift,
            range,
        } => Kind::Add {
            other: other.number as usize,
            mantissas: *mantissas,
            shift: *shift,
            range: *range,
        },
        operator::Kind::Mul {
            other,
            multiplier,
            range,
        } => Kind::Mul {
            other: other.number as usize,
            multiplier: *multiplier,
            range: *range,
        },
        operator::Kind::MatMul {
            other,
            transposed,
            multiplier,
            range,
        } => Kind::MatMul {
            other: other.number as usize,
            transposed: *transposed,
            multiplier: *multiplier,
            range: *range,
        },
        operator::Kind::Copy(block) => Kind::Copy(Block {
            from: block.from,
            to: block.to,
            axes: block.axes()[..block.axis_count()].to_vec(),
        }),
        operator::Kind::Constant(elements) => Kind::Constant(signed(elements)),
        operator::Kind::Embedding(table) => Kind::Embedding {
            columns: op.output.shape.channels,
            table: signed(table),
        },
        operator::Kind::ArgMax { last } => Kind::ArgMax { last: *last },
        operator::Kind::Recurrent(layer) => Kind::Recurrent(recurrent(place, op, layer)),
        operator::Kind::PRelu {
            positive,
            negative,
            per_channel,
            shift,
            range,
        } => Kind::PRelu {
            positive: integers(positive, 1)[0],
            negative: integers(negative, if *per_channel { channels } else { 1 }),
            shift: *shift,
            range: *range,
        },
        operator::Kind::LogSoftmax {
            exponentials,
            mantissas,
            shift,
            range,
        } => Kind::LogSoftmax {
            exponentials: words(exponentials),
            mantissas: *mantissas,
            shift: *shift,
            range: *range,
        },
        operator::Kind::LayerNorm {
            epsilon,
            scales,
            shift,
            biases,
            range,
        } => Kind::LayerNorm {
            epsilon: *epsilon,
            scales: integers(scales, channels),
            shift: *shift,
            biases: integers(biases, channels),
            range: *range,
        },
        operator::Kind::Lrn {
            size,
            table,
            step,
            range,
        } => Kind::Lrn {
            size: *size,
            table: table
                .chunks_exact(4)
                .map(|e| u32::from_le_bytes([e[0], e[1], e[2], e[3]]))
                .collect(),
            step: *step,
            range: *range,
        },
    }
}

fn recurrent(place: usize, op: &operator::Operator, stored: &operator::Recurrent) -> Recurrent {
    let mut matrices = op.kind.linears();
    let mut matrix = |part: &str| {
        let stored = matrices.next();
        linear(
            format!("{place}.{part}"),
            // Both were read when the image was parsed.
            &stored.expect("a checked layer has two matrices"),
            0,
            Vec::new(),
        )
    };
    let (initial_hidden, initial_state) = (stored.initial_hidden, stored.initial_state);
    Recurrent {
        cell: stored.cell,
        input: matrix("input"),
        hidden: matrix("hidden"),
        multiplier: stored.multiplier,
        range: stored.range,
        state_bits: stored.state_bits,
        initial_hidden: (!initial_hidden.is_empty()).then(|| signed(initial_hidden)),
        initial_state: (!initial_state.is_empty())
            .then(|| words(initial_state).into_iter().map(|w| w as i16).collect()),
        cell_output: stored.cell_output,
        carried: stored.carried,
    }
}

fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&byte| byte as i8).collect()
}

fn words(bytes: &[u8]) -> Vec<u16> {
    let words = bytes.chunks_exact(2);
    words.map(|w| u16::from_le_bytes([w[0], w[1]])).collect()
}

fn integers(stored: &operator::Integers, count: usize) -> Vec<i32> {
    let mut integers = *stored;
    (0..count).map(|_| integers.take()).collect()
}

fn linear(place: String, stored: &operator::Linear, zero_point: i8, shape: Vec<usize>) -> Linear {
    let (rows, columns) = (stored.weights.rows, stored.weights.columns);
    let (biases, multipliers) = beside(stored);
    let weights = weights(&stored.weights);
    Linear {
        name: format!("weights{place}"),
        shape: if shape.is_empty() {
            vec![rows, columns]
        } else {
            shape
        },
        rows,
        columns,
        biases: match stored.is_centred() {
            true => whole(&biases, &weights, zero_point),
            false => biases,
        },
        weights,
        hashed: match stored.weights.positions {
            Positions::Hashed(hashed) => Some(hashed),
            _ => None,
        },
        vectors: match stored.weights.positions {
            Positions::Vectors(no_std_core::vector::Vectors {
                dimension, span, ..
            }) => Some(Vectors { dimension, span }),
            _ => None,
        },
        multipliers,
        range: stored.range,
    }
}

/// Biases and multipliers.
fn beside(stored: &operator::Linear) -> (Vec<i32>, Vec<Multiplier>) {
    let rows = stored.weights.rows;
    if let Some(panels) = stored.panels() {
        return (0..rows)
            .map(|row| (panels.bias(row), panels.multiplier(row)))
            .unzip();
    }
    let mut multipliers = stored.multipliers();
    let distinct = if stored.per_channel() { rows } else { 1 };
    let multipliers = (0..distinct).map(|_| multipliers.take()).collect();
    (integers(&stored.biases(), rows), multipliers)
}

/// Biases with the share of the input's zero point.
fn whole(centred: &[i32], weights: &[i8], zero_point: i8) -> Vec<i32> {
    let columns = weights.len() / centred.len().max(1);
    let rows = weights.chunks(columns.max(1)).zip(centred);
    rows.map(|(row, bias)| {
        let sum: i32 = row.iter().map(|&w| i32::from(w)).sum();
        bias.wrapping_sub(sum * i32::from(zero_point))
    })
    .collect()
}

/// Every weight, row-major.
fn weights(stored: &Weights) -> Vec<i8> {
    let mut weights = vec![0; stored.rows * stored.columns];
    let mut scratch = vec![0; stored.table_bytes()];
    let mut reader = stored.reader(&mut scratch);
    for row in weights.chunks_mut(stored.columns.max(1)) {
        reader.row(&mut |column, weight| row[column] = weight as i8);
    }
    weights
}
