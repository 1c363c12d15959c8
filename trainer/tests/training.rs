//! What training promises: execution as defined, constraints that hold, runs that repeat and resume
//! bit for bit, and mistakes named.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)]

mod common;
mod networks;

use common::{assert_close, noise};
use networks::{add, dense, gradients, one_step, perceptron};
use std::path::Path;
use trainer::data::{Augment, Dataset};
use trainer::graph::{
    Cell, Graph, Grid, HashedWeights, Op, Parameter, Parametrization, Quantization, Recurrent,
    ValueId, Window, reference,
};
use trainer::onnx::{WriteOptions, write_bytes};
use trainer::train::{
    DeviceChoice, Hook, NoHook, Optimizer, Outcome, Progress, Schedule, TrainConfig, TrainError,
    activations, error_percent, fit, predict,
};

const CPU: DeviceChoice = DeviceChoice::Cpu;

fn run(graph: &mut Graph, data: &Dataset, config: &TrainConfig) -> Result<Outcome, TrainError> {
    fit(graph, data, None, config, &mut NoHook, Progress::Silent)
}

/// Two classes by the sign of the first element, of any input shape.
fn by_sign(shape: &[usize], count: usize) -> Dataset {
    let length: usize = shape.iter().product();
    let inputs = noise(3, count * length);
    let label = |x: &[f32]| u32::from(x[0] > 0.0);
    Dataset {
        input_shape: shape.to_vec(),
        labels: inputs.chunks(length).map(label).collect(),
        inputs,
        classes: 2,
        ..Dataset::default()
    }
}

/// A network of every kind of operator, ending in softmax.
fn of_every_operator() -> Graph {
    let mut graph = Graph::new("every", "x", &[2, 8, 9]);
    let window = |kernel, stride, padding, ceil_mode| Window {
        kernel,
        stride,
        padding,
        ceil_mode,
    };
    let conv = |graph: &mut Graph, shape: [usize; 4], window, dilation, groups| {
        let name = format!("conv{}", graph.nodes.len());
        let op = Op::Conv {
            weight: dense(graph, &format!("{name}.w"), &shape, 0.5),
            bias: Some(dense(graph, &format!("{name}.b"), &shape[..1], 0.5)),
            window,
            dilation,
            groups,
        };
        add(graph, &name, op);
    };
    conv(
        &mut graph,
        [4, 2, 3, 3],
        window([3, 3], [1, 1], [0, 1, 2, 1], false),
        [1, 1],
        1,
    );
    let variance = Parameter::dense("variance", &[4], vec![0.5, 1.0, 2.0, 0.1]);
    let op = Op::BatchNormalization {
        scale: dense(&mut graph, "scale", &[4], 1.0),
        bias: dense(&mut graph, "shift", &[4], 1.0),
        mean: dense(&mut graph, "mean", &[4], 1.0),
        variance: graph.add_parameter(variance),
        epsilon: 1e-5,
    };
    add(&mut graph, "norm", op);
    add(&mut graph, "relu", Op::Relu);
    let short = graph.output;
    conv(
        &mut graph,
        [4, 1, 3, 3],
        window([3, 3], [1, 1], [1, 2, 1, 2], false),
        [1, 2],
        4,
    );
    let (min, max) = (-0.5, 0.7);
    add(&mut graph, "clip", Op::Clip { min, max });
    let long = graph.output;
    graph.push("add", Op::Add, &[short, long]).unwrap();
    let pool = window([3, 3], [2, 2], [1, 0, 0, 1], true);
    add(
        &mut graph,
        "max",
        Op::MaxPool {
            window: pool,
            dilation: [1, 1],
        },
    );
    let average = Op::AveragePool {
        dilation: [1, 1],
        window: window([2, 3], [1, 2], [1, 1, 0, 1], true),
        count_include_pad: false,
    };
    add(&mut graph, "average", average);
    add(&mut graph, "dropout", Op::Dropout { probability: 0.3 });
    add(&mut graph, "global", Op::GlobalAveragePool);
    add(&mut graph, "flatten", Op::Flatten);
    let weight = dense(&mut graph, "gemm.w", &[3, 4], 1.0);
    add(&mut graph, "gemm", Op::Gemm { weight, bias: None });
    add(&mut graph, "softmax", Op::Softmax { axis: 0 });
    graph
}

#[test]
fn execution_is_as_the_reference_defines() {
    let graph = of_every_operator();
    let length = graph.value(graph.input).len();
    // More than one batch, the last one partial.
    let inputs = noise(5, 257 * length);
    let outputs = predict(&graph, &inputs, CPU).unwrap();
    for i in [0, 1, 100, 255, 256] {
        let expected = reference::run(&graph, &inputs[i * length..(i + 1) * length]);
        assert_close(&outputs[i * 3..(i + 1) * 3], &expected, 1e-5, "an example");
    }
}

#[test]
fn activations_show_every_value_in_order() {
    let graph = of_every_operator();
    let length = graph.value(graph.input).len();
    let inputs = noise(6, 3 * length);
    let mut seen: Vec<Vec<f32>> = vec![Vec::new(); graph.values.len()];
    activations(&graph, &inputs, CPU, |v, x| seen[v.0].extend(x)).unwrap();
    for (i, input) in inputs.chunks(length).enumerate() {
        for (v, expected) in reference::run_all(&graph, input).iter().enumerate() {
            let n = expected.len();
            let what = &graph.value(ValueId(v)).name;
            assert_close(&seen[v][i * n..(i + 1) * n], expected, 1e-5, what);
        }
    }
}

/// One linear layer of two outputs on three inputs, and one example.
fn linear(parametrization: Parametrization) -> (Graph, Dataset) {
    let mut graph = Graph::new("linear", "x", &[3]);
    let mut weight = Parameter::dense("w", &[2, 3], vec![0.0; 6]);
    weight.parametrization = parametrization;
    let weight = graph.add_parameter(weight);
    add(&mut graph, "gemm", Op::Gemm { weight, bias: None });
    let data = Dataset {
        input_shape: vec![3],
        inputs: vec![1.0, 2.0, 4.0],
        labels: vec![0],
        classes: 2,
        ..Dataset::default()
    };
    (graph, data)
}

/// All logits zero: dL/dv = p − y = (−½, ½), and dL/dW is that times the input.
const GRADIENT: [f64; 6] = [-0.5, -1.0, -2.0, 0.5, 1.0, 2.0];

fn assert_exact(actual: &[f64], expected: &[f64]) {
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() < 1e-6, "{actual:?} for {expected:?}");
    }
}

#[test]
fn a_centroid_moves_by_the_sum_over_its_copies() {
    let values = vec![0.0; 6];
    let (graph, data) = linear(Parametrization::Dense { values });
    assert_exact(&gradients(&graph, &data)[0], &GRADIENT);
    for pinned_zero in [false, true] {
        let (graph, data) = linear(Parametrization::Shared {
            codebook: vec![0.0; 3],
            indices: vec![0, 1, 1, 2, 0, 1],
            pinned_zero,
        });
        let zero = if pinned_zero { 0.0 } else { -0.5 + 1.0 };
        let expected = [zero, -1.0 - 2.0 + 2.0, 0.5];
        assert_exact(&gradients(&graph, &data)[0], &expected);
    }
}

#[test]
fn a_hashed_value_moves_by_the_sum_over_its_copies() {
    let hashed = |values: Vec<f32>| HashedWeights::new(values, 3, true, [2, 3]).unwrap();
    let (graph, data) = linear(Parametrization::Hashed(hashed(vec![0.0; 2])));
    // W by its values: 1 and −1 where the first stands, 10 and −10 where the second does.
    let places = hashed(vec![1.0, 10.0]).expand();
    let mut expected = [0.0; 2];
    for (place, gradient) in places.iter().zip(GRADIENT) {
        expected[usize::from(place.abs() > 5.0)] += f64::from(place.signum()) * gradient;
    }
    assert!(places.iter().any(|w| *w < 0.0) && places.iter().any(|w| *w > 0.0));
    assert_exact(&gradients(&graph, &data)[0], &expected);
}

/// A step of plain gradient descent at rate 1, by LSQ's formula written out here.
#[test]
fn a_grids_steps_learn_where_they_are_asked_to() {
    let values = vec![0.24, -0.3, 1.9, 0.35, -0.2, 0.1];
    let (mut graph, data) = linear(Parametrization::Dense {
        values: values.clone(),
    });
    let (step, max) = (0.5f64, 3);
    graph.parameters[0].grid = Some(Grid {
        scale: vec![step as f32],
        max,
    });
    let (rounded, _) = linear(Parametrization::Dense {
        values: graph.parameters[0].materialize(),
    });
    let weights = &gradients(&rounded, &data)[0];
    let mut slope = 0.0;
    for (value, gradient) in values.iter().zip(weights) {
        let ratio = f64::from(*value) / step;
        let inside = ratio.abs() < 3.0;
        slope += gradient * if inside { ratio.round() - ratio } else { 3.0 };
    }
    slope /= (6.0f64 * 3.0).sqrt();
    let config = TrainConfig {
        learn_steps: true,
        ..TrainConfig::default()
    };
    let after = one_step(&graph, &data, &config);
    let learned = f64::from(after.parameters[0].grid.as_ref().unwrap().scale[0]);
    let expected = step * (-slope / step).exp();
    assert!((learned - expected).abs() < 1e-5, "{learned} {expected}");
    assert!((learned - step).abs() > 1e-3, "it moves");
    // The weight beyond the grid stays where it is.
    assert_eq!(after.parameters[0].free()[2], 1.9);
    let fixed = one_step(&graph, &data, &TrainConfig::default());
    assert_eq!(fixed.parameters[0].grid, graph.parameters[0].grid);
}

#[test]
fn penalties_and_norms_act_on_the_weights() {
    let (mut graph, mut data) = linear(Parametrization::Dense {
        values: vec![3.0, 0.0, -4.0, 0.5, 0.0, 0.0],
    });
    let weights = |graph: &Graph, data: &Dataset, config: TrainConfig| {
        let after = one_step(graph, data, &config);
        let free = after.parameters[0].free();
        free.iter().map(|&w| f64::from(w)).collect::<Vec<_>>()
    };
    data.inputs = vec![0.0; 3]; // no gradient but the penalty's
    let decayed = weights(
        &graph,
        &data,
        TrainConfig {
            l2: 0.1,
            l1: 0.01,
            ..TrainConfig::default()
        },
    );
    assert_exact(&decayed, &[2.69, 0.0, -3.59, 0.44, 0.0, 0.0]);
    let shortened = weights(
        &graph,
        &data,
        TrainConfig {
            max_norm: 1.0,
            ..TrainConfig::default()
        },
    );
    assert_exact(&shortened, &[0.6, 0.0, -0.8, 0.5, 0.0, 0.0]);

    graph.parameters[0].parametrization = Parametrization::Shared {
        codebook: vec![0.0, 2.0],
        indices: vec![1, 1, 0, 1, 0, 0],
        pinned_zero: true,
    };
    let config = TrainConfig {
        l2: 0.1,
        ..TrainConfig::default()
    };
    let three_copies = weights(&graph, &data, config);
    assert_exact(&three_copies, &[0.0, 2.0 - 3.0 * 0.2]);

    let values = vec![0.0; 6];
    let (graph, data) = linear(Parametrization::Dense { values });
    let config = TrainConfig {
        clip_norm: 0.5,
        ..TrainConfig::default()
    };
    let norm = GRADIENT.iter().map(|g| g * g).sum::<f64>().sqrt();
    let clipped: Vec<f64> = GRADIENT.iter().map(|g| -g * 0.5 / norm).collect();
    assert_exact(&weights(&graph, &data, config), &clipped);
}

#[test]
fn smoothed_labels_move_less() {
    let values = vec![0.0; 6];
    let (graph, data) = linear(Parametrization::Dense { values });
    let config = TrainConfig {
        label_smoothing: 0.2,
        ..TrainConfig::default()
    };
    // Targets 0.9 and 0.1, so p − y = ∓0.4.
    let after = one_step(&graph, &data, &config);
    let moved: Vec<f64> = after.parameters[0]
        .free()
        .iter()
        .map(|&w| w.into())
        .collect();
    assert_exact(&moved, &GRADIENT.map(|g| -0.8 * g));
}

#[test]
fn pruned_weights_stay_zero_and_pinned_zeros_too() {
    let data = by_sign(&[6], 64);
    for optimizer in [
        Optimizer::Momentum,
        Optimizer::Adam,
        Optimizer::AdamW,
        Optimizer::Lamb,
    ] {
        let config = TrainConfig {
            epochs: 3,
            batch: 16,
            optimizer,
            l2: 1e-2,
            ..TrainConfig::default()
        };
        let mut graph = perceptron(&[6, 5, 2]);
        let mask: Vec<bool> = (0..30).map(|i| i % 4 == 0).collect();
        let values = graph.parameters[0].latent();
        graph.parameters[0].parametrization = Parametrization::Masked {
            values: values.clone(),
            mask: mask.clone(),
        };
        // Trained first without the pin, so that the rule remembers a motion of entry 0.
        graph.parameters[2].parametrization = Parametrization::Shared {
            codebook: vec![0.3, -0.5, 0.5],
            indices: (0..10).map(|i| i % 3).collect(),
            pinned_zero: false,
        };
        fit(&mut graph, &data, None, &config, &mut Pin, Progress::Silent).unwrap();
        let trained = graph.parameters[0].materialize();
        let living = |(w, keep): (&f32, &bool)| (*w != 0.0) == *keep;
        assert!(trained.iter().zip(&mask).all(living), "{optimizer:?}");
        assert!(trained[0] != values[0], "{optimizer:?} learned nothing");
        assert_eq!(graph.parameters[2].free()[0], 0.0, "{optimizer:?}");
    }
}

/// Pins entry 0 half-way, keeping the codebook's length and so the rule's memory.
struct Pin;

impl Hook for Pin {
    fn every(&self) -> usize {
        1
    }

    fn update(&mut self, progress: f64, graph: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        let Parametrization::Shared {
            codebook,
            pinned_zero,
            ..
        } = &mut graph.parameters[2].parametrization
        else {
            return Err("the codebook is gone".into());
        };
        if progress >= 0.5 && !*pinned_zero {
            (codebook[0], *pinned_zero) = (0.0, true);
        }
        if *pinned_zero && codebook[0] != 0.0 {
            return Err(format!("a pinned zero became {}", codebook[0]));
        }
        Ok(())
    }
}

#[test]
fn weights_are_used_on_their_grid_and_learn_as_if_off_it() {
    let (mut graph, data) = linear(Parametrization::Dense {
        values: vec![0.24, -0.26, 9.0, 0.25, -0.25, 0.0],
    });
    graph.parameters[0].grid = Some(Grid {
        scale: vec![0.5, 0.25],
        max: 3,
    });
    // Halves away from zero; nothing beyond ±3 steps.
    let (rounded, _) = linear(Parametrization::Dense {
        values: vec![0.0, -0.5, 1.5, 0.25, -0.25, 0.0],
    });
    let outputs = predict(&graph, &data.inputs, CPU).unwrap();
    assert_eq!(outputs, predict(&rounded, &data.inputs, CPU).unwrap());
    let through = gradients(&graph, &data);
    let off = gradients(&rounded, &data);
    for (a, b) in through[0].iter().zip(&off[0]) {
        assert!((a - b).abs() < 1e-5, "{through:?} for {off:?}");
    }
}

#[test]
fn values_pass_their_quantizer_and_gradients_its_range_alone() {
    // x → W·x (the identity) → quantizer → relu → logits.
    let mut graph = Graph::new("quantized", "x", &[3]);
    let identity = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let weight = graph.add_parameter(Parameter::dense("w", &[3, 3], identity));
    add(&mut graph, "gemm", Op::Gemm { weight, bias: None });
    let quantized = graph.output;
    let sum = Parameter::dense("sum", &[2, 3], vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    let weight = graph.add_parameter(sum);
    add(&mut graph, "sum", Op::Gemm { weight, bias: None });
    graph.values[quantized.0].quantization = Some(Quantization {
        scale: 0.5,
        zero_point: 100,
    });
    // The range is (−128 − 100)/2 = −114 … (127 − 100)/2 = 13.5.
    let data = Dataset {
        input_shape: vec![3],
        inputs: vec![1.3, 20.0, -200.0],
        labels: vec![1],
        classes: 2,
        ..Dataset::default()
    };
    let mut seen = Vec::new();
    activations(&graph, &data.inputs, CPU, |value, x| {
        if value == quantized {
            seen = x.to_vec();
        }
    })
    .unwrap();
    assert_eq!(seen, [1.5, 13.5, -114.0]);
    // Move the sum towards zero so that the softmax is not saturated.
    graph.parameters[1].free_mut()[0] = 66.0;
    let gradient = &gradients(&graph, &data)[0];
    assert!(gradient[..3].iter().all(|&g| g != 0.0), "{gradient:?}");
    assert!(gradient[3..].iter().all(|&g| g == 0.0), "{gradient:?}");
}

#[test]
fn a_single_example_leaves_the_running_statistics_alone() {
    let mut graph = Graph::new("norm", "x", &[2]);
    let op = Op::BatchNormalization {
        scale: dense(&mut graph, "scale", &[2], 1.0),
        bias: dense(&mut graph, "shift", &[2], 1.0),
        mean: dense(&mut graph, "mean", &[2], 1.0),
        variance: graph.add_parameter(Parameter::dense("variance", &[2], vec![0.5, 2.0])),
        epsilon: 1e-5,
    };
    add(&mut graph, "norm", op);
    let running = |graph: &Graph| [2, 3].map(|p| graph.parameters[p].materialize());
    for (examples, moved) in [(1, false), (2, true)] {
        let after = one_step(&graph, &by_sign(&[2], examples), &TrainConfig::default());
        assert_eq!(running(&after) != running(&graph), moved, "{examples}");
    }
}

#[test]
fn dropout_drops_its_share_and_keeps_the_mean() {
    let (width, count) = (50, 40);
    let mut graph = Graph::new("dropout", "x", &[width]);
    add(&mut graph, "dropout", Op::Dropout { probability: 0.25 });
    let zeros = Parameter::dense("w", &[2, width], vec![0.0; 2 * width]);
    let weight = graph.add_parameter(zeros);
    add(&mut graph, "gemm", Op::Gemm { weight, bias: None });
    let data = Dataset {
        input_shape: vec![width],
        inputs: vec![1.0; width * count],
        labels: vec![0; count],
        classes: 2,
        ..Dataset::default()
    };
    // With p − y = −½ everywhere, −2·gradient is the mean over examples of what was let through.
    let gradient = &gradients(&graph, &data)[0][..width];
    let kept: Vec<f64> = gradient.iter().map(|g| -2.0 * g).collect();
    for k in &kept {
        let examples = k * 0.75 * count as f64;
        assert!((examples - examples.round()).abs() < 1e-3, "{kept:?}");
    }
    let mean = kept.iter().sum::<f64>() / width as f64;
    // 2,000 draws: five standard deviations.
    assert!((mean - 1.0).abs() < 0.065, "{mean}");
    assert_eq!(predict(&graph, &data.inputs, CPU).unwrap(), [0.0; 80]);
}

/// The class is the sign of the first of eight steps: it must be carried over the others.
#[test]
fn recurrent_layers_learn_to_remember() {
    let cells = [
        Cell::Lstm,
        Cell::Gru {
            linear_before_reset: true,
        },
    ];
    let data = by_sign(&[8, 1], 300);
    for cell in cells {
        let mut graph = Graph::new("memory", "x", &[8, 1]);
        let rows = cell.gates() * 8;
        let layer = Recurrent {
            cell,
            weight: dense(&mut graph, "w", &[rows, 1], 1.0),
            recurrence: dense(&mut graph, "r", &[rows, 8], 0.6),
            bias: Some(dense(&mut graph, "b", &[2 * rows], 0.0)),
            initial_hidden: None,
            initial_cell: None,
            cell_output: false,
        };
        add(&mut graph, "layer", Op::Recurrent(layer));
        let indices = vec![7];
        add(&mut graph, "last", Op::Select { axis: 0, indices });
        let weight = dense(&mut graph, "gemm.w", &[2, 8], 0.5);
        add(&mut graph, "gemm", Op::Gemm { weight, bias: None });
        add(&mut graph, "flatten", Op::Flatten);
        let before = error_percent(&graph, &data, CPU).unwrap();
        let config = TrainConfig {
            epochs: 30,
            batch: 20,
            learning_rate: 0.01,
            ..TrainConfig::default()
        };
        run(&mut graph, &data, &config).unwrap();
        let after = error_percent(&graph, &data, CPU).unwrap();
        assert!(
            before > 20.0 && after < 3.0,
            "{cell:?}: {before} to {after}"
        );
    }
}

#[test]
fn every_rule_learns_exclusive_or() {
    let data = Dataset {
        input_shape: vec![2],
        inputs: vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0],
        labels: vec![0, 1, 1, 0],
        classes: 2,
        ..Dataset::default()
    };
    let rules = [
        (Optimizer::Sgd, 0.5),
        (Optimizer::Momentum, 0.1),
        (Optimizer::Nesterov, 0.1),
        (Optimizer::AdaGrad, 0.1),
        (Optimizer::RmsProp, 0.01),
        (Optimizer::AdaDelta, 2.0),
        (Optimizer::Adam, 0.02),
        (Optimizer::AdamW, 0.02),
    ];
    for (optimizer, learning_rate) in rules {
        let mut graph = perceptron(&[2, 8, 2]);
        let config = TrainConfig {
            epochs: 600,
            batch: 4,
            optimizer,
            learning_rate,
            schedule: Schedule::Constant,
            ..TrainConfig::default()
        };
        let outcome = run(&mut graph, &data, &config).unwrap();
        let loss = outcome.history[599].loss;
        assert!(loss < 0.1, "{optimizer:?} ends at {loss}");
        assert_eq!(error_percent(&graph, &data, CPU).unwrap(), 0.0);
    }
}

/// Everything random or remembered at once: dropout, normalization, augmentation, a moving rate.
fn eventful() -> (Graph, Dataset, Dataset, TrainConfig) {
    let mut graph = of_every_operator();
    graph.nodes.pop(); // the softmax
    graph.output = graph.nodes.last().unwrap().output;
    graph.remove_unused();
    let (train, held_out) = by_sign(&[2, 8, 9], 100).hold_out(20, 4);
    let config = TrainConfig {
        epochs: 5,
        batch: 40,
        schedule: Schedule::Plateau,
        warm_up: 0.3,
        l2: 1e-4,
        augment: Augment {
            shift: 1.0,
            rotate: 10.0,
            scale: 0.1,
            shear: 0.1,
            slide: 1.0,
            level: 0.1,
            noise: 0.1,
            mask_rows: 2.0,
            mask_columns: 2.0,
            crop: 1.0,
            flip: 0.5,
        },
        seed: 7,
        keep_best: true,
        ..TrainConfig::default()
    };
    (graph, train, held_out, config)
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another() {
    let bytes = |seed| {
        let (mut graph, train, held_out, config) = eventful();
        let config = TrainConfig { seed, ..config };
        let progress = Progress::Silent;
        fit(
            &mut graph,
            &train,
            Some(&held_out),
            &config,
            &mut NoHook,
            progress,
        )
        .unwrap();
        write_bytes(&graph, WriteOptions::default()).unwrap()
    };
    assert!(bytes(7) == bytes(7));
    assert!(bytes(7) != bytes(8));
}

/// Stops in the middle of an epoch, as a crash would.
struct Crash(f64);

impl Hook for Crash {
    fn every(&self) -> usize {
        1
    }

    fn update(&mut self, progress: f64, _: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        if progress >= self.0 {
            Err("crash".into())
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_resumed_run_ends_as_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let (start, train, held_out, config) = eventful();
    let mut whole = start.clone();
    let outcome = {
        let progress = Progress::Silent;
        fit(
            &mut whole,
            &train,
            Some(&held_out),
            &config,
            &mut NoHook,
            progress,
        )
        .unwrap()
    };

    let mut parts = start.clone();
    let config = TrainConfig {
        checkpoint: Some(folder.path().join("run.ckpt")),
        resume: true,
        ..config
    };
    let mut attempt = |hook: &mut dyn Hook| {
        let mut graph = start.clone();
        let outcome = fit(
            &mut graph,
            &train,
            Some(&held_out),
            &config,
            hook,
            Progress::Silent,
        )?;
        parts = graph;
        Ok::<_, TrainError>(outcome)
    };
    for crash in [0.0, 0.3, 0.7] {
        assert!(matches!(
            attempt(&mut Crash(crash)),
            Err(TrainError::Hook(_))
        ));
    }
    assert_eq!(attempt(&mut NoHook).unwrap(), outcome);
    assert!(parts == whole, "the models differ");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    let data = by_sign(&[3], 20);
    let config = TrainConfig {
        epochs: 1,
        checkpoint: Some(path.clone()),
        ..TrainConfig::default()
    };
    run(&mut perceptron(&[3, 2]), &data, &config).unwrap();
    let lost = run(&mut perceptron(&[3, 2]), &data, &config).unwrap_err();
    assert!(lost.to_string().contains("1 of 1 epochs"), "{lost}");
    let again = TrainConfig {
        resume: true,
        ..config
    };
    let refused = |graph: &mut Graph, config: &TrainConfig, expected: &str| {
        let message = run(graph, &data, config).unwrap_err().to_string();
        assert!(
            message.contains(expected) && message.contains("run.ckpt") && !message.contains('\n'),
            "{message}"
        );
    };
    let mut model = perceptron(&[3, 2]);
    let other = TrainConfig {
        l2: 0.5,
        ..again.clone()
    };
    refused(&mut model, &other, "other settings");
    refused(&mut perceptron(&[3, 4, 2]), &again, "another model");
    // An input, a label, a hold-out: each other example.
    let mut others = [data.clone(), data.clone(), data.clone()];
    others[0].inputs[59] += 1e-3;
    others[1].labels.swap(0, 1);
    others[2] = data.subset(&[1, 0, 2]);
    assert!(data.labels[0] != data.labels[1], "nothing was swapped");
    for other in &others {
        let message = run(&mut model, other, &again).unwrap_err().to_string();
        assert!(message.contains("run.ckpt: the checkpoint was made on other data"));
    }
    let held = Some(&others[2]);
    let (hook, progress) = (&mut NoHook, Progress::Silent);
    let held = fit(&mut model, &data, held, &again, hook, progress).unwrap_err();
    assert!(held.to_string().contains("another hold-out"), "{held}");
    let bytes = std::fs::read(&path).unwrap();
    damage(&path, &bytes, || {
        refused(&mut model.clone(), &again, "delete it to start anew");
    });
    let folder_of_none = TrainConfig {
        checkpoint: Some(folder.path().join("none/run.ckpt")),
        ..again.clone()
    };
    refused(&mut model, &folder_of_none, "run.ckpt");
    let anew = TrainConfig {
        resume: false,
        ..other
    };
    run(&mut model, &data, &anew).unwrap();
}

/// Every truncation, and a flip of every byte.
fn damage(path: &Path, bytes: &[u8], refused: impl Fn()) {
    for length in 0..bytes.len() {
        std::fs::write(path, &bytes[..length]).unwrap();
        refused();
    }
    for place in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 0x55;
        std::fs::write(path, flipped).unwrap();
        refused();
    }
}

/// Swaps weights for a codebook half-way.
struct Share;

impl Hook for Share {
    fn every(&self) -> usize {
        4
    }

    fn update(&mut self, progress: f64, graph: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        let parameter = &mut graph.parameters[0];
        if progress >= 0.5 && matches!(parameter.parametrization, Parametrization::Dense { .. }) {
            parameter.parametrization = Parametrization::Shared {
                codebook: vec![-0.4, 0.4, 0.9],
                indices: (0..parameter.len() as u32).map(|i| i % 3).collect(),
                pinned_zero: false,
            };
        }
        Ok(())
    }
}

#[test]
fn a_hook_may_change_what_weights_are_made_of() {
    let data = by_sign(&[4], 64);
    let mut graph = perceptron(&[4, 3, 2]);
    let config = TrainConfig {
        epochs: 4,
        batch: 16,
        learning_rate: 0.02,
        ..TrainConfig::default()
    };
    fit(
        &mut graph,
        &data,
        None,
        &config,
        &mut Share,
        Progress::Silent,
    )
    .unwrap();
    let codebook = graph.parameters[0].free();
    assert_eq!(codebook.len(), 3);
    let start = [-0.4, 0.4, 0.9];
    assert!(
        codebook.iter().zip(start).all(|(c, s)| *c != s),
        "{codebook:?}"
    );
}

#[test]
fn patience_ends_a_run_and_keeps_its_best_epoch() {
    let (train, _) = by_sign(&[4], 40).hold_out(0, 1);
    let mut held_out = by_sign(&[4], 40);
    // The opposite of what training teaches: it only gets worse.
    held_out.labels.iter_mut().for_each(|l| *l = 1 - *l);
    let mut graph = perceptron(&[4, 8, 2]);
    let config = TrainConfig {
        epochs: 50,
        batch: 8,
        learning_rate: 0.05,
        patience: 2,
        ..TrainConfig::default()
    };
    let progress = Progress::Silent;
    let held = Some(&held_out);
    let outcome = fit(&mut graph, &train, held, &config, &mut NoHook, progress).unwrap();
    assert!(outcome.history.len() < 50);
    assert_eq!(outcome.history.len(), outcome.epoch + 2);
    let best = outcome.history[outcome.epoch - 1].held_out_error.unwrap();
    let errors = outcome.history.iter().filter_map(|s| s.held_out_error);
    assert_eq!(errors.fold(f64::MAX, f64::min), best);
    assert_eq!(error_percent(&graph, &held_out, CPU).unwrap(), best);
}

#[test]
fn an_error_that_stands_still_ends_a_run_and_the_last_of_equals_is_kept() {
    let (train, held_out) = by_sign(&[4], 80).hold_out(40, 1);
    let mut graph = perceptron(&[4, 2]);
    let config = TrainConfig {
        epochs: 50,
        learning_rate: 1e-9,
        optimizer: Optimizer::Sgd,
        patience: 3,
        ..TrainConfig::default()
    };
    let (held, progress) = (Some(&held_out), Progress::Silent);
    let outcome = fit(&mut graph, &train, held, &config, &mut NoHook, progress).unwrap();
    let first = outcome.history[0].held_out_error;
    assert!(outcome.history.iter().all(|s| s.held_out_error == first));
    assert_eq!((outcome.history.len(), outcome.epoch), (4, 4));
}

#[test]
fn mistakes_are_named_in_one_line() {
    let data = by_sign(&[4], 20);
    let refused = |graph: Graph, data: &Dataset, config: TrainConfig, expected: &str| {
        let mut trained = graph.clone();
        let message = run(&mut trained, data, &config).unwrap_err().to_string();
        assert!(
            message.contains(expected) && !message.contains('\n'),
            "{message}"
        );
        assert!(trained == graph, "a failed run changed the model");
    };
    let usual = TrainConfig::default;
    refused(perceptron(&[5, 2]), &data, usual(), "inputs of [5]");
    refused(
        perceptron(&[4, 1]),
        &data,
        usual(),
        "1 outputs for 2 classes",
    );
    let mut wrong = data.clone();
    wrong.labels[7] = 9;
    refused(
        perceptron(&[4, 2]),
        &wrong,
        usual(),
        "example 7 has label 9",
    );
    let none = data.subset(&[]);
    refused(perceptron(&[4, 2]), &none, usual(), "no training examples");
    let wild = TrainConfig {
        learning_rate: 1e30,
        optimizer: Optimizer::Sgd,
        batch: 4,
        ..usual()
    };
    refused(
        perceptron(&[4, 8, 2]),
        &data,
        wild,
        "in epoch 1; try a lower learning rate",
    );

    let mut argued = perceptron(&[4, 3]);
    let (axis, select_last_index) = (0, false);
    let op = Op::ArgMax {
        axis,
        select_last_index,
    };
    add(&mut argued, "largest", op);
    let weight = dense(&mut argued, "w", &[2, 1], 1.0);
    add(&mut argued, "gemm", Op::Gemm { weight, bias: None });
    let reason = "node 'largest' (ArgMax) passes no gradient";
    refused(argued, &data, usual(), reason);
    let mut fixed = Graph::new("fixed", "x", &[4]);
    add(&mut fixed, "relu", Op::Relu);
    refused(fixed, &data, usual(), "nothing to train");

    let mut graph = perceptron(&[4, 2]);
    assert!(predict(&graph, &[0.0; 7], CPU).is_err());
    assert!(activations(&graph, &[0.0; 7], CPU, |_, _| {}).is_err());
    graph.parameters[0].free_mut()[0] = f32::NAN;
    let message = error_percent(&graph, &data, CPU).unwrap_err().to_string();
    assert!(message.contains("example 0 is not a number"), "{message}");
}
