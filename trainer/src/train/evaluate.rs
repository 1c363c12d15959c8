use super::TrainError;
use super::config::DeviceChoice;
use super::execute::{Network, host};
use crate::data::Dataset;
use crate::graph::{Graph, Op, ValueId};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One measured error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Always `error_percent` so far.
    pub metric: String,
    /// Percent.
    pub value: f64,
    /// Which examples.
    pub split: String,
    /// How many.
    pub n: usize,
}

impl Measure {
    /// An error in percent over `n` examples of a split.
    pub fn error_percent(value: f64, split: &str, n: usize) -> Self {
        Self {
            metric: "error_percent".into(),
            value,
            split: split.into(),
            n,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            value, split, n, ..
        } = self;
        write!(f, "{value:.2} % error on {n} {split} examples")
    }
}

/// Examples executed at once: enough to keep matrix kernels busy, small enough for the cache.
const BATCH: usize = 250;

/// The outputs of examples laid out one after the other, `[n, outputs]`.
///
/// # Errors
/// When the inputs are no whole number of examples or the device is absent.
pub fn predict(
    graph: &Graph,
    inputs: &[f32],
    device: DeviceChoice,
) -> Result<Vec<f32>, TrainError> {
    let device = device.device()?;
    let length = example_length(graph, inputs)?;
    let outputs: Vec<Vec<f32>> = inputs
        .par_chunks(length * BATCH)
        .map(|batch| {
            let mut network = Network::for_inference(graph, &device);
            let x = Tensor::from_data(
                TensorData::new(batch.to_vec(), [batch.len() / length, length]),
                &device,
            );
            host(network.forward(x, false, |_, _| {}))
        })
        .collect();
    Ok(outputs.concat())
}

/// Elements of one example, of which the inputs must be a whole number.
fn example_length(graph: &Graph, inputs: &[f32]) -> Result<usize, TrainError> {
    let value = graph.value(graph.input);
    if inputs.len().is_multiple_of(value.len().max(1)) {
        return Ok(value.len().max(1));
    }
    Err(TrainError::InputShape {
        model: value.shape.clone(),
        data: vec![inputs.len()],
    })
}

/// Percentage of examples whose largest output is not at the label.
///
/// # Errors
/// When the data does not fit the model or an output is not a number.
pub fn error_percent(
    graph: &Graph,
    data: &Dataset,
    device: DeviceChoice,
) -> Result<f64, TrainError> {
    let said = classes(graph, data, device)?;
    let wrong = said.iter().zip(&data.labels).filter(|(said, l)| said != l);
    Ok(100.0 * wrong.count() as f64 / data.len().max(1) as f64)
}

/// How well a model does on labelled examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Percentage whose largest output is not at the label.
    pub error: f64,
    /// Mean cross-entropy in nats; outputs of a final softmax are taken for the probabilities they
    /// are, others for logits.
    pub loss: f64,
}

/// Error and loss together, from one pass over the data.
///
/// # Errors
/// When the data does not fit the model or an output is not a number.
pub fn fit_of(graph: &Graph, data: &Dataset, device: DeviceChoice) -> Result<Fit, TrainError> {
    let outputs = outputs(graph, data, device)?;
    let width = graph.value(graph.output).len().max(1);
    let (mut wrong, mut loss) = (0, 0.0);
    for (output, &label) in outputs.chunks(width).zip(&data.labels) {
        wrong += usize::from(argmax(output) != label as usize);
        loss += cross_entropy(output, label as usize, ends_in_probabilities(graph));
    }
    let examples = data.len().max(1) as f64;
    Ok(Fit {
        error: 100.0 * f64::from(wrong as u32) / examples,
        loss: loss / examples,
    })
}

fn ends_in_probabilities(graph: &Graph) -> bool {
    let last = graph.nodes.iter().find(|node| node.output == graph.output);
    last.is_some_and(|node| matches!(node.op, Op::Softmax { .. }))
}

fn cross_entropy(outputs: &[f32], label: usize, probabilities: bool) -> f64 {
    let at = |i: usize| outputs.get(i).copied().map_or(0.0, f64::from);
    if probabilities {
        return -at(label).max(f64::from(f32::MIN_POSITIVE)).ln();
    }
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = outputs.iter().map(|&o| f64::from(o - most).exp()).sum();
    sum.ln() + f64::from(most) - at(label)
}

/// The place of the largest output for each example; of equals the first.
///
/// # Errors
/// When the data does not fit the model or an output is not a number.
pub fn classes(
    graph: &Graph,
    data: &Dataset,
    device: DeviceChoice,
) -> Result<Vec<u32>, TrainError> {
    let outputs = outputs(graph, data, device)?;
    let width = graph.value(graph.output).len().max(1);
    Ok(outputs.chunks(width).map(|o| argmax(o) as u32).collect())
}

/// What a model says of each example, all of it numbers.
fn outputs(graph: &Graph, data: &Dataset, device: DeviceChoice) -> Result<Vec<f32>, TrainError> {
    check_fit(graph, data)?;
    check_labelled(data)?;
    let outputs = predict(graph, &data.inputs, device)?;
    let width = graph.value(graph.output).len().max(1);
    match outputs.iter().position(|o| o.is_nan()) {
        Some(place) => Err(TrainError::NotANumber {
            example: place / width,
        }),
        None => Ok(outputs),
    }
}

/// Whether a model can learn or be measured on this data.
///
/// # Errors
/// When inputs differ in size, the model has fewer outputs than there are classes, or a label is none
/// of the classes.
pub fn check_fit(graph: &Graph, data: &Dataset) -> Result<(), TrainError> {
    let (model, outputs) = (
        &graph.value(graph.input).shape,
        graph.value(graph.output).len(),
    );
    if model.iter().product::<usize>() != data.input_len() {
        return Err(TrainError::InputShape {
            model: model.clone(),
            data: data.input_shape.clone(),
        });
    }
    if outputs < data.classes {
        return Err(TrainError::Classes {
            outputs,
            classes: data.classes,
        });
    }
    let known = |key: &str| graph.metadata.get(key).map(String::as_str);
    check_meaning(known, data)?;
    check_labels(data)
}

/// Whether a model's inputs mean what the data's do, as far as both say: `known` is the model's
/// metadata by their keys.
///
/// # Errors
/// When they do not.
pub fn check_meaning<'m>(
    known: impl Fn(&str) -> Option<&'m str>,
    data: &Dataset,
) -> Result<(), TrainError> {
    for (key, data) in &data.metadata {
        if let Some(model) = known(key).filter(|model| model != data) {
            return Err(TrainError::Meaning {
                model: model.to_owned(),
                data: data.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses examples without labels.
///
/// # Errors
/// When there are some without.
pub fn check_labelled(data: &Dataset) -> Result<(), TrainError> {
    if data.is_labelled() {
        return Ok(());
    }
    Err(TrainError::Unlabelled)
}

fn check_labels(data: &Dataset) -> Result<(), TrainError> {
    let classes = data.classes;
    let wrong = data.labels.iter().position(|&l| l as usize >= classes);
    wrong.map_or(Ok(()), |example| {
        let label = data.labels[example];
        Err(TrainError::Label {
            example,
            label,
            classes,
        })
    })
}

pub(super) fn argmax(values: &[f32]) -> usize {
    let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, better)
}

/// Shows every value of every example, batch by batch: `visit(value, elements)`.
///
/// # Errors
/// When the inputs do not fit the model or the device is absent.
pub fn activations(
    graph: &Graph,
    inputs: &[f32],
    device: DeviceChoice,
    mut visit: impl FnMut(ValueId, &[f32]),
) -> Result<(), TrainError> {
    let device = device.device()?;
    let length = example_length(graph, inputs)?;
    let mut network = Network::for_inference(graph, &device);
    for batch in inputs.chunks(length * BATCH) {
        let x = Tensor::from_data(
            TensorData::new(batch.to_vec(), [batch.len() / length, length]),
            &device,
        );
        network.forward(x, false, |value, tensor| {
            visit(value, &host(tensor.clone()))
        });
    }
    Ok(())
}
