//! What an image holds, read from its bytes alone.

use crate::encode::{Layer, Ledger, recount};
use crate::plan::lifetimes_of;
use no_std_core::Model;
use no_std_core::operator::{Cell, Kind, Operator};
use no_std_core::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// An image's contents.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Length of the file.
    pub bytes: usize,
    /// Every byte of it; absent if another encoder wrote it.
    pub ledger: Option<Ledger>,
    /// Every weight matrix.
    pub layers: Vec<Layer>,
    /// Working memory of an inference.
    pub arena_bytes: usize,
    /// Dense multiply-accumulates of the network before it was compressed.
    pub macs: u32,
    /// In the order of execution.
    pub operators: Vec<OperatorRow>,
    /// Activations and their places in the arena.
    pub tensors: Vec<TensorRow>,
    /// Keys and values.
    pub metadata: Vec<(String, String)>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorRow {
    /// Its kind.
    pub name: String,
    /// Shape read, channels last.
    pub input: Vec<usize>,
    /// Shape written, channels last.
    pub output: Vec<usize>,
    /// First byte of its scratch in the arena.
    pub scratch_offset: usize,
    /// Bytes of it.
    pub scratch_bytes: usize,
}

/// One activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorRow {
    /// Channels last.
    pub shape: Vec<usize>,
    /// Real units per integer step.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i8,
    /// First byte in the arena.
    pub offset: usize,
    /// Bytes.
    pub bytes: usize,
    /// First and last operator that needs it.
    pub lifetime: (usize, usize),
}

/// Reads an image's contents.
pub fn inspect(model: &Model) -> Inspection {
    let count = recount(model);
    Inspection {
        bytes: model.bytes().len(),
        ledger: count.as_ref().map(|c| c.ledger),
        layers: count.map_or_else(Vec::new, |c| c.layers),
        arena_bytes: model.arena_bytes(),
        macs: model.macs(),
        operators: operators(model),
        tensors: tensors(model),
        metadata: model
            .metadata()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    }
}

/// An image's operators, in the order of execution.
pub fn operators(model: &Model) -> Vec<OperatorRow> {
    model.operators().map(|op| operator_row(&op)).collect()
}

/// An image's activations, by number.
pub fn tensors(model: &Model) -> Vec<TensorRow> {
    let numbered = model.tensors().zip(lifetimes(model));
    numbered.map(|(t, life)| tensor_row(&t, life)).collect()
}

fn lifetimes(model: &Model) -> Vec<(usize, usize)> {
    let place = |tensor: &Tensor| tensor.number as usize;
    let steps = model.operators().map(|op| {
        let touched: Vec<usize> = op.reads().chain([&op.output]).map(place).collect();
        touched.into_iter()
    });
    let ends = [&model.input(), &model.output()].map(place);
    lifetimes_of(model.tensor_count(), ends, steps)
}

fn shape(tensor: &Tensor) -> Vec<usize> {
    match (
        tensor.shape.height,
        tensor.shape.width,
        tensor.shape.channels,
    ) {
        (1, 1, n) => vec![n],
        (h, w, c) => vec![h, w, c],
    }
}

fn operator_row(op: &Operator) -> OperatorRow {
    let name = match &op.kind {
        Kind::Dense(_) => "Dense",
        Kind::Conv { .. } => "Conv",
        Kind::MaxPool(_) => "MaxPool",
        Kind::AveragePool { .. } => "AveragePool",
        Kind::Clamp(_) => "Clamp",
        Kind::Table(_) => "Table",
        Kind::Softmax { .. } => "Softmax",
        Kind::Add { .. } => "Add",
        Kind::Mul { .. } => "Mul",
        Kind::MatMul { .. } => "MatMul",
        Kind::Copy(_) => "Copy",
        Kind::Constant(_) => "Constant",
        Kind::Embedding(_) => "Embedding",
        Kind::PRelu { .. } => "PRelu",
        Kind::LogSoftmax { .. } => "LogSoftmax",
        Kind::ArgMax { .. } => "ArgMax",
        Kind::LayerNorm { .. } => "LayerNorm",
        Kind::Lrn { .. } => "Lrn",
        Kind::Recurrent(layer) => match layer.cell {
            Cell::Rnn(_) => "Rnn",
            Cell::Lstm => "Lstm",
            Cell::Gru { .. } => "Gru",
        },
    };
    OperatorRow {
        name: name.to_owned(),
        input: shape(&op.input),
        output: shape(&op.output),
        scratch_offset: op.scratch,
        scratch_bytes: op.kind.scratch_bytes(),
    }
}

fn tensor_row(tensor: &Tensor, lifetime: (usize, usize)) -> TensorRow {
    TensorRow {
        shape: shape(tensor),
        scale: f32::from_bits(tensor.scale_bits),
        zero_point: tensor.zero_point,
        offset: tensor.offset,
        bytes: tensor.bytes(),
        lifetime,
    }
}

impl Display for Inspection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} bytes, {} multiply-accumulates, arena {} bytes",
            self.bytes, self.macs, self.arena_bytes
        )?;
        writeln!(f, "\noperators")?;
        for (i, op) in self.operators.iter().enumerate() {
            writeln!(
                f,
                "  {i:>2}  {:<12} {:<14} -> {:<14}",
                op.name,
                side(&op.input),
                side(&op.output)
            )?;
        }
        writeln!(
            f,
            "\nweights               shape                 nonzero  encoding                  bytes  entropy"
        )?;
        for layer in &self.layers {
            let (name, shape, entropy) =
                (&layer.name, side(&layer.shape), layer.entropy_bits / 8.0);
            let (nonzero, encoding, bytes) = (layer.nonzero, &layer.encoding, layer.bytes);
            writeln!(
                f,
                "  {name:<18}  {shape:<18} {nonzero:>10}  {encoding:<22} {bytes:>8} {entropy:>8.0}"
            )?;
        }
        writeln!(f, "\narena (each column a step, each row a block)")?;
        for tensor in &self.tensors {
            let (range, life) = (
                format!("{}..{}", tensor.offset, tensor.offset + tensor.bytes),
                self.life(tensor.lifetime),
            );
            writeln!(f, "  {range:>16}  {life}  {}", side(&tensor.shape))?;
        }
        for (i, op) in self
            .operators
            .iter()
            .enumerate()
            .filter(|(_, op)| op.scratch_bytes > 0)
        {
            let (range, life) = (
                format!(
                    "{}..{}",
                    op.scratch_offset,
                    op.scratch_offset + op.scratch_bytes
                ),
                self.life((i, i)),
            );
            writeln!(f, "  {range:>16}  {life}  scratch of operator {i}")?;
        }
        match &self.ledger {
            Some(ledger) => {
                writeln!(f, "\nbytes by purpose")?;
                for (name, bytes) in ledger.entries() {
                    let share = 100.0 * bytes as f64 / self.bytes as f64;
                    writeln!(f, "  {name:<18} {bytes:>8}  {share:>5.1} %")?;
                }
                writeln!(f, "  {:<18} {:>8}", "sum", ledger.total())?;
            }
            None => writeln!(
                f,
                "\nanother encoder wrote this image: its bytes cannot be attributed"
            )?,
        }
        self.metadata.iter().try_for_each(|(key, value)| {
            // Control characters of a stranger's file are shown, not obeyed.
            writeln!(f, "{}: {}", key.escape_debug(), value.escape_debug())
        })
    }
}

impl Inspection {
    /// A mark for each step in which a block is needed.
    fn life(&self, (first, last): (usize, usize)) -> String {
        (0..self.operators.len())
            .map(|i| {
                if (first..=last).contains(&i) {
                    '#'
                } else {
                    '.'
                }
            })
            .collect()
    }
}

/// Sides joined as people write them, 28x28x1.
pub(crate) fn side(shape: &[usize]) -> String {
    shape
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x")
}
