//! An image back to the program it was written from, and the account of its bytes.

use super::image::{Layer, assemble, layers, source};
use super::kinds::kind;
use super::ledger::Ledger;
use super::panels;
use super::weights::{self, Coding, Source, Written, hashed, vector};
use crate::plan::ArenaPlan;
use crate::program::{Linear, Operator, Program, Tensor};
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
        wide: t.wide,
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
        Positions::Hashed(_) => format!("hashed+{values}"),
        Positions::Vectors(vectors) => format!("vector-{}+{values}", vectors.dimension),
        Positions::Context(_) => format!("context+{values}"),
        Positions::Panels(_) => panels::ENCODING.to_owned(),
    }
}

/// A matrix written anew in the form that it is stored in.
fn written(source: Source, stored: &operator::Linear, linear: &Linear) -> Option<Written> {
    if let Some(stored) = stored.panels() {
        let plain = weights::write(source, Coding::Plain);
        let written = panels::or_panels(plain, linear, stored.layout);
        return Some(written).filter(|form| form.panels.is_some());
    }
    let tight = stored.is_centred() || stored.biases().is_coded();
    let (name, stream) = (encoding(&stored.weights), stored.weights.stream());
    let written =
        weights::find(source, &name, stream).or_else(|| hashed::find(linear, &name, stream));
    let mut written = written.or_else(|| vector::find(linear, &name, stream))?;
    written.tight = tight;
    Some(written)
}

/// Most weights that are decoded to account for an image: a few hostile bytes can claim any number.
const MAX_WEIGHTS: u64 = 1 << 24;

/// Accounts for an image by writing it anew, field by field, and comparing. `None` when the bytes
/// differ: another encoder wrote it.
pub fn recount(model: &Model) -> Option<Recount> {
    let weights = model
        .operators()
        .flat_map(|op| op.kind.linears().collect::<Vec<_>>())
        .map(|linear| (linear.weights.rows, linear.weights.columns))
        .fold(0u64, |sum, (rows, columns)| {
            sum.saturating_add((rows as u64).saturating_mul(columns as u64))
        });
    if weights > MAX_WEIGHTS {
        return None;
    }
    let program = decode(model);
    let mut forms: Vec<Vec<Written>> = Vec::new();
    for (stored, op) in model.operators().zip(&program.operators) {
        forms.push(Vec::new());
        for (stored, linear) in stored.kind.linears().zip(op.kind.linears()) {
            let source = source(&program, op, linear, &forms);
            let written = written(source, &stored, linear)?;
            forms.last_mut()?.push(written);
        }
    }
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
    let layers = layers(&program, &forms);
    Some(Recount {
        ledger: image.ledger(),
        layers,
    })
}
