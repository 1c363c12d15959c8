//! Recurrent layers by their definition.

use super::naive::{rounded, scaled};
use compress::program::{Activation, Cell, Linear, Recurrent};

/// What goes from step to step.
pub struct State {
    hidden: Vec<i8>,
    /// The int16 state of an LSTM or GRU.
    wide: Vec<i128>,
}

fn saturated(value: i128) -> i128 {
    value.clamp(i16::MIN as i128, i16::MAX as i128)
}

/// `65536·σ(x)` for x in 1/32,768ths: entries at every 1/32, lines between, the last entry beyond.
fn sigmoid_q16(x: i128) -> i128 {
    let entry = |i: i128| {
        let x = i.min(337) as f64 / 32.0;
        (65_536.0 / (1.0 + (-x).exp())).round() as i128
    };
    let (i, rest) = (x.abs() / 1024, x.abs() % 1024);
    let above = entry(i) + rounded((entry(i + 1) - entry(i)) * rest, 10);
    if x < 0 { 65_536 - above } else { above }
}

fn sigmoid(x: i128) -> i128 {
    rounded(sigmoid_q16(x), 1)
}

fn tanh(x: i128) -> i128 {
    sigmoid_q16(2 * x) - 32_768
}

/// Row `row` of `W·x + b` in 1/4,096ths.
fn product(linear: &Linear, row: usize, x: &[i8]) -> i128 {
    let weights = &linear.weights[row * linear.columns..][..linear.columns];
    let products = x.iter().zip(weights).map(|(&x, &w)| x as i128 * w as i128);
    let sum = products.sum::<i128>() + linear.biases[row] as i128;
    let m = linear.multipliers[row % linear.multipliers.len()];
    saturated(rounded(sum * m.mantissa as i128, m.shift))
}

impl State {
    pub fn start(layer: &Recurrent) -> Self {
        let units = layer.hidden.columns;
        let wide: Vec<i128> = match &layer.initial_state {
            Some(state) => state.iter().map(|&s| s as i128).collect(),
            None => vec![0; units],
        };
        let hidden = match (layer.cell, &layer.initial_hidden) {
            (Cell::Gru { .. }, _) => wide
                .iter()
                .map(|&s| scaled(layer.range, s, layer.multiplier))
                .collect(),
            (_, Some(hidden)) => hidden.clone(),
            _ => vec![layer.range.zero_point; units],
        };
        Self { hidden, wide }
    }

    pub fn run(&mut self, layer: &Recurrent, x: &[i8], features: usize) -> Vec<i8> {
        let mut y = Vec::new();
        for x in x.chunks(features) {
            self.step(layer, x);
            y.extend(&self.hidden);
        }
        match layer.cell_output {
            Some((multiplier, range)) => {
                let y = self.wide.iter();
                y.map(|&s| scaled(range, s, multiplier)).collect()
            }
            None => y,
        }
    }

    fn step(&mut self, layer: &Recurrent, x: &[i8]) {
        let units = layer.hidden.columns;
        let old = self.hidden.clone();
        let of_x = |gate: usize, i: usize| product(&layer.input, gate * units + i, x);
        let of_h = |gate: usize, i: usize, h: &[i8]| product(&layer.hidden, gate * units + i, h);
        let sum = |gate: usize, i: usize| saturated(of_x(gate, i) + of_h(gate, i, &old));
        let blend = |keep: i128, state: i128, add: i128, new: i128| {
            let left = keep * state * (1 << (15 - layer.state_bits));
            saturated(rounded(left + add * new, 30 - layer.state_bits))
        };
        let quantize = |value: i128| scaled(layer.range, value, layer.multiplier);
        let faded = |gate: i128, value: i128| rounded(sigmoid(8 * gate) * value, 15);
        for i in 0..units {
            self.hidden[i] = match layer.cell {
                Cell::Rnn(Activation::Tanh) => quantize(tanh(8 * sum(0, i))),
                Cell::Rnn(Activation::Sigmoid) => quantize(sigmoid(8 * sum(0, i))),
                Cell::Rnn(Activation::Relu) => quantize(sum(0, i).max(0)),
                Cell::Lstm => {
                    let [add, output, keep] = [0, 1, 2].map(|gate| sigmoid(8 * sum(gate, i)));
                    self.wide[i] = blend(keep, self.wide[i], add, tanh(8 * sum(3, i)));
                    let cell = self.wide[i] * (1 << (15 - layer.state_bits));
                    quantize(output * tanh(cell))
                }
                Cell::Gru {
                    linear_before_reset: true,
                } => {
                    let (keep, reset) = (sigmoid(8 * sum(0, i)), sum(1, i));
                    let candidate = of_x(2, i) + faded(reset, of_h(2, i, &old));
                    let new = tanh(8 * saturated(candidate));
                    self.wide[i] = blend(keep, self.wide[i], 32_768 - keep, new);
                    quantize(self.wide[i])
                }
                // All candidates need the states before this step.
                Cell::Gru { .. } => continue,
            };
        }
        if let Cell::Gru {
            linear_before_reset: false,
        } = layer.cell
        {
            let kept = (0..units).map(|j| quantize(faded(sum(1, j), self.wide[j])));
            let kept: Vec<i8> = kept.collect();
            for i in 0..units {
                let keep = sigmoid(8 * sum(0, i));
                let new = tanh(8 * saturated(of_x(2, i) + of_h(2, i, &kept)));
                self.wide[i] = blend(keep, self.wide[i], 32_768 - keep, new);
                self.hidden[i] = quantize(self.wide[i]);
            }
        }
    }
}
