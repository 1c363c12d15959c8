//! Values worked by hand, or published.

mod linear;
mod others;

use super::*;
use crate::graph::{Affine, DynamicOutput, Grid, Parameter, ValueId, Window};

/// A graph with parameters of these shapes and values, `ParamId(0)` the first.
pub(super) fn graph(shape: &[usize], parameters: &[(&[usize], &[f32])]) -> Graph {
    let mut graph = Graph::new("test", "x", shape);
    for (i, (shape, values)) in parameters.iter().enumerate() {
        graph.add_parameter(Parameter::dense(format!("p{i}"), shape, values.to_vec()));
    }
    graph
}

/// What an operator makes of the graph's input.
pub(super) fn apply(mut graph: Graph, op: Op, x: &[f32]) -> Vec<f32> {
    graph.push("op", op, &[ValueId(0)]).expect("fits");
    run(&graph, x)
}

/// What an operator makes of an input and a constant.
fn apply_to_two(x: (&[usize], &[f32]), op: Op, constant: (&[usize], &[f32])) -> Vec<f32> {
    let mut graph = graph(x.0, &[constant]);
    let value = ParamId(0);
    let other = graph.push("constant", Op::Constant { value }, &[]);
    let inputs = [ValueId(0), other.expect("fits")];
    graph.push("op", op, &inputs).expect("fits");
    run(&graph, x.1)
}

pub(super) fn assert_near(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{actual:?}");
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() < 1e-5, "{actual:?} for {expected:?}");
    }
}

fn row(kernel: usize, stride: usize, padding: [usize; 2]) -> Window {
    Window {
        kernel: [1, kernel],
        stride: [1, stride],
        padding: [0, padding[0], 0, padding[1]],
        ceil_mode: false,
    }
}
