//! How many instructions an inference takes on a Cortex-M4: an estimate from the image alone.
//!
//! Work of each kind is counted exactly; what a piece of it costs was fitted once to instructions that
//! the emulator counted:
//!
//! ```text
//! cargo run --release -p benches --bin mcu -- IMAGES --json > counted.json
//! cargo run --release -p benches --bin calibrate -- counted.json
//! ```
//!
//! prints costs anew and how far the estimate is from each image. Only the emulator tells the truth;
//! the estimate is for choosing among plans.

use crate::encode::decode;
use crate::program::{Kind, Linear, Operator, Program};
use no_std_core::Model;
use no_std_core::operator::Window;
use no_std_core::panels::{COLUMNS, Layout, ROWS};
use no_std_core::weights::{Positions, TABLE_BITS, Values, Weights};

/// Kinds of work, each counted by what it is named after.
pub const KINDS: [&str; 21] = [
    "products of plain dense rows",
    "products of plain convolutions",
    "products of plain convolutions by channel",
    "runs of taps under plain windows",
    "products of coded dense weights",
    "products of coded filters",
    "symbols decoded by Huffman codes",
    "symbols whose Huffman codes are longer than the look-up table's",
    "symbols of fixed width",
    "zeros marked by a bit",
    "sums made outputs",
    "elements under pooling windows",
    "elements of other operators",
    "operators",
    "weights of range codes",
    "weights whose values are hashed",
    "indices of vectors",
    "tiles of panels",
    "panels made outputs",
    "elements gathered for panels",
    "taps of four channels",
];

/// Instructions for one piece of each kind of work. Forty images (dense, convolutional, by channel,
/// residual; plain, packed, Huffman-coded, pruned) were within a quarter of what was counted, most within
/// a tenth. What a form's symbols cost beside their products cannot be told apart where one goes with
/// the other; too few elements of other operators were among them to be fitted: ten are assumed, and for what range codes and hashes take beside that fifteen and forty.
pub const COSTS: [f64; KINDS.len()] = [
    4.18, 4.56, 0.0, 230.78, 63.21, 11.56, 5.43, 359.62, 0.0, 6.39, 171.93, 5.02, 10.0, 0.0, 15.0,
    40.0, 80.0, 18.0, 60.0, 2.0, 13.0,
];

/// Pieces of work by kind.
pub type Work = [f64; KINDS.len()];

/// The estimate.
pub fn estimate(model: &Model) -> u64 {
    let pieces = work(model).into_iter().zip(COSTS);
    pieces.map(|(count, cost)| count * cost).sum::<f64>() as u64
}

/// Counts the work of an inference.
pub fn work(model: &Model) -> Work {
    let program = decode(model);
    let mut work = [0.0; KINDS.len()];
    for (op, stored) in program.operators.iter().zip(model.operators()) {
        let forms: Vec<Weights> = stored.kind.linears().map(|l| l.weights).collect();
        operator(&program, op, &forms, &mut work);
        work[13] += 1.0;
    }
    work
}

fn operator(program: &Program, op: &Operator, forms: &[Weights], work: &mut Work) {
    let output = &program.tensors[op.output].shape;
    let places = (output.height * output.width) as f64;
    let elements = output.len() as f64;
    match &op.kind {
        Kind::Conv {
            linear,
            groups,
            window,
        } => {
            for form in forms {
                if form.is_plain() {
                    work[3] += elements * window.kernel[0] as f64;
                }
                if form.panels().is_some_and(|p| p.layout == Layout::Shared) {
                    let patch = form
                        .panels()
                        .map_or(0, |p| p.scratch_bytes(linear.rows, window.taps()));
                    work[19] += places * patch as f64;
                }
                matrix(linear, form, (places, *groups > 1), false, work);
            }
        }
        Kind::Dense(linear) => {
            for form in forms {
                matrix(linear, form, (places, false), true, work);
            }
        }
        Kind::Recurrent(_) => {
            // Weights are read again at every step.
            let steps = program.tensors[op.input].shape.width as f64;
            for (linear, form) in op.kind.linears().into_iter().zip(forms) {
                let mut once = [0.0; KINDS.len()];
                matrix(linear, form, (1.0, false), true, &mut once);
                work.iter_mut()
                    .zip(once)
                    .for_each(|(sum, n)| *sum += steps * n);
            }
            work[12] += 8.0 * elements;
        }
        Kind::MaxPool(window) | Kind::AveragePool { window, .. } => {
            work[11] += elements * under(window);
        }
        Kind::MatMul { .. } => {
            let depth = program.tensors[op.input].shape.channels as f64;
            work[0] += elements * depth;
            work[10] += elements;
        }
        _ => work[12] += elements,
    }
}

fn under(window: &Window) -> f64 {
    window.kernel.iter().map(|&k| k as f64).product()
}

/// A matrix used at so many places; `dense` ones are decoded at each, filters once.
fn matrix(
    linear: &Linear,
    form: &Weights,
    (places, by_channel): (f64, bool),
    dense: bool,
    work: &mut Work,
) {
    if let Some(panels) = form.panels() {
        let count = linear.rows.div_ceil(ROWS) as f64;
        match panels.layout {
            Layout::Shared => work[17] += count * linear.columns.div_ceil(COLUMNS) as f64 * places,
            Layout::Channels => work[20] += count * linear.columns as f64 * places,
        }
        work[18] += count * places;
        return;
    }
    let all = linear.weights.len() as f64;
    let living = linear.weights.iter().filter(|w| **w != 0).count() as f64;
    work[10] += linear.rows as f64 * places;
    if form.is_plain() {
        let kind = match (dense, by_channel) {
            (true, _) => 0,
            (_, false) => 1,
            (_, true) => 2,
        };
        work[kind] += all * places;
        return;
    }
    if let Positions::Vectors(vectors) = form.positions {
        let indices = linear.rows * linear.columns.div_ceil(vectors.dimension);
        // A code of as many symbols takes as long again.
        let coded = matches!(form.values, Values::Huffman(_));
        let each = if coded { 2.0 } else { 1.0 } * if dense { places } else { 1.0 };
        work[16] += indices as f64 * each;
        work[if dense { 0 } else { 5 }] += all * places;
        return;
    }
    let everywhere = matches!(form.positions, Positions::Every | Positions::Hashed(_));
    let visited = if everywhere { all } else { living };
    let decoded = if dense { places } else { 1.0 };
    work[if dense { 4 } else { 5 }] += visited * places;
    if matches!(form.values, Values::Huffman(_)) {
        let long = rare(linear, everywhere) * decoded;
        work[6] += visited * decoded - long;
        work[7] += long;
    } else {
        work[8] += visited * decoded;
    }
    match form.positions {
        Positions::Runs(_) => work[6] += living * decoded,
        Positions::Bitmap => work[9] += (all - living) * decoded,
        Positions::Context(_) => work[14] += all * decoded,
        Positions::Hashed(_) => work[15] += all * decoded,
        Positions::Every | Positions::Vectors(_) | Positions::Panels(_) => {}
    }
}

/// Weights of values so rare that their codes are longer than the look-up table's bits; zeros are
/// among the symbols where the form says them.
fn rare(linear: &Linear, zeros: bool) -> f64 {
    let mut counts = [0usize; 256];
    let coded = linear.weights.iter().filter(|w| zeros || **w != 0);
    coded.for_each(|&w| counts[w as u8 as usize] += 1);
    let all: usize = counts.iter().sum();
    let long = counts.iter().filter(|n| **n << TABLE_BITS < all);
    long.sum::<usize>() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_has_a_cost() {
        assert!(COSTS.iter().all(|cost| *cost >= 0.0 && cost.is_finite()));
    }
}
