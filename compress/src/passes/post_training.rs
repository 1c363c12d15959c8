//! What helps integers without any training, where it helps: equalized layers, corrected biases, a few
//! int16 activations. Each is tried and judged by the error of the output on data.

use super::{correct_biases, equalize};
use crate::calibrate::CalibrateError;
use trainer::graph::{Graph, ValueId};
use trainer::train::{DeviceChoice, TrainError, predict};

/// Most examples that are looked at: each is run once for every layer and every choice.
const EXAMPLES: usize = 128;

/// Key of the metadata of a graph whose layers were equalized: its units stand at other scales.
pub const EQUALIZED: &str = "equalized";

/// How much smaller the mean square error must get for a change to be worth it.
const WORTH: f64 = 0.95;

/// For int16, which costs memory and time.
const WORTH_SIXTEEN_BITS: f64 = 0.8;

/// Gives a float graph its integers.
pub type Quantize<'q> = &'q dyn Fn(&mut Graph) -> Result<(), CalibrateError>;

/// Compares outputs with those of the float graph.
struct Judge<'i> {
    inputs: &'i [f32],
    expected: Vec<f32>,
}

impl<'i> Judge<'i> {
    fn new(float: &Graph, inputs: &'i [f32]) -> Result<Self, TrainError> {
        let expected = predict(float, inputs, DeviceChoice::Cpu)?;
        Ok(Self { inputs, expected })
    }

    /// Sum of the squares of what the outputs are off.
    fn error(&self, graph: &Graph) -> Result<f64, TrainError> {
        let outputs = predict(graph, self.inputs, DeviceChoice::Cpu)?;
        let off = outputs.iter().zip(&self.expected);
        Ok(off.map(|(a, b)| f64::from(a - b).powi(2)).sum())
    }
}

/// Inputs to measure on, and others to judge by; the same where there is one alone.
fn split<'i>(graph: &Graph, inputs: &'i [f32]) -> (&'i [f32], &'i [f32]) {
    let length = graph.value(graph.input).len().max(1);
    let examples = (inputs.len() / length).min(2 * EXAMPLES);
    let half = examples.div_ceil(2) * length;
    let (measure, judge) = inputs[..examples * length].split_at(half);
    (measure, if judge.is_empty() { measure } else { judge })
}

/// Quantizes a float graph as it is, with its layers equalized, with its biases corrected, and with
/// both, and keeps what comes closest to the float graph.
///
/// # Errors
/// When the graph does not run on the inputs.
pub fn quantize_best(
    graph: &mut Graph,
    inputs: &[f32],
    quantize: Quantize,
) -> Result<(), CalibrateError> {
    let (measure, judging) = split(graph, inputs);
    let judge = Judge::new(graph, judging)?;
    let float = graph.clone();
    quantize(graph)?;
    let mut least = WORTH * judge.error(graph)?;
    for (equalized, corrected) in [(false, true), (true, false), (true, true)] {
        let mut exact = float.clone();
        if equalized && equalize(&mut exact) == 0 {
            continue;
        }
        if equalized {
            exact.metadata.insert(EQUALIZED.to_owned(), String::new());
        }
        let mut candidate = exact.clone();
        quantize(&mut candidate)?;
        if corrected {
            correct_biases(&mut candidate, &exact, measure)?;
        }
        let error = judge.error(&candidate)?;
        if error < least {
            (least, *graph) = (error, candidate);
        }
    }
    Ok(())
}

/// Makes those values int16 that bring the output much closer to the float graph's, the best first;
/// `possible` says whether an image can hold the graph. Returns their names.
///
/// # Errors
/// When the graph does not run on the inputs.
pub fn choose_int16(
    graph: &mut Graph,
    inputs: &[f32],
    quantize: Quantize,
    possible: &dyn Fn(&Graph) -> bool,
) -> Result<Vec<String>, CalibrateError> {
    let (_, judging) = split(graph, inputs);
    let judge = Judge::new(graph, judging)?;
    let mut open: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    let mut chosen = Vec::new();
    let mut least = judge.error(&quantized(graph, None, quantize)?)?;
    loop {
        let mut best: Option<(f64, ValueId)> = None;
        let mut impossible = Vec::new();
        for &value in &open {
            let candidate = quantized(graph, Some(value), quantize)?;
            if !possible(&candidate) {
                impossible.push(value);
                continue;
            }
            let error = judge.error(&candidate)?;
            if error < best.map_or(WORTH_SIXTEEN_BITS * least, |(error, _)| error) {
                best = Some((error, value));
            }
        }
        let Some((error, value)) = best else {
            return Ok(chosen);
        };
        least = error;
        graph.values[value.0].int16 = true;
        chosen.push(graph.value(value).name.clone());
        open.retain(|v| *v != value && !impossible.contains(v));
    }
}

fn quantized(
    graph: &Graph,
    wide: Option<ValueId>,
    quantize: Quantize,
) -> Result<Graph, CalibrateError> {
    let mut graph = graph.clone();
    if let Some(value) = wide {
        graph.values[value.0].int16 = true;
    }
    quantize(&mut graph)?;
    Ok(graph)
}
