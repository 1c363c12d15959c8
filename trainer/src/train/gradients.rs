//! Gradients for a pass to look at: how the loss would change with each weight, living or not.

use super::TrainError;
use super::config::DeviceChoice;
use super::evaluate::check_fit;
use super::execute::{Network, host};
use super::fit::check_gradients;
use crate::data::Dataset;
use crate::graph::Graph;
use burn::tensor::{Device, Tensor, TensorData, activation};
use rayon::prelude::*;

/// Examples differentiated at once.
const BATCH: usize = 64;

/// The gradient of the mean cross-entropy with respect to every parameter *as materialized*: entries
/// that a mask hides have theirs too. As in use: nothing is dropped, and normalization goes by the
/// running statistics. A parameter that nothing depends on has zeros.
///
/// # Errors
/// When the data does not fit the model, an operator has no gradient, or the device is absent.
pub fn gradients(
    graph: &Graph,
    data: &Dataset,
    device: DeviceChoice,
) -> Result<Vec<Vec<f32>>, TrainError> {
    check_fit(graph, data)?;
    check_gradients(graph)?;
    let device = device.device()?;
    let places: Vec<usize> = (0..data.len()).collect();
    let parts = places.par_chunks(BATCH);
    let parts: Vec<Vec<Vec<f32>>> = parts
        .map(|part| of_part(graph, data, part, &device))
        .collect();
    let zeros = graph.parameters.iter().map(|p| vec![0.0; p.len()]);
    let mut sums: Vec<Vec<f32>> = zeros.collect();
    for (sum, more) in parts.iter().flat_map(|part| (0..).zip(part)) {
        let sum: &mut Vec<f32> = &mut sums[sum];
        let pairs = sum.iter_mut().zip(more);
        pairs.for_each(|(a, b)| *a += b);
    }
    Ok(sums)
}

/// What some examples add.
fn of_part(graph: &Graph, data: &Dataset, part: &[usize], device: &Device) -> Vec<Vec<f32>> {
    let mut network = Network::for_gradients(graph, device);
    let device = network.device().clone();
    let some = data.subset(part);
    let shape = [part.len(), data.input_len()];
    let x = Tensor::from_data(TensorData::new(some.inputs, shape), &device);
    let width = graph.value(graph.output).len();
    let mut targets = vec![0.0; part.len() * width];
    for (row, &label) in targets.chunks_mut(width).zip(&some.labels) {
        row[label as usize] = 1.0;
    }
    let targets = Tensor::from_data(TensorData::new(targets, [part.len(), width]), &device);
    let logits = network.forward(x, true, |_, _| {});
    let loss = (activation::log_softmax(logits, 1) * targets).sum();
    let mut gradients = loss.div_scalar(-(data.len() as f32)).backward();
    let gradient = |tensor: &Tensor<1>| tensor.grad_remove(&mut gradients).map(host);
    let gradients = network.parameters().iter().map(gradient);
    gradients.map(Option::unwrap_or_default).collect()
}
