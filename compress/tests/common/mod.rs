//! Seeded programs and a naive interpreter of them: plain loops over 64-bit sums, written from the
//! definitions and not from the kernels.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use compress::program::{Kind, Linear, Operator, Program, Tensor};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
use no_std_core::tensor::Shape;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// What values the weights take and how many are zero.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub density: f64,
    /// Distinct values; 0 for any int8.
    pub entries: usize,
}

pub fn weights(rng: &mut ChaCha8Rng, count: usize, style: Style) -> Vec<i8> {
    let book: Vec<i8> = (0..style.entries)
        .map(|_| rng.random_range(-127..=127))
        .collect();
    (0..count)
        .map(|_| {
            let value = if book.is_empty() {
                rng.random_range(-127..=127)
            } else {
                // Skewed, so that codewords differ in length.
                let r: f64 = rng.random();
                book[(r * r * book.len() as f64) as usize]
            };
            if rng.random::<f64>() < style.density {
                value
            } else {
                0
            }
        })
        .collect()
}

pub fn linear(
    rng: &mut ChaCha8Rng,
    rows: usize,
    columns: usize,
    style: Style,
    per_channel: bool,
) -> Linear {
    let weights = weights(rng, rows * columns, style);
    let spread = (columns as f64 * style.density).sqrt().max(1.0) * 60.0 * 60.0;
    let count = if per_channel { rows } else { 1 };
    let multipliers = (0..count)
        .map(|_| {
            let real = 60.0 / spread * rng.random_range(0.5..1.5);
            let shift = 30 - real.log2().floor() as i32;
            Multiplier::new((real * 2f64.powi(shift)) as i32, shift as u8).unwrap()
        })
        .collect();
    let bias_shift = rng.random_range(0..6u8);
    let biases = (0..rows)
        .map(|_| rng.random_range(-3000..3000) << bias_shift)
        .collect();
    let zero_point = rng.random_range(-20..20);
    let (min, max) = if rng.random() {
        (zero_point, 127)
    } else {
        (-128, 127)
    };
    let range = Output {
        zero_point,
        min,
        max,
    };
    Linear {
        name: "w".into(),
        shape: vec![rows, columns],
        rows,
        columns,
        weights,
        multipliers,
        biases,
        bias_shift,
        range,
    }
}

pub fn tensor(
    rng: &mut ChaCha8Rng,
    height: usize,
    width: usize,
    channels: usize,
    zero_point: i8,
) -> Tensor {
    let shape = Shape::new(height, width, channels).unwrap();
    Tensor {
        name: "t".into(),
        shape,
        scale: rng.random_range(0.01..1.0),
        zero_point,
        wide: false,
    }
}

pub fn chain(tensors: Vec<Tensor>, kinds: Vec<Kind>) -> Program {
    let operator = |(i, kind)| Operator {
        name: format!("op{i}"),
        input: i,
        output: i + 1,
        kind,
    };
    let operators: Vec<Operator> = kinds.into_iter().enumerate().map(operator).collect();
    let output = operators.len();
    let mut program = Program {
        tensors,
        operators,
        input: 0,
        output,
        macs: 0,
        metadata: vec![("labels".into(), "a,b".into())],
    };
    program.macs = program.dense_macs();
    program
}

pub fn dense_program(seed: u64, rows: usize, columns: usize, style: Style) -> Program {
    let mut rng = rng(seed);
    let per_channel = rng.random();
    let linear = linear(&mut rng, rows, columns, style, per_channel);
    let input = tensor(&mut rng, 1, 1, columns, -7);
    let output = tensor(&mut rng, 1, 1, rows, linear.range.zero_point);
    chain(vec![input, output], vec![Kind::Dense(linear)])
}

#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    pub size: [usize; 2],
    pub channels: usize,
    pub filters: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 4],
    pub dilation: [usize; 2],
    pub groups: usize,
}

pub fn conv_program(seed: u64, shape: ConvShape, style: Style) -> Program {
    let mut rng = rng(seed);
    let per_channel = rng.random();
    let columns = shape.kernel[0] * shape.kernel[1] * shape.channels / shape.groups;
    let linear = linear(&mut rng, shape.filters, columns, style, per_channel);
    let out = |axis: usize| {
        let extent = (shape.kernel[axis] - 1) * shape.dilation[axis] + 1;
        (shape.size[axis] + shape.padding[axis] + shape.padding[axis + 2] - extent)
            / shape.stride[axis]
            + 1
    };
    let input = tensor(&mut rng, shape.size[0], shape.size[1], shape.channels, -9);
    let output = tensor(
        &mut rng,
        out(0),
        out(1),
        shape.filters,
        linear.range.zero_point,
    );
    let window = Window {
        kernel: shape.kernel,
        stride: shape.stride,
        padding: [shape.padding[0], shape.padding[1]],
    };
    let kind = Kind::Conv {
        window,
        dilation: shape.dilation,
        groups: shape.groups,
        linear,
    };
    chain(vec![input, output], vec![kind])
}

/// A convolution, a pooling and a dense layer: one of each thing an image can hold coded.
pub fn small_network(seed: u64) -> Program {
    let mut rng = rng(seed);
    let style = Style {
        density: 0.3,
        entries: 5,
    };
    let conv = linear(&mut rng, 4, 9, style, false);
    let dense = linear(&mut rng, 6, 64, style, true);
    let middle = conv.range.zero_point;
    let tensors = vec![
        tensor(&mut rng, 10, 10, 1, -128),
        tensor(&mut rng, 8, 8, 4, middle),
        tensor(&mut rng, 4, 4, 4, middle),
        tensor(&mut rng, 1, 1, 6, dense.range.zero_point),
        tensor(&mut rng, 1, 1, 6, -128),
    ];
    let window = |side: usize, stride: usize| Window {
        kernel: [side; 2],
        stride: [stride; 2],
        padding: [0; 2],
    };
    let exponentials = (0..40)
        .map(|d| (65535.0 * (-0.2 * d as f64).exp()) as u16)
        .collect();
    let kinds = vec![
        Kind::Conv {
            window: window(3, 1),
            dilation: [1, 1],
            groups: 1,
            linear: conv,
        },
        Kind::MaxPool(window(2, 2)),
        Kind::Dense(dense),
        Kind::Softmax(exponentials),
    ];
    chain(tensors, kinds)
}

pub fn random_input(seed: u64, count: usize) -> Vec<i8> {
    let mut rng = rng(seed);
    (0..count).map(|_| rng.random()).collect()
}

/// Runs a program by the definitions.
pub fn naive(program: &Program, input: &[i8]) -> Vec<i8> {
    let mut values = vec![Vec::new(); program.tensors.len()];
    values[program.input] = input.to_vec();
    for op in &program.operators {
        values[op.output] = naive_operator(program, op, &values);
    }
    values.swap_remove(program.output)
}

fn naive_operator(program: &Program, op: &Operator, values: &[Vec<i8>]) -> Vec<i8> {
    let (from, to) = (&program.tensors[op.input], &program.tensors[op.output]);
    let x = &values[op.input];
    match &op.kind {
        Kind::Dense(linear) => (0..linear.rows)
            .map(|row| {
                let weights = &linear.weights[row * linear.columns..][..linear.columns];
                let products = x.iter().zip(weights).map(|(&x, &w)| x as i64 * w as i64);
                requantize(linear, row, products.sum())
            })
            .collect(),
        Kind::Conv {
            window,
            dilation,
            groups,
            linear,
        } => naive_conv(x, from, to, window, *dilation, *groups, linear),
        Kind::MaxPool(window) => naive_pool(x, from, to, window, |under| {
            under.iter().flatten().copied().max().unwrap()
        }),
        Kind::AveragePool {
            window,
            count_include_pad,
        } => naive_pool(x, from, to, window, |under| {
            let pad = count_include_pad.then_some(from.zero_point);
            let counted: Vec<i64> = under
                .iter()
                .filter_map(|v| v.or(pad))
                .map(i64::from)
                .collect();
            (counted.iter().sum::<i64>() as f64 / counted.len() as f64 + 0.5).floor() as i8
        }),
        Kind::Clamp(range) => x.iter().map(|&q| q.max(range.min).min(range.max)).collect(),
        Kind::Table(table) => x
            .iter()
            .map(|&q| table[(q as i32 + 128) as usize])
            .collect(),
        Kind::Softmax(table) => naive_softmax(x, table),
        Kind::Add {
            other,
            mantissas,
            shift,
            range,
        } => {
            let zeros = [from.zero_point, program.tensors[*other].zero_point];
            let summand = |i: usize, q: i8| (q as i128 - zeros[i] as i128) * mantissas[i] as i128;
            x.iter()
                .zip(&values[*other])
                .map(|(&a, &b)| summand(0, a) + summand(1, b))
                .map(|sum| clamped(*range, rounded(sum, *shift)))
                .collect()
        }
    }
}

fn naive_softmax(x: &[i8], table: &[u16]) -> Vec<i8> {
    let max = *x.iter().max().unwrap();
    let e: Vec<f64> = x
        .iter()
        .map(|&q| {
            table
                .get((max as i32 - q as i32) as usize)
                .copied()
                .unwrap_or(0) as f64
        })
        .collect();
    let sum: f64 = e.iter().sum();
    e.iter()
        .map(|e| ((256.0 * e / sum + 0.5).floor().min(255.0) - 128.0) as i8)
        .collect()
}

fn requantize(linear: &Linear, row: usize, sum: i64) -> i8 {
    let m = match linear.multipliers[..] {
        [single] => single,
        _ => linear.multipliers[row],
    };
    let product = (sum + linear.biases[row] as i64) as i128 * m.mantissa as i128;
    clamped(linear.range, rounded(product, m.shift))
}

/// `sum / 2^shift` to the nearest integer, ties towards +∞.
fn rounded(sum: i128, shift: u8) -> i128 {
    (2 * sum + (1i128 << shift)).div_euclid(1i128 << (shift + 1))
}

fn clamped(range: Output, real: i128) -> i8 {
    (real + range.zero_point as i128)
        .max(range.min as i128)
        .min(range.max as i128) as i8
}

/// The element at a place, channels last, or nothing in the padding.
fn at(x: &[i8], t: &Tensor, y: isize, column: isize, channel: usize) -> Option<i8> {
    let Shape {
        height,
        width,
        channels,
    } = t.shape;
    let inside = y >= 0 && column >= 0 && (y as usize) < height && (column as usize) < width;
    inside.then(|| x[(y as usize * width + column as usize) * channels + channel])
}

fn naive_conv(
    x: &[i8],
    from: &Tensor,
    to: &Tensor,
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
    linear: &Linear,
) -> Vec<i8> {
    let per_group = from.shape.channels / groups;
    let mut out = Vec::new();
    for oy in 0..to.shape.height {
        for ox in 0..to.shape.width {
            for filter in 0..to.shape.channels {
                let group = filter / (to.shape.channels / groups);
                let mut sum = 0i64;
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        for c in 0..per_group {
                            let y = (oy * window.stride[0] + ky * dilation[0]) as isize
                                - window.padding[0] as isize;
                            let column = (ox * window.stride[1] + kx * dilation[1]) as isize
                                - window.padding[1] as isize;
                            let value = at(x, from, y, column, group * per_group + c)
                                .unwrap_or(from.zero_point);
                            let weight = linear.weights[filter * linear.columns
                                + (ky * window.kernel[1] + kx) * per_group
                                + c];
                            sum += value as i64 * weight as i64;
                        }
                    }
                }
                out.push(requantize(linear, filter, sum));
            }
        }
    }
    out
}

fn naive_pool(
    x: &[i8],
    from: &Tensor,
    to: &Tensor,
    window: &Window,
    reduce: impl Fn(&[Option<i8>]) -> i8,
) -> Vec<i8> {
    let mut out = Vec::new();
    for oy in 0..to.shape.height {
        for ox in 0..to.shape.width {
            for c in 0..to.shape.channels {
                let mut under = Vec::new();
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        let y = (oy * window.stride[0] + ky) as isize - window.padding[0] as isize;
                        let column =
                            (ox * window.stride[1] + kx) as isize - window.padding[1] as isize;
                        under.push(at(x, from, y, column, c));
                    }
                }
                out.push(reduce(&under));
            }
        }
    }
    out
}

/// Runs an image on the host twin with an arena of just the bytes it asks for.
pub fn execute(image: &[u8], input: &[i8]) -> Vec<i8> {
    let model = no_std_core::Model::parse(image).unwrap();
    let mut arena = vec![0x55; model.arena_bytes()];
    let mut session = edge_runtime::Session::new(&model, &mut arena).unwrap();
    session.input_mut().copy_from_slice(input);
    session.run();
    session.output().to_vec()
}
