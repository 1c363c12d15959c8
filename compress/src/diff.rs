//! A float graph and its image side by side: where the integers leave the real values, layer by layer.

use crate::encode::{decode, reordered};
use crate::host::{self, HostError};
use crate::lower::{Biases, LowerError, Lowered, Step, View, lower_with_views};
use crate::passes::post_training::EQUALIZED;
use crate::passes::{equalize, simplify};
use crate::pipeline::prepared;
use crate::scales::tentative;
use edge_runtime::Session;
use no_std_core::Model;
use no_std_core::tensor::{Shape, Tensor};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use trainer::graph::{Graph, ValueId};
use trainer::train::{DeviceChoice, TrainError, activations};

/// Signal-to-noise ratio below which a layer counts as wrong, in decibels: noise of a tenth of the
/// signal. Eight well-used bits give some 40.
pub const WRONG_BELOW_DB: f64 = 20.0;

/// Why a graph and an image cannot be compared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum DiffError {
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Run(#[from] HostError),
    #[error(
        "the image has {image} operators and the model makes {graph}: it was made from another model"
    )]
    Operators { image: usize, graph: usize },
}

/// One operator of the image beside the value it stands for.
#[derive(Clone, Debug, Serialize)]
pub struct LayerDiff {
    /// The graph's node.
    pub name: String,
    /// Its ONNX operator.
    pub op: &'static str,
    /// Shape of the output in the image, channels last.
    pub shape: Vec<usize>,
    /// Absent where pruning removed units or the encoder sorted them, so that no element has a counterpart.
    pub error: Option<Error>,
}

/// How far the integers' real values are from the graph's.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Error {
    /// Root of the mean square of the float values.
    pub signal_rms: f64,
    /// Root of the mean square difference.
    pub error_rms: f64,
    /// Largest difference.
    pub error_max: f64,
    /// `20·log₁₀(signal_rms / error_rms)`, in decibels.
    pub snr_db: f64,
    /// Percentage of float values beyond the ends of int8.
    pub saturated_percent: f64,
}

/// The comparison, in order of execution.
#[derive(Clone, Debug, Serialize)]
pub struct Diff {
    /// Every operator.
    pub layers: Vec<LayerDiff>,
    /// The first one whose ratio is below [`WRONG_BELOW_DB`].
    pub first_wrong: Option<String>,
    /// Inputs compared.
    pub inputs: usize,
}

/// Runs both on inputs `[n, ...]` laid out as the graph has them.
///
/// # Errors
/// When the image has other operators than the graph would make, or the inputs do not fit.
pub fn diff(graph: &Graph, model: &Model, inputs: &[f32]) -> Result<Diff, DiffError> {
    let mut graph = prepared(graph, true);
    simplify(&mut graph);
    if model.metadata().any(|(key, _)| key == EQUALIZED) {
        // Units of the image stand at other scales; so should those that they are compared with.
        equalize(&mut graph);
    }
    let lowered = lower_with_views(&tentative(&graph), Biases::Rounded)?;
    let operators = lowered.program.operators.len();
    if operators != model.operator_count() {
        return Err(DiffError::Operators {
            image: model.operator_count(),
            graph: operators,
        });
    }
    host::check(model, inputs)?;
    let layers = layers(&lowered, model);
    let real = float_values(&graph, &layers, inputs)?;
    let sums = compare(model, inputs, &layers, &real);
    let layers = layers.iter().zip(sums);
    let layers: Vec<LayerDiff> = layers.map(|(l, sums)| l.diff(&graph, &sums)).collect();
    let wrong = |layer: &&LayerDiff| layer.error.is_some_and(|e| e.snr_db < WRONG_BELOW_DB);
    Ok(Diff {
        first_wrong: layers.iter().find(wrong).map(|layer| layer.name.clone()),
        layers,
        inputs: inputs.len() / model.input_len(),
    })
}

/// An operator of the image that completes a step of the graph.
struct Layer {
    /// Place of the operator.
    operator: usize,
    step: Step,
    view: View,
    /// In the image.
    shape: Shape,
    /// Whether the image's tensor is the one that the graph makes, with no units removed or put in
    /// another order.
    same: bool,
}

fn layers(lowered: &Lowered, model: &Model) -> Vec<Layer> {
    let mut shapes = Vec::new();
    model.visit_operators(|op| shapes.push(op.output.shape));
    let stored = decode(model);
    let reordered = reordered(&stored);
    let completed = lowered.completed.iter().enumerate();
    completed
        .filter_map(|(operator, completed)| {
            let (step, view) = completed.clone()?;
            let shape = *shapes.get(operator)?;
            let alike = lowered.program.tensors[view.tensor].shape == shape;
            let same = alike && !reordered[stored.operators[operator].output];
            Some(Layer {
                operator,
                step,
                view,
                shape,
                same,
            })
        })
        .collect()
}

/// Outputs of the layers' steps, example after example: those of a quantized model as its scales round
/// and clamp them, which is part of what it computes.
fn float_values(
    graph: &Graph,
    layers: &[Layer],
    inputs: &[f32],
) -> Result<HashMap<ValueId, Vec<f32>>, TrainError> {
    let mut real: HashMap<ValueId, Vec<f32>> = (layers.iter())
        .map(|l| (l.step.output, Vec::new()))
        .collect();
    activations(graph, inputs, DeviceChoice::Cpu, |id, values| {
        if let Some(all) = real.get_mut(&id) {
            all.extend_from_slice(values);
        }
    })?;
    Ok(real)
}

/// Sums over all elements of a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    elements: usize,
    signal: f64,
    error: f64,
    largest: f64,
    saturated: usize,
}

impl Sums {
    fn add(&mut self, tensor: &Tensor, memory: &[i8], places: &[usize], real: &[f32]) {
        let ends = host::dequantize(tensor, &host::ends(tensor));
        let half = f32::from_bits(tensor.scale_bits) / 2.0;
        let stored = host::dequantize(tensor, &host::integers(tensor, memory));
        for (&place, b) in places.iter().zip(real) {
            let a = stored.get(place).copied().unwrap_or_default();
            let apart = f64::from(a - b);
            self.elements += 1;
            self.signal += f64::from(*b).powi(2);
            self.error += apart.powi(2);
            self.largest = self.largest.max(apart.abs());
            self.saturated += (*b < ends[0] - half || *b > ends[1] + half) as usize;
        }
    }

    fn error(&self) -> Option<Error> {
        let mean = |sum: f64| (sum / self.elements as f64).sqrt();
        (self.elements > 0).then(|| Error {
            signal_rms: mean(self.signal),
            error_rms: mean(self.error),
            error_max: self.largest,
            // An exact layer has no noise; JSON has no infinity.
            snr_db: (10.0 * (self.signal.max(f64::MIN_POSITIVE) / self.error).log10()).min(200.0),
            saturated_percent: 100.0 * self.saturated as f64 / self.elements as f64,
        })
    }
}

fn compare(
    model: &Model,
    inputs: &[f32],
    layers: &[Layer],
    real: &HashMap<ValueId, Vec<f32>>,
) -> Vec<Sums> {
    let mut sums = vec![Sums::default(); layers.len()];
    let mut arena = vec![0; model.arena_bytes()];
    let places: Vec<Vec<usize>> = layers.iter().map(|l| l.view.places()).collect();
    // The arena has just the bytes that the model asks for.
    let Ok(mut session) = Session::new(model, &mut arena) else {
        return sums;
    };
    for (example, input) in inputs.chunks(model.input_len()).enumerate() {
        session
            .input_mut()
            .copy_from_slice(&host::quantize(model, input));
        let (mut operator, mut next) = (0, 0);
        session.run_observed(|op, output| {
            if let Some(layer) = layers.get(next).filter(|l| l.operator == operator) {
                let (all, each) = (&real[&layer.step.output], places[next].len());
                if let Some(real) = all.get(example * each..(example + 1) * each)
                    && layer.same
                {
                    sums[next].add(&op.output, output, &places[next], real);
                }
                next += 1;
            }
            operator += 1;
        });
    }
    sums
}

impl Layer {
    fn diff(&self, graph: &Graph, sums: &Sums) -> LayerDiff {
        let node = &graph.nodes[self.step.node];
        LayerDiff {
            name: node.name.clone(),
            op: node.op.name(),
            shape: match (self.shape.height, self.shape.width) {
                (1, 1) => vec![self.shape.channels],
                (height, width) => vec![height, width, self.shape.channels],
            },
            error: sums.error(),
        }
    }
}

/// A name that fits its column: converters make some of several hundred characters.
fn short(name: &str) -> String {
    const KEPT: usize = 11;
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= 2 * KEPT + 1 {
        return name.to_owned();
    }
    let (head, tail) = (&characters[..KEPT], &characters[characters.len() - KEPT..]);
    head.iter().chain(['…'].iter()).chain(tail).collect()
}

impl Display for Diff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:<18} {:>14} {:>10} {:>10} {:>10} {:>8} {:>10}",
            "layer", "operator", "shape", "signal", "error", "largest", "SNR dB", "saturated"
        )?;
        for layer in &self.layers {
            let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
            let (name, op, shape) = (short(&layer.name), layer.op, shape.join("x"));
            write!(f, "{name:<24} {op:<18} {shape:>14} ")?;
            match layer.error {
                Some(e) => writeln!(
                    f,
                    "{:>10.4} {:>10.4} {:>10.4} {:>8.1} {:>8.2} %",
                    e.signal_rms, e.error_rms, e.error_max, e.snr_db, e.saturated_percent
                )?,
                None => writeln!(f, "units were removed or sorted: no counterpart")?,
            }
        }
        match &self.first_wrong {
            Some(name) => write!(
                f,
                "'{name}' is the first layer that goes wrong: below {WRONG_BELOW_DB} dB on {} inputs",
                self.inputs
            ),
            None => write!(
                f,
                "no layer goes below {WRONG_BELOW_DB} dB on {} inputs",
                self.inputs
            ),
        }
    }
}
