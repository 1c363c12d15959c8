//! Sums of products, and pairs of values.

use super::super::linear::dot;
use super::*;

#[test]
fn gemm_rounds_its_weights_to_the_grid() {
    let mut graph = graph(&[2], &[]);
    let mut weight = Parameter::dense("w", &[2, 2], vec![0.9, 2.2, -1.0, 0.0]);
    weight.grid = Some(Grid {
        scale: vec![1.0],
        max: 1,
    });
    let weight = graph.add_parameter(weight);
    let bias = Some(graph.add_parameter(Parameter::dense("b", &[2], vec![0.5, 0.0])));
    graph
        .push("gemm", Op::Gemm { weight, bias }, &[ValueId(0)])
        .expect("fits");
    assert_eq!(run(&graph, &[3.0, 4.0]), [7.5, -3.0]);
}

#[test]
fn conv_pads_strides_and_groups() {
    let mut graph = graph(&[2, 2, 2], &[]);
    let weight = graph.add_parameter(Parameter::dense(
        "w",
        &[2, 1, 2, 2],
        vec![1., 1., 1., 1., 1., 2., 3., 4.],
    ));
    let mut window = Window::square(2, 2);
    window.padding = [1, 0, 1, 0];
    let op = Op::Conv {
        weight,
        bias: None,
        window,
        dilation: [1, 1],
        groups: 2,
    };
    graph.push("conv", op, &[ValueId(0)]).expect("fits");
    let y = run(&graph, &[1., 2., 3., 4., 5., 6., 7., 8.]);
    // Rows: padding over the first row, then the second row over padding.
    assert_eq!(y, [3., 7., 3. * 5. + 4. * 6., 7. + 2. * 8.]);
}

#[test]
fn gemm_works_on_every_row() {
    let graph = graph(&[2, 2], &[(&[1, 2], &[2.0, 1.0]), (&[1], &[0.5])]);
    let op = Op::Gemm {
        weight: ParamId(0),
        bias: Some(ParamId(1)),
    };
    assert_eq!(apply(graph, op, &[1., 2., 3., 4.]), [4.5, 10.5]);
}

#[test]
fn two_values_broadcast() {
    let x: (&[usize], &[f32]) = (&[2, 2], &[1., 2., 3., 4.]);
    let column: (&[usize], &[f32]) = (&[2, 1], &[10., 20.]);
    assert_eq!(apply_to_two(x, Op::Add, column), [11., 12., 23., 24.]);
    assert_eq!(apply_to_two(x, Op::Sub, column), [-9., -8., -17., -16.]);
    assert_eq!(
        apply_to_two(x, Op::Mul, (&[2], &[1., -1.])),
        [1., -2., 3., -4.]
    );
    assert_eq!(apply_to_two(x, Op::Div, (&[1], &[2.])), [0.5, 1., 1.5, 2.]);
    let wider: (&[usize], &[f32]) = (&[2, 1, 1], &[0., 5.]);
    let sums = [1., 2., 3., 4., 6., 7., 8., 9.];
    assert_eq!(apply_to_two(x, Op::Add, wider), sums);
}

#[test]
fn matrices_broadcast_over_the_axes_before() {
    let x: (&[usize], &[f32]) = (&[2, 1, 2], &[1., 2., 3., 4.]);
    let y = apply_to_two(x, Op::MatMul, (&[2, 2], &[1., 0., 10., 100.]));
    assert_eq!(y, [21., 200., 43., 400.]);
    let y = apply_to_two(
        (&[1, 2], &[1., 2.]),
        Op::MatMul,
        (&[2, 2, 1], &[1., 1., 0., 5.]),
    );
    assert_eq!(y, [3., 10.]);
}

#[test]
fn convolution_dilates() {
    let conv = |dilation, padding| {
        let graph = graph(&[1, 1, 5], &[(&[1, 1, 1, 3], &[1., 0., 1.])]);
        let op = Op::Conv {
            weight: ParamId(0),
            bias: None,
            window: row(3, 1, [padding; 2]),
            dilation: [1, dilation],
            groups: 1,
        };
        apply(graph, op, &[2., 1., 3., 4., 7.])
    };
    assert_eq!(conv(1, 0), [5., 5., 10.]);
    assert_eq!(conv(1, 1), [1., 5., 5., 10., 4.]);
    assert_eq!(conv(2, 0), [9.]);
}

#[test]
fn transposed_convolution_spreads_the_kernel() {
    let transposed = |padding, dilation, output_padding| {
        let graph = graph(&[1, 1, 2], &[(&[1, 1, 1, 3], &[1., 10., 100.])]);
        let op = Op::ConvTranspose {
            weight: ParamId(0),
            bias: None,
            window: row(3, 2, padding),
            dilation: [1, dilation],
            groups: 1,
            output_padding: [0, output_padding],
        };
        apply(graph, op, &[1., 2.])
    };
    assert_eq!(transposed([0, 0], 1, 0), [1., 10., 102., 20., 200.]);
    assert_eq!(transposed([1, 1], 1, 1), [10., 102., 20., 200.]);
    assert_eq!(transposed([0, 0], 2, 0), [1., 0., 12., 0., 120., 0., 200.]);
}

#[test]
fn transposed_convolution_is_the_adjoint() {
    let noise = |seed: usize, len: usize| -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 37 + seed * 11) % 19) as f32 - 9.0)
            .collect()
    };
    let window = Window {
        kernel: [3, 2],
        stride: [2, 1],
        padding: [1, 0, 2, 1],
        ceil_mode: false,
    };
    let (dilation, groups) = ([1, 2], 2);
    let kernels: (&[usize], &[f32]) = (&[6, 2, 3, 2], &noise(1, 72));
    let (x, y) = (noise(2, 4 * 6 * 5), noise(3, 6 * 4 * 4));
    let conv = Op::Conv {
        weight: ParamId(0),
        bias: None,
        window,
        dilation,
        groups,
    };
    let transposed = Op::ConvTranspose {
        weight: ParamId(0),
        bias: None,
        window,
        dilation,
        groups,
        output_padding: [0, 0],
    };
    let forth = apply(graph(&[4, 6, 5], &[kernels]), conv, &x);
    let back = apply(graph(&[6, 4, 4], &[kernels]), transposed, &y);
    assert_eq!(dot(&forth, &y), dot(&x, &back));
}
