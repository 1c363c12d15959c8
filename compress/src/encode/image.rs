//! The image as a whole. Its layout is specified in `no_std-core/FORMAT.md`.

use super::ledger::{Category, Ledger};
use super::weights::{self, Coding, Written};
use super::writer::Writer;
use crate::plan::{self, ArenaPlan};
use crate::program::{Kind, Linear, Operator, Program, Tensor};
use no_std_core::operator::{FILTER_ENTRY_BYTES, Window, codable, opcode, window_flag};
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
}

/// Why a program is not an image.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The finished image does not pass the reader's own check: a layer beyond the format's bounds.
    #[error("the network is beyond what an image can hold: {0}")]
    Rejected(#[from] FormatError),
}

/// Writes a program as an image and reads it back.
///
/// # Errors
/// When a layer is beyond the format's bounds (a row of more than 65,536 weights, say).
pub fn encode(program: &Program, coding: Coding) -> Result<Encoded, EncodeError> {
    let forms: Vec<Option<Written>> = program
        .operators
        .iter()
        .map(|op| {
            let linear = op.kind.linear()?;
            Some(weights::write(
                &linear.weights,
                allowed(program, op, coding),
            ))
        })
        .collect();
    let scratch: Vec<usize> = program
        .operators
        .iter()
        .zip(&forms)
        .map(|(op, form)| scratch_bytes(op, form.as_ref()))
        .collect();
    let plan = plan::plan(program, &scratch);
    let image = assemble(program, &forms, &plan);
    let ledger = image.ledger();
    let bytes = image.into_bytes();
    Model::parse(&bytes)?;
    let layers = program
        .operators
        .iter()
        .zip(&forms)
        .filter_map(|(op, form)| layer(op, form.as_ref()))
        .collect();
    Ok(Encoded {
        bytes,
        ledger,
        layers,
        plan,
    })
}

/// A convolution over too large an image, or of too many taps, cannot be coded.
fn allowed(program: &Program, op: &Operator, coding: Coding) -> Coding {
    match &op.kind {
        Kind::Conv {
            window, dilation, ..
        } if !codable(window, *dilation, &program.tensors[op.input].shape) => Coding::Plain,
        _ => coding,
    }
}

pub(super) fn layer(op: &Operator, form: Option<&Written>) -> Option<Layer> {
    let (linear, form) = (op.kind.linear()?, form?);
    Some(Layer {
        name: linear.name.clone(),
        shape: linear.shape.clone(),
        nonzero: linear.weights.iter().filter(|&&w| w != 0).count(),
        encoding: form.encoding.clone(),
        bytes: form.len(),
        entropy_bits: form.entropy_bits,
    })
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
fn filter_entries(linear: &Linear, form: &Written) -> usize {
    if form.visits_zeros {
        linear.columns
    } else {
        filter_weights(linear)
    }
}

fn scratch_bytes(op: &Operator, form: Option<&Written>) -> usize {
    match (&op.kind, form) {
        (Kind::Conv { linear, .. }, Some(form)) if !form.plain => {
            form.table_bytes + filter_entries(linear, form) * FILTER_ENTRY_BYTES
        }
        (_, Some(form)) => form.table_bytes,
        _ => 0,
    }
}

/// The header's length field has the width that makes the whole consistent; alignment depends on
/// it, so widths are tried from the smallest.
pub(super) fn assemble(program: &Program, forms: &[Option<Written>], plan: &ArenaPlan) -> Writer {
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

fn body(image: &mut Writer, program: &Program, forms: &[Option<Written>], plan: &ArenaPlan) {
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
    for ((op, form), &scratch) in program
        .operators
        .iter()
        .zip(forms)
        .zip(&plan.scratch_offsets)
    {
        write_operator(image, op, form.as_ref(), scratch);
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
    image.u32(Category::Tensors, tensor.scale.to_bits());
    image.i8(Category::Tensors, tensor.zero_point);
    image.varint(Category::Tensors, offset);
}

fn write_operator(image: &mut Writer, op: &Operator, form: Option<&Written>, scratch: usize) {
    let number = match op.kind {
        Kind::Dense(_) => opcode::DENSE,
        Kind::Conv { .. } => opcode::CONV,
        Kind::MaxPool(_) => opcode::MAX_POOL,
        Kind::AveragePool { .. } => opcode::AVERAGE_POOL,
        Kind::Clamp(_) => opcode::CLAMP,
        Kind::Table(_) => opcode::TABLE,
        Kind::Softmax(_) => opcode::SOFTMAX,
        Kind::Add { .. } => opcode::ADD,
    };
    image.u8(Category::Operators, number);
    for place in [op.input, op.output, scratch] {
        image.varint(Category::Operators, place);
    }
    match &op.kind {
        Kind::Dense(linear) => write_linear(image, linear, form),
        Kind::Conv {
            window,
            dilation,
            groups,
            linear,
        } => {
            write_window(image, window, *dilation, *groups, 0);
            let entries = form.map_or(0, |form| filter_entries(linear, form));
            image.varint(Category::Operators, entries);
            write_linear(image, linear, form);
        }
        Kind::MaxPool(window) => write_window(image, window, [1, 1], 1, 0),
        Kind::AveragePool {
            window,
            count_include_pad,
        } => {
            let flag = if *count_include_pad {
                window_flag::COUNT_INCLUDE_PAD
            } else {
                0
            };
            write_window(image, window, [1, 1], 1, flag);
        }
        Kind::Clamp(range) => write_range(image, range),
        Kind::Table(table) => table.iter().for_each(|&y| image.i8(Category::Operators, y)),
        Kind::Softmax(exponentials) => {
            image.u8(Category::Operators, (exponentials.len() - 1) as u8);
            exponentials
                .iter()
                .for_each(|e| image.put(Category::Operators, &e.to_le_bytes()));
        }
        Kind::Add {
            other,
            mantissas,
            shift,
            range,
        } => {
            image.varint(Category::Operators, *other);
            write_range(image, range);
            mantissas
                .iter()
                .for_each(|&m| image.u32(Category::Scales, m as u32));
            image.u8(Category::Scales, *shift);
        }
    }
}

fn write_range(image: &mut Writer, range: &no_std_core::numerics::Output) {
    image.i8(Category::Operators, range.min);
    image.i8(Category::Operators, range.max);
}

fn write_window(
    image: &mut Writer,
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
    extra: u8,
) {
    let optional = [
        (window.padding != [0, 0], window_flag::PADDING),
        (window.stride != [1, 1], window_flag::STRIDE),
        (dilation != [1, 1], window_flag::DILATION),
        (groups != 1, window_flag::GROUPS),
    ];
    let flags = optional.iter().fold(
        extra,
        |flags, &(present, flag)| if present { flags | flag } else { flags },
    );
    image.u8(Category::Operators, flags);
    let pairs = [
        (true, window.kernel),
        (optional[0].0, window.padding),
        (optional[1].0, window.stride),
        (optional[2].0, dilation),
    ];
    for (_, pair) in pairs.into_iter().filter(|&(present, _)| present) {
        pair.into_iter()
            .for_each(|side| image.varint(Category::Operators, side));
    }
    if groups != 1 {
        image.varint(Category::Operators, groups);
    }
}

fn write_linear(image: &mut Writer, linear: &Linear, form: Option<&Written>) {
    image.u8(Category::Operators, (linear.multipliers.len() > 1) as u8);
    write_range(image, &linear.range);
    for multiplier in &linear.multipliers {
        image.u32(Category::Scales, multiplier.mantissa as u32);
        image.u8(Category::Scales, multiplier.shift);
    }
    write_biases(image, &linear.biases, linear.bias_shift);
    if let Some(form) = form {
        form.append_to(image);
    }
}

/// Biases at the least width that holds them all.
fn write_biases(image: &mut Writer, biases: &[i32], shift: u8) {
    let width_of = |bias: i32| 33 - (if bias < 0 { !bias } else { bias }).leading_zeros() as usize;
    let stored: Vec<i32> = biases.iter().map(|bias| bias >> shift).collect();
    if stored.iter().all(|&bias| bias == 0) {
        return image.u8(Category::Biases, 0);
    }
    let width = stored.iter().map(|&bias| width_of(bias)).max().unwrap_or(1);
    image.u8(Category::Biases, width as u8);
    image.u8(Category::Biases, shift);
    let mut bits = super::bits::BitWriter::default();
    stored.iter().for_each(|&bias| bits.put(bias as u32, width));
    image.put(Category::Biases, &bits.into_bytes());
}
