use super::dot;
use core::slice::ChunksExact;
use no_std_core::functions::{sigmoid, tanh};
use no_std_core::numerics::round_shift;
use no_std_core::operator::{Activation, Cell, Integers, Linear, Multipliers, Recurrent};
use no_std_core::weights::Reader;

/// An int16 in an arena of int8.
type Word = [i8; 2];

fn get(word: &Word) -> i32 {
    i16::from_le_bytes(word.map(|byte| byte as u8)) as i32
}

/// Saturates.
fn put(word: &mut Word, value: i32) {
    let value = value.clamp(i16::MIN as i32, i16::MAX as i32) as i16;
    *word = value.to_le_bytes().map(|byte| byte as i8);
}

/// A layer's scratch memory.
struct Memory<'m> {
    /// The int8 hidden state.
    hidden: &'m mut [i8],
    /// The int16 state, of the cells that have one.
    state: &'m mut [Word],
    /// Pre-activations in 1/4,096ths.
    gates: &'m mut [Word],
    /// Of the matrix that is read.
    tables: &'m mut [i8],
}

impl<'m> Memory<'m> {
    fn of(layer: &Recurrent, scratch: &'m mut [i8]) -> Self {
        fn split(memory: &mut [i8], count: usize) -> (&mut [i8], &mut [i8]) {
            memory.split_at_mut(count.min(memory.len()))
        }
        let (hidden, rest) = split(scratch, layer.hidden);
        let (state, rest) = split(rest, layer.state_bytes() - layer.hidden);
        let (gates, tables) = split(rest, 2 * layer.rows());
        Self {
            hidden,
            state: state.as_chunks_mut().0,
            gates: gates.as_chunks_mut().0,
            tables,
        }
    }

    fn reset(&mut self, layer: &Recurrent) {
        let mut words = layer.initial_state.as_chunks().0.iter();
        for state in &mut *self.state {
            *state = words.next().map_or([0; 2], |word| word.map(|b| b as i8));
        }
        let mut bytes = layer.initial_hidden.iter();
        for (i, hidden) in self.hidden.iter_mut().enumerate() {
            let state = self.state.get(i).map_or(0, get);
            *hidden = match layer.cell {
                Cell::Gru { .. } => layer.range.requantize(state, layer.multiplier),
                _ => bytes.next().map_or(layer.range.zero_point, |&b| b as i8),
            };
        }
    }
}

/// The states at the start.
#[inline(never)]
pub(crate) fn reset(layer: &Recurrent, scratch: &mut [i8]) {
    Memory::of(layer, scratch).reset(layer);
}

/// All steps of a sequence.
#[inline(never)]
pub(crate) fn recurrent(
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
    layer: &Recurrent,
    features: usize,
) {
    let mut memory = Memory::of(layer, scratch);
    if !layer.carried {
        memory.reset(layer);
    }
    let mut outputs = y.chunks_exact_mut(layer.hidden.max(1));
    for x in x.chunks_exact(features.max(1)) {
        feed(layer, x, &mut memory);
        feed_back(layer, &mut memory);
        activate(layer, &mut memory);
        if layer.cell_output.is_none() {
            let y = outputs.next().unwrap_or(&mut []);
            y.iter_mut().zip(&*memory.hidden).for_each(|(y, h)| *y = *h);
        }
    }
    if let Some((multiplier, range)) = &layer.cell_output {
        let y = outputs.next().unwrap_or(&mut []);
        for (y, state) in y.iter_mut().zip(&*memory.state) {
            *y = range.requantize(get(state), *multiplier);
        }
    }
}

/// A matrix, row by row.
struct Rows<'a, 't> {
    multipliers: Multipliers<'a>,
    biases: Integers<'a>,
    weights: RowWeights<'a, 't>,
}

enum RowWeights<'a, 't> {
    Plain(ChunksExact<'a, u8>),
    Coded(Reader<'a, 't>),
}

impl<'a, 't> Rows<'a, 't> {
    fn new(linear: &'t Linear<'a>, tables: &'t mut [i8]) -> Self {
        let weights = &linear.weights;
        Self {
            multipliers: linear.multipliers(),
            biases: linear.biases(),
            weights: if weights.is_plain() {
                RowWeights::Plain(weights.stream().chunks_exact(weights.columns.max(1)))
            } else {
                RowWeights::Coded(weights.reader(tables))
            },
        }
    }

    /// The next row's product with a vector, requantized.
    #[inline(never)]
    fn product(&mut self, x: &[i8]) -> i32 {
        let sum = match &mut self.weights {
            RowWeights::Plain(rows) => dot(x, rows.next().unwrap_or(&[])),
            RowWeights::Coded(reader) => reader.dot(x),
        };
        let accumulator = self.biases.take().wrapping_add(sum);
        let scaled = self.multipliers.take().scale(accumulator);
        scaled.clamp(i16::MIN as i32, i16::MAX as i32)
    }
}

/// `W·x + b`. A matrix is read anew at each step, so that only one is on the stack.
#[inline(never)]
fn feed(layer: &Recurrent, x: &[i8], memory: &mut Memory) {
    let Some(input) = layer.input() else {
        return;
    };
    let mut rows = Rows::new(&input, memory.tables);
    for gate in &mut *memory.gates {
        put(gate, rows.product(x));
    }
}

/// Adds `R·h + b`. A GRU's reset gates are needed before its candidates, whose rows come last.
#[inline(never)]
fn feed_back(layer: &Recurrent, memory: &mut Memory) {
    let Some(recurrence) = layer.recurrence() else {
        return;
    };
    let mut rows = Rows::new(&recurrence, memory.tables);
    let candidates = match layer.cell {
        Cell::Gru { .. } => 2 * layer.hidden,
        _ => layer.rows(),
    };
    let (gates, candidates) = memory
        .gates
        .split_at_mut(candidates.min(memory.gates.len()));
    for gate in &mut *gates {
        put(gate, get(gate) + rows.product(memory.hidden));
    }
    let Cell::Gru {
        linear_before_reset,
    } = layer.cell
    else {
        return;
    };
    let resets = gates.get(layer.hidden..).unwrap_or(&[]);
    if !linear_before_reset {
        // The int16 state is what stays; the int8 one is only multiplied by the matrix.
        for ((hidden, state), reset) in memory.hidden.iter_mut().zip(&*memory.state).zip(resets) {
            let kept = faded(reset, get(state));
            *hidden = layer.range.requantize(kept, layer.multiplier);
        }
    }
    for (candidate, reset) in candidates.iter_mut().zip(resets) {
        let product = rows.product(memory.hidden);
        let product = if linear_before_reset {
            faded(reset, product)
        } else {
            product
        };
        put(candidate, get(candidate) + product);
    }
}

/// `round(σ(gate)·value)`, of an int16.
fn faded(gate: &Word, value: i32) -> i32 {
    (opened(gate) * value + (1 << 14)) >> 15
}

/// σ of a pre-activation, in 1/32,768ths.
fn opened(gate: &Word) -> i32 {
    sigmoid(get(gate) << 3)
}

/// tanh of a pre-activation, in 1/32,768ths.
fn bent(gate: &Word) -> i32 {
    tanh(get(gate) << 3)
}

/// From pre-activations to the next states.
#[inline(never)]
fn activate(layer: &Recurrent, memory: &mut Memory) {
    let quantize = |value: i32| layer.range.requantize(value, layer.multiplier);
    let fraction = layer.state_bits.min(15);
    // A sum of two products of at most 2³⁰, the first moved up by at most 15 bits.
    let blend = |keep: i32, state: i32, add: i32, new: i32| {
        let sum = (((keep * state) as i64) << (15 - fraction)) + (add * new) as i64;
        round_shift(sum, 30 - fraction)
    };
    let gate = |which: usize, i: usize| {
        let place = which * layer.hidden + i;
        memory.gates.get(place).copied().unwrap_or([0; 2])
    };
    for (i, hidden) in memory.hidden.iter_mut().enumerate() {
        let state = memory.state.get_mut(i);
        let value = match (layer.cell, state) {
            (Cell::Lstm, Some(state)) => {
                let [add, keep] = [0, 2].map(|which| opened(&gate(which, i)));
                put(state, blend(keep, get(state), add, bent(&gate(3, i))));
                opened(&gate(1, i)) * tanh(get(state) << (15 - fraction))
            }
            (Cell::Gru { .. }, Some(state)) => {
                let keep = opened(&gate(0, i));
                let new = bent(&gate(2, i));
                put(state, blend(keep, get(state), (1 << 15) - keep, new));
                get(state)
            }
            (Cell::Rnn(Activation::Sigmoid), _) => opened(&gate(0, i)),
            (Cell::Rnn(Activation::Relu), _) => get(&gate(0, i)).max(0),
            _ => bent(&gate(0, i)),
        };
        *hidden = quantize(value);
    }
}
