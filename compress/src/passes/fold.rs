//! Batch normalization is an affine map per channel: it becomes part of the weights and biases before
//! it, or behind it, or a convolution of its own. So does a normalization of the input.

use trainer::graph::{Graph, Op, Parameter, ValueId, Window};

/// Replaces every [`Op::BatchNormalization`] where that is possible. The function computed stays the
/// same up to float rounding. No parameter may belong to two nodes.
pub fn fold_batch_norm(graph: &mut Graph) {
    for place in (0..graph.nodes.len()).rev() {
        let Some(affine) = Affine::of(graph, place) else {
            continue;
        };
        if let Some(linear) = linear_before(graph, place) {
            affine.fold_back(graph, linear, place);
        } else if let Some(linear) = linear_behind(graph, place) {
            affine.fold_forward(graph, linear, place);
        } else if graph.value(graph.nodes[place].output).shape.len() == 3 {
            affine.become_depthwise(graph, place);
        }
    }
    graph.remove_unused();
}

/// `factor·x + shift` per channel.
struct Affine {
    factors: Vec<f32>,
    shifts: Vec<f32>,
}

impl Affine {
    fn of(graph: &Graph, place: usize) -> Option<Self> {
        let Op::BatchNormalization {
            scale,
            bias,
            mean,
            variance,
            epsilon,
        } = graph.nodes[place].op
        else {
            return None;
        };
        let [scale, bias, mean, variance] =
            [scale, bias, mean, variance].map(|id| graph.parameter(id).materialize());
        let factors: Vec<f32> = scale
            .iter()
            .zip(&variance)
            .map(|(s, v)| s / (v + epsilon).sqrt())
            .collect();
        let shifts = bias
            .iter()
            .zip(mean.iter().zip(&factors))
            .map(|(b, (m, f))| b - m * f)
            .collect();
        Some(Self { factors, shifts })
    }

    /// `f·(W·x + b) + s = (f·W)·x + (f·b + s)`
    fn fold_back(&self, graph: &mut Graph, linear: usize, norm: usize) {
        scale_weights(graph, linear, |row, _| self.factors[row]);
        let biases = biases(graph, linear, self.factors.len());
        let folded = biases
            .iter()
            .zip(self.factors.iter().zip(&self.shifts))
            .map(|(b, (f, s))| b * f + s);
        set_bias(graph, linear, folded.collect());
        let node = graph.nodes.remove(norm);
        graph.nodes[linear].output = node.output;
    }

    /// `W·(f·x + s) + b = (W·f)·x + (W·s + b)`
    fn fold_forward(&self, graph: &mut Graph, linear: usize, norm: usize) {
        let Some(weight) = graph.nodes[linear].op.weight() else {
            return;
        };
        let (rows, values) = (
            graph.parameter(weight).shape[0],
            graph.parameter(weight).materialize(),
        );
        let columns = values.len() / rows.max(1);
        let channel = |column: usize| column * self.factors.len() / columns;
        let mut folded = biases(graph, linear, rows);
        for (bias, row) in folded.iter_mut().zip(values.chunks(columns.max(1))) {
            let shifted = row
                .iter()
                .enumerate()
                .map(|(c, w)| w * self.shifts[channel(c)]);
            *bias += shifted.sum::<f32>();
        }
        scale_weights(graph, linear, |_, column| self.factors[channel(column)]);
        set_bias(graph, linear, folded);
        let node = graph.nodes.remove(norm);
        replace_input(graph, node.output, node.inputs[0]);
    }

    /// A depthwise convolution of one tap.
    fn become_depthwise(&self, graph: &mut Graph, norm: usize) {
        let (name, channels) = (graph.nodes[norm].name.clone(), self.factors.len());
        let mut add = |what: &str, shape: &[usize], values: &[f32]| {
            let name = format!("{name}.{what}");
            graph.add_parameter(Parameter::dense(name, shape, values.to_vec()))
        };
        let weight = add("factors", &[channels, 1, 1, 1], &self.factors);
        let bias = Some(add("shifts", &[channels], &self.shifts));
        graph.nodes[norm].op = Op::Conv {
            weight,
            bias,
            window: Window::square(1, 1),
            dilation: [1, 1],
            groups: channels,
        };
    }
}

/// The layer that alone computes what the normalization at `place`, its only reader, reads.
fn linear_before(graph: &Graph, place: usize) -> Option<usize> {
    let between = graph.nodes[place].inputs[0];
    let linear = graph.nodes.iter().position(|n| n.output == between)?;
    (only_reader(graph, between) == Some(place) && graph.nodes[linear].op.weight().is_some())
        .then_some(linear)
}

/// The layer that alone reads what the normalization at `place` says, perhaps flattened. Padding
/// would stand for another value before the normalization than behind it.
fn linear_behind(graph: &Graph, place: usize) -> Option<usize> {
    let mut reader = only_reader(graph, graph.nodes[place].output)?;
    while let Op::Flatten = graph.nodes[reader].op {
        reader = only_reader(graph, graph.nodes[reader].output)?;
    }
    match graph.nodes[reader].op {
        Op::Gemm { .. } => Some(reader),
        Op::Conv {
            window, groups: 1, ..
        } => (window.padding == [0; 4]).then_some(reader),
        _ => None,
    }
}

fn only_reader(graph: &Graph, value: ValueId) -> Option<usize> {
    let reads = |place: &usize| graph.nodes[*place].inputs.contains(&value);
    let mut readers = (0..graph.nodes.len()).filter(reads);
    let first = readers.next()?;
    (readers.next().is_none() && graph.output != value).then_some(first)
}

fn replace_input(graph: &mut Graph, old: ValueId, new: ValueId) {
    let inputs = graph.nodes.iter_mut().flat_map(|n| &mut n.inputs);
    inputs.filter(|v| **v == old).for_each(|v| *v = new);
}

/// Multiplies each weight by a factor of its row and column.
fn scale_weights(graph: &mut Graph, node: usize, factor: impl Fn(usize, usize) -> f32) {
    let Some(id) = graph.nodes[node].op.weight() else {
        return;
    };
    let weight = &mut graph.parameters[id.0];
    let mut values = weight.materialize();
    let columns = (values.len() / weight.shape[0].max(1)).max(1);
    for (row, values) in values.chunks_mut(columns).enumerate() {
        for (column, w) in values.iter_mut().enumerate() {
            *w *= factor(row, column);
        }
    }
    *weight = Parameter::dense(weight.name.clone(), &weight.shape.clone(), values);
}

fn biases(graph: &Graph, node: usize, rows: usize) -> Vec<f32> {
    let bias = graph.nodes[node].op.bias();
    bias.map_or_else(|| vec![0.0; rows], |id| graph.parameter(id).materialize())
}

fn set_bias(graph: &mut Graph, node: usize, values: Vec<f32>) {
    let name = format!("{}.folded_bias", graph.nodes[node].name);
    let id = graph.add_parameter(Parameter::dense(name, &[values.len()], values));
    if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } = &mut graph.nodes[node].op {
        *bias = Some(id);
    }
}
