//! Batch normalization is an affine map per channel: it becomes part of the weights and biases before
//! it, or behind it, or a convolution of its own. So do constants that are added or multiplied, and a
//! normalization of the input.

use trainer::graph::{Graph, Node, Op, Parameter, ValueId, Window};

/// Replaces every [`Op::BatchNormalization`] and every sum and product with a constant where that is
/// possible. The function computed stays the same up to float rounding. No parameter may belong to two
/// nodes.
pub fn fold_batch_norm(graph: &mut Graph) {
    // Into what comes before, in order: a factor and then a summand both go there.
    let mut place = 0;
    while place < graph.nodes.len() {
        match Affine::of(graph, place).zip(linear_before(graph, place)) {
            Some((affine, linear)) if affine.suits_output(graph, linear) => {
                affine.fold_back(graph, linear, place);
            }
            _ => place += 1,
        }
    }
    for place in (0..graph.nodes.len()).rev() {
        let Some(affine) = Affine::of(graph, place) else {
            continue;
        };
        if let Some(linear) = affine.linear_behind(graph, place) {
            affine.fold_forward(graph, linear, place);
        } else {
            affine.stand_alone(graph, place);
        }
    }
    graph.remove_unused();
}

/// `factor·x + shift` along an axis.
struct Affine {
    /// The value mapped.
    input: ValueId,
    /// Along which factors and shifts change; of one element without.
    axis: Option<usize>,
    factors: Vec<f32>,
    shifts: Vec<f32>,
}

impl Affine {
    /// What a node does to one of its inputs, between which no quantized model rounds.
    fn of(graph: &Graph, place: usize) -> Option<Self> {
        let node = &graph.nodes[place];
        match node.op {
            Op::BatchNormalization { .. } => Self::of_normalization(graph, node),
            Op::Add | Op::Sub | Op::Mul | Op::Div => Self::of_constant(graph, node),
            _ => None,
        }
    }

    fn of_normalization(graph: &Graph, node: &Node) -> Option<Self> {
        let Op::BatchNormalization {
            scale,
            bias,
            mean,
            variance,
            epsilon,
        } = node.op
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
        Some(Self {
            input: node.inputs[0],
            axis: Some(0),
            factors,
            shifts,
        })
    }

    /// A constant that changes along one axis at most, beside a value that it does not enlarge.
    fn of_constant(graph: &Graph, node: &Node) -> Option<Self> {
        let constant = |value: ValueId| {
            let writer = graph.nodes.iter().find(|n| n.output == value)?;
            match writer.op {
                Op::Constant { value } => Some(graph.parameter(value)),
                _ => None,
            }
        };
        let [a, b] = [node.inputs[0], node.inputs[1]];
        let (input, constant, first) = match (constant(a), constant(b)) {
            (None, Some(constant)) => (a, constant, false),
            (Some(constant), None) => (b, constant, true),
            _ => return None,
        };
        let shape = &graph.value(node.output).shape;
        let missing = shape.len().checked_sub(constant.shape.len())?;
        let mut varies = (0..constant.shape.len()).filter(|&axis| constant.shape[axis] > 1);
        let axis = varies.next().map(|axis| axis + missing);
        if varies.next().is_some() || graph.value(input).shape != *shape {
            return None;
        }
        let values = constant.materialize();
        let (ones, zeros) = (vec![1.0; values.len()], vec![0.0; values.len()]);
        let each = |f: fn(f32) -> f32| values.iter().map(|&v| f(v)).collect::<Vec<f32>>();
        let (factors, shifts) = match (&node.op, first) {
            (Op::Add, _) => (ones, values),
            (Op::Sub, false) => (ones, each(|v| -v)),
            (Op::Sub, true) => (each(|_| -1.0), values),
            (Op::Mul, _) => (values, zeros),
            (Op::Div, false) => (each(f32::recip), zeros),
            _ => return None,
        };
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        (finite(&factors) && finite(&shifts)).then_some(Self {
            input,
            axis,
            factors,
            shifts,
        })
    }

    /// Whether it maps the output channels of a layer.
    fn suits_output(&self, graph: &Graph, linear: usize) -> bool {
        let node = &graph.nodes[linear];
        let last = graph.value(node.output).shape.len() - 1;
        let channels = if matches!(node.op, Op::Gemm { .. }) {
            last
        } else {
            0
        };
        self.axis.is_none_or(|axis| axis == channels)
    }

    fn at(values: &[f32], channel: usize) -> f32 {
        values[if values.len() == 1 { 0 } else { channel }]
    }

    /// `f·(W·x + b) + s = (f·W)·x + (f·b + s)`
    fn fold_back(&self, graph: &mut Graph, linear: usize, place: usize) {
        let channel = output_channel(graph, linear);
        scale_weights(graph, linear, |row, column| {
            Self::at(&self.factors, channel(row, column))
        });
        let rows = output_channels(graph, linear);
        let biases = biases(graph, linear, rows).into_iter().enumerate();
        let folded = biases
            .map(|(i, b)| b * Self::at(&self.factors, i) + Self::at(&self.shifts, i))
            .collect();
        set_bias(graph, linear, folded);
        let node = graph.nodes.remove(place);
        graph.nodes[linear].output = node.output;
    }

    /// The layer that alone reads what the node at `place` says, perhaps flattened. Padding would stand
    /// for another value before a shift than behind it.
    fn linear_behind(&self, graph: &Graph, place: usize) -> Option<usize> {
        let written = graph.nodes[place].output;
        let mut reader = only_reader(graph, written)?;
        let mut flat = graph.value(written).shape.len() == 1;
        if rounds(graph, self.input) || rounds(graph, written) {
            return None;
        }
        while let Op::Flatten = graph.nodes[reader].op {
            flat = true;
            reader = only_reader(graph, graph.nodes[reader].output)?;
        }
        let node = &graph.nodes[reader];
        let last = graph.value(written).shape.len() - 1;
        let suits = match node.op {
            // Channels of what is flattened, or the features themselves.
            Op::Gemm { .. } => self
                .axis
                .is_none_or(|axis| if flat { axis == 0 } else { axis == last }),
            Op::Conv {
                window, groups: 1, ..
            } => {
                let padded = window.padding != [0; 4] && self.shifts.iter().any(|&s| s != 0.0);
                !padded && self.axis.is_none_or(|axis| axis == 0)
            }
            _ => false,
        };
        (suits && !has_grid(graph, reader)).then_some(reader)
    }

    /// `W·(f·x + s) + b = (W·f)·x + (W·s + b)`
    fn fold_forward(&self, graph: &mut Graph, linear: usize, place: usize) {
        let Some(weight) = graph.nodes[linear].op.weight() else {
            return;
        };
        let (rows, values) = (
            graph.parameter(weight).shape[0],
            graph.parameter(weight).materialize(),
        );
        let columns = (values.len() / rows.max(1)).max(1);
        let channel = |column: usize| column * self.factors.len() / columns;
        let mut folded = biases(graph, linear, rows);
        for (bias, row) in folded.iter_mut().zip(values.chunks(columns)) {
            let shifted = row
                .iter()
                .enumerate()
                .map(|(c, w)| w * self.shifts[channel(c)]);
            *bias += shifted.sum::<f32>();
        }
        scale_weights(graph, linear, |_, column| self.factors[channel(column)]);
        set_bias(graph, linear, folded);
        let node = graph.nodes.remove(place);
        replace_input(graph, node.output, self.input);
    }

    /// A depthwise convolution of one tap for the channels of an image, a product and a sum for those of
    /// other values. Sums and products along other axes stay what they are.
    fn stand_alone(&self, graph: &mut Graph, place: usize) {
        let shape = graph.value(graph.nodes[place].output).shape.clone();
        if rounds(graph, self.input) && !is_normalization(&graph.nodes[place]) {
            return;
        }
        if shape.len() == 3 && self.axis == Some(0) {
            self.become_depthwise(graph, place);
        } else if is_normalization(&graph.nodes[place]) {
            self.become_arithmetic(graph, place);
        } else if matches!(graph.nodes[place].op, Op::Div) && self.axis.is_some() {
            let factors = self.constant(graph, place, "reciprocals", &self.factors);
            graph.nodes[place].op = Op::Mul;
            graph.nodes[place].inputs = vec![self.input, factors];
            // The new constant is written before it is read.
            let constant = graph.nodes.pop();
            constant
                .into_iter()
                .for_each(|c| graph.nodes.insert(place, c));
        }
    }

    fn become_depthwise(&self, graph: &mut Graph, place: usize) {
        let (name, channels) = (graph.nodes[place].name.clone(), self.factors.len());
        let mut add = |what: &str, shape: &[usize], values: &[f32]| {
            let name = format!("{name}.{what}");
            graph.add_parameter(Parameter::dense(name, shape, values.to_vec()))
        };
        let weight = add("factors", &[channels, 1, 1, 1], &self.factors);
        let bias = Some(add("shifts", &[channels], &self.shifts));
        graph.nodes[place].op = Op::Conv {
            weight,
            bias,
            window: Window::square(1, 1),
            dilation: [1, 1],
            groups: channels,
        };
        graph.nodes[place].inputs = vec![self.input];
    }

    /// `x·f`, then `+ s`.
    fn become_arithmetic(&self, graph: &mut Graph, place: usize) {
        let factors = self.constant(graph, place, "factors", &self.factors);
        let shifts = self.constant(graph, place, "shifts", &self.shifts);
        let constants = graph.nodes.split_off(graph.nodes.len() - 2);
        let mut product = graph.nodes[place].clone();
        product.name.push_str(".product");
        product.op = Op::Mul;
        product.inputs = vec![self.input, factors];
        product.output = self.new_value(graph, place, "product");
        graph.nodes[place].op = Op::Add;
        graph.nodes[place].inputs = vec![product.output, shifts];
        let before = constants.into_iter().chain([product]);
        graph.nodes.splice(place..place, before);
    }

    fn new_value(&self, graph: &mut Graph, place: usize, what: &str) -> ValueId {
        let mut value = graph.value(graph.nodes[place].output).clone();
        value.name = format!("{}.{what}", graph.nodes[place].name);
        value.quantization = None;
        graph.values.push(value);
        ValueId(graph.values.len() - 1)
    }

    /// A constant along the map's axis, whose node is the graph's last.
    fn constant(&self, graph: &mut Graph, place: usize, what: &str, values: &[f32]) -> ValueId {
        let rank = graph.value(self.input).shape.len();
        let mut shape = vec![1; rank];
        self.axis
            .into_iter()
            .for_each(|axis| shape[axis] = values.len());
        let name = format!("{}.{what}", graph.nodes[place].name);
        let parameter = Parameter::dense(name.clone(), &shape, values.to_vec());
        let value = graph.add_parameter(parameter);
        let output = self.new_value(graph, place, what);
        graph.values[output.0].shape = shape;
        graph.nodes.push(Node {
            name,
            op: Op::Constant { value },
            inputs: Vec::new(),
            output,
        });
        output
    }
}

fn is_normalization(node: &Node) -> bool {
    matches!(node.op, Op::BatchNormalization { .. })
}

/// Whether a quantized model rounds a value to integers.
fn rounds(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).quantization.is_some()
}

fn has_grid(graph: &Graph, node: usize) -> bool {
    let weight = graph.nodes[node].op.weight();
    weight.is_some_and(|id| graph.parameter(id).grid.is_some())
}

/// The layer that alone computes what the map at `place`, its only reader, reads.
fn linear_before(graph: &Graph, place: usize) -> Option<usize> {
    let between = Affine::of(graph, place)?.input;
    let linear = graph.nodes.iter().position(|n| n.output == between)?;
    let multiplies = graph.nodes[linear].op.weight().is_some();
    (only_reader(graph, between) == Some(place)
        && multiplies
        && !rounds(graph, between)
        && !has_grid(graph, linear))
    .then_some(linear)
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

/// Output channels of a layer with weights.
pub(super) fn output_channels(graph: &Graph, node: usize) -> usize {
    let shape = |id| &graph.parameter(id).shape;
    match graph.nodes[node].op {
        Op::ConvTranspose { weight, groups, .. } => shape(weight)[1] * groups,
        ref op => op.weight().map_or(0, |id| shape(id)[0]),
    }
}

/// The output channel that a weight belongs to, by the row and the column of its tensor.
fn output_channel(graph: &Graph, node: usize) -> impl Fn(usize, usize) -> usize + use<> {
    let transposed = match graph.nodes[node].op {
        Op::ConvTranspose { weight, groups, .. } => {
            let shape = &graph.parameter(weight).shape;
            Some((shape[0] / groups.max(1), shape[1], shape[2] * shape[3]))
        }
        _ => None,
    };
    move |row, column| match transposed {
        Some((in_group, per_group, taps)) => row / in_group * per_group + column / taps,
        None => row,
    }
}

/// Multiplies each weight by a factor of its row and column.
pub(super) fn scale_weights(graph: &mut Graph, node: usize, factor: impl Fn(usize, usize) -> f32) {
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

pub(super) fn biases(graph: &Graph, node: usize, rows: usize) -> Vec<f32> {
    let bias = graph.nodes[node].op.bias();
    bias.map_or_else(|| vec![0.0; rows], |id| graph.parameter(id).materialize())
}

pub(super) fn set_bias(graph: &mut Graph, node: usize, values: Vec<f32>) {
    let name = format!("{}.folded_bias", graph.nodes[node].name);
    let id = graph.add_parameter(Parameter::dense(name, &[values.len()], values));
    if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } | Op::ConvTranspose { bias, .. } =
        &mut graph.nodes[node].op
    {
        *bias = Some(id);
    }
}
