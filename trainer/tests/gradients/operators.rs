//! Transposed and dilated windows, normalizations, reductions, quantizers.

use super::*;
use trainer::graph::{Affine, DynamicOutput, Unary};

#[test]
fn transposed_convolutions_of_every_geometry() {
    let geometries = [
        ("plain", Window::square(3, 1), [1, 1], 1, [0, 0]),
        (
            "strided",
            window([3, 2], [2, 1], [1, 0, 1, 0], false),
            [1, 1],
            1,
            [1, 0],
        ),
        (
            "padded unevenly",
            window([3, 3], [2, 2], [0, 1, 2, 1], false),
            [1, 1],
            1,
            [0, 1],
        ),
        (
            "dilated in groups",
            window([2, 3], [1, 2], [0, 0, 1, 0], false),
            [2, 1],
            2,
            [0, 0],
        ),
        ("depthwise", Window::square(2, 2), [1, 1], 4, [1, 1]),
    ];
    for (name, window, dilation, groups, output_padding) in geometries {
        let mut graph = Graph::new(name, "x", &[2, 4, 5]);
        conv(&mut graph, 4, Window::square(2, 1), 1, 1);
        let kernels = [4, 2, window.kernel[0], window.kernel[1]];
        let op = Op::ConvTranspose {
            weight: dense(&mut graph, "w", &kernels, 0.5),
            bias: Some(dense(&mut graph, "b", &[2 * groups], 0.5)),
            window,
            dilation,
            groups,
            output_padding,
        };
        add(&mut graph, "transposed", op);
        gemm(&mut graph, 3);
        check(&graph, SMOOTH, reference_loss);
    }
}

#[test]
fn pools_that_dilate() {
    let geometries = [
        (window([2, 2], [1, 1], [0, 0, 0, 0], false), [2, 2]),
        (window([2, 3], [2, 2], [1, 2, 1, 0], false), [3, 2]),
        (window([3, 2], [3, 3], [0, 1, 0, 1], true), [1, 2]),
    ];
    for (window, dilation) in geometries {
        let average = |count_include_pad| Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        };
        let ops = [
            (Op::MaxPool { window, dilation }, KINKED),
            (average(false), SMOOTH),
            (average(true), SMOOTH),
        ];
        for (op, tolerance) in ops {
            let mut graph = Graph::new(format!("{op:?}"), "x", &[2, 8, 9]);
            conv(&mut graph, 3, Window::square(2, 1), 1, 1);
            add(&mut graph, "pool", op);
            gemm(&mut graph, 3);
            check(&graph, tolerance, reference_loss);
        }
    }
}

#[test]
fn dense_layers_of_every_row() {
    let mut graph = Graph::new("rows", "x", &[2, 3, 4]);
    let weight = dense(&mut graph, "w", &[2, 4], 0.6);
    let bias = Some(dense(&mut graph, "b", &[2], 0.5));
    add(&mut graph, "rows", Op::Gemm { weight, bias });
    add(&mut graph, "tanh", Op::Unary(Unary::Tanh));
    gemm(&mut graph, 3);
    check(&graph, SMOOTH, reference_loss);
}

/// A convolution, these operators and a dense layer. What is constant over a channel would have no
/// gradient behind some of them: there is a curve between.
fn behind_a_convolution(name: &str, tolerance: Tolerance, push: impl FnOnce(&mut Graph)) {
    let mut graph = Graph::new(name, "x", &[2, 4, 5]);
    conv(&mut graph, 4, Window::square(2, 1), 1, 1);
    add(&mut graph, "tanh", Op::Unary(Unary::Tanh));
    push(&mut graph);
    gemm(&mut graph, 3);
    check(&graph, tolerance, reference_loss);
}

#[test]
fn softmax_along_any_axis() {
    for axis in 0..3 {
        for op in [Op::Softmax { axis }, Op::LogSoftmax { axis }] {
            behind_a_convolution(&format!("{op:?}"), SMOOTH, |graph| {
                add(graph, "softmax", op);
            });
        }
    }
}

#[test]
fn means_over_any_axes() {
    let axes: [&[usize]; 4] = [&[0], &[1], &[0, 2], &[1, 2]];
    for axes in axes {
        let axes = axes.to_vec();
        behind_a_convolution(&format!("mean over {axes:?}"), SMOOTH, |graph| {
            add(graph, "mean", Op::ReduceMean { axes });
        });
    }
}

#[test]
fn layer_normalization() {
    let shapes: [(usize, &[usize]); 4] = [(2, &[4]), (1, &[3, 4]), (0, &[3, 1]), (1, &[1])];
    for (axis, shape) in shapes {
        for with_bias in [false, true] {
            behind_a_convolution(&format!("from axis {axis}"), FAINT, |graph| {
                let scale = dense(graph, "scale", shape, 1.0);
                let bias = with_bias.then(|| dense(graph, "shift", shape, 1.0));
                let epsilon = 1e-2;
                let op = Op::LayerNormalization {
                    axis,
                    scale,
                    bias,
                    epsilon,
                };
                add(graph, "norm", op);
            });
        }
    }
}

#[test]
fn response_normalization() {
    for (size, beta) in [(3, 0.75), (2, 1.0), (5, 0.5)] {
        behind_a_convolution(&format!("of {size} channels"), SMOOTH, |graph| {
            let op = Op::Lrn {
                size,
                alpha: 0.9,
                beta,
                bias: 1.5,
            };
            add(graph, "lrn", op);
        });
    }
}

#[test]
fn slopes_that_learn() {
    let shapes: [&[usize]; 3] = [&[1], &[4, 1, 1], &[4, 3, 4]];
    for shape in shapes {
        // Slopes have no kink, and a gradient each that is small beside the rounding.
        let tolerance = Tolerance {
            step: 5e-4,
            ..KINKED
        };
        behind_a_convolution(&format!("slopes {shape:?}"), tolerance, |graph| {
            let slope = dense(graph, "slope", shape, 0.5);
            add(graph, "prelu", Op::PRelu { slope });
        });
    }
}

#[test]
fn a_table_learns_the_rows_it_is_asked_for() {
    let mut graph = Graph::new("embedding", "x", &[4]);
    let table = dense(&mut graph, "table", &[3, 2], 0.8);
    add(&mut graph, "rows", Op::Embedding { table });
    gemm(&mut graph, 2);
    let mut data = examples(&graph, 9);
    data.inputs = [0., 1., 1., 0., 1., 1., -3., 2., 0., 0., 0., 0.].repeat(2)[..20].to_vec();
    check_with(&graph, &data, SMOOTH, reference_loss);
}

fn affine(scale: Vec<f32>, axis: usize, range: [f32; 2]) -> Affine {
    Affine {
        zero_point: (0..scale.len()).map(|i| i as f32 * 3.0).collect(),
        scale,
        axis,
        range,
    }
}

/// A fine grid is next to the identity inside its range, and a constant outside.
#[test]
fn quantizers_pass_gradients_inside_their_range() {
    let clip = Op::Clip {
        min: -0.4,
        max: 0.5,
    };
    let identity = Op::Dropout { probability: 0.0 };
    let narrow = affine(vec![1e-4], 0, [-4000.0, 5000.0]);
    let wide = affine(vec![1e-4, 2e-4, 1e-4, 3e-4], 0, [-1e6, 1e6]);
    for (grid, same) in [(narrow, clip), (wide, identity)] {
        let mut graph = Graph::new(format!("{grid:?}"), "x", &[2, 4, 5]);
        conv(&mut graph, 4, Window::square(2, 1), 1, 1);
        add(&mut graph, "quantize", Op::QuantizeLinear(grid.clone()));
        add(&mut graph, "dequantize", Op::DequantizeLinear(grid));
        gemm(&mut graph, 3);
        check(&graph, KINKED, |graph, data| {
            let mut real = graph.clone();
            real.nodes[1].op = same.clone();
            real.nodes[2].op = Op::Dropout { probability: 0.0 };
            reference_loss(&real, data)
        });
    }
}

#[test]
fn outputs_without_gradients() {
    let x = noise(5, 3 * 2 * 3 * 4);
    let mut coarse = x.clone();
    coarse.iter_mut().for_each(|v| *v = (*v * 2.0).round());
    let grid = |len: usize, axis| {
        let scale = (1..=len).map(|i| i as f32 * 0.017);
        affine(scale.collect(), axis, [-128.0, 127.0])
    };
    let mut ops = vec![
        Op::QuantizeLinear(grid(1, 0)),
        Op::DequantizeLinear(grid(1, 0)),
    ];
    for (axis, len) in [(0, 2), (1, 3), (2, 4)] {
        ops.push(Op::QuantizeLinear(grid(len, axis)));
        ops.push(Op::DequantizeLinear(grid(len, axis)));
        for select_last_index in [false, true] {
            ops.push(Op::ArgMax {
                axis,
                select_last_index,
            });
        }
    }
    let outputs = [
        DynamicOutput::Quantized,
        DynamicOutput::Scale,
        DynamicOutput::ZeroPoint,
    ];
    ops.extend(outputs.map(|output| Op::DynamicQuantizeLinear { output }));
    for op in ops {
        let mut graph = Graph::new(format!("{op:?}"), "x", &[2, 3, 4]);
        add(&mut graph, "op", op);
        for x in [&x, &coarse, &vec![0.0; x.len()]] {
            check_outputs(&graph, x);
        }
    }
}
