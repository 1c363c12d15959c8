//! Operators without weights, on images of random programs, against the naive interpreter: to the unit;
//! and against the real functions they stand for, within the bounds that their kernels state.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use compress::encode::{Coding, encode};
use compress::program::{Axis, Block, Kind, Program};
use no_std_core::numerics::Output;
use no_std_core::tensor::Shape;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Random int8 elements for a tensor of this many.
fn constant(rng: &mut ChaCha8Rng, shape: Shape) -> Kind {
    Kind::Constant((0..shape.len()).map(|_| rng.random()).collect())
}

/// An operator of an input of this shape and a constant of that.
fn with_constant(
    rng: &mut ChaCha8Rng,
    [a, b, y]: [[usize; 3]; 3],
    kind: impl Fn(&mut ChaCha8Rng, Output) -> Kind,
) -> Program {
    let mut shaped = |[h, w, c]: [usize; 3]| {
        let zero_point = rng.random_range(-128..=127);
        tensor(rng, h, w, c, zero_point)
    };
    let tensors = vec![shaped(a), shaped(b), shaped(y)];
    let second = constant(rng, tensors[1].shape);
    let kind = kind(rng, range(tensors[2].zero_point));
    network(tensors, vec![(1, 1, second), (0, 2, kind)])
}

#[test]
fn sums_and_products_stretch_sides_of_one() {
    for seed in 0..64 {
        let mut rng = rng(seed);
        let a = [0; 3].map(|_| rng.random_range(1..5));
        let side = |axis: usize| if seed >> axis & 1 == 1 { a[axis] } else { 1 };
        let shapes = [a, [side(0), side(1), side(2)], a];
        let sum = |rng: &mut ChaCha8Rng, range| Kind::Add {
            other: 1,
            mantissas: [0; 2].map(|_| rng.random_range(-(1 << 30) + 1..1 << 30)),
            shift: rng.random_range(28..34),
            range,
        };
        check(&with_constant(&mut rng, shapes, sum), seed);
        let product = |rng: &mut ChaCha8Rng, range| Kind::Mul {
            other: 1,
            multiplier: multiplier(rng.random_range(0.001..0.1)),
            range,
        };
        check(&with_constant(&mut rng, shapes, product), seed);
    }
}

/// The output may take the place of either input, or of both.
#[test]
fn sums_and_products_over_their_own_inputs() {
    for (seed, inputs) in [[0, 0], [0, 1], [1, 0], [1, 1]].into_iter().enumerate() {
        let mut rng = rng(seed as u64);
        let tensors = (0..3).map(|_| tensor(&mut rng, 2, 3, 4, 5)).collect();
        let table = Kind::Table(random_input(7, 256));
        let [a, other] = inputs;
        let product = Kind::Mul {
            other,
            multiplier: multiplier(0.01),
            range: range(5),
        };
        let program = network(tensors, vec![(0, 1, table), (a, 2, product)]);
        check(&program, seed as u64);
    }
}

#[test]
fn matrix_products() {
    for seed in 0..40 {
        let mut rng = rng(seed);
        let [rows, m, k, n] = [0; 4].map(|_| rng.random_range(1..6));
        let (transposed, one) = (seed & 1 == 1, seed & 2 == 2);
        let b = if transposed { [n, k] } else { [k, n] };
        let shapes = [
            [rows, m, k],
            [if one { 1 } else { rows }, b[0], b[1]],
            [rows, m, n],
        ];
        let product = |rng: &mut ChaCha8Rng, range| Kind::MatMul {
            other: 1,
            transposed,
            multiplier: multiplier(rng.random_range(0.001..0.03)),
            range,
        };
        check(&with_constant(&mut rng, shapes, product), seed);
    }
    // x·xᵀ
    let mut rng = rng(1);
    let tensors = vec![tensor(&mut rng, 2, 5, 7, 11), tensor(&mut rng, 2, 5, 5, -4)];
    let square = Kind::MatMul {
        other: 0,
        transposed: true,
        multiplier: multiplier(0.001),
        range: range(-4),
    };
    check(&network(tensors, vec![(0, 1, square)]), 3);
}

#[test]
fn a_product_of_the_longest_rows_stays_in_range() {
    let mut rng = rng(1);
    let inner = no_std_core::operator::MAX_INNER;
    for (q, zero_point) in [(-128, 127), (127, -128)] {
        let shapes = [[1, 1, inner], [1, inner, 1], [1, 1, 1]];
        let mut program = with_constant(&mut rng, shapes, |_, range| Kind::MatMul {
            other: 1,
            transposed: false,
            multiplier: multiplier(2f64.powi(-23)),
            range,
        });
        for t in &mut program.tensors[..2] {
            t.zero_point = zero_point;
        }
        program.operators[0].kind = Kind::Constant(vec![q]);
        let input = vec![q; inner];
        let image = encode(&program, Coding::Smallest).unwrap().bytes;
        assert_eq!(execute(&image, &input), naive(&program, &input));
    }
}

/// A block that starts where its steps allow, and the lengths that hold it.
fn random_block(rng: &mut ChaCha8Rng) -> (Block, usize, usize) {
    let axes: Vec<Axis> = (0..rng.random_range(0..=6))
        .map(|_| Axis {
            count: rng.random_range(1..4),
            from_step: rng.random_range(-5..6i32) as isize,
            to_step: rng.random_range(0..5),
        })
        .collect();
    let reach = |sign: isize| {
        let steps = axes
            .iter()
            .map(|a| (a.count as isize - 1) * a.from_step * sign);
        steps.filter(|&s| s > 0).sum::<isize>() as usize
    };
    let written: usize = axes.iter().map(|a| (a.count - 1) * a.to_step).sum();
    let moved: usize = axes.iter().map(|a| a.count).product();
    let (from, to) = (reach(-1) + rng.random_range(0..3), rng.random_range(0..3));
    let lens = (from + reach(1) + 1, (to + written + 1).max(moved));
    (Block { from, to, axes }, lens.0, lens.1)
}

/// A block copied over a constant.
fn copy_program(rng: &mut ChaCha8Rng, block: Block, from: [usize; 3], to: [usize; 3]) -> Program {
    let tensors = [from, to].map(|[h, w, c]| tensor(rng, h, w, c, 0)).to_vec();
    let background = Kind::Constant(vec![rng.random()]);
    network(tensors, vec![(1, 1, background), (0, 1, Kind::Copy(block))])
}

#[test]
fn blocks_move_as_their_loops_say() {
    for seed in 0..200 {
        let mut rng = rng(seed);
        let (block, from, to) = random_block(&mut rng);
        let program = copy_program(&mut rng, block, [1, 1, from], [1, 1, to]);
        check(&program, seed);
    }
}

/// `[2, 3, 4]` to `[4, 2, 3]`, its columns reversed: axis by axis from the definition of transposition.
#[test]
fn a_block_can_transpose_and_reverse() {
    let axis = |count, from_step, to_step| Axis {
        count,
        from_step,
        to_step,
    };
    let block = Block {
        from: 8,
        to: 0,
        axes: vec![axis(2, 12, 3), axis(3, -4, 1), axis(4, 1, 6)],
    };
    let program = copy_program(&mut rng(1), block, [2, 3, 4], [4, 2, 3]);
    let input: Vec<i8> = (0..24).collect();
    let image = encode(&program, Coding::Smallest).unwrap().bytes;
    let output = execute(&image, &input);
    for y in 0..2 {
        for x in 0..3 {
            for c in 0..4 {
                assert_eq!(output[c * 6 + y * 3 + x], input[y * 12 + (2 - x) * 4 + c]);
            }
        }
    }
}

/// Several blocks write one tensor: a concatenation along channels.
#[test]
fn blocks_join_tensors() {
    let mut rng = rng(5);
    let tensors = vec![
        tensor(&mut rng, 2, 2, 3, 0),
        tensor(&mut rng, 2, 2, 3, 0),
        tensor(&mut rng, 2, 2, 6, 0),
    ];
    let block = |to| {
        let axis = |count, from_step, to_step| Axis {
            count,
            from_step,
            to_step,
        };
        Kind::Copy(Block {
            from: 0,
            to,
            axes: vec![axis(4, 3, 6), axis(3, 1, 1)],
        })
    };
    let table = Kind::Table(random_input(1, 256));
    let operators = vec![(0, 1, table), (0, 2, block(0)), (1, 2, block(3))];
    check(&network(tensors, operators), 1);
}

#[test]
fn embeddings_and_places_of_maxima() {
    for seed in 0..20 {
        let mut rng = rng(seed);
        let [height, width] = [0; 2].map(|_| rng.random_range(1..5));
        let (columns, rows) = (rng.random_range(1..9), rng.random_range(1..=256));
        let table = (0..columns * rows).map(|_| rng.random()).collect();
        let tensors = vec![
            tensor(&mut rng, height, width, 1, 0),
            tensor(&mut rng, height, width, columns, 0),
            tensor(&mut rng, height, width, 1, 0),
        ];
        let last = seed & 1 == 1;
        let operators = vec![
            (0, 1, Kind::Embedding { columns, table }),
            (1, 2, Kind::ArgMax { last }),
        ];
        check(&network(tensors, operators), seed);
    }
}

#[test]
fn of_equal_maxima_the_first_or_the_last_counts_and_places_saturate() {
    for (n, last, place) in [
        (5, false, 0),
        (5, true, 4),
        (300, true, 255),
        (256, true, 255),
    ] {
        let mut rng = rng(1);
        let tensors = vec![tensor(&mut rng, 1, 1, n, 0), tensor(&mut rng, 1, 1, 1, 0)];
        let program = chain(tensors, vec![Kind::ArgMax { last }]);
        let image = encode(&program, Coding::Smallest).unwrap().bytes;
        assert_eq!(execute(&image, &vec![-128; n]), [(place - 128) as i8]);
    }
}

/// A chain of one operator from `[3, 2, channels]` to the same.
fn same_shape(
    rng: &mut ChaCha8Rng,
    channels: usize,
    kind: impl Fn(&mut ChaCha8Rng, Output) -> Kind,
) -> Program {
    let [a, b] = [0; 2].map(|_| rng.random_range(-60..60));
    let tensors = vec![
        tensor(rng, 3, 2, channels, a),
        tensor(rng, 3, 2, channels, b),
    ];
    let kind = kind(rng, range(b));
    chain(tensors, vec![kind])
}

#[test]
fn leaky_units_per_channel_and_for_all() {
    for seed in 0..20 {
        let mut rng = rng(seed);
        let channels = rng.random_range(1..9);
        let slopes = if seed & 1 == 1 { channels } else { 1 };
        let program = same_shape(&mut rng, channels, |rng, range| Kind::PRelu {
            positive: rng.random_range(1 << 20..1 << 24),
            negative: (0..slopes)
                .map(|_| rng.random_range(-(1 << 22)..1 << 22))
                .collect(),
            shift: 23,
            range,
        });
        check(&program, seed);
    }
}

fn exponentials(scale: f64) -> Vec<u16> {
    let entry = |d: i32| (65_535.0 * (-scale * d as f64).exp()).round() as u16;
    (0..256).map(entry).take_while(|&e| e > 0).collect()
}

#[test]
fn softmax_at_each_place() {
    for seed in 0..10 {
        let mut rng = rng(seed);
        let channels = rng.random_range(1..40);
        let program = same_shape(&mut rng, channels, |_, _| Kind::Softmax(exponentials(0.1)));
        check(&program, seed);
    }
}

/// `s_x/s_y` and `−2⁻¹⁶/s_y` over one shift.
fn log_softmax(scale: f64, output_scale: f64, range: Output) -> Kind {
    let factors = [scale / output_scale, -1.0 / (65_536.0 * output_scale)];
    let shift = (29 - factors[0].abs().log2().ceil() as i32).clamp(1, 62);
    Kind::LogSoftmax {
        exponentials: exponentials(scale),
        mantissas: factors.map(|f| (f * 2f64.powi(shift)).round() as i32),
        shift: shift as u8,
        range,
    }
}

/// Half a step of rounding, (n + 2)·2⁻¹⁷ of the table and the logarithm, 2⁻¹⁶ of the factors.
#[test]
fn log_softmax_is_within_its_bound() {
    for seed in 0..40 {
        let mut rng = rng(seed);
        let channels = rng.random_range(1..200);
        let (scale, step) = (rng.random_range(0.02..0.3), rng.random_range(0.02..0.2));
        let program = same_shape(&mut rng, channels, |_, range| {
            log_softmax(scale, step, range)
        });
        check(&program, seed);
        let input = random_input(seed, 6 * channels);
        let output = execute(&encode(&program, Coding::Smallest).unwrap().bytes, &input);
        let zero = program.tensors[1].zero_point as f64;
        for (x, y) in input.chunks(channels).zip(output.chunks(channels)) {
            let sum: f64 = x.iter().map(|&q| (scale * q as f64).exp()).sum();
            for (&x, &y) in x.iter().zip(y) {
                let real = (scale * x as f64 - sum.ln()) / step + zero;
                let bound = 0.5 + (channels as f64 + 2.0) / 131_072.0 / step + 0.01;
                let real = real.clamp(-128.0, 127.0);
                assert!((y as f64 - real).abs() <= bound, "{y} for {real}");
            }
        }
    }
}

/// Half a step, 1/256 for the sum with the bias, and the scale's share of the quotient's rounding.
#[test]
fn layer_normalization_is_within_its_bound() {
    for seed in 0..60 {
        let mut rng = rng(seed);
        let channels = rng.random_range(1..300);
        let epsilon = if seed % 3 == 0 {
            0
        } else {
            rng.random_range(0..1 << 20)
        };
        let program = same_shape(&mut rng, channels, |rng, range| Kind::LayerNorm {
            epsilon,
            scales: (0..channels)
                .map(|_| rng.random_range(-(1 << 24) + 1..1 << 24))
                .collect(),
            shift: 18,
            biases: (0..channels)
                .map(|_| rng.random_range(-5_000..5_000))
                .collect(),
            range,
        });
        check(&program, seed);
        let Kind::LayerNorm {
            scales,
            biases,
            range,
            ..
        } = &program.operators[0].kind
        else {
            panic!("as built above");
        };
        // One place of equal channels, one of a single difference, others of any.
        let mut input = random_input(seed, 6 * channels);
        input[..2 * channels].fill(if seed & 1 == 1 { -128 } else { 127 });
        input[channels] = 0;
        let output = execute(&encode(&program, Coding::Smallest).unwrap().bytes, &input);
        for (x, y) in input.chunks(channels).zip(output.chunks(channels)) {
            let n = channels as f64;
            let mean = x.iter().map(|&q| q as f64).sum::<f64>() / n;
            let variance = x.iter().map(|&q| (q as f64 - mean).powi(2)).sum::<f64>() / n;
            let root = (variance + epsilon as f64 / 65_536.0).sqrt();
            for (c, (&x, &y)) in x.iter().zip(y).enumerate() {
                let scale = scales[c] as f64 / 2f64.powi(18);
                let quotient = if root > 0.0 {
                    (x as f64 - mean) / root
                } else {
                    0.0
                };
                let real = quotient * scale + biases[c] as f64 / 256.0 + range.zero_point as f64;
                let real = real.clamp(-128.0, 127.0);
                let off = scale.abs() * (2f64.powi(-21) + n.sqrt() * 2f64.powi(-29));
                let error = (y as f64 - real).abs();
                assert!(error <= 0.5 + 1.0 / 256.0 + off + 1e-9, "{y} for {real}");
            }
        }
    }
}

#[test]
fn local_response_normalization() {
    for seed in 0..40 {
        let mut rng = rng(seed);
        let (channels, size) = (rng.random_range(1..20), rng.random_range(1..8));
        let step = rng.random_range(0..=16);
        let program = same_shape(&mut rng, channels, |rng, range| Kind::Lrn {
            size,
            table: (0..rng.random_range(1..=256))
                .map(|i| 90_000 - 300 * i)
                .collect(),
            step,
            range,
        });
        check(&program, seed);
    }
}
