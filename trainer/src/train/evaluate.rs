use super::TrainError;
use super::config::DeviceChoice;
use super::execute::{Network, host};
use crate::data::Dataset;
use crate::graph::{Graph, ValueId};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

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
    let length = graph.value(graph.input).len().max(1);
    if !inputs.len().is_multiple_of(length) {
        let model = graph.value(graph.input).shape.clone();
        return Err(TrainError::InputShape {
            model,
            data: vec![inputs.len()],
        });
    }
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

/// Percentage of examples whose largest output is not at the label.
///
/// # Errors
/// When the data does not fit the model or an output is not a number.
pub fn error_percent(
    graph: &Graph,
    data: &Dataset,
    device: DeviceChoice,
) -> Result<f64, TrainError> {
    check_fit(graph, data)?;
    let outputs = predict(graph, &data.inputs, device)?;
    if let Some(bad) = outputs.iter().find(|o| o.is_nan()) {
        return Err(TrainError::Diverged {
            epoch: 0,
            loss: *bad as f64,
            learning_rate: 0.0,
        });
    }
    let width = graph.value(graph.output).len();
    let wrong = outputs
        .chunks(width)
        .zip(&data.labels)
        .filter(|(o, label)| argmax(o) != **label as usize)
        .count();
    Ok(100.0 * wrong as f64 / data.len().max(1) as f64)
}

pub(super) fn check_fit(graph: &Graph, data: &Dataset) -> Result<(), TrainError> {
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
    Ok(())
}

fn argmax(values: &[f32]) -> usize {
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
    let length = graph.value(graph.input).len().max(1);
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
