//! Operators over the channels of a place, and functions with parameters.

use super::builder::{Builder, ROUNDED, padded, within};
use trainer::graph::{Affine, Op, Quantization};

#[test]
fn softmax_along_every_axis() {
    for axis in 0..3 {
        let mut b = Builder::new(6, &[4, 5, 6]);
        let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
        b.push(Op::Softmax { axis }, &[x]);
        // Half a step of the exponent's scale, below 0.02, moves a probability by less than 0.005.
        within(&b.graph, 2.5);
    }
}

#[test]
fn log_softmax_along_every_axis() {
    for axis in 0..3 {
        let mut b = Builder::new(6, &[4, 5, 6]);
        b.push(Op::LogSoftmax { axis }, &[b.input()]);
        within(&b.graph, 1.0);
    }
}

/// Of the image's integers the first or last largest is chosen: compared where no two are equal.
#[test]
fn arg_max_names_places() {
    for axis in 0..3 {
        for select_last_index in [false, true] {
            let mut b = Builder::new(6, &[4, 5, 6]);
            let op = Op::ArgMax {
                axis,
                select_last_index,
            };
            b.push(op, &[b.input()]);
            let pair = super::builder::Pair::of(&b.graph);
            let same = pair.outputs.iter().zip(&pair.expected);
            assert!(same.clone().all(|(a, b)| a == b), "of rounded inputs");
        }
    }
}

#[test]
fn layers_are_normalized() {
    for (axis, shape) in [(1, vec![5, 12]), (0, vec![5, 12]), (2, vec![3, 4, 10])] {
        let mut b = Builder::new(6, &shape);
        let scale = b.parameter(&shape[axis..], 0.5, 1.5);
        let bias = Some(b.parameter(&shape[axis..], -0.5, 0.5));
        let op = Op::LayerNormalization {
            axis,
            scale,
            bias,
            epsilon: 1e-5,
        };
        b.push(op, &[b.input()]);
        within(&b.graph, 1.0);
    }
}

#[test]
fn responses_are_normalized() {
    for size in [3, 5, 4] {
        let mut b = Builder::new(6, &[8, 4, 5]);
        let op = Op::Lrn {
            size,
            alpha: 0.5,
            beta: 0.75,
            bias: 1.0,
        };
        b.push(op, &[b.input()]);
        within(&b.graph, 1.0);
    }
}

#[test]
fn slopes_of_one_of_all_and_of_each() {
    for shape in [
        vec![1],
        vec![4, 1, 1],
        vec![5, 6],
        vec![4, 5, 6],
        vec![4, 1, 6],
    ] {
        let mut b = Builder::new(6, &[4, 5, 6]);
        let slope = b.parameter(&shape, -0.3, 0.8);
        b.push(Op::PRelu { slope }, &[b.input()]);
        within(&b.graph, 0.51);
    }
}

/// Values that are normalized alone, of any rank.
#[test]
fn normalizations_without_a_layer() {
    for shape in [vec![6], vec![6, 5], vec![6, 5, 4]] {
        let mut b = Builder::new(6, &shape);
        b.normalize(b.input());
        within(&b.graph, 2.5);
    }
}

fn affine(scale: f32, zero_point: f32, range: [f32; 2]) -> Affine {
    Affine {
        scale: vec![scale],
        zero_point: vec![zero_point],
        axis: 0,
        range,
    }
}

/// Integers in and integers out, signed and unsigned.
#[test]
fn models_with_integers_for_inputs_and_outputs() {
    for range in [[-128.0, 127.0], [0.0, 255.0]] {
        let mut b = Builder::new(6, &[2, 5, 6]);
        let zero_point = range[0] + 120.0;
        let input = affine(0.01, zero_point, range);
        let x = b.push(Op::DequantizeLinear(input), &[b.input()]);
        let x = b.conv(x, 4, padded(3, 1, [1; 4]), 1);
        b.graph.values[x.0].quantization = Some(Quantization {
            scale: 0.02,
            zero_point: -8,
        });
        b.push(Op::QuantizeLinear(affine(0.02, zero_point, range)), &[x]);
        let inputs: Vec<f32> = (0..600).map(|i| range[0] + (i * 37 % 256) as f32).collect();
        let pair = super::builder::Pair::on(&b.graph, &inputs);
        assert_eq!(pair.step, 1.0, "integers stand for themselves");
        let off = pair.steps_off();
        assert!(off <= 2.0, "{off}");
    }
}
