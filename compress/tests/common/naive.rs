//! The interpreter.

use super::recurrent::State;
use compress::program::{Block, Kind, Linear, Operator, Program, Tensor};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
use no_std_core::tensor::Shape;

/// A program with the states that its layers carry from one inference to the next.
pub struct Interpreter<'p> {
    program: &'p Program,
    states: Vec<Option<State>>,
}

impl<'p> Interpreter<'p> {
    pub fn new(program: &'p Program) -> Self {
        Self {
            program,
            states: program.operators.iter().map(|_| None).collect(),
        }
    }

    /// One inference.
    pub fn run(&mut self, input: &[i8]) -> Vec<i8> {
        let program = self.program;
        let mut values = vec![Vec::new(); program.tensors.len()];
        values[program.input] = input.to_vec();
        for (op, state) in program.operators.iter().zip(&mut self.states) {
            values[op.output] = naive_operator(program, op, &values, state);
        }
        values.swap_remove(program.output)
    }
}

/// Runs a program by the definitions.
pub fn naive(program: &Program, input: &[i8]) -> Vec<i8> {
    Interpreter::new(program).run(input)
}

fn naive_operator(
    program: &Program,
    op: &Operator,
    values: &[Vec<i8>],
    state: &mut Option<State>,
) -> Vec<i8> {
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
            groups,
            linear,
        } => naive_conv(x, from, to, window, *groups, linear),
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
            let zero = i64::from(from.zero_point);
            let sum: i64 = counted.iter().map(|q| q - zero).sum();
            ((sum as f64 / counted.len() as f64).round_ties_even() as i64 + zero) as i8
        }),
        Kind::Clamp(range) => x.iter().map(|&q| q.max(range.min).min(range.max)).collect(),
        Kind::Table(table) => x
            .iter()
            .map(|&q| table[(q as i32 + 128) as usize])
            .collect(),
        Kind::Softmax(table) => each_place(x, from, |place| naive_softmax(place, table)),
        Kind::Add {
            other,
            mantissas,
            shift,
            range,
        } => pairs(program, op, *other, values)
            .map(|(a, b)| a * mantissas[0] as i128 + b * mantissas[1] as i128)
            .map(|sum| clamped(*range, rounded(sum, *shift)))
            .collect(),
        Kind::Mul {
            other,
            multiplier,
            range,
        } => pairs(program, op, *other, values)
            .map(|(a, b)| scaled(*range, a * b, *multiplier))
            .collect(),
        Kind::MatMul {
            other,
            transposed,
            multiplier,
            range,
        } => {
            let second = &program.tensors[*other];
            let mut y = Vec::new();
            for row in 0..to.shape.height {
                let other_row = row.min(second.shape.height - 1);
                for m in 0..to.shape.width {
                    for n in 0..to.shape.channels {
                        let product = |k: usize| {
                            let (i, j) = if *transposed { (n, k) } else { (k, n) };
                            let a = element(from, x, row, m, k);
                            a * element(second, &values[*other], other_row, i, j)
                        };
                        let sum = (0..from.shape.channels).map(product).sum();
                        y.push(scaled(*range, sum, *multiplier));
                    }
                }
            }
            y
        }
        Kind::Copy(block) => {
            let mut y = values[op.output].clone();
            y.resize(to.shape.len(), 0);
            moves(block, &mut |from, to| y[to] = x[from]);
            y
        }
        Kind::Constant(elements) => (0..to.shape.len())
            .map(|i| elements[i % elements.len()])
            .collect(),
        Kind::Embedding { columns, table } => {
            let row = |&q: &i8| ((q as i32 + 128) as usize).min(table.len() / columns - 1);
            x.iter()
                .flat_map(|q| table[row(q) * columns..][..*columns].to_vec())
                .collect()
        }
        Kind::PRelu {
            positive,
            negative,
            shift,
            range,
        } => (0..x.len())
            .map(|i| {
                let value = x[i] as i128 - from.zero_point as i128;
                let slope = negative[i % from.shape.channels % negative.len()];
                let factor = if value < 0 { slope } else { *positive };
                clamped(*range, rounded(value * factor as i128, *shift))
            })
            .collect(),
        Kind::LogSoftmax {
            exponentials,
            mantissas,
            shift,
            range,
        } => each_place(x, from, |place| {
            let max = *place.iter().max().unwrap();
            let sum: f64 = place.iter().map(|&x| entry(exponentials, max, x)).sum();
            let logarithm = (65_536.0 * (sum / 65_535.0).ln()).round() as i128;
            let terms = |&x: &i8| {
                (x as i128 - max as i128) * mantissas[0] as i128 + logarithm * mantissas[1] as i128
            };
            let y = place.iter().map(terms);
            y.map(|sum| clamped(*range, rounded(sum, *shift))).collect()
        }),
        Kind::ArgMax { last } => each_place(x, from, |place| {
            let max = *place.iter().max().unwrap();
            let is_max = |&x: &i8| x == max;
            let found = if *last {
                place.iter().rposition(is_max)
            } else {
                place.iter().position(is_max)
            };
            vec![(found.unwrap().min(255) as i32 - 128) as i8]
        }),
        Kind::LayerNorm {
            epsilon,
            scales,
            shift,
            biases,
            range,
        } => each_place(x, from, |place| {
            let n = place.len() as i128;
            let sum: i128 = place.iter().map(|&x| x as i128).sum();
            let squares: i128 = place.iter().map(|&x| x as i128 * x as i128).sum();
            let under = ((n * squares - sum * sum) << 16) + n * n * *epsilon as i128;
            let (root, exponent) = reciprocal_root(under.max(1) as u128);
            let y = place.iter().enumerate().map(|(c, &x)| {
                let d = n * x as i128 - sum;
                let quotient = rounded(d * root, 34 - exponent);
                let scaled = rounded(quotient * scales[c] as i128, shift + 12);
                clamped(*range, rounded(scaled + biases[c] as i128, 8))
            });
            y.collect()
        }),
        Kind::Lrn {
            size,
            table,
            step,
            range,
        } => each_place(x, from, |place| {
            let value = |c: usize| place[c] as i128 - from.zero_point as i128;
            let y = (0..place.len()).map(|c| {
                let first = c as isize - (*size as isize - 1) / 2;
                let window =
                    (first..first + *size as isize).filter_map(|c| usize::try_from(c).ok());
                let inside = window.filter(|&c| c < place.len());
                let sum: i128 = inside.map(|c| value(c) * value(c)).sum();
                let distance = 1i128 << step;
                let entry = |i: i128| table[(i as usize).min(table.len() - 1)] as i128;
                let (i, rest) = (sum / distance, sum % distance);
                let factor = entry(i) * (distance - rest) + entry(i + 1) * rest;
                clamped(*range, rounded(value(c) * factor, step + 16))
            });
            y.collect()
        }),
        Kind::Recurrent(layer) => {
            let state = state.get_or_insert_with(|| State::start(layer));
            let y = state.run(layer, x, from.shape.channels);
            if !layer.carried {
                *state = State::start(layer);
            }
            y
        }
    }
}

/// What `f` makes of the channels of each place.
fn each_place(x: &[i8], from: &Tensor, f: impl Fn(&[i8]) -> Vec<i8>) -> Vec<i8> {
    x.chunks(from.shape.channels).flat_map(f).collect()
}

/// An element less its zero point.
fn element(t: &Tensor, x: &[i8], row: usize, column: usize, channel: usize) -> i128 {
    at(x, t, row as isize, column as isize, channel).unwrap() as i128 - t.zero_point as i128
}

/// Elements of two tensors less their zero points; sides of 1 of the second stretch.
fn pairs(
    program: &Program,
    op: &Operator,
    other: usize,
    values: &[Vec<i8>],
) -> impl Iterator<Item = (i128, i128)> {
    let (a, b) = (&program.tensors[op.input], &program.tensors[other]);
    let mut pairs = Vec::new();
    for y in 0..a.shape.height {
        for x in 0..a.shape.width {
            for c in 0..a.shape.channels {
                let within = |place: usize, side: usize| place.min(side - 1);
                let [v, w, d] = [
                    within(y, b.shape.height),
                    within(x, b.shape.width),
                    within(c, b.shape.channels),
                ];
                let second = element(b, &values[other], v, w, d);
                pairs.push((element(a, &values[op.input], y, x, c), second));
            }
        }
    }
    pairs.into_iter()
}

/// Every read and write of a block.
fn moves(block: &Block, visit: &mut dyn FnMut(usize, usize)) {
    let Some((axis, inner)) = block.axes.split_first() else {
        return visit(block.from, block.to);
    };
    for i in 0..axis.count {
        let inner = Block {
            from: (block.from as isize + i as isize * axis.from_step) as usize,
            to: block.to + i * axis.to_step,
            axes: inner.to_vec(),
        };
        moves(&inner, visit);
    }
}

pub(super) fn scaled(range: Output, sum: i128, m: Multiplier) -> i8 {
    clamped(range, rounded(sum * m.mantissa as i128, m.shift))
}

/// `(⌊2⁶² / ⌊√(n·2^(2e))⌋⌋, e)`, e as large as keeps `n·2^(2e)` below 2⁶⁴.
fn reciprocal_root(n: u128) -> (i128, u8) {
    let e = (0..32).rev().find(|e| n << (2 * e) < 1 << 64).unwrap();
    let square = n << (2 * e);
    let mut root = (square as f64).sqrt() as u128;
    while root * root > square {
        root -= 1;
    }
    while (root + 1) * (root + 1) <= square {
        root += 1;
    }
    (((1u128 << 62) / root) as i128, e)
}

fn entry(table: &[u16], max: i8, x: i8) -> f64 {
    let distance = (max as i32 - x as i32) as usize;
    table.get(distance).copied().unwrap_or(0) as f64
}

fn naive_softmax(x: &[i8], table: &[u16]) -> Vec<i8> {
    let max = *x.iter().max().unwrap();
    let e: Vec<f64> = x.iter().map(|&q| entry(table, max, q)).collect();
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
pub(super) fn rounded(sum: i128, shift: u8) -> i128 {
    (2 * sum + (1i128 << shift)).div_euclid(1i128 << (shift + 1))
}

pub(super) fn clamped(range: Output, real: i128) -> i8 {
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
                            let y = (oy * window.stride[0] + ky * window.dilation[0]) as isize
                                - window.padding[0] as isize;
                            let column = (ox * window.stride[1] + kx * window.dilation[1]) as isize
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
                        let y = (oy * window.stride[0] + ky * window.dilation[0]) as isize
                            - window.padding[0] as isize;
                        let column = (ox * window.stride[1] + kx * window.dilation[1]) as isize
                            - window.padding[1] as isize;
                        under.push(at(x, from, y, column, c));
                    }
                }
                out.push(reduce(&under));
            }
        }
    }
    out
}
