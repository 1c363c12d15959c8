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
use no_std_core::weights::{Positions, Values, Weights};

/// Kinds of work, each counted by what it is named after.
pub const KINDS: [&str; 12] = [
    "products of plain dense rows",
    "products of plain convolutions",
    "products of plain convolutions by channel",
    "products of coded dense weights",
    "products of coded filters",
    "symbols decoded by Huffman codes",
    "symbols of fixed width",
    "zeros marked by a bit",
    "sums made outputs",
    "elements under pooling windows",
    "elements of other operators",
    "operators",
];

/// Instructions for one piece of each kind of work.
pub const COSTS: [f64; 12] = [
    1.0, 1.0, 5.0, 10.0, 5.0, 10.0, 10.0, 5.0, 20.0, 5.0, 10.0, 500.0,
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
        work[11] += 1.0;
    }
    work
}

fn operator(program: &Program, op: &Operator, forms: &[Weights], work: &mut Work) {
    let output = &program.tensors[op.output].shape;
    let places = (output.height * output.width) as f64;
    let elements = output.len() as f64;
    match &op.kind {
        Kind::Conv { linear, groups, .. } => {
            for form in forms {
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
            work[10] += 8.0 * elements;
        }
        Kind::MaxPool(window) | Kind::AveragePool { window, .. } => {
            work[9] += elements * under(window);
        }
        Kind::MatMul { .. } => {
            let depth = program.tensors[op.input].shape.channels as f64;
            work[0] += elements * depth;
            work[8] += elements;
        }
        _ => work[10] += elements,
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
    let all = linear.weights.len() as f64;
    let living = linear.weights.iter().filter(|w| **w != 0).count() as f64;
    work[8] += linear.rows as f64 * places;
    if form.is_plain() {
        let kind = match (dense, by_channel) {
            (true, _) => 0,
            (_, false) => 1,
            (_, true) => 2,
        };
        work[kind] += all * places;
        return;
    }
    let everywhere = matches!(form.positions, Positions::Every);
    let visited = if everywhere { all } else { living };
    let decoded = if dense { places } else { 1.0 };
    work[if dense { 3 } else { 4 }] += visited * places;
    let values = if matches!(form.values, Values::Huffman(_)) {
        5
    } else {
        6
    };
    work[values] += visited * decoded;
    match form.positions {
        Positions::Runs(_) => work[5] += living * decoded,
        Positions::Bitmap => work[7] += (all - living) * decoded,
        Positions::Every => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_has_a_cost() {
        assert!(COSTS.iter().all(|cost| *cost >= 0.0 && cost.is_finite()));
    }
}
