//! An image back to the program it was written from, and the account of its bytes.

use super::image::{Layer, assemble, layer};
use super::ledger::Ledger;
use super::weights::{self, Written};
use crate::plan::ArenaPlan;
use crate::program::{Kind, Linear, Operator, Program, Tensor};
use no_std_core::Model;
use no_std_core::operator;
use no_std_core::weights::{Positions, Values, Weights};

/// What an image's bytes are for.
#[derive(Clone, Debug)]
pub struct Recount {
    /// Every byte.
    pub ledger: Ledger,
    /// Every weight matrix.
    pub layers: Vec<Layer>,
}

/// The program of an image; tensors and weights, which have no names there, are numbered.
pub fn decode(model: &Model) -> Program {
    let tensors = model.tensors().map(|t| Tensor {
        name: format!("tensor{}", t.number),
        shape: t.shape,
        scale: f32::from_bits(t.scale_bits),
        zero_point: t.zero_point,
    });
    let operators = model.operators().enumerate().map(|(i, op)| Operator {
        name: format!("operator{i}"),
        input: op.input.number as usize,
        output: op.output.number as usize,
        kind: kind(i, &op),
    });
    Program {
        tensors: tensors.collect(),
        operators: operators.collect(),
        input: model.input().number as usize,
        output: model.output().number as usize,
        macs: model.macs().into(),
        metadata: model
            .metadata()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    }
}

fn kind(place: usize, op: &operator::Operator) -> Kind {
    match &op.kind {
        operator::Kind::Dense(stored) => Kind::Dense(linear(place, stored, Vec::new())),
        operator::Kind::Conv {
            window,
            dilation,
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
            let linear = linear(place, stored, shape);
            Kind::Conv {
                window: *window,
                dilation: *dilation,
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
        operator::Kind::Table(table) => Kind::Table(table.iter().map(|&y| y as i8).collect()),
        operator::Kind::Softmax { exponentials } => Kind::Softmax(
            exponentials
                .chunks_exact(2)
                .map(|e| u16::from_le_bytes([e[0], e[1]]))
                .collect(),
        ),
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
    }
}

fn linear(place: usize, stored: &operator::Linear, shape: Vec<usize>) -> Linear {
    let (rows, columns) = (stored.weights.rows, stored.weights.columns);
    let mut biases = stored.biases();
    let mut multipliers = stored.multipliers();
    let distinct = if stored.per_channel() { rows } else { 1 };
    Linear {
        name: format!("weights{place}"),
        shape: if shape.is_empty() {
            vec![rows, columns]
        } else {
            shape
        },
        rows,
        columns,
        weights: integers(&stored.weights),
        multipliers: (0..distinct).map(|_| multipliers.take()).collect(),
        biases: (0..rows).map(|_| biases.take()).collect(),
        bias_shift: stored.bias_shift(),
        range: stored.range,
    }
}

/// Every weight, row-major.
fn integers(stored: &Weights) -> Vec<i8> {
    let mut weights = vec![0; stored.rows * stored.columns];
    let mut scratch = vec![0; stored.table_bytes()];
    let mut reader = stored.reader(&mut scratch);
    for row in weights.chunks_mut(stored.columns.max(1)) {
        reader.row(&mut |column, weight| row[column] = weight as i8);
    }
    weights
}

/// Name of a form, for people.
pub(crate) fn encoding(stored: &Weights) -> String {
    let values = match &stored.values {
        Values::Integer(bits) => format!("int{bits}"),
        Values::Indexed { codebook, .. } => format!("codebook-{}", codebook.len()),
        Values::Huffman(_) => "huffman".to_owned(),
    };
    match &stored.positions {
        Positions::Every => values,
        Positions::Runs(_) => format!("runs+{values}"),
        Positions::Bitmap => format!("bitmap+{values}"),
    }
}

/// Most weights that are decoded to account for an image: a few hostile bytes can claim any number.
const MAX_WEIGHTS: u64 = 1 << 24;

/// Accounts for an image by writing it anew, field by field, and comparing. `None` when the bytes
/// differ: another encoder wrote it.
pub fn recount(model: &Model) -> Option<Recount> {
    let weights = model
        .operators()
        .filter_map(|op| {
            op.kind
                .linear()
                .map(|l| (l.weights.rows, l.weights.columns))
        })
        .fold(0u64, |sum, (rows, columns)| {
            sum.saturating_add((rows as u64).saturating_mul(columns as u64))
        });
    if weights > MAX_WEIGHTS {
        return None;
    }
    let program = decode(model);
    let forms: Vec<Option<Written>> = model
        .operators()
        .zip(&program.operators)
        .map(
            |(stored, op)| match (stored.kind.linear(), op.kind.linear()) {
                (Some(stored), Some(linear)) => {
                    let weights = &stored.weights;
                    weights::find(&linear.weights, &encoding(weights), weights.stream()).map(Some)
                }
                _ => Some(None),
            },
        )
        .collect::<Option<_>>()?;
    let plan = ArenaPlan {
        arena_bytes: model.arena_bytes(),
        tensor_offsets: model.tensors().map(|t| t.offset).collect(),
        scratch_offsets: model.operators().map(|op| op.scratch).collect(),
        lifetimes: Vec::new(),
    };
    let image = assemble(&program, &forms, &plan);
    if image.bytes() != model.bytes() {
        return None;
    }
    let layers = program
        .operators
        .iter()
        .zip(&forms)
        .filter_map(|(op, form)| layer(op, form.as_ref()))
        .collect();
    Some(Recount {
        ledger: image.ledger(),
        layers,
    })
}
