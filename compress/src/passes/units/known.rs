//! What is the same for every example: units without inputs, and all that is computed from them.

use super::arrange::{Source, sources, spread};
use trainer::graph::strides::Split;
use trainer::graph::{Graph, Node, Op, ParamId, ValueId, reference};

/// An element where it does not depend on the network's input.
pub(super) type Known = Option<f32>;

/// For each value its elements.
pub(super) fn known(graph: &Graph) -> Vec<Vec<Known>> {
    // What depends on nothing is what any example shows.
    let example = vec![0.0; graph.value(graph.input).len()];
    let shown = reference::run_all(graph, &example);
    let mut known = vec![Vec::new(); graph.values.len()];
    known[graph.input.0] = vec![None; example.len()];
    for node in &graph.nodes {
        let depends_on_none = Follower {
            graph,
            known: &known,
        }
        .node(node);
        let elements = depends_on_none.into_iter().zip(&shown[node.output.0]);
        known[node.output.0] = elements.map(|(known, &v)| known.then_some(v)).collect();
    }
    known
}

/// What all these elements are, where that is one number; where padding stands beside them, only 0.
pub(super) fn constant(mut elements: impl Iterator<Item = Known>, padded: bool) -> Known {
    let first = elements.next()??;
    let same = elements.all(|other| other == Some(first));
    (same && (first == 0.0 || !padded)).then_some(first)
}

struct Follower<'a> {
    graph: &'a Graph,
    known: &'a [Vec<Known>],
}

impl Follower<'_> {
    fn node(&self, node: &Node) -> Vec<bool> {
        let len = self.graph.value(node.output).len();
        if let Some(sources) = sources(self.graph, node) {
            let known = |source: &Source| match *source {
                Source::Element { input, place } => self.of(node.inputs[input])[place].is_some(),
                Source::Padding { .. } => true,
            };
            return sources.iter().map(known).collect();
        }
        match &node.op {
            Op::Gemm { weight, .. } => self.product(node.inputs[0], *weight),
            Op::Conv {
                weight,
                window,
                groups,
                ..
            } => {
                let padded = window.padding != [0; 4];
                self.convolution(node.inputs[0], *weight, *groups, padded, len)
            }
            Op::MaxPool { .. } | Op::AveragePool { .. } | Op::GlobalAveragePool => {
                let split = Split::new(&self.graph.value(node.inputs[0]).shape, 0);
                let plane = len / split.size;
                let channels = self.of(node.inputs[0]).chunks(split.inner);
                let known = channels.map(all_known);
                known.flat_map(|k| std::iter::repeat_n(k, plane)).collect()
            }
            Op::BatchNormalization { .. } | Op::PRelu { .. } => {
                self.of(node.inputs[0]).iter().map(Known::is_some).collect()
            }
            Op::Add | Op::Sub | Op::Mul | Op::Div => {
                let shape = &self.graph.value(node.output).shape;
                let places = node
                    .inputs
                    .iter()
                    .map(|&v| (v, spread(&self.graph.value(v).shape, shape)));
                let places: Vec<(ValueId, Vec<usize>)> = places.collect();
                let known = |i: usize| {
                    places
                        .iter()
                        .all(|(v, places)| self.of(*v)[places[i]].is_some())
                };
                (0..len).map(known).collect()
            }
            _ => vec![node.inputs.iter().all(|&v| all_known(self.of(v))); len],
        }
    }

    fn of(&self, value: ValueId) -> &[Known] {
        &self.known[value.0]
    }

    /// A row whose weights read nothing unknown.
    fn product(&self, input: ValueId, weight: ParamId) -> Vec<bool> {
        let weight = self.graph.parameter(weight);
        let (columns, values) = (weight.shape[1], weight.materialize());
        let row = |x: &[Known], row: &[f32]| {
            let mut pairs = row.iter().zip(x);
            pairs.all(|(&w, x)| w == 0.0 || x.is_some())
        };
        let lines = self.of(input).chunks(columns);
        lines
            .flat_map(|x| values.chunks(columns).map(move |w| row(x, w)))
            .collect()
    }

    /// A filter whose weights read nothing but planes that are one number, also at their borders.
    fn convolution(
        &self,
        input: ValueId,
        weight: ParamId,
        groups: usize,
        padded: bool,
        len: usize,
    ) -> Vec<bool> {
        let plane = Split::new(&self.graph.value(input).shape, 0).inner;
        let channels = self.of(input).chunks(plane);
        let flat = channels.map(|c| constant(c.iter().copied(), padded).is_some());
        let flat: Vec<bool> = flat.collect();
        let weight = self.graph.parameter(weight);
        let (out, values) = (weight.shape[0], weight.materialize());
        let (each, taps) = (weight.shape[1], weight.shape[2] * weight.shape[3]);
        let filter = |o: usize| {
            let first = o / (out / groups) * each;
            let kernels = values[o * each * taps..(o + 1) * each * taps].chunks(taps);
            let mut kernels = kernels.zip(&flat[first..first + each]);
            kernels.all(|(kernel, &flat)| flat || kernel.iter().all(|&w| w == 0.0))
        };
        let plane = len / out;
        (0..out)
            .flat_map(|o| std::iter::repeat_n(filter(o), plane))
            .collect()
    }
}

fn all_known(elements: &[Known]) -> bool {
    elements.iter().all(Known::is_some)
}
