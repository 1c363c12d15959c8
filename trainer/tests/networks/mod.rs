//! Small networks and single steps of training.
#![allow(dead_code, clippy::unwrap_used)]

use crate::common::noise;
use trainer::data::Dataset;
use trainer::graph::{Graph, Op, ParamId, Parameter};
use trainer::train::{NoHook, Optimizer, Progress, Schedule, TrainConfig, fit};

/// Appends an operator on the graph's output.
pub(crate) fn add(graph: &mut Graph, name: &str, op: Op) {
    let x = graph.output;
    graph.push(name, op, &[x]).unwrap();
}

/// A parameter of noise in −`size`…`size`, different for every place in the graph.
pub(crate) fn dense(graph: &mut Graph, name: &str, shape: &[usize], size: f32) -> ParamId {
    let values = noise(graph.parameters.len() as u64 + 31, shape.iter().product());
    let values = values.iter().map(|v| v * size).collect();
    graph.add_parameter(Parameter::dense(name, shape, values))
}

/// A perceptron with ReLU between layers of these sizes.
pub(crate) fn perceptron(sizes: &[usize]) -> Graph {
    let mut graph = Graph::new("perceptron", "x", &sizes[..1]);
    for (layer, pair) in sizes.windows(2).enumerate() {
        if layer > 0 {
            add(&mut graph, &format!("relu{layer}"), Op::Relu);
        }
        let size = (3.0 / pair[0] as f32).sqrt();
        let op = Op::Gemm {
            weight: dense(&mut graph, &format!("w{layer}"), &[pair[1], pair[0]], size),
            bias: Some(dense(&mut graph, &format!("b{layer}"), &[pair[1]], 0.0)),
        };
        add(&mut graph, &format!("gemm{layer}"), op);
    }
    graph
}

pub(crate) fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().fold(f64::MIN, |m, &v| m.max(v.into()));
    let sum: f64 = logits.iter().map(|&v| (f64::from(v) - largest).exp()).sum();
    sum.ln() + largest - f64::from(logits[label])
}

/// The graph after one step over all examples at once, without momentum, at rate 1.
pub(crate) fn one_step(graph: &Graph, data: &Dataset, config: &TrainConfig) -> Graph {
    let mut graph = graph.clone();
    let config = TrainConfig {
        epochs: 1,
        batch: data.len(),
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        schedule: Schedule::Constant,
        ..config.clone()
    };
    fit(
        &mut graph,
        data,
        None,
        &config,
        &mut NoHook,
        Progress::Silent,
    )
    .unwrap();
    graph
}

/// What one such step moves each free parameter by, the sign turned: the gradient.
pub(crate) fn gradients(graph: &Graph, data: &Dataset) -> Vec<Vec<f64>> {
    let after = one_step(graph, data, &TrainConfig::default());
    let moved = |(a, b): (&Parameter, &Parameter)| {
        let pairs = a.free().iter().zip(b.free());
        pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)).collect()
    };
    graph
        .parameters
        .iter()
        .zip(&after.parameters)
        .map(moved)
        .collect()
}
