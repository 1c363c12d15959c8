//! Cross-layer equalization (Nagel et al. 2019, section 4.1): a unit's incoming weights divided and its
//! outgoing ones multiplied by the same factor leave the function as it is where nothing but a ReLU
//! stands between them, and bring the ranges of all units of both layers together, so that one step
//! size serves them all.

use super::choice::is_bound;
use super::fold::{biases, scale_weights, set_bias};
use trainer::graph::{Graph, Op, Parameter, ValueId};

/// Passes over all pairs; the factors of a chain settle within a few.
const SWEEPS: usize = 20;

/// Smallest change of a factor that is worth another sweep.
const SETTLED: f32 = 1e-3;

/// Equalizes pairs of layers until nothing changes; returns how many pairs there are. The function
/// computed stays the same up to float rounding. No parameter may belong to two nodes.
pub fn equalize(graph: &mut Graph) -> usize {
    let pairs = pairs(graph);
    for _ in 0..SWEEPS {
        let moved = pairs.iter().map(|pair| pair.equalize(graph));
        if moved.fold(0.0, f32::max) < SETTLED {
            break;
        }
    }
    pairs.len()
}

/// A layer whose output another one alone reads.
struct Pair {
    first: usize,
    second: usize,
}

fn pairs(graph: &Graph) -> Vec<Pair> {
    (0..graph.nodes.len())
        .filter(|&first| is_layer(&graph.nodes[first].op))
        .filter_map(|first| {
            Some(Pair {
                first,
                second: second(graph, first)?,
            })
        })
        .collect()
}

fn is_layer(op: &Op) -> bool {
    matches!(op, Op::Gemm { .. } | Op::Conv { .. })
}

fn only_reader(graph: &Graph, value: ValueId) -> Option<usize> {
    let mut readers = (0..graph.nodes.len()).filter(|&i| graph.nodes[i].inputs.contains(&value));
    let first = readers.next()?;
    (readers.next().is_none() && graph.output != value).then_some(first)
}

/// The layer behind a layer, with nothing but what a positive factor passes through between them.
fn second(graph: &Graph, first: usize) -> Option<usize> {
    let mut at = first;
    let channels = units(graph, first)?;
    loop {
        // What is rounded to given integers stays as it is.
        let output = graph.nodes[at].output;
        if graph.value(output).quantization.is_some() || has_grid(graph, at) {
            return None;
        }
        at = only_reader(graph, output)?;
        match &graph.nodes[at].op {
            Op::Relu
            | Op::Dropout { .. }
            | Op::Flatten
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool => {}
            Op::Gemm { .. } | Op::Conv { .. } => break,
            _ => return None,
        }
    }
    let (input, out) = (
        &graph.value(graph.nodes[at].inputs[0]).shape,
        &graph.value(graph.nodes[first].output).shape,
    );
    let suits = match graph.nodes[at].op {
        Op::Conv { .. } => input.len() == 3 && input[0] == channels,
        // Each unit's places follow one another.
        Op::Gemm { .. } => input.len() == 1 && (out.len() == 3 || out.len() == 1),
        _ => false,
    };
    (suits && !has_grid(graph, at)).then_some(at)
}

fn has_grid(graph: &Graph, node: usize) -> bool {
    let weight = graph.nodes[node].op.weight();
    let fixed = |p: &Parameter| p.grid.is_some() || is_bound(p);
    weight.is_some_and(|id| fixed(graph.parameter(id)))
}

fn units(graph: &Graph, node: usize) -> Option<usize> {
    let weight = graph.nodes[node].op.weight()?;
    graph.parameter(weight).shape.first().copied()
}

impl Pair {
    /// Brings the ranges of each unit's incoming and outgoing weights together; returns the largest
    /// relative change.
    fn equalize(&self, graph: &mut Graph) -> f32 {
        let Some(units) = units(graph, self.first) else {
            return 0.0;
        };
        let unit = self.unit_read(graph, units);
        let incoming = ranges(graph, self.first, units, |row, _| row);
        let outgoing = ranges(graph, self.second, units, &unit);
        let factor = |(&a, &b): (&f32, &f32)| {
            let even = (b / a).sqrt();
            // A unit without weights on one side has nothing to balance.
            if a > 0.0 && b > 0.0 && even.is_finite() && even > 0.0 {
                even
            } else {
                1.0
            }
        };
        let factors: Vec<f32> = incoming.iter().zip(&outgoing).map(factor).collect();
        scale_weights(graph, self.first, |row, _| factors[row]);
        let biases = biases(graph, self.first, units);
        if graph.nodes[self.first].op.bias().is_some() {
            let scaled = biases.iter().zip(&factors).map(|(b, f)| b * f);
            set_bias(graph, self.first, scaled.collect());
        }
        scale_weights(graph, self.second, |row, column| {
            factors[unit(row, column)].recip()
        });
        let change = |f: &f32| (f - 1.0).abs();
        factors.iter().map(change).fold(0.0, f32::max)
    }

    /// The unit of the first layer that a weight of the second reads, by its row and column.
    fn unit_read(&self, graph: &Graph, units: usize) -> impl Fn(usize, usize) -> usize + use<> {
        let op = &graph.nodes[self.second].op;
        let (rows, columns) = match op.weight().map(|id| &graph.parameter(id).shape) {
            Some(shape) => (shape[0], shape[1..].iter().product::<usize>()),
            None => (1, 1),
        };
        let groups = match *op {
            Op::Conv { groups, .. } => groups,
            _ => 1,
        };
        let per_group = units / groups.max(1);
        let columns_per_unit = (columns / per_group.max(1)).max(1);
        let rows_per_group = (rows / groups.max(1)).max(1);
        move |row, column| row / rows_per_group * per_group + column / columns_per_unit
    }
}

/// The largest magnitude among the weights of each unit.
fn ranges(
    graph: &Graph,
    node: usize,
    units: usize,
    unit: impl Fn(usize, usize) -> usize,
) -> Vec<f32> {
    let mut ranges = vec![0.0f32; units];
    let Some(id) = graph.nodes[node].op.weight() else {
        return ranges;
    };
    let weight = graph.parameter(id);
    let values = weight.materialize();
    let columns = (values.len() / weight.shape[0].max(1)).max(1);
    for (row, values) in values.chunks(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            let range = &mut ranges[unit(row, column)];
            *range = range.max(value.abs());
        }
    }
    ranges
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use trainer::graph::{Window, reference};

    /// Weights of units whose ranges are a thousandfold apart.
    fn uneven(graph: &mut Graph, shape: &[usize], seed: usize) -> trainer::graph::ParamId {
        let len: usize = shape.iter().product();
        let columns = len / shape[0];
        let value = |i: usize| {
            let noise = ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5;
            noise * 10f32.powi((i / columns % 4) as i32 - 2)
        };
        let name = format!("p{}", graph.parameters.len());
        graph.add_parameter(Parameter::dense(name, shape, (0..len).map(value).collect()))
    }

    fn network() -> Graph {
        let mut g = Graph::new("g", "x", &[2, 6, 6]);
        let conv = |g: &mut Graph, name: &str, shape: &[usize], groups: usize| {
            let weight = uneven(g, shape, shape[0]);
            let bias = Some(uneven(g, &[shape[0]], 3));
            let op = Op::Conv {
                weight,
                bias,
                window: Window::square(shape[2], 1),
                dilation: [1, 1],
                groups,
            };
            let x = g.output;
            g.push(name, op, &[x]).unwrap();
            let x = g.output;
            g.push(format!("{name}.relu"), Op::Relu, &[x]).unwrap();
        };
        conv(&mut g, "a", &[8, 2, 3, 3], 1);
        conv(&mut g, "b", &[8, 1, 3, 3], 8);
        conv(&mut g, "c", &[6, 4, 1, 1], 2);
        let x = g.output;
        g.push("flat", Op::Flatten, &[x]).unwrap();
        let weight = uneven(&mut g, &[5, 24], 9);
        let op = Op::Gemm { weight, bias: None };
        let x = g.output;
        g.push("d", op, &[x]).unwrap();
        g
    }

    fn spread(graph: &Graph, node: usize) -> f32 {
        let units = units(graph, node).unwrap();
        let ranges = ranges(graph, node, units, |row, _| row);
        let (low, high) = ranges
            .iter()
            .fold((f32::INFINITY, 0.0f32), |(a, b), &r| (a.min(r), b.max(r)));
        high / low
    }

    #[test]
    fn the_function_stays_and_the_ranges_meet() {
        let before = network();
        let mut after = before.clone();
        assert_eq!(equalize(&mut after), 3);
        for seed in 0..5 {
            let input: Vec<f32> = (0..72)
                .map(|i| ((i * 37 + seed * 11) % 19) as f32 / 9.5 - 1.0)
                .collect();
            let (a, b) = (
                reference::run(&before, &input),
                reference::run(&after, &input),
            );
            let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() <= 1e-4 * largest, "{a} became {b}");
            }
        }
        assert!(spread(&after, 0) < spread(&before, 0) / 5.0);
    }

    /// Each unit's range is the same on both sides, which no other factors achieve: the product of the
    /// two is what it was.
    #[test]
    fn incoming_and_outgoing_ranges_are_equal() {
        let mut graph = network();
        let pairs = pairs(&graph);
        let product = |graph: &Graph, unit: usize| {
            let a = ranges(graph, pairs[1].first, 8, |row, _| row)[unit];
            let b = ranges(graph, pairs[1].second, 8, pairs[1].unit_read(graph, 8))[unit];
            (a, a * b)
        };
        pairs[1].equalize(&mut graph);
        let (before, expected) = product(&graph, 3);
        assert!((before * before - expected).abs() <= 1e-5 * expected);
    }
}
