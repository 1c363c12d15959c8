//! Operators on int16 activations give the integers of their definitions, in 64 bits.
#![allow(clippy::unwrap_used)]

mod common;

use common::{ConvShape, Style, chain, conv_program, dense_program, execute, rng, tensor};
use compress::encode::{Coding, EncodeError, encode};
use compress::program::{Kind, Linear, Operator, Program, Tensor};
use no_std_core::numerics::{Multiplier, Output};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const WIDTHS: [[bool; 2]; 3] = [[true, false], [false, true], [true, true]];

const STYLE: Style = Style {
    density: 0.4,
    entries: 0,
};

fn widen(tensor: &mut Tensor, wide: bool) {
    tensor.wide = wide;
    if wide {
        tensor.zero_point = 0;
    }
}

/// An int16 input's sums are 256 times those of an int8 one: the multipliers bring them back, or leave
/// them to an int16 output.
fn fit(linear: &mut Linear, [from, to]: [bool; 2], rng: &mut ChaCha8Rng) {
    let bits = 8 * (i32::from(from) - i32::from(to));
    for multiplier in &mut linear.multipliers {
        let shift = (i32::from(multiplier.shift) + bits) as u8;
        *multiplier = Multiplier::new(multiplier.mantissa, shift).unwrap();
    }
    if to {
        linear.range = Output {
            zero_point: 0,
            min: if rng.random() { 0 } else { -128 },
            max: 127,
        };
    }
}

fn elements(bytes: &[i8], wide: bool) -> Vec<i64> {
    if !wide {
        return bytes.iter().map(|&b| b.into()).collect();
    }
    let pairs = bytes.as_chunks::<2>().0.iter();
    pairs
        .map(|pair| i16::from_le_bytes(pair.map(|b| b as u8)).into())
        .collect()
}

/// `sum·m / 2^shift` rounded, ties towards +∞, and clamped.
fn rounded(sum: i128, shift: u8, range: Output, wide: bool) -> i64 {
    let steps = (2 * sum + (1i128 << shift)).div_euclid(1i128 << (shift + 1)) as i64;
    if wide {
        let low = if range.min >= 0 { 0 } else { -32_768 };
        steps.clamp(low, 32_767)
    } else {
        (steps + i64::from(range.zero_point))
            .clamp(-128, 127)
            .max(range.min.into())
            .min(range.max.into())
    }
}

fn input(rng: &mut ChaCha8Rng, tensor: &Tensor) -> Vec<i8> {
    (0..tensor.bytes()).map(|_| rng.random()).collect()
}

fn requantized(linear: &Linear, row: usize, sum: i64, wide: bool) -> i64 {
    let m = linear.multipliers[row % linear.multipliers.len()];
    let sum = i128::from(sum + i64::from(linear.biases[row])) * i128::from(m.mantissa);
    rounded(sum, m.shift, linear.range, wide)
}

fn prepared(mut program: Program, widths: [bool; 2], rng: &mut ChaCha8Rng) -> Program {
    for (tensor, wide) in program.tensors.iter_mut().zip(widths) {
        widen(tensor, wide);
    }
    if let Kind::Dense(linear) | Kind::Conv { linear, .. } = &mut program.operators[0].kind {
        fit(linear, widths, rng);
        program.tensors[1].zero_point = linear.range.zero_point;
    }
    program
}

fn outputs(program: &Program, bytes: &[i8]) -> Vec<i64> {
    let image = encode(program, Coding::Smallest).unwrap();
    elements(&execute(&image.bytes, bytes), program.tensors[1].wide)
}

#[test]
fn dense_layers() {
    for (seed, widths) in (0..60).flat_map(|seed| WIDTHS.map(|widths| (seed, widths))) {
        let mut rng = rng(seed);
        let columns = rng.random_range(1..80);
        let program = dense_program(seed, 9, columns, STYLE);
        let program = prepared(program, widths, &mut rng);
        let bytes = input(&mut rng, &program.tensors[0]);
        let x = elements(&bytes, widths[0]);
        let Kind::Dense(linear) = &program.operators[0].kind else {
            unreachable!()
        };
        let rows = linear.weights.chunks(columns).enumerate();
        let expected: Vec<i64> = rows
            .map(|(row, weights)| {
                let products = x.iter().zip(weights).map(|(x, &w)| x * i64::from(w));
                requantized(linear, row, products.sum(), widths[1])
            })
            .collect();
        assert_eq!(outputs(&program, &bytes), expected, "{seed} {widths:?}");
    }
}

#[test]
fn convolutions() {
    let shape = ConvShape {
        size: [6, 5],
        channels: 4,
        filters: 6,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [1, 1, 1, 0],
        dilation: [1, 2],
        groups: 2,
    };
    for (seed, widths) in (0..40).flat_map(|seed| WIDTHS.map(|widths| (seed, widths))) {
        let mut rng = rng(seed);
        let program = prepared(conv_program(seed, shape, STYLE), widths, &mut rng);
        let (from, to) = (&program.tensors[0], &program.tensors[1]);
        let bytes = input(&mut rng, from);
        let x = elements(&bytes, widths[0]);
        let Kind::Conv { linear, .. } = &program.operators[0].kind else {
            unreachable!()
        };
        let mut expected = Vec::new();
        for (oy, ox) in (0..to.shape.height).flat_map(|y| (0..to.shape.width).map(move |x| (y, x)))
        {
            for filter in 0..6 {
                let mut sum = 0;
                for (ky, kx) in (0..3).flat_map(|ky| (0..2).map(move |kx| (ky, kx))) {
                    let (y, column) =
                        ((oy * 2 + ky).wrapping_sub(1), (ox + kx * 2).wrapping_sub(1));
                    for c in 0..2 {
                        let value = if y < 6 && column < 5 {
                            x[(y * 5 + column) * 4 + filter / 3 * 2 + c]
                        } else {
                            from.zero_point.into()
                        };
                        sum +=
                            value * i64::from(linear.weights[filter * 12 + (ky * 2 + kx) * 2 + c]);
                    }
                }
                expected.push(requantized(linear, filter, sum, widths[1]));
            }
        }
        assert_eq!(outputs(&program, &bytes), expected, "{seed} {widths:?}");
    }
}

/// The input is added to itself: widths of both summands are the same.
#[test]
fn sums() {
    for (seed, widths) in (0..40).flat_map(|seed| WIDTHS.map(|widths| (seed, widths))) {
        let mut rng = rng(seed);
        let range = Output {
            zero_point: if widths[1] { 0 } else { 5 },
            min: -128,
            max: 127,
        };
        let shift = if widths == [true, false] { 34 } else { 27 };
        let mantissas = [
            rng.random_range(-(1 << 28)..1 << 28),
            rng.random_range(0..1 << 28),
        ];
        let kind = Kind::Add {
            other: 0,
            mantissas,
            shift,
            range,
        };
        let mut tensors = vec![
            tensor(&mut rng, 2, 3, 4, -3),
            tensor(&mut rng, 2, 3, 4, range.zero_point),
        ];
        tensors
            .iter_mut()
            .zip(widths)
            .for_each(|(t, wide)| widen(t, wide));
        let program = chain(tensors, vec![kind]);
        let zero = i64::from(program.tensors[0].zero_point);
        let bytes = input(&mut rng, &program.tensors[0]);
        let expected: Vec<i64> = elements(&bytes, widths[0])
            .iter()
            .map(|x| {
                let products = mantissas.map(|m| i128::from(x - zero) * i128::from(m));
                rounded(products.iter().sum(), shift, range, widths[1])
            })
            .collect();
        assert_eq!(outputs(&program, &bytes), expected, "{seed} {widths:?}");
    }
}

#[test]
fn sums_that_may_overflow_are_refused() {
    let mut program = dense_program(3, 2, 700, STYLE);
    widen(&mut program.tensors[0], true);
    if let [
        Operator {
            kind: Kind::Dense(linear),
            ..
        },
    ] = &mut program.operators[..]
    {
        linear.weights.fill(127);
    }
    let error = encode(&program, Coding::Smallest).unwrap_err();
    assert!(matches!(error, EncodeError::Wide(_)), "{error}");
}
