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
use no_std_core::tensor::Shape;
use no_std_core::weights::{Positions, TABLE_BITS, Values, Weights};

/// Kinds of work, each counted by what it is named after.
pub const KINDS: [&str; 24] = [
    "products of plain dense rows",
    "products of plain convolutions",
    "products of plain convolutions by channel",
    "runs of taps under plain windows",
    "products of coded dense weights",
    "products of coded filters within the input",
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
    "sums of coded filters made outputs",
    "products of coded filters at the border",
    "lines of positions of coded filters",
];

/// Instructions for one piece of each kind of work. Of fifty-two images (dense, convolutional, by channel,
/// residual; plain, packed, Huffman-coded, pruned, hashed) all but two were within a fifth of what was counted, most
/// within a tenth, and those two within 26 %. What a form's symbols cost beside their products cannot be told apart
/// where one goes with the other. Too few elements of other operators were among them to be fitted: ten are assumed,
/// and for an operator itself 500; plain rows and windows that no panel can hold cost what they did when there were no
/// panels.
pub const COSTS: [f64; KINDS.len()] = [
    4.0, 4.56, 0.0, 230.78, 55.5, 3.0, 0.0, 513.0, 6.6, 28.3, 82.6, 0.6, 10.0, 500.0, 205.0, 38.0,
    53.7, 17.2, 67.3, 7.5, 18.9, 69.1, 11.1, 100.0,
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
                let windows = Windows::of(window, &program.tensors[op.input].shape, output);
                matrix(linear, form, (places, *groups > 1), Some(&windows), work);
            }
        }
        Kind::Dense(linear) => {
            for form in forms {
                matrix(linear, form, (places, false), None, work);
            }
        }
        Kind::Recurrent(_) => {
            // Weights are read again at every step.
            let steps = program.tensors[op.input].shape.width as f64;
            for (linear, form) in op.kind.linears().into_iter().zip(forms) {
                let mut once = [0.0; KINDS.len()];
                matrix(linear, form, (1.0, false), None, &mut once);
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

/// Windows under which a coded filter is multiplied, four at once: the last four of a line are among those before
/// where there are not as many left, and one alone takes as long as four.
struct Windows {
    inside: f64,
    at_border: f64,
    lines: f64,
}

impl Windows {
    /// As a runtime goes through them.
    fn of(window: &Window, input: &Shape, output: &Shape) -> Self {
        let sizes = [output.height, output.width];
        let inside = [0, 1].map(|axis| inside(window, input, sizes, axis));
        if inside == sizes && window.stride[0] * input.width == window.stride[1] * output.width {
            return Self {
                inside: fours(sizes[0] * sizes[1]),
                at_border: 0.0,
                lines: 1.0,
            };
        }
        let along = usize::from(inside[1] >= inside[0]);
        let [long, short] = [inside[along], inside[1 - along]];
        let outside = [along, 1 - along].map(|axis| (sizes[axis] - inside[axis]) as f64);
        Self {
            inside: short as f64 * fours(long),
            at_border: outside[1] * fours(long)
                + outside[0] * (fours(short) + outside[1] * fours(1)),
            lines: sizes[1 - along] as f64 + outside[0] * (1.0 + outside[1]),
        }
    }
}

/// Places along an axis at which windows lie within the input.
fn inside(window: &Window, input: &Shape, sizes: [usize; 2], axis: usize) -> usize {
    let size = [input.height, input.width][axis];
    let lies_within = |place: &usize| {
        let start = place * window.stride[axis];
        let end = start + (window.kernel[axis] - 1) * window.dilation[axis];
        start >= window.padding[axis] && end < size + window.padding[axis]
    };
    (0..sizes[axis]).filter(lies_within).count()
}

fn fours(count: usize) -> f64 {
    let times = if count < 4 { count } else { count.div_ceil(4) };
    4.0 * times as f64
}

/// A matrix used at so many places; without `windows` it is a dense layer's and decoded at each, filters are once.
fn matrix(
    linear: &Linear,
    form: &Weights,
    (places, by_channel): (f64, bool),
    windows: Option<&Windows>,
    work: &mut Work,
) {
    let dense = windows.is_none();
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
    let coded_filters = !dense && !form.is_plain();
    work[if coded_filters { 21 } else { 10 }] += linear.rows as f64 * places;
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
        products(all, places, windows, 0, work);
        return;
    }
    if form.is_hashed() {
        work[15] += all * if dense { places } else { 1.0 };
        if windows.is_some() {
            products(all, places, windows, 0, work);
        }
        return;
    }
    let everywhere = matches!(form.positions, Positions::Every);
    let visited = if everywhere { all } else { living };
    let decoded = if dense { places } else { 1.0 };
    work[23] += linear.rows as f64 * windows.map_or(0.0, |w| w.lines);
    products(visited, places, windows, 4, work);
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
        _ => {}
    }
}

/// Those with so many weights: at so many places of a dense layer, or under a filter's windows.
fn products(weights: f64, places: f64, windows: Option<&Windows>, dense: usize, work: &mut Work) {
    match windows {
        Some(windows) => {
            work[5] += weights * windows.inside;
            work[22] += weights * windows.at_border;
        }
        None => work[dense] += weights * places,
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
