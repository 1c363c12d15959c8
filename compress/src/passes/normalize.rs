//! Batch normalization put back where it was folded away. An exported network has none left, and
//! retrains badly without: weights that go shift every layer behind them.

use crate::pipeline::{CompressError, Run};
use trainer::graph::{Graph, Node, Op, ParamId, Parameter, Parametrization, Value, ValueId};
use trainer::train::{DeviceChoice, TrainConfig, TrainError, activations};

/// Examples that a batch normalization begins with the statistics of.
const INPUTS: usize = 256;

/// Puts batch normalization where there is none, if the graph is going to be trained.
pub(super) fn for_training(run: &mut Run, train: &TrainConfig) -> Result<(), CompressError> {
    if run.trains(train) {
        let length = run.graph.value(run.graph.input).len().max(1);
        let some = (INPUTS * length).min(run.calibration.len());
        insert_batch_norm(&mut run.graph, &run.calibration[..some])?;
    }
    Ok(())
}

/// Share of a layer's mean variance that is added to each channel's, so that a channel of next to
/// nothing is not blown up.
const EPSILON: f64 = 1e-3;

/// Puts a batch normalization behind every convolution that has none. It begins as the identity: its
/// statistics are those of the convolution's output over the examples `inputs`, and it scales and
/// shifts back by the same. [`fold_batch_norm`](super::fold_batch_norm) ends it.
///
/// # Errors
/// When the graph does not run on the examples.
pub fn insert_batch_norm(graph: &mut Graph, inputs: &[f32]) -> Result<(), TrainError> {
    let mut moments: Vec<Option<Moments>> = graph
        .values
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let channels = value.shape.first().copied().unwrap_or(1);
            is_bare_convolution(graph, ValueId(place)).then(|| Moments::new(channels, value.len()))
        })
        .collect();
    activations(graph, inputs, DeviceChoice::Cpu, |value, elements| {
        if let Some(moments) = &mut moments[value.0] {
            moments.add(elements);
        }
    })?;
    for (place, moments) in moments.iter().enumerate() {
        if let Some(moments) = moments {
            moments.normalize(graph, ValueId(place));
        }
    }
    Ok(())
}

/// Whether there is a convolution that [`insert_batch_norm`] would normalize.
pub(super) fn has_bare_convolution(graph: &Graph) -> bool {
    let mut written = graph.nodes.iter().map(|node| node.output);
    written.any(|value| is_bare_convolution(graph, value))
}

/// Whether a convolution writes this value and no normalization alone reads it.
fn is_bare_convolution(graph: &Graph, value: ValueId) -> bool {
    let written = |node: &Node| node.output == value && matches!(node.op, Op::Conv { .. });
    let normalized = |node: &Node| {
        node.inputs.contains(&value) && matches!(node.op, Op::BatchNormalization { .. })
    };
    graph.nodes.iter().any(written) && !graph.nodes.iter().any(normalized)
}

/// Sums over examples and places, per channel.
struct Moments {
    channels: Vec<[f64; 2]>,
    /// Elements of a channel in one example.
    plane: usize,
    count: f64,
}

impl Moments {
    fn new(channels: usize, len: usize) -> Self {
        Self {
            channels: vec![[0.0; 2]; channels],
            plane: (len / channels.max(1)).max(1),
            count: 0.0,
        }
    }

    fn add(&mut self, elements: &[f32]) {
        let channels = self.channels.len();
        for (place, plane) in elements.chunks(self.plane).enumerate() {
            let [sum, squares] = &mut self.channels[place % channels];
            *sum += plane.iter().map(|&x| f64::from(x)).sum::<f64>();
            *squares += plane.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        }
        self.count += (elements.len() / channels.max(1)) as f64;
    }

    fn normalize(&self, graph: &mut Graph, value: ValueId) {
        let count = self.count.max(1.0);
        let mean: Vec<f32> = self
            .channels
            .iter()
            .map(|m| (m[0] / count) as f32)
            .collect();
        let variance = |m: &[f64; 2]| (m[1] / count - (m[0] / count).powi(2)).max(0.0);
        let factors = level(graph, value);
        let channels = self.channels.iter().zip(&factors);
        let variance: Vec<f64> = channels
            .map(|(m, k)| variance(m) * f64::from(*k).powi(2))
            .collect();
        let whole = variance.iter().sum::<f64>() / variance.len().max(1) as f64;
        let epsilon = ((EPSILON * whole) as f32).max(f32::MIN_POSITIVE);
        let variance: Vec<f32> = variance.into_iter().map(|v| v as f32).collect();
        let channels = variance.iter().zip(&factors);
        let scale = channels.map(|(v, k)| (v + epsilon).sqrt() / k).collect();
        let levelled = mean.iter().zip(&factors).map(|(m, k)| m * k).collect();
        insert(graph, value, [scale, mean, levelled, variance], epsilon);
    }
}

/// Euclidean norm of a filter as it would be drawn at random (He 2015).
const FILTER_NORM: f32 = std::f32::consts::SQRT_2;

/// Brings the filters that write a value to one norm, which the normalization behind them takes back:
/// steps and magnitudes then mean the same in all of them, whatever scale inputs have. The factor of
/// each.
fn level(graph: &mut Graph, value: ValueId) -> Vec<f32> {
    let writer = graph.nodes.iter().find(|n| n.output == value);
    let Some(Op::Conv { weight, bias, .. }) = writer.map(|n| n.op.clone()) else {
        return Vec::new();
    };
    let weights = &mut graph.parameters[weight.0];
    let filters = weights.shape[0].max(1);
    let len = (weights.len() / filters).max(1);
    let factor = |filter: &[f32]| {
        let norm = filter.iter().map(|w| w * w).sum::<f32>().sqrt();
        if norm > 0.0 { FILTER_NORM / norm } else { 1.0 }
    };
    let factors = match &mut weights.parametrization {
        Parametrization::Dense { values } | Parametrization::Masked { values, .. } => {
            let factors: Vec<f32> = values.chunks(len).map(factor).collect();
            let all = values.chunks_mut(len).zip(&factors);
            all.for_each(|(filter, k)| filter.iter_mut().for_each(|w| *w *= k));
            factors
        }
        _ => return vec![1.0; filters],
    };
    if let Some(bias) = bias {
        let biases = graph.parameters[bias.0].free_mut().iter_mut();
        biases.zip(&factors).for_each(|(b, k)| *b *= k);
    }
    factors
}

/// Between a value's writer and its readers.
fn insert(
    graph: &mut Graph,
    value: ValueId,
    [scale, bias, mean, variance]: [Vec<f32>; 4],
    epsilon: f32,
) {
    let Some(writer) = graph.nodes.iter().position(|n| n.output == value) else {
        return;
    };
    let name = format!("{}.norm", graph.nodes[writer].name);
    let mut add = |what: &str, values: Vec<f32>| -> ParamId {
        let shape = [values.len()];
        graph.add_parameter(Parameter::dense(format!("{name}.{what}"), &shape, values))
    };
    let op = Op::BatchNormalization {
        scale: add("scale", scale),
        bias: add("bias", bias),
        mean: add("mean", mean),
        variance: add("variance", variance),
        epsilon,
    };
    let before = ValueId(graph.values.len());
    graph.values.push(Value {
        name: format!("{name}_input"),
        ..graph.value(value).clone()
    });
    graph.nodes[writer].output = before;
    let node = Node {
        name,
        op,
        inputs: vec![before],
        output: value,
    };
    graph.nodes.insert(writer + 1, node);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::fold_batch_norm;
    use trainer::arch::Architecture;
    use trainer::data::{DataSpec, Splits};
    use trainer::train::predict;

    #[test]
    fn nothing_changes_until_something_is_trained() {
        let data: DataSpec = "glyphs:100".parse().expect("data");
        let Splits { train, .. } = data.load().expect("data");
        let architecture = Architecture::resolve("lenet-5-caffe").expect("known");
        let shape = &train.input_shape;
        let plain = architecture.build(shape, 10, 1).expect("builds");
        let mut graph = plain.clone();
        insert_batch_norm(&mut graph, &train.inputs).expect("runs");
        let normalizations = |graph: &Graph| {
            let is = |n: &&Node| matches!(n.op, Op::BatchNormalization { .. });
            graph.nodes.iter().filter(is).count()
        };
        assert_eq!(normalizations(&graph), 2, "one for each convolution");
        let outputs =
            |graph: &Graph| predict(graph, &train.inputs, DeviceChoice::Cpu).expect("runs");
        let expected = outputs(&plain);
        let close = |graph: &Graph| {
            let apart = outputs(graph)
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(apart < 1e-4 * largest, "{apart} of {largest}");
        };
        close(&graph);
        // Again, nothing is added.
        insert_batch_norm(&mut graph, &train.inputs).expect("runs");
        assert_eq!(normalizations(&graph), 2);
        fold_batch_norm(&mut graph);
        assert_eq!(graph.nodes.len(), plain.nodes.len());
        close(&graph);
    }
}
