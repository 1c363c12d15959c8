//! The order of units and filters, which is free where only other layers read them: ascending by bias,
//! so that differences say the biases.

use super::biases::centred;
use crate::program::{Kind, Linear, Operator, Program};

/// The same network with its hidden units and filters, whose order only other layers see, in that of their
/// biases, which then take fewer bytes.
pub fn sorted(program: &Program) -> Program {
    let mut program = program.clone();
    for place in 0..program.operators.len() {
        let Some(readers) = readers(&program, place) else {
            continue;
        };
        let op = &program.operators[place];
        let zero_point = program.tensors[op.input].zero_point;
        let Some(biases) = op
            .kind
            .linears()
            .first()
            .and_then(|l| centred(l, zero_point))
        else {
            continue;
        };
        let mut order: Vec<usize> = (0..biases.len()).collect();
        order.sort_by_key(|&unit| biases[unit]);
        if let Some(linear) = linear_mut(&mut program.operators[place]) {
            permute_rows(linear, &order);
        }
        for reader in readers {
            if let Some(linear) = linear_mut(&mut program.operators[reader]) {
                permute_columns(linear, &order);
            }
        }
    }
    program
}

/// Which tensors' channels may stand in another order than the graph's: those of layers whose units are
/// sorted, and of what passes these on.
pub(crate) fn reordered(program: &Program) -> Vec<bool> {
    let mut reordered = vec![false; program.tensors.len()];
    for (place, op) in program.operators.iter().enumerate() {
        let passes_on = matches!(
            op.kind,
            Kind::MaxPool(_) | Kind::AveragePool { .. } | Kind::Clamp(_) | Kind::Table(_)
        );
        reordered[op.output] |= is_sorted(program, place) || passes_on && reordered[op.input];
    }
    reordered
}

fn is_sorted(program: &Program, place: usize) -> bool {
    let op = &program.operators[place];
    let zero_point = program.tensors[op.input].zero_point;
    let linears = op.kind.linears();
    let biases = linears.first().and_then(|l| centred(l, zero_point));
    biases.is_some_and(|b| b.is_sorted()) && readers(program, place).is_some()
}

/// The layers that read a layer's units, if nothing else does and their order is free.
fn readers(program: &Program, place: usize) -> Option<Vec<usize>> {
    let op = &program.operators[place];
    // The channels of what a layer writes are its rows.
    let channels = program.tensors[op.output].shape.channels;
    match &op.kind {
        Kind::Dense(linear)
        | Kind::Conv {
            linear, groups: 1, ..
        } if linear.rows == channels && linear.hashed.is_none() => {}
        _ => return None,
    }
    let mut readers = Vec::new();
    collect(program, op.output, &mut readers)?;
    Some(readers)
}

fn collect(program: &Program, tensor: usize, readers: &mut Vec<usize>) -> Option<()> {
    let writers = program.operators.iter().filter(|op| op.output == tensor);
    if tensor == program.output || tensor == program.input || writers.count() > 1 {
        return None;
    }
    let all = program.operators.iter().enumerate();
    for (place, op) in all.filter(|(_, op)| op.reads().any(|read| read == tensor)) {
        match &op.kind {
            // A hash knows its inputs by their places, a vector its neighbours.
            Kind::Dense(linear)
            | Kind::Conv {
                linear, groups: 1, ..
            } if linear.hashed.is_none() && linear.vectors.is_none() => {
                readers.push(place);
            }
            Kind::MaxPool(_) | Kind::AveragePool { .. } | Kind::Clamp(_) | Kind::Table(_) => {
                collect(program, op.output, readers)?;
            }
            _ => return None,
        }
    }
    Some(())
}

fn linear_mut(op: &mut Operator) -> Option<&mut Linear> {
    match &mut op.kind {
        Kind::Dense(linear) | Kind::Conv { linear, .. } => Some(linear),
        _ => None,
    }
}

fn permute_rows(linear: &mut Linear, order: &[usize]) {
    let rows: Vec<&[i8]> = linear.weights.chunks(linear.columns.max(1)).collect();
    let weights = order.iter().flat_map(|&unit| rows[unit]).copied().collect();
    linear.weights = weights;
    linear.biases = order.iter().map(|&unit| linear.biases[unit]).collect();
    if linear.multipliers.len() > 1 {
        linear.multipliers = order.iter().map(|&unit| linear.multipliers[unit]).collect();
    }
}

/// Channels are what changes fastest along a row.
fn permute_columns(linear: &mut Linear, order: &[usize]) {
    for place in linear.weights.chunks_exact_mut(order.len().max(1)) {
        let before = place.to_vec();
        for (weight, &unit) in place.iter_mut().zip(order) {
            *weight = before[unit];
        }
    }
}
