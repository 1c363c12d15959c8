//! Layers with weights, and pools.

use super::builder::{Builder, EXACT, ROUNDED, padded, within};
use trainer::graph::{Op, Window};

#[test]
fn dense_layers_at_every_place() {
    for shape in [vec![12], vec![5, 12], vec![2, 3, 12], vec![1, 1, 12]] {
        let mut b = Builder::new(7, &shape);
        let x = b.gemm(b.input(), 9);
        b.relu(x);
        assert_eq!(within(&b.graph, ROUNDED).operators, 1);
    }
}

#[test]
fn transposed_convolutions() {
    for (stride, padding, output_padding, groups, dilation) in [
        (1, [0; 4], [0, 0], 1, [1, 1]),
        (2, [0; 4], [0, 0], 1, [1, 1]),
        (2, [1; 4], [1, 1], 1, [1, 1]),
        (3, [0, 1, 2, 1], [0, 2], 2, [1, 1]),
        (2, [2; 4], [0, 1], 2, [2, 1]),
    ] {
        let mut b = Builder::new(7, &[4, 5, 6]);
        let weight = b.parameter(&[4, 3, 3, 3], -0.3, 0.3);
        let bias = Some(b.parameter(&[3 * groups], -0.2, 0.2));
        let op = Op::ConvTranspose {
            weight,
            bias,
            window: padded(3, stride, padding),
            dilation,
            groups,
            output_padding,
        };
        let x = b.push(op, &[b.input()]);
        b.relu(x);
        within(&b.graph, ROUNDED);
    }
}

#[test]
fn pools_with_dilation() {
    let window = padded(3, 2, [1; 4]);
    let dilation = [2, 1];
    let mut b = Builder::new(7, &[3, 9, 8]);
    b.push(Op::MaxPool { window, dilation }, &[b.input()]);
    within(&b.graph, EXACT);
    for count_include_pad in [false, true] {
        let mut b = Builder::new(7, &[3, 9, 8]);
        let op = Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        };
        b.push(op, &[b.input()]);
        within(&b.graph, 0.51);
    }
}

#[test]
fn means_over_any_axes() {
    for (shape, axes) in [
        (vec![4, 6, 5], vec![1, 2]),
        (vec![4, 6, 5], vec![0]),
        (vec![4, 6, 5], vec![1]),
        (vec![4, 6, 5], vec![2]),
        (vec![4, 6, 5], vec![0, 2]),
        (vec![4, 6, 5], vec![0, 1, 2]),
        (vec![7, 6], vec![0]),
        (vec![7, 6], vec![1]),
    ] {
        let mut b = Builder::new(7, &shape);
        b.push(Op::ReduceMean { axes }, &[b.input()]);
        let pair = super::builder::Pair::of(&b.graph);
        let off = pair.steps_off();
        assert!(off <= 0.51, "{off} steps off");
    }
}

/// `[2, 5, 6]·[2, 6, 4]` in either order of memory, and one matrix for both.
#[test]
fn products_of_two_values() {
    for (turned, shared) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut b = Builder::new(7, &[2, 5, 6]);
        let a = b.gemm(b.input(), 6);
        let mut c = b.gemm(b.input(), 6);
        if shared {
            c = b.select(c, 0, &[1]);
        }
        let c = b.select(c, 1, &[3, 0, 1, 2]);
        let c = if turned { b.gemm(c, 6) } else { c };
        let c = b.transpose(c, &[0, 2, 1]);
        b.push(Op::MatMul, &[a, c]);
        within(&b.graph, 4.0);
    }
}

/// Scaled dot-product attention of two heads (Vaswani et al. 2017).
#[test]
fn attention() {
    let (time, heads, size) = (6, 2, 8);
    let mut b = Builder::new(7, &[time, heads * size]);
    let mut head = |b: &mut Builder| {
        let x = b.gemm(b.graph.input, heads * size);
        let x = b.reshape(x, &[time, heads, size]);
        b.transpose(x, &[1, 0, 2])
    };
    let [q, k, v] = [head(&mut b), head(&mut b), head(&mut b)];
    let k = b.transpose(k, &[0, 2, 1]);
    let scores = b.push(Op::MatMul, &[q, k]);
    let scale = b.constant(&[1], 0.35, 0.36);
    let scores = b.push(Op::Mul, &[scores, scale]);
    let weights = b.push(Op::Softmax { axis: 2 }, &[scores]);
    let x = b.push(Op::MatMul, &[weights, v]);
    let x = b.transpose(x, &[1, 0, 2]);
    let x = b.reshape(x, &[time, heads * size]);
    let x = b.gemm(x, heads * size);
    b.push(Op::Add, &[x, b.graph.input]);
    within(&b.graph, 5.0);
}

/// The columns of a dense layer follow any order of its input.
#[test]
fn dense_layers_behind_any_view() {
    let mut b = Builder::new(7, &[3, 4, 5]);
    let x = b.conv(b.input(), 6, padded(3, 1, [1; 4]), 1);
    let x = b.transpose(x, &[2, 0, 1]);
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 8);
    assert_eq!(within(&b.graph, 1.5).operators, 2);
}

#[test]
fn two_dimensional_windows_of_one_row() {
    let window = Window {
        kernel: [1, 3],
        stride: [1, 2],
        padding: [0, 1, 0, 1],
        ceil_mode: false,
    };
    let mut b = Builder::new(7, &[3, 1, 12]);
    b.conv(b.input(), 6, window, 3);
    within(&b.graph, ROUNDED);
}
