//! Every operator as training and inference compute it, against the reference executor: outputs, and
//! gradients against finite differences of its loss.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod known;
mod movement;
#[path = "../networks/mod.rs"]
mod networks;
mod operators;
mod recurrent;

use common::{assert_close, noise};
use networks::{add, cross_entropy, dense, gradients};
use trainer::data::Dataset;
use trainer::graph::{Graph, Op, Parametrization, Window, reference};
use trainer::train::{DeviceChoice, predict};

/// How far two gradients may lie apart, and the finite step that tells.
#[derive(Clone, Copy)]
struct Tolerance {
    /// Distance over the sum of the lengths.
    rho: f64,
    step: f32,
}

/// The reference rounds values to `f32`: a smaller step would measure the rounding.
const SMOOTH: Tolerance = Tolerance {
    rho: 2e-4,
    step: 4e-3,
};

/// Of gradients so small that the rounding shows.
const FAINT: Tolerance = Tolerance {
    rho: 2e-4,
    step: 1e-2,
};

/// A step may cross a kink, a small one seldom.
const KINKED: Tolerance = Tolerance {
    rho: 1e-3,
    step: 1e-4,
};

const EXAMPLES: usize = 5;

fn examples(graph: &Graph, seed: u64) -> Dataset {
    let value = graph.value(graph.input);
    let classes = graph.value(graph.output).len();
    Dataset {
        input_shape: value.shape.clone(),
        inputs: noise(seed, EXAMPLES * value.len()),
        labels: (0..EXAMPLES).map(|i| (i % classes) as u32).collect(),
        classes,
        ..Dataset::default()
    }
}

fn reference_loss(graph: &Graph, data: &Dataset) -> f64 {
    let loss = |i| {
        let logits = reference::run(graph, data.input(i));
        cross_entropy(&logits, data.labels[i] as usize)
    };
    (0..data.len()).map(loss).sum::<f64>() / data.len() as f64
}

/// Compares outputs for several examples at once with the reference's for each.
fn check_outputs(graph: &Graph, inputs: &[f32]) {
    let examples = inputs.chunks(graph.value(graph.input).len());
    let expected: Vec<f32> = examples.flat_map(|x| reference::run(graph, x)).collect();
    let actual = predict(graph, inputs, DeviceChoice::Cpu).unwrap();
    assert_close(&actual, &expected, 1e-5, &graph.name);
}

/// Compares outputs, and the gradient of each trained parameter with differences of `loss`.
fn check(graph: &Graph, tolerance: Tolerance, loss: impl Fn(&Graph, &Dataset) -> f64) {
    check_with(graph, &examples(graph, 9), tolerance, loss);
}

fn check_with(
    graph: &Graph,
    data: &Dataset,
    tolerance: Tolerance,
    loss: impl Fn(&Graph, &Dataset) -> f64,
) {
    check_outputs(graph, &data.inputs);
    for (place, analytic) in gradients(graph, data).into_iter().enumerate() {
        let parameter = &graph.parameters[place];
        let pinned = matches!(
            parameter.parametrization,
            Parametrization::Shared {
                pinned_zero: true,
                ..
            }
        );
        let (mut apart, mut sizes) = (0.0, (0.0, 0.0));
        for (i, &analytic) in analytic.iter().enumerate() {
            let at = |by: f32| {
                let mut moved = graph.clone();
                moved.parameters[place].free_mut()[i] += by;
                loss(&moved, data)
            };
            let numeric = if pinned && i == 0 {
                0.0
            } else {
                (at(tolerance.step) - at(-tolerance.step)) / (2.0 * f64::from(tolerance.step))
            };
            apart += (numeric - analytic).powi(2);
            sizes.0 += numeric.powi(2);
            sizes.1 += analytic.powi(2);
        }
        let rho = apart.sqrt() / (sizes.0.sqrt() + sizes.1.sqrt()).max(1e-3);
        let name = &parameter.name;
        assert!(
            rho < tolerance.rho,
            "{}: '{name}' is off by {rho:.1e}",
            graph.name
        );
        assert!(
            sizes.1 > 0.0,
            "{}: '{name}' has no gradient at all",
            graph.name
        );
    }
}

fn conv(graph: &mut Graph, out: usize, window: Window, dilation: usize, groups: usize) {
    let channels = graph.value(graph.output).shape[0];
    let shape = [out, channels / groups, window.kernel[0], window.kernel[1]];
    let name = format!("conv{}", graph.nodes.len());
    let op = Op::Conv {
        weight: dense(graph, &format!("{name}.w"), &shape, 0.5),
        bias: Some(dense(graph, &format!("{name}.b"), &[out], 0.5)),
        window,
        dilation: [dilation, 1],
        groups,
    };
    add(graph, &name, op);
}

/// Over all elements.
fn gemm(graph: &mut Graph, out: usize) {
    if graph.value(graph.output).shape.len() > 1 {
        add(graph, "flatten", Op::Flatten);
    }
    let fan_in = graph.value(graph.output).len();
    let name = format!("gemm{}", graph.nodes.len());
    let op = Op::Gemm {
        weight: dense(graph, &format!("{name}.w"), &[out, fan_in], 0.6),
        bias: Some(dense(graph, &format!("{name}.b"), &[out], 0.5)),
    };
    add(graph, &name, op);
}

fn window(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4], ceil: bool) -> Window {
    Window {
        kernel,
        stride,
        padding,
        ceil_mode: ceil,
    }
}
