//! The operators of an image, as `no_std-core/FORMAT.md` lays them out.

use super::biases::{self, write_packed};
use super::image::filter_entries;
use super::ledger::Category;
use super::weights::Written;
use super::writer::Writer;
use crate::program::{Axis, Block, Kind, Linear, Operator, Recurrent};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::{CELLS, Window, linear_flag, opcode, recurrent_flag, window_flag};
use no_std_core::panels::Layout;

const fn number(kind: &Kind) -> u8 {
    match kind {
        Kind::Dense(_) => opcode::DENSE,
        Kind::Conv { .. } => opcode::CONV,
        Kind::MaxPool(_) => opcode::MAX_POOL,
        Kind::AveragePool { .. } => opcode::AVERAGE_POOL,
        Kind::Clamp(_) => opcode::CLAMP,
        Kind::Table(_) => opcode::TABLE,
        Kind::Softmax(_) => opcode::SOFTMAX,
        Kind::Add { .. } => opcode::ADD,
        Kind::Mul { .. } => opcode::MUL,
        Kind::MatMul { .. } => opcode::MAT_MUL,
        Kind::Copy(_) => opcode::COPY,
        Kind::Constant(_) => opcode::CONSTANT,
        Kind::Embedding { .. } => opcode::EMBEDDING,
        Kind::PRelu { .. } => opcode::P_RELU,
        Kind::LogSoftmax { .. } => opcode::LOG_SOFTMAX,
        Kind::ArgMax { .. } => opcode::ARG_MAX,
        Kind::LayerNorm { .. } => opcode::LAYER_NORM,
        Kind::Lrn { .. } => opcode::LRN,
        Kind::Recurrent(_) => opcode::RECURRENT,
    }
}

/// Writes an operator, whose input has this zero point, with its matrices in these forms.
pub(super) fn write(
    image: &mut Writer,
    op: &Operator,
    zero_point: i8,
    forms: &[Written],
    scratch: usize,
) {
    image.u8(Category::Operators, number(&op.kind));
    for place in [op.input, op.output, scratch] {
        image.varint(Category::Operators, place);
    }
    if let Some(other) = op.kind.other() {
        image.varint(Category::Operators, other);
    }
    match (&op.kind, forms) {
        (Kind::Dense(linear), [form]) => write_linear(image, linear, zero_point, form),
        (
            Kind::Conv {
                window,
                groups,
                linear,
            },
            [form],
        ) => {
            write_window(image, window, *groups, 0);
            image.varint(Category::Operators, filter_entries(linear, form));
            write_linear(image, linear, zero_point, form);
        }
        (Kind::Recurrent(layer), [input, hidden]) => write_recurrent(image, layer, [input, hidden]),
        (kind, _) => write_weightless(image, kind),
    }
}

fn write_weightless(image: &mut Writer, kind: &Kind) {
    match kind {
        Kind::MaxPool(window) => write_window(image, window, 1, 0),
        Kind::AveragePool {
            window,
            count_include_pad,
        } => {
            let flag = if *count_include_pad {
                window_flag::COUNT_INCLUDE_PAD
            } else {
                0
            };
            write_window(image, window, 1, flag);
        }
        Kind::Clamp(range) => write_range(image, range),
        Kind::Table(table) => write_elements(image, Category::Operators, table),
        Kind::Softmax(exponentials) => write_exponentials(image, exponentials),
        Kind::Add {
            mantissas,
            shift,
            range,
            ..
        } => {
            write_range(image, range);
            write_factors(image, mantissas, *shift);
        }
        Kind::Mul {
            multiplier, range, ..
        } => {
            write_range(image, range);
            write_multiplier(image, multiplier);
        }
        Kind::MatMul {
            transposed,
            multiplier,
            range,
            ..
        } => {
            image.u8(Category::Operators, *transposed as u8);
            write_range(image, range);
            write_multiplier(image, multiplier);
        }
        Kind::Copy(block) => write_block(image, block),
        Kind::Constant(elements) => {
            image.varint(Category::Operators, elements.len());
            write_elements(image, Category::Values, elements);
        }
        Kind::Embedding { columns, table } => {
            image.u8(Category::Operators, (table.len() / columns - 1) as u8);
            write_elements(image, Category::Values, table);
        }
        Kind::ArgMax { last } => image.u8(Category::Operators, *last as u8),
        kind => write_normalizing(image, kind),
    }
}
/// What is left: functions of all channels of a place, or of their own.
fn write_normalizing(image: &mut Writer, kind: &Kind) {
    match kind {
        Kind::PRelu {
            positive,
            negative,
            shift,
            range,
        } => {
            write_range(image, range);
            image.u8(Category::Operators, (negative.len() > 1) as u8);
            image.u8(Category::Scales, *shift);
            write_packed(image, Category::Scales, &[*positive]);
            write_packed(image, Category::Scales, negative);
        }
        Kind::LogSoftmax {
            exponentials,
            mantissas,
            shift,
            range,
        } => {
            write_exponentials(image, exponentials);
            write_range(image, range);
            write_factors(image, mantissas, *shift);
        }
        Kind::LayerNorm {
            epsilon,
            scales,
            shift,
            biases,
            range,
        } => {
            write_range(image, range);
            image.varint(Category::Operators, *epsilon as usize);
            image.u8(Category::Scales, *shift);
            write_packed(image, Category::Scales, scales);
            write_packed(image, Category::Biases, biases);
        }
        Kind::Lrn {
            size,
            table,
            step,
            range,
        } => {
            write_range(image, range);
            image.varint(Category::Operators, *size);
            image.u8(Category::Operators, *step);
            image.u8(Category::Operators, (table.len() - 1) as u8);
            table
                .iter()
                .for_each(|&f| image.u32(Category::Operators, f));
        }
        _ => {}
    }
}

fn write_range(image: &mut Writer, range: &Output) {
    image.i8(Category::Operators, range.min);
    image.i8(Category::Operators, range.max);
}

fn write_multiplier(image: &mut Writer, multiplier: &Multiplier) {
    image.u32(Category::Scales, multiplier.mantissa as u32);
    image.u8(Category::Scales, multiplier.shift);
}

fn write_factors(image: &mut Writer, mantissas: &[i32; 2], shift: u8) {
    mantissas
        .iter()
        .for_each(|&m| image.u32(Category::Scales, m as u32));
    image.u8(Category::Scales, shift);
}

fn write_elements(image: &mut Writer, category: Category, elements: &[i8]) {
    elements
        .iter()
        .for_each(|&element| image.i8(category, element));
}

fn write_exponentials(image: &mut Writer, exponentials: &[u16]) {
    image.u8(Category::Operators, (exponentials.len() - 1) as u8);
    for e in exponentials {
        image.put(Category::Operators, &e.to_le_bytes());
    }
}

fn write_block(image: &mut Writer, block: &Block) {
    image.varint(Category::Operators, block.from);
    image.varint(Category::Operators, block.to);
    image.u8(Category::Operators, block.axes.len() as u8);
    for &Axis {
        count,
        from_step,
        to_step,
    } in &block.axes
    {
        image.varint(Category::Operators, count);
        // The sign in the lowest bit.
        let (magnitude, negative) = if from_step < 0 {
            (!from_step, 1)
        } else {
            (from_step, 0)
        };
        image.varint(Category::Operators, (magnitude as usize) << 1 | negative);
        image.varint(Category::Operators, to_step);
    }
}

fn write_window(image: &mut Writer, window: &Window, groups: usize, extra: u8) {
    let optional = [
        (window.padding != [0, 0], window_flag::PADDING),
        (window.stride != [1, 1], window_flag::STRIDE),
        (window.dilation != [1, 1], window_flag::DILATION),
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
        (optional[2].0, window.dilation),
    ];
    for (_, pair) in pairs.into_iter().filter(|&(present, _)| present) {
        pair.into_iter()
            .for_each(|side| image.varint(Category::Operators, side));
    }
    if groups != 1 {
        image.varint(Category::Operators, groups);
    }
}

fn write_linear(image: &mut Writer, linear: &Linear, zero_point: i8, form: &Written) {
    if let Some(layout) = form.panels {
        let by_channel = match layout {
            Layout::Shared => 0,
            Layout::Channels => linear_flag::CHANNELS,
        };
        image.u8(Category::Operators, linear_flag::PANELS | by_channel);
        write_range(image, &linear.range);
        return form.append_to(image);
    }
    let biases = biases::smallest(linear, zero_point, form);
    let centred = if biases.centred {
        linear_flag::CENTRED
    } else {
        0
    };
    let (flag, multipliers) = multipliers(&linear.multipliers);
    image.u8(Category::Operators, flag | centred);
    write_range(image, &linear.range);
    write_body(image, [&multipliers, &biases.written], form);
}

fn write_matrix(image: &mut Writer, linear: &Linear, form: &Written) {
    let (flag, multipliers) = multipliers(&linear.multipliers);
    image.u8(Category::Operators, flag);
    write_body(image, [&multipliers, &biases::packed(linear)], form);
}

fn write_body(image: &mut Writer, beside: [&Writer; 2], form: &Written) {
    beside.into_iter().for_each(|part| image.append(part));
    form.append_to(image);
}

/// Multipliers in their fewest bytes, and the flag that says how.
fn multipliers(all: &[Multiplier]) -> (u8, Writer) {
    let mut written = Writer::default();
    if let Some((common, gains)) = gains(all) {
        write_multiplier(&mut written, &common);
        written.put(Category::Scales, &gains);
        return (linear_flag::GAINS, written);
    }
    let flag = match all.len() {
        0 | 1 => 0,
        _ => linear_flag::PER_CHANNEL,
    };
    all.iter()
        .for_each(|multiplier| write_multiplier(&mut written, multiplier));
    (flag, written)
}

/// One multiplier and gains that make several, if there are such.
fn gains(multipliers: &[Multiplier]) -> Option<(Multiplier, Vec<u8>)> {
    let real = |m: &Multiplier| f64::from(m.mantissa) / f64::from(m.shift).exp2();
    let largest = multipliers
        .iter()
        .max_by(|a, b| real(a).total_cmp(&real(b)))?;
    let whole = |n: &i32| largest.mantissa % n == 0 && largest.mantissa / n < 1 << 27;
    let commons = (8..16).filter(whole).map(|n| Multiplier {
        mantissa: (largest.mantissa / n) << 4,
        shift: largest.shift,
    });
    let fitting = |common: Multiplier| {
        let gain = |m: &Multiplier| {
            let high = m
                .shift
                .checked_sub(common.shift)
                .filter(|high| *high < 32)?;
            let mut all = (0..8).map(|low| high << 3 | low);
            all.find(|&gain| common.with_gain(gain) == Some(*m))
        };
        let gains = multipliers.iter().map(gain).collect::<Option<Vec<u8>>>()?;
        Some((common, gains))
    };
    commons.filter(|_| multipliers.len() > 1).find_map(fitting)
}

fn write_recurrent(image: &mut Writer, layer: &Recurrent, forms: [&Written; 2]) {
    let cell = CELLS.iter().position(|&cell| cell == layer.cell);
    image.u8(Category::Operators, cell.unwrap_or(0) as u8);
    let flags = [
        (
            layer.initial_hidden.is_some(),
            recurrent_flag::INITIAL_HIDDEN,
        ),
        (layer.initial_state.is_some(), recurrent_flag::INITIAL_STATE),
        (layer.cell_output.is_some(), recurrent_flag::CELL_OUTPUT),
        (layer.carried, recurrent_flag::CARRIED),
    ];
    let present = flags.iter().filter(|(present, _)| *present);
    image.u8(Category::Operators, present.map(|(_, flag)| flag).sum());
    if let Some((multiplier, range)) = &layer.cell_output {
        write_range(image, range);
        write_multiplier(image, multiplier);
        image.i8(Category::Operators, layer.range.zero_point);
    }
    write_range(image, &layer.range);
    write_multiplier(image, &layer.multiplier);
    if layer.cell.has_state() {
        image.u8(Category::Operators, layer.state_bits);
    }
    if let Some(hidden) = &layer.initial_hidden {
        write_elements(image, Category::Values, hidden);
    }
    for state in layer.initial_state.iter().flatten() {
        image.put(Category::Values, &state.to_le_bytes());
    }
    for (linear, form) in [&layer.input, &layer.hidden].into_iter().zip(forms) {
        write_matrix(image, linear, form);
    }
}
