//! Whole networks.

use super::builder::{Builder, image_of, padded, rng, settings};
use compress::host;
use compress::pipeline::{Checkpoints, Examples, compress};
use compress::settings::{Prune, Quantize, Settings};
use no_std_core::Model;
use rand::RngExt;
use trainer::graph::{Graph, Op, ParamId, Unary, Window, reference};

/// Of the output's range: three to five roundings of half of 1/255 each, spread by the layers behind.
const TOLERANCE: f32 = 0.04;

/// The image of `graph` against the definitions of `expected`.
fn check(graph: &Graph, expected: &Graph, settings: &Settings) {
    let compressed = image_of(graph, settings);
    let model = Model::parse(&compressed.encoded.bytes).unwrap();
    let mut rng = rng(77);
    let inputs: Vec<f32> = (0..20 * model.input_len())
        .map(|_| rng.random_range(-0.9..0.9))
        .collect();
    let integers = host::run(&model, &inputs).unwrap();
    let real = host::dequantize(&model.output(), &integers);
    let expected: Vec<f32> = inputs
        .chunks(model.input_len())
        .flat_map(|input| reference::run(expected, input))
        .collect();
    let range = |v: &[f32]| v.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    // Inputs that were not seen may lead beyond what was.
    let ends = host::dequantize(&model.output(), &[-128, 127]);
    let error = real
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b.clamp(ends[0], ends[1])).abs());
    let worst = error.fold(0.0f32, f32::max);
    assert!(range(&expected) > 0.05, "the output should vary");
    assert!(
        worst <= TOLERANCE * range(&expected),
        "off by {worst} in a range of {}",
        range(&expected)
    );
}

fn check_plain(graph: &Graph) {
    check(graph, graph, &settings());
}

#[test]
fn convolutions_pools_and_normalizations() {
    for seed in 0..5 {
        let mut b = Builder::new(seed, &[2, 11, 10]);
        let x = b.conv(b.graph.input, 6, padded(3, 1, [1, 0, 1, 2]), 1);
        let x = b.normalize(x);
        let x = b.relu(x);
        let x = b.push(
            Op::MaxPool {
                window: Window::square(2, 2),
                dilation: [1, 1],
            },
            &[x],
        );
        let x = b.conv(x, 6, padded(3, 2, [0, 0, 1, 1]), 6);
        let x = b.push(
            Op::Clip {
                min: -0.5,
                max: 0.9,
            },
            &[x],
        );
        let x = b.push(
            Op::AveragePool {
                window: padded(2, 1, [1, 0, 0, 1]),
                dilation: [1, 1],
                count_include_pad: seed % 2 == 0,
            },
            &[x],
        );
        let x = b.push(Op::Flatten, &[x]);
        b.gemm(x, 5);
        check_plain(&b.graph);
    }
}

#[test]
fn residual_sums_and_global_pools() {
    for seed in 0..5 {
        let mut b = Builder::new(seed, &[3, 8, 8]);
        let x = b.conv(b.graph.input, 8, padded(3, 1, [1; 4]), 1);
        let x = b.relu(x);
        let y = b.conv(x, 8, padded(3, 1, [1; 4]), 2);
        let y = b.normalize(y);
        let sum = b.push(Op::Add, &[y, x]);
        let sum = b.relu(sum);
        let x = b.push(Op::GlobalAveragePool, &[sum]);
        let x = b.push(Op::Flatten, &[x]);
        b.gemm(x, 4);
        check_plain(&b.graph);
    }
}

/// A normalization that no layer precedes goes into the one behind it, or stands for itself.
#[test]
fn normalized_inputs() {
    for padding in [[0; 4], [1; 4]] {
        let mut b = Builder::new(3, &[3, 6, 6]);
        let x = b.normalize(b.graph.input);
        let x = b.conv(x, 5, padded(3, 1, padding), 1);
        let x = b.push(Op::Flatten, &[x]);
        b.gemm(x, 6);
        check_plain(&b.graph);
    }
    let mut b = Builder::new(4, &[3, 4, 4]);
    let x = b.normalize(b.graph.input);
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 6);
    check_plain(&b.graph);
}

#[test]
fn activations_and_sums_of_flattened_images() {
    let mut b = Builder::new(1, &[2, 5, 4]);
    let x = b.conv(b.graph.input, 3, padded(3, 1, [1; 4]), 1);
    let y = b.conv(b.graph.input, 3, padded(3, 1, [1; 4]), 1);
    let x = b.push(Op::Flatten, &[x]);
    let x = b.relu(x);
    let y = b.push(Op::Flatten, &[y]);
    let x = b.push(Op::Add, &[x, y]);
    let pooled = b.push(
        Op::Clip {
            min: -0.3,
            max: 1.0,
        },
        &[x],
    );
    b.gemm(pooled, 7);
    check_plain(&b.graph);

    // The order of a flattened output is the float model's.
    let mut b = Builder::new(2, &[2, 5, 4]);
    let x = b.conv(b.graph.input, 3, padded(3, 1, [1; 4]), 1);
    b.push(Op::Flatten, &[x]);
    check_plain(&b.graph);
}

/// The output need not be the last node, and weights may serve two.
#[test]
fn side_branches_and_shared_weights() {
    let mut b = Builder::new(8, &[2, 6, 6]);
    let x = b.conv(b.graph.input, 4, Window::square(3, 1), 1);
    let shared = b.graph.nodes[0].op.clone();
    let first = b.normalize(x);
    let y = b.push(shared, &[b.graph.input]);
    let second = b.normalize(y);
    let sum = b.push(Op::Add, &[first, second]);
    b.push(Op::GlobalAveragePool, &[x]);
    b.graph.output = sum;
    check_plain(&b.graph);
}

#[test]
fn functions_of_one_element() {
    for function in [
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::HardSwish,
        Unary::LeakyRelu { alpha: 0.2 },
        Unary::Softplus,
        Unary::Gelu { approximate: false },
    ] {
        let mut b = Builder::new(7, &[2, 6, 6]);
        let x = b.conv(b.graph.input, 6, padded(3, 1, [1; 4]), 1);
        let x = b.push(Op::Unary(function), &[x]);
        // Becomes part of the table.
        let x = b.push(
            Op::Clip {
                min: -0.4,
                max: 1.1,
            },
            &[x],
        );
        let x = b.push(Op::Flatten, &[x]);
        b.gemm(x, 5);
        check_plain(&b.graph);
        let compressed = image_of(&b.graph, &settings());
        let model = Model::parse(&compressed.encoded.bytes).unwrap();
        assert_eq!(model.operator_count(), 3);
        assert!(model.arena_bytes() <= 2 * 36 + 6 * 36, "in place");
    }
}

#[test]
fn softmax_of_a_classifier() {
    let mut b = Builder::new(6, &[20]);
    let x = b.gemm(b.graph.input, 16);
    let x = b.relu(x);
    let x = b.gemm(x, 6);
    b.push(Op::Softmax { axis: 0 }, &[x]);
    check_plain(&b.graph);
}

/// Pruning takes the smallest weights of all, and units without inputs or outputs with them; what
/// such a unit says stays in the next biases.
#[test]
fn pruned_graphs_with_dead_units() {
    const SPARSITY: f64 = 0.5;
    let mut b = Builder::new(9, &[1, 8, 8]);
    let x = b.conv(b.graph.input, 12, Window::square(3, 1), 1);
    let x = b.relu(x);
    let x = b.conv(x, 10, Window::square(3, 2), 1);
    let x = b.relu(x);
    let x = b.push(Op::Flatten, &[x]);
    let x = b.gemm(x, 24);
    let x = b.relu(x);
    b.gemm(x, 5);
    // Two units that die at either end.
    let silent = |values: &mut [f32]| values.iter_mut().for_each(|w| *w *= 1e-3);
    let rows = b.graph.parameters[2].len() / 10;
    silent(&mut b.graph.parameters[2].free_mut()[3 * rows..4 * rows]);
    let outgoing = b.graph.parameters[6].free_mut();
    outgoing
        .iter_mut()
        .skip(7)
        .step_by(24)
        .for_each(|w| *w *= 1e-3);

    let settings = Settings {
        stages: vec![
            Prune {
                sparsity: SPARSITY,
                ..Prune::default()
            }
            .into(),
        ],
        ..settings()
    };
    check(&b.graph, &pruned(&b.graph, SPARSITY), &settings);
    let compressed = image_of(&b.graph, &settings);
    let units = |node: usize| {
        let op = &compressed.graph.nodes[node].op;
        compressed.graph.parameter(op.weight().unwrap()).shape[0]
    };
    assert_eq!([units(2), units(5)], [9, 23]);
}

/// Filters of very different sizes, as batch normalization leaves them, share four values a layer.
#[test]
fn convolutions_have_a_gain_for_each_channel_beside_their_codebook() {
    let mut b = Builder::new(12, &[2, 6, 6]);
    let x = b.conv(b.graph.input, 8, Window::square(3, 1), 1);
    b.push(Op::Flatten, &[x]);
    let weight = b.graph.nodes[0].op.weight().unwrap();
    let filters = b.graph.parameters[weight.0].free_mut().chunks_mut(18);
    let sizes = (0..).map(|k| 0.5f32.powi(k));
    filters
        .zip(sizes)
        .for_each(|(filter, size)| filter.iter_mut().for_each(|w| *w *= size));
    let before = b.graph.parameter(weight).materialize();
    let quantized = |per_channel| {
        let mut quantize = Quantize {
            bits: 2,
            per_channel,
            normalized: 0.0,
            ..Quantize::continued()
        };
        quantize.train.epochs = 0;
        let settings = Settings {
            stages: vec![quantize.into()],
            ..settings()
        };
        let compressed = image_of(&b.graph, &settings);
        let after = compressed.graph.parameter(weight).materialize();
        let errors = |(a, b): (&[f32], &[f32])| -> f32 {
            let error: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
            error / a.iter().map(|a| a * a).sum::<f32>()
        };
        let worst = before
            .chunks(18)
            .zip(after.chunks(18))
            .map(errors)
            .fold(0.0, f32::max);
        let model = Model::parse(&compressed.encoded.bytes).unwrap();
        let gained = model
            .operators()
            .any(|op| op.kind.linears().any(|l| l.has_gains()));
        (worst, gained)
    };
    let (with, gained) = quantized(true);
    assert!(gained && with < 0.25, "{with}");
    let (without, gained) = quantized(false);
    assert!(!gained && without > 0.9, "{without}");
}

/// The graph with its smallest weights set to zero.
fn pruned(graph: &Graph, sparsity: f64) -> Graph {
    let mut graph = graph.clone();
    let weights: Vec<ParamId> = graph.nodes.iter().filter_map(|n| n.op.weight()).collect();
    let mut magnitudes: Vec<f32> = weights
        .iter()
        .flat_map(|&id| graph.parameter(id).materialize())
        .map(f32::abs)
        .collect();
    magnitudes.sort_by(f32::total_cmp);
    let threshold = magnitudes[(magnitudes.len() as f64 * sparsity).round() as usize - 1];
    for id in weights {
        let values = graph.parameters[id.0].free_mut();
        values
            .iter_mut()
            .filter(|w| w.abs() <= threshold)
            .for_each(|w| *w = 0.0);
    }
    graph
}

/// All reasons at once, also those behind a node that is refused.
#[test]
fn what_no_image_holds_is_refused_by_name_before_any_work() {
    let mut b = Builder::new(1, &[2, 5, 5]);
    let x = b.conv(b.input(), 4, padded(1, 1, [1; 4]), 1);
    let y = b.conv(x, 4, padded(3, 1, [1; 4]), 1);
    let x = b.push(Op::Div, &[x, y]);
    b.push(Op::GlobalAveragePool, &[x]);
    let range = Some((-1.0, 1.0));
    let examples = Examples::Synthetic { range, seed: 5 };
    let settings = Settings::default();
    let error = compress(&b.graph, &[], examples, &settings, &Checkpoints::default()).unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].starts_with("node 'n0' (Conv): "), "{error}");
    assert!(lines[1].starts_with("node 'n2' (Div): "), "{error}");
}
