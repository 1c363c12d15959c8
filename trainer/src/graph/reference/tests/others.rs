//! What pools, normalizes, moves and rounds.

use super::*;

#[test]
fn a_partial_window_divides_by_what_it_covers() {
    for (count_include_pad, expected) in [(false, [1.0, 2.5, 4.0]), (true, [0.5, 2.5, 4.0])] {
        let mut graph = graph(&[1, 1, 4], &[]);
        let window = Window {
            kernel: [1, 2],
            stride: [1, 2],
            padding: [0, 1, 0, 0],
            ceil_mode: true,
        };
        let op = Op::AveragePool {
            window,
            dilation: [1, 1],
            count_include_pad,
        };
        graph.push("pool", op, &[ValueId(0)]).expect("fits");
        assert_eq!(run(&graph, &[1., 2., 3., 4.]), expected);
    }
}

#[test]
fn padding_never_wins_a_maximum() {
    let mut graph = graph(&[1, 1, 2], &[]);
    let window = Window {
        kernel: [1, 2],
        stride: [1, 1],
        padding: [0, 1, 0, 1],
        ceil_mode: false,
    };
    graph
        .push(
            "pool",
            Op::MaxPool {
                window,
                dilation: [1, 1],
            },
            &[ValueId(0)],
        )
        .expect("fits");
    assert_eq!(run(&graph, &[-3., -1.]), [-3., -1., -1.]);
}

#[test]
fn elementwise_operators_follow_their_definitions() {
    let mut graph = graph(&[2], &[]);
    let vector = |name: &str, v: [f32; 2]| Parameter::dense(name, &[2], v.to_vec());
    let scale = graph.add_parameter(vector("scale", [2.0, 1.0]));
    let bias = graph.add_parameter(vector("bias", [1.0, 0.0]));
    let mean = graph.add_parameter(vector("mean", [1.0, 0.0]));
    let variance = graph.add_parameter(vector("variance", [3.0, 0.0]));
    let op = Op::BatchNormalization {
        scale,
        bias,
        mean,
        variance,
        epsilon: 1.0,
    };
    let normalized = graph.push("bn", op, &[ValueId(0)]).expect("fits");
    let op = Op::Clip {
        min: -1.0,
        max: 2.5,
    };
    let clipped = graph.push("clip", op, &[normalized]).expect("fits");
    let relu = graph.push("relu", Op::Relu, &[normalized]).expect("fits");
    let sum = graph.push("add", Op::Add, &[clipped, relu]).expect("fits");
    let soft = graph
        .push("softmax", Op::Softmax { axis: 0 }, &[sum])
        .expect("fits");
    let values = run_all(&graph, &[3.0, -2.0]);
    assert_eq!(values[normalized.0], [3.0, -2.0]);
    assert_eq!(values[clipped.0], [2.5, -1.0]);
    assert_eq!(values[sum.0], [5.5, -1.0]);
    let expected = 1.0 / (1.0 + (-6.5_f32).exp());
    assert!((values[soft.0][0] - expected).abs() < 1e-6);
}

/// `⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩` defines it.
#[test]
fn pools_dilate() {
    let x = [1., 2., 3., 4., 5.];
    let of_two = |padding, op: &dyn Fn(Window, [usize; 2]) -> Op| {
        apply(graph(&[1, 1, 5], &[]), op(row(2, 1, padding), [1, 2]), &x)
    };
    let largest = |window, dilation| Op::MaxPool { window, dilation };
    assert_eq!(of_two([0, 0], &largest), [3., 4., 5.]);
    for (count_include_pad, first) in [(false, 2.), (true, 1.)] {
        let mean = |window, dilation| Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        };
        assert_eq!(of_two([1, 0], &mean), [first, 2., 3., 4.]);
    }
}

#[test]
fn a_mean_leaves_other_axes() {
    let x = [1., 2., 3., 4., 5., 6., 7., 8.];
    let mean = |axes: &[usize]| {
        let axes = axes.to_vec();
        apply(graph(&[2, 2, 2], &[]), Op::ReduceMean { axes }, &x)
    };
    assert_eq!(mean(&[1]), [2., 3., 6., 7.]);
    assert_eq!(mean(&[0, 2]), [3.5, 5.5]);
    let global = apply(graph(&[2, 2, 2], &[]), Op::GlobalAveragePool, &x);
    assert_eq!(global, [2.5, 6.5]);
}

#[test]
fn softmax_runs_along_its_axis() {
    let expected = [0.0900306, 0.2447285, 0.665241];
    let soft = |shape: &[usize], op| apply(graph(shape, &[]), op, &[1., 2., 3., 1., 2., 3.]);
    let rows = [expected, expected].concat();
    assert_near(&soft(&[2, 3], Op::Softmax { axis: 1 }), &rows);
    assert_near(&soft(&[2, 3], Op::Softmax { axis: 0 }), &[0.5; 6]);
    let logs: Vec<f32> = rows.iter().map(|v: &f32| v.ln()).collect();
    assert_near(&soft(&[2, 3, 1], Op::LogSoftmax { axis: 1 }), &logs);
}

#[test]
fn the_largest_is_found_along_an_axis() {
    for (select_last_index, expected) in [(false, [1., 0., 1.]), (true, [1., 1., 1.])] {
        let op = Op::ArgMax {
            axis: 0,
            select_last_index,
        };
        let y = apply(graph(&[2, 3], &[]), op, &[1., 5., 2., 4., 5., 3.]);
        assert_eq!(y, expected);
    }
}

#[test]
fn layer_normalization_by_each_row() {
    let parameters: [(&[usize], &[f32]); 2] = [(&[1], &[1.0]), (&[4], &[0., 0., 0., 10.])];
    let op = Op::LayerNormalization {
        axis: 1,
        scale: ParamId(0),
        bias: Some(ParamId(1)),
        epsilon: 0.0,
    };
    let y = apply(
        graph(&[2, 4], &parameters),
        op,
        &[1., 2., 3., 4., 1., -1., 1., -1.],
    );
    let unit = 1.0 / 1.118_034;
    let expected = [
        -1.5 * unit,
        -0.5 * unit,
        0.5 * unit,
        10. + 1.5 * unit,
        1.,
        -1.,
        1.,
        9.,
    ];
    assert_near(&y, &expected);
    assert_near(&[y[0].tanh(), y[1].tanh()], &[-0.8720658, -0.4196059]);
}

#[test]
fn response_normalization_by_five_channels() {
    let op = Op::Lrn {
        size: 5,
        alpha: 5e-4,
        beta: 0.75,
        bias: 2.0,
    };
    let y = apply(graph(&[7, 1, 1], &[]), op, &[1., 2., 3., 4., 5., 6., 7.]);
    let expected = [
        0.594292, 1.187871, 1.78014, 2.370419, 2.958055, 3.550857, 4.145138,
    ];
    assert_near(&y, &expected);
    // Of an even number, the channel itself has one more after it than before.
    let op = Op::Lrn {
        size: 2,
        alpha: 2.0,
        beta: 1.0,
        bias: 0.0,
    };
    assert_near(&apply(graph(&[2, 1, 1], &[]), op, &[1., 2.]), &[0.2, 0.5]);
}

#[test]
fn a_slope_below_zero_for_each_channel() {
    let op = Op::PRelu { slope: ParamId(0) };
    let y = apply(
        graph(&[2, 2], &[(&[2, 1], &[0.5, 3.])]),
        op,
        &[-1., 2., -1., 2.],
    );
    assert_eq!(y, [-0.5, 2., -3., 2.]);
}

#[test]
fn movements_keep_the_elements() {
    let x = [1., 2., 3., 4., 5., 6.];
    let moved = |op| apply(graph(&[2, 3], &[]), op, &x);
    let select = |axis, indices: &[usize]| Op::Select {
        axis,
        indices: indices.to_vec(),
    };
    assert_eq!(moved(select(1, &[2, 0, 0])), [3., 1., 1., 6., 4., 4.]);
    assert_eq!(moved(select(0, &[1])), [4., 5., 6.]);
    assert_eq!(
        moved(Op::Transpose { perm: vec![1, 0] }),
        [1., 4., 2., 5., 3., 6.]
    );
    let padded = moved(Op::Pad {
        before: vec![0, 1],
        after: vec![1, 0],
        value: 9.,
    });
    assert_eq!(padded, [9., 1., 2., 3., 9., 4., 5., 6., 9., 9., 9., 9.]);
    let op = Op::Concat { axis: 1 };
    let joined = apply_to_two((&[2, 2], &x[..4]), op, (&[2, 1], &[8., 9.]));
    assert_eq!(joined, [1., 2., 8., 3., 4., 9.]);
    let op = Op::Transpose {
        perm: vec![2, 0, 1],
    };
    let turned = apply(graph(&[1, 2, 3], &[]), op, &x);
    assert_eq!(turned, [1., 4., 2., 5., 3., 6.]);
}

#[test]
fn rows_of_a_table() {
    let table: (&[usize], &[f32]) = (&[3, 2], &[1., 2., 3., 4., 5., 6.]);
    let op = Op::Embedding { table: ParamId(0) };
    let y = apply(graph(&[3], &[table]), op, &[2., 0., -2.]);
    assert_eq!(y, [5., 6., 1., 2., 3., 4.]);
}

#[test]
fn integers_stand_for_real_numbers() {
    let affine = |scale: &[f32], zero_point: &[f32]| Affine {
        scale: scale.to_vec(),
        zero_point: zero_point.to_vec(),
        axis: 0,
        range: [-128., 127.],
    };
    let x = [1., 3., 5., -1., 1000., -1000.];
    let op = Op::QuantizeLinear(affine(&[2.], &[1.]));
    let q = apply(graph(&[6], &[]), op, &x);
    assert_eq!(q, [1., 3., 3., 1., 127., -128.]);
    let op = Op::DequantizeLinear(affine(&[1., 10.], &[0., 1.]));
    assert_eq!(
        apply(graph(&[2, 2], &[]), op, &[1., 2., 1., 2.]),
        [1., 2., 0., 10.]
    );
}

/// The example in the operator's definition.
#[test]
fn a_range_found_while_running() {
    let x = [0., 2., -3., -2.5, 1.34, 0.5];
    let dynamic = |output, x: &[f32]| {
        let op = Op::DynamicQuantizeLinear { output };
        apply(graph(&[x.len()], &[]), op, x)
    };
    assert_near(&dynamic(DynamicOutput::Scale, &x), &[0.019_607_844]);
    assert_eq!(dynamic(DynamicOutput::ZeroPoint, &x), [153.]);
    let q = dynamic(DynamicOutput::Quantized, &x);
    assert_eq!(q, [153., 255., 0., 26., 221., 179.]);
    // Zero is always among the numbers that an integer stands for.
    let below = [-1., -2.1, -1.3, -2.5, -3.34, -4.];
    assert_eq!(dynamic(DynamicOutput::ZeroPoint, &below), [255.]);
    let q = dynamic(DynamicOutput::Quantized, &below);
    assert_eq!(q, [191., 121., 172., 96., 42., 0.]);
    assert_eq!(dynamic(DynamicOutput::Quantized, &[0.]), [0.]);
}
