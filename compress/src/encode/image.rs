//! The image as a whole. Its layout is specified in `no_std-core/FORMAT.md`.

use super::ledger::{Category, Ledger};
use super::operators;
use super::order;
use super::panels;
use super::weights::{self, Coding, Source, Written, hashed, vector};
use super::writer::Writer;
use crate::plan::{self, ArenaPlan};
use crate::program::{Kind, Linear, Operator, Program, Tensor};
use no_std_core::context::Neighbours;
use no_std_core::operator::{FILTER_ENTRY_BYTES, codable};
use no_std_core::overlap;
use no_std_core::panels::Layout;
use no_std_core::tensor::WIDE;
use no_std_core::{FormatError, MAGIC, Model, PREFIX_BYTES, VERSION, crc32};
use serde::{Deserialize, Serialize};

/// An image with the account of its bytes.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// What each byte is for.
    pub ledger: Ledger,
    /// One per weight matrix.
    pub layers: Vec<Layer>,
    /// Where activations and scratch stand.
    pub plan: ArenaPlan,
}

/// One weight matrix in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The graph's name of the weights.
    pub name: String,
    /// Shape in the graph.
    pub shape: Vec<usize>,
    /// Weights that are not zero.
    pub nonzero: usize,
    /// The form chosen.
    pub encoding: String,
    /// Bytes of the form: descriptor, codebook, code tables, stream.
    pub bytes: usize,
    /// Empirical entropy of the form's symbols, in bits.
    pub entropy_bits: f64,
    /// What these bytes are for.
    #[serde(default)]
    pub ledger: Ledger,
}

/// Why a program is not an image.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The finished image does not pass the reader's own check: a layer beyond the format's bounds.
    #[error("the network is beyond what an image can hold: {0}")]
    Rejected(#[from] FormatError),
    /// Sums of products with int16 activations that 32 bits may not hold.
    #[error("the sums of '{0}' over int16 activations may leave 32 bits; keep its input int8")]
    Wide(String),
}

/// Writes a program as an image and reads it back.
///
/// # Errors
/// When a layer is beyond the format's bounds (a row of more than 65,536 weights, say).
pub fn encode(program: &Program, coding: Coding) -> Result<Encoded, EncodeError> {
    encode_each(program, |_| coding)
}

/// As [`encode`], with a choice for each operator by its place.
///
/// # Errors
/// As [`encode`].
pub fn encode_each(
    program: &Program,
    coding: impl Fn(usize) -> Coding,
) -> Result<Encoded, EncodeError> {
    check_wide(program)?;
    let is_tight = (0..program.operators.len()).any(|place| coding(place).is_tight());
    let sorted = is_tight.then(|| order::sorted(program));
    let program = sorted.as_ref().unwrap_or(program);
    let mut forms: Vec<Vec<Written>> = Vec::new();
    for (place, op) in program.operators.iter().enumerate() {
        let coding = allowed(program, op, coding(place));
        forms.push(Vec::new());
        for linear in op.kind.linears() {
            let written = smallest(source(program, op, linear, &forms), linear, coding);
            forms[place].push(match layout(program, op, coding) {
                Some(layout) => panels::or_panels(written, linear, layout),
                None => written,
            });
        }
    }
    let scratch: Vec<usize> = program
        .operators
        .iter()
        .zip(&forms)
        .map(|(op, forms)| scratch_bytes(op, forms))
        .collect();
    let clearances: Vec<Option<usize>> = program
        .operators
        .iter()
        .zip(&forms)
        .map(|(op, forms)| clearance(program, op, forms))
        .collect();
    let plan = plan::plan(program, &scratch, &clearances);
    let image = assemble(program, &forms, &plan);
    let ledger = image.ledger();
    let bytes = image.into_bytes();
    Model::parse(&bytes)?;
    let layers = layers(program, &forms);
    Ok(Encoded {
        bytes,
        ledger,
        layers,
        plan,
    })
}

/// How plain weights stand in panels, which take some bytes more than row by row.
fn layout(program: &Program, op: &Operator, coding: Coding) -> Option<Layout> {
    let may_be = !is_wide(program, op) && !coding.is_tight();
    panels::layout(&op.kind).filter(|_| may_be)
}

fn smallest(source: Source, linear: &Linear, coding: Coding) -> Written {
    let best = weights::write(source, coding);
    match coding {
        Coding::Plain => best,
        _ => vector::or_vectors(hashed::or_hashed(best, linear), linear, coding),
    }
}

/// A matrix with the distances, in its rows, of what stands beside and above in the operator's input, and
/// the runs of those before it.
pub(super) fn source<'w>(
    program: &Program,
    op: &Operator,
    linear: &'w Linear,
    before: &'w [Vec<Written>],
) -> Source<'w> {
    let shape = program.tensors[op.input].shape;
    let [near, far] = match &op.kind {
        Kind::Conv { window, .. } => {
            let [height, width] = window.kernel;
            let channels = linear.columns / (height * width).max(1);
            [channels, channels * width].map(|distance| {
                if distance < linear.columns {
                    distance
                } else {
                    0
                }
            })
        }
        Kind::Dense(_) if shape.height * shape.width > 1 => {
            [shape.channels, shape.channels * shape.width]
        }
        _ => [0, 0],
    };
    Source {
        weights: &linear.weights,
        columns: linear.columns,
        neighbours: Neighbours::within([near, far]),
        runs: before.iter().flatten().rev().find_map(|w| w.runs.as_ref()),
    }
}

/// Sums of products with int16 activations wrap around in the kernels: here they are proved not to.
fn check_wide(program: &Program) -> Result<(), EncodeError> {
    let wide = |op: &&Operator| program.tensors[op.input].wide;
    let reading = program.operators.iter().filter(wide);
    for linear in reading.flat_map(|op| op.kind.linears()) {
        let largest = |(weights, bias): (&[i8], &i32)| {
            let sum: u64 = weights.iter().map(|w| u64::from(w.unsigned_abs())).sum();
            (sum << 15) + u64::from(bias.unsigned_abs())
        };
        let rows = linear.weights.chunks(linear.columns.max(1));
        if rows
            .zip(&linear.biases)
            .map(largest)
            .any(|sum| sum > i32::MAX as u64)
        {
            return Err(EncodeError::Wide(linear.name.clone()));
        }
    }
    Ok(())
}

fn is_wide(program: &Program, op: &Operator) -> bool {
    program.tensors[op.input].wide || program.tensors[op.output].wide
}

/// A convolution over too large an image, or of too many taps, cannot be coded; nor can what reads or
/// writes int16.
fn allowed(program: &Program, op: &Operator, coding: Coding) -> Coding {
    match &op.kind {
        _ if is_wide(program, op) => Coding::Plain,
        Kind::Conv { window, .. } if !codable(window, &program.tensors[op.input].shape) => {
            Coding::Plain
        }
        _ => coding,
    }
}

pub(super) fn layers(program: &Program, forms: &[Vec<Written>]) -> Vec<Layer> {
    let operators = program.operators.iter().zip(forms);
    let matrices = operators.flat_map(|(op, forms)| op.kind.linears().into_iter().zip(forms));
    matrices.map(|(linear, form)| layer(linear, form)).collect()
}

fn layer(linear: &Linear, form: &Written) -> Layer {
    Layer {
        name: linear.name.clone(),
        shape: linear.shape.clone(),
        nonzero: linear.weights.iter().filter(|&&w| w != 0).count(),
        encoding: form.encoding.clone(),
        bytes: form.len(),
        entropy_bits: form.entropy_bits,
        ledger: form.ledger(),
    }
}

/// Most weights in one row.
fn filter_weights(linear: &Linear) -> usize {
    let nonzero = |row: &[i8]| row.iter().filter(|&&w| w != 0).count();
    linear
        .weights
        .chunks(linear.columns.max(1))
        .map(nonzero)
        .max()
        .unwrap_or(0)
}

/// As many entries as the form visits weights: forms that code every position visit zeros too.
pub(super) fn filter_entries(linear: &Linear, form: &Written) -> usize {
    if form.visits_zeros {
        linear.columns
    } else {
        filter_weights(linear)
    }
}

/// What [`no_std_core::operator::Operator::clearance`] will be.
fn clearance(program: &Program, op: &Operator, forms: &[Written]) -> Option<usize> {
    if is_wide(program, op) {
        return None;
    }
    let window = match &op.kind {
        Kind::Conv { window, .. } if forms.iter().all(Written::is_dense) => window,
        Kind::MaxPool(window) | Kind::AveragePool { window, .. } => window,
        Kind::Copy(block) => return overlap::block_clearance(block.from, block.to, &block.axes),
        _ => return None,
    };
    let [input, output] = [op.input, op.output].map(|t| &program.tensors[t].shape);
    overlap::clearance(window, input, output)
}

/// What [`no_std_core::operator::Kind::scratch_bytes`] will be.
fn scratch_bytes(op: &Operator, forms: &[Written]) -> usize {
    let tables = forms.iter().map(|form| form.table_bytes).max().unwrap_or(0);
    match (&op.kind, forms) {
        (Kind::Conv { linear, window, .. }, [form]) if let Some(layout) = form.panels => {
            no_std_core::panels::scratch_bytes(layout, linear.rows, linear.columns, window.taps())
        }
        (Kind::Dense(linear), [form]) if let Some(layout) = form.panels => {
            no_std_core::panels::scratch_bytes(layout, linear.rows, linear.columns, 1)
        }
        (Kind::Conv { linear, .. }, [form]) if !form.plain => {
            tables + filter_entries(linear, form) * FILTER_ENTRY_BYTES
        }
        (Kind::Recurrent(layer), _) => {
            let (rows, hidden) = (layer.hidden.rows, layer.hidden.columns);
            let states = if layer.cell.has_state() { 3 } else { 1 };
            states * hidden + 2 * rows + tables
        }
        _ => tables,
    }
}

/// The header's length field has the width that makes the whole consistent; alignment depends on
/// it, so widths are tried from the smallest.
pub(super) fn assemble(program: &Program, forms: &[Vec<Written>], plan: &ArenaPlan) -> Writer {
    let mut length = 0;
    loop {
        let mut image = Writer::default();
        image.put(Category::Header, &MAGIC);
        image.u8(Category::Header, VERSION);
        image.u32(Category::Header, 0);
        image.varint(Category::Header, length);
        body(&mut image, program, forms, plan);
        if image.len() == length {
            let checksum = crc32(&image.bytes()[PREFIX_BYTES..]);
            image.patch_u32(PREFIX_BYTES - 4, checksum);
            return image;
        }
        length = image.len();
    }
}

fn body(image: &mut Writer, program: &Program, forms: &[Vec<Written>], plan: &ArenaPlan) {
    // Cores of kilobytes do not see more.
    image.varint(Category::Header, program.macs.min(u32::MAX.into()) as usize);
    image.varint(Category::Header, plan.arena_bytes);
    image.varint(Category::Header, program.input);
    image.varint(Category::Header, program.output);
    image.varint(Category::Header, program.tensors.len());
    for (tensor, &offset) in program.tensors.iter().zip(&plan.tensor_offsets) {
        write_tensor(image, tensor, offset);
    }
    image.varint(Category::Header, program.operators.len());
    for ((op, forms), &scratch) in program
        .operators
        .iter()
        .zip(forms)
        .zip(&plan.scratch_offsets)
    {
        let zero_point = program.tensors[op.input].zero_point;
        operators::write(image, op, zero_point, forms, scratch);
    }
    image.varint(Category::Metadata, program.metadata.len());
    for text in program
        .metadata
        .iter()
        .flat_map(|(key, value)| [key, value])
    {
        image.varint(Category::Metadata, text.len());
        image.put(Category::Metadata, text.as_bytes());
    }
}

fn write_tensor(image: &mut Writer, tensor: &Tensor, offset: usize) {
    let shape = tensor.shape;
    let has_plane = shape.height * shape.width > 1;
    image.varint(Category::Tensors, shape.channels << 1 | has_plane as usize);
    if has_plane {
        image.varint(Category::Tensors, shape.height);
        image.varint(Category::Tensors, shape.width);
    }
    let wide = if tensor.wide { WIDE } else { 0 };
    image.u32(Category::Tensors, tensor.scale.to_bits() | wide);
    image.i8(Category::Tensors, tensor.zero_point);
    image.varint(Category::Tensors, offset);
}
