//! Batch normalization after a convolution or dense layer is an affine map per channel: it becomes
//! part of the weights and biases.

use trainer::graph::{Graph, Op, Parameter};

/// Folds every [`Op::BatchNormalization`] whose input comes from a convolution or dense layer that
/// nothing else reads. The function computed stays the same up to float rounding.
pub fn fold_batch_norm(graph: &mut Graph) {
    let mut place = 0;
    while place < graph.nodes.len() {
        match producer(graph, place) {
            Some(linear) => fold(graph, linear, place),
            None => place += 1,
        }
    }
}

/// The foldable layer before the batch normalization at `place`.
fn producer(graph: &Graph, place: usize) -> Option<usize> {
    let node = &graph.nodes[place];
    let Op::BatchNormalization { .. } = node.op else {
        return None;
    };
    let between = node.inputs[0];
    let readers = graph
        .nodes
        .iter()
        .flat_map(|n| &n.inputs)
        .filter(|&&v| v == between)
        .count();
    let linear = graph.nodes.iter().position(|n| n.output == between)?;
    (readers == 1 && graph.nodes[linear].op.weight().is_some()).then_some(linear)
}

fn fold(graph: &mut Graph, linear: usize, norm: usize) {
    let node = graph.nodes.remove(norm);
    let Op::BatchNormalization {
        scale,
        bias,
        mean,
        variance,
        epsilon,
    } = node.op
    else {
        return;
    };
    let [scale, shift, mean, variance] =
        [scale, bias, mean, variance].map(|id| graph.parameter(id).materialize());
    let factors: Vec<f32> = scale
        .iter()
        .zip(&variance)
        .map(|(s, v)| s / (v + epsilon).sqrt())
        .collect();
    if let Some(weight) = graph.nodes[linear].op.weight() {
        scale_rows(&mut graph.parameters[weight.0], &factors);
    }
    let name = format!("{}.folded_bias", graph.nodes[linear].name);
    let old = graph.nodes[linear]
        .op
        .bias()
        .map(|id| graph.parameter(id).materialize());
    let old = old.unwrap_or_else(|| vec![0.0; factors.len()]);
    let biases = (0..factors.len())
        .map(|i| (old[i] - mean[i]) * factors[i] + shift[i])
        .collect();
    let id = graph.add_parameter(Parameter::dense(name, &[factors.len()], biases));
    if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } = &mut graph.nodes[linear].op {
        *bias = Some(id);
    }
    graph.nodes[linear].output = node.output;
    graph.remove_unused();
}

fn scale_rows(weight: &mut Parameter, factors: &[f32]) {
    let mut values = weight.materialize();
    let columns = values.len() / factors.len().max(1);
    for (row, &factor) in values.chunks_mut(columns.max(1)).zip(factors) {
        row.iter_mut().for_each(|w| *w *= factor);
    }
    *weight = Parameter::dense(weight.name.clone(), &weight.shape.clone(), values);
}
