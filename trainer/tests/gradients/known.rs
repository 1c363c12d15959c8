//! Convolutions, pools, dense layers, normalization by the batch.

use super::networks::one_step;
use super::*;
use trainer::graph::Unary;
use trainer::train::TrainConfig;

#[test]
fn gemm_in_every_parametrization() {
    let mut graph = Graph::new("gemm", "x", &[6]);
    gemm(&mut graph, 5);
    gemm(&mut graph, 3);
    check(&graph, SMOOTH, reference_loss);

    let dense = graph.parameters[0].latent();
    graph.name = "masked".into();
    graph.parameters[0].parametrization = Parametrization::Masked {
        mask: (0..dense.len()).map(|i| i % 3 != 0).collect(),
        values: dense.clone(),
    };
    check(&graph, SMOOTH, reference_loss);

    for pinned_zero in [false, true] {
        graph.name = format!("shared, pinned {pinned_zero}");
        graph.parameters[0].parametrization = Parametrization::Shared {
            codebook: vec![0.0, 0.4, -0.7, 0.2],
            indices: (0..dense.len() as u32).map(|i| i * i % 7 % 4).collect(),
            pinned_zero,
        };
        check(&graph, SMOOTH, reference_loss);
        graph.parameters[0].gains = vec![0.5, 2.0, 1.0, 0.25, 3.0];
        check(&graph, SMOOTH, reference_loss);
        graph.parameters[0].gains.clear();
    }
}

#[test]
fn convolutions_of_every_geometry() {
    let geometries = [
        ("plain", Window::square(3, 1), 1, 1),
        ("strided", window([3, 2], [2, 1], [1, 1, 1, 1], false), 1, 1),
        (
            "padded at the end",
            window([3, 3], [2, 2], [0, 0, 1, 1], false),
            1,
            1,
        ),
        (
            "padded at the start",
            window([2, 3], [1, 2], [1, 2, 0, 0], false),
            1,
            1,
        ),
        ("dilated", window([2, 3], [1, 1], [1, 0, 2, 0], false), 2, 1),
        ("grouped", Window::square(3, 1), 1, 2),
        (
            "depthwise",
            window([3, 3], [2, 2], [1, 1, 1, 1], false),
            1,
            4,
        ),
        ("pointwise", Window::square(1, 1), 1, 1),
    ];
    for (name, geometry, dilation, groups) in geometries {
        let mut graph = Graph::new(name, "x", &[2, 6, 7]);
        conv(&mut graph, 4, Window::square(2, 1), 1, 1);
        conv(&mut graph, 4, geometry, dilation, groups);
        gemm(&mut graph, 3);
        check(&graph, SMOOTH, reference_loss);
    }
}

#[test]
fn functions_of_one_element() {
    let functions = [
        (Unary::Sigmoid, SMOOTH),
        (Unary::Tanh, SMOOTH),
        (Unary::Softplus, SMOOTH),
        (Unary::Gelu { approximate: false }, SMOOTH),
        (Unary::Gelu { approximate: true }, SMOOTH),
        (Unary::Exp, SMOOTH),
        (
            Unary::HardSigmoid {
                alpha: 0.4,
                beta: 0.5,
            },
            KINKED,
        ),
        (Unary::HardSwish, KINKED),
        (Unary::LeakyRelu { alpha: 0.2 }, KINKED),
        (Unary::Elu { alpha: 0.7 }, KINKED),
    ];
    for (function, tolerance) in functions {
        let mut graph = Graph::new(format!("{function:?}"), "x", &[6]);
        gemm(&mut graph, 5);
        add(&mut graph, "function", Op::Unary(function));
        gemm(&mut graph, 3);
        check(&graph, tolerance, reference_loss);
    }
    // Where it has a value.
    let mut graph = Graph::new("sqrt", "x", &[6]);
    gemm(&mut graph, 5);
    add(&mut graph, "exp", Op::Unary(Unary::Exp));
    add(&mut graph, "sqrt", Op::Unary(Unary::Sqrt));
    gemm(&mut graph, 3);
    check(&graph, SMOOTH, reference_loss);
}

#[test]
fn pools_of_every_geometry() {
    let geometries = [
        Window::square(2, 2),
        Window::square(3, 2),
        window([2, 3], [2, 2], [1, 1, 1, 1], false),
        window([3, 3], [2, 2], [0, 0, 1, 1], false),
        window([2, 2], [2, 2], [0, 0, 0, 0], true),
        window([3, 3], [2, 2], [1, 1, 1, 1], true),
    ];
    for geometry in geometries {
        let ops = [
            (
                Op::MaxPool {
                    window: geometry,
                    dilation: [1, 1],
                },
                KINKED,
            ),
            (
                Op::AveragePool {
                    dilation: [1, 1],
                    window: geometry,
                    count_include_pad: false,
                },
                SMOOTH,
            ),
            (
                Op::AveragePool {
                    dilation: [1, 1],
                    window: geometry,
                    count_include_pad: true,
                },
                SMOOTH,
            ),
        ];
        for (op, tolerance) in ops {
            let mut graph = Graph::new(format!("{op:?}"), "x", &[2, 6, 8]);
            conv(&mut graph, 3, Window::square(2, 1), 1, 1);
            add(&mut graph, "pool", op);
            gemm(&mut graph, 3);
            check(&graph, tolerance, reference_loss);
        }
    }
}

#[test]
fn elementwise_operators() {
    let mut graph = Graph::new("elementwise", "x", &[2, 5, 5]);
    conv(&mut graph, 4, Window::square(3, 1), 1, 1);
    add(&mut graph, "relu", Op::Relu);
    let short = graph.output;
    conv(
        &mut graph,
        4,
        window([3, 3], [1, 1], [1, 1, 1, 1], false),
        1,
        1,
    );
    add(
        &mut graph,
        "clip",
        Op::Clip {
            min: -0.6,
            max: 0.9,
        },
    );
    let long = graph.output;
    graph.push("add", Op::Add, &[short, long]).unwrap();
    add(&mut graph, "mean", Op::GlobalAveragePool);
    add(&mut graph, "reshape", Op::Reshape { shape: vec![4] });
    gemm(&mut graph, 3);
    check(&graph, KINKED, reference_loss);
}

#[test]
fn a_last_softmax_is_part_of_the_loss() {
    let mut graph = Graph::new("softmax", "x", &[4]);
    gemm(&mut graph, 3);
    add(&mut graph, "softmax", Op::Softmax { axis: 0 });
    check(&graph, SMOOTH, |graph, data| {
        let loss = |i: usize| -f64::from(reference::run(graph, data.input(i))[i % 3]).ln();
        (0..data.len()).map(loss).sum::<f64>() / data.len() as f64
    });
}

/// Gemm, batch normalization by the batch's own statistics, Gemm; in `f64`.
fn normalized_loss(graph: &Graph, data: &Dataset) -> f64 {
    let p: Vec<Vec<f64>> = graph
        .parameters
        .iter()
        .map(|p| p.latent().into_iter().map(f64::from).collect())
        .collect();
    let affine = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        let dot = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        w.chunks(x.len()).zip(b).map(|(r, b)| dot(r) + b).collect()
    };
    let input = |i| data.input(i).iter().map(|&v| f64::from(v)).collect();
    let mut hidden: Vec<Vec<f64>> = (0..data.len())
        .map(input)
        .map(|x: Vec<f64>| affine(&x, &p[0], &p[1]))
        .collect();
    let n = hidden.len() as f64;
    for c in 0..hidden[0].len() {
        let mean = hidden.iter().map(|h| h[c]).sum::<f64>() / n;
        let variance = hidden.iter().map(|h| (h[c] - mean).powi(2)).sum::<f64>() / n;
        for h in &mut hidden {
            h[c] = (h[c] - mean) / (variance + 1e-3).sqrt() * p[2][c] + p[3][c];
        }
    }
    let loss = |(h, &label): (&Vec<f64>, &u32)| {
        let logits: Vec<f32> = affine(h, &p[6], &p[7]).iter().map(|&v| v as f32).collect();
        cross_entropy(&logits, label as usize)
    };
    hidden.iter().zip(&data.labels).map(loss).sum::<f64>() / n
}

#[test]
fn batch_normalization_by_the_batch() {
    let mut graph = Graph::new("normalized", "x", &[4]);
    gemm(&mut graph, 3);
    let op = Op::BatchNormalization {
        scale: dense(&mut graph, "scale", &[3], 1.0),
        bias: dense(&mut graph, "shift", &[3], 1.0),
        mean: dense(&mut graph, "mean", &[3], 1.0),
        variance: dense(&mut graph, "variance", &[3], 1.0),
        epsilon: 1e-3,
    };
    add(&mut graph, "norm", op);
    gemm(&mut graph, 3);
    let data = examples(&graph, 9);

    let after = one_step(&graph, &data, &TrainConfig::default());
    let hidden: Vec<Vec<f32>> = (0..data.len())
        .map(|i| reference::run_all(&graph, data.input(i))[1].clone())
        .collect();
    for c in 0..3 {
        let n = hidden.len() as f32;
        let mean = hidden.iter().map(|h| h[c]).sum::<f32>() / n;
        let variance = hidden.iter().map(|h| (h[c] - mean).powi(2)).sum::<f32>() / (n - 1.0);
        for (place, batch) in [(4, mean), (5, variance)] {
            let running = 0.9 * graph.parameters[place].free()[c] + 0.1 * batch;
            let seen = after.parameters[place].free()[c];
            assert!((seen - running).abs() < 1e-5, "{seen} for {running}");
        }
    }

    // A bias before a normalization has no gradient, and running statistics are not trained.
    let gradients = gradients(&graph, &data);
    for place in [0, 2, 3, 6, 7] {
        let (mut apart, mut size) = (0.0, 0.0);
        for (i, &analytic) in gradients[place].iter().enumerate() {
            let at = |by: f32| {
                let mut moved = graph.clone();
                moved.parameters[place].free_mut()[i] += by;
                normalized_loss(&moved, &data)
            };
            let numeric = (at(SMOOTH.step) - at(-SMOOTH.step)) / (2.0 * f64::from(SMOOTH.step));
            apart += (numeric - analytic).powi(2);
            size += numeric.powi(2);
        }
        let rho = apart.sqrt() / (2.0 * size.sqrt());
        assert!(
            rho < KINKED.rho,
            "'{}' is off by {rho:.1e}",
            graph.parameters[place].name
        );
    }
}
