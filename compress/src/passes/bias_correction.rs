//! Bias correction (Nagel et al. 2019, section 4.2): rounding the weights of a layer shifts the mean of
//! its outputs; the shift, measured on data, is taken off the biases.

use super::fold::{biases, output_channels, set_bias};
use std::collections::HashMap;
use trainer::graph::{Graph, Op, ValueId};
use trainer::train::{DeviceChoice, TrainError, activations};

/// Corrects the biases of all layers with weights, first to last, so that each channel's mean on the
/// inputs `[n, …]` is that of `float`: the same graph before its weights and values were quantized.
/// Returns how many layers were corrected.
///
/// # Errors
/// When a graph does not run on the inputs.
pub fn correct_biases(
    graph: &mut Graph,
    float: &Graph,
    inputs: &[f32],
) -> Result<usize, TrainError> {
    let expected = channel_means(float, inputs)?;
    let layers: Vec<usize> = (0..graph.nodes.len())
        .filter(|&node| is_layer(&graph.nodes[node].op))
        .collect();
    for &layer in &layers {
        // Each correction moves what the layers behind it read.
        let found = channel_means(graph, inputs)?;
        let output = graph.nodes[layer].output;
        let (Some(expected), Some(found)) = (expected.get(&output), found.get(&output)) else {
            continue;
        };
        let channels = output_channels(graph, layer);
        let corrected = biases(graph, layer, channels)
            .iter()
            .zip(expected.iter().zip(found))
            .map(|(bias, (expected, found))| bias + (expected - found) as f32)
            .collect();
        set_bias(graph, layer, corrected);
    }
    Ok(layers.len())
}

fn is_layer(op: &Op) -> bool {
    op.weight().is_some()
}

/// The mean of each output channel of the layers.
fn channel_means(graph: &Graph, inputs: &[f32]) -> Result<HashMap<ValueId, Vec<f64>>, TrainError> {
    // Rounded outputs would hide the shift where a range clips them.
    let mut graph = graph.clone();
    for node in &graph.nodes {
        if is_layer(&node.op) {
            graph.values[node.output.0].quantization = None;
        }
    }
    let layers = graph.nodes.iter().enumerate();
    let layers: HashMap<ValueId, (usize, bool)> = layers
        .filter(|(_, node)| is_layer(&node.op))
        .map(|(i, node)| {
            let last = matches!(node.op, Op::Gemm { .. });
            (node.output, (output_channels(&graph, i), last))
        })
        .collect();
    let mut sums: HashMap<ValueId, Vec<f64>> = HashMap::new();
    let mut counts: HashMap<ValueId, usize> = HashMap::new();
    activations(&graph, inputs, DeviceChoice::Cpu, |id, values| {
        let Some(&(channels, last)) = layers.get(&id) else {
            return;
        };
        let sums = sums.entry(id).or_insert_with(|| vec![0.0; channels]);
        let places = (graph.value(id).len() / channels.max(1)).max(1);
        for (i, &value) in values.iter().enumerate() {
            let channel = if last { i } else { i / places } % channels.max(1);
            sums[channel] += f64::from(value);
        }
        *counts.entry(id).or_default() += values.len() / channels.max(1);
    })?;
    for (id, sums) in &mut sums {
        let count = counts.get(id).copied().unwrap_or(1).max(1) as f64;
        sums.iter_mut().for_each(|sum| *sum /= count);
    }
    Ok(sums)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::passes::codebook::per_tensor_grid;
    use crate::passes::weights;
    use trainer::graph::{Parameter, Window, reference};

    fn parameter(graph: &mut Graph, shape: &[usize]) -> trainer::graph::ParamId {
        let len: usize = shape.iter().product();
        let value = |i: usize| ((i * 7919 + len * 31) % 1009) as f32 / 1009.0 - 0.45;
        let name = format!("p{}", graph.parameters.len());
        graph.add_parameter(Parameter::dense(name, shape, (0..len).map(value).collect()))
    }

    fn network() -> Graph {
        let mut g = Graph::new("g", "x", &[2, 6, 6]);
        let op = Op::Conv {
            weight: parameter(&mut g, &[8, 2, 3, 3]),
            bias: None,
            window: Window::square(3, 1),
            dilation: [1, 1],
            groups: 1,
        };
        let x = g.push("a", op, &[ValueId(0)]).unwrap();
        let x = g.push("b", Op::Relu, &[x]).unwrap();
        let x = g.push("c", Op::Flatten, &[x]).unwrap();
        let op = Op::Gemm {
            weight: parameter(&mut g, &[5, 128]),
            bias: Some(parameter(&mut g, &[5])),
        };
        g.push("d", op, &[x]).unwrap();
        g
    }

    /// Inputs that are all positive, so that rounding errors of weights do not cancel.
    fn inputs() -> Vec<f32> {
        (0..30 * 72)
            .map(|i| ((i * 37) % 101) as f32 / 100.0)
            .collect()
    }

    fn mean_error(float: &Graph, graph: &Graph) -> f64 {
        let inputs = inputs();
        let mut errors = vec![0.0f64; 5];
        for input in inputs.chunks(72) {
            let (a, b) = (reference::run(float, input), reference::run(graph, input));
            let apart = a.iter().zip(&b).map(|(a, b)| f64::from(b - a));
            errors.iter_mut().zip(apart).for_each(|(e, d)| *e += d);
        }
        errors.iter().map(|e| e.abs()).fold(0.0, f64::max) / 30.0
    }

    #[test]
    fn means_are_what_they_were_before_the_weights_were_rounded() {
        let float = network();
        let mut graph = float.clone();
        // Two bits: −1, 0, 1.
        weights(&float)
            .into_iter()
            .for_each(|id| per_tensor_grid(&mut graph, id, 1));
        let before = mean_error(&float, &graph);
        assert_eq!(correct_biases(&mut graph, &float, &inputs()).unwrap(), 2);
        let after = mean_error(&float, &graph);
        assert!(
            before > 0.1 && after < before / 1000.0,
            "{before} became {after}"
        );
    }
}
