//! A network in fixed point: what is computed on which integers, before any byte is chosen.

use no_std_core::hashed::Hashed;
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
pub use no_std_core::operator::{Activation, Axis, Cell};
use no_std_core::tensor::Shape;

/// A network of integers.
#[derive(Clone, Debug)]
pub struct Program {
    /// Activations; operators name them by their place.
    pub tensors: Vec<Tensor>,
    /// In the order of execution.
    pub operators: Vec<Operator>,
    /// Place of the tensor fed from outside.
    pub input: usize,
    /// Place of the tensor handed out.
    pub output: usize,
    /// Dense multiply-accumulates of the network before it was compressed.
    pub macs: u64,
    /// Free text that travels in the image.
    pub metadata: Vec<(String, String)>,
}

impl Program {
    /// Multiply-accumulates of the operators as they are, zeros included.
    pub fn dense_macs(&self) -> u64 {
        let macs = |op: &Operator| {
            let Shape { height, width, .. } = self.tensors[op.places()].shape;
            let weights: usize = op.kind.linears().iter().map(|l| l.rows * l.columns).sum();
            let products = match op.kind {
                Kind::MatMul { .. } => {
                    self.tensors[op.input].shape.channels * self.tensors[op.output].shape.channels
                }
                _ => weights,
            };
            (products * height * width) as u64
        };
        self.operators.iter().map(macs).sum()
    }
}

/// An activation.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The float value it stands for.
    pub name: String,
    /// Channels last.
    pub shape: Shape,
    /// Real units per integer step.
    pub scale: f32,
    /// The integer that stands for zero; 0 where elements are wide.
    pub zero_point: i8,
    /// Whether elements are int16 and not int8.
    pub wide: bool,
}

impl Tensor {
    /// Bytes in the arena.
    pub fn bytes(&self) -> usize {
        self.shape.len() << self.wide as usize
    }
}

/// One operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The graph node it came from.
    pub name: String,
    /// Place of the tensor read; of a [`Kind::Constant`], which reads none, that of the output.
    pub input: usize,
    /// Place of the tensor written.
    pub output: usize,
    /// What is computed.
    pub kind: Kind,
}

impl Operator {
    /// Places of the tensors read: none, one or two.
    pub fn reads(&self) -> impl Iterator<Item = usize> + use<> {
        let input = (!matches!(self.kind, Kind::Constant(_))).then_some(self.input);
        [input, self.kind.other()].into_iter().flatten()
    }

    /// The tensor whose every place the operator's weights are used at.
    fn places(&self) -> usize {
        match self.kind {
            Kind::Recurrent(_) => self.input,
            _ => self.output,
        }
    }
}

/// What an operator computes; see [`no_std_core::operator::Kind`].
#[derive(Clone, Debug)]
pub enum Kind {
    /// Fully connected.
    Dense(Linear),
    /// Convolution.
    Conv {
        /// Geometry.
        window: Window,
        /// Channel groups.
        groups: usize,
        /// Filters.
        linear: Linear,
    },
    /// Largest under the window.
    MaxPool(Window),
    /// Mean under the window.
    AveragePool {
        /// Geometry.
        window: Window,
        /// Whether padding counts.
        count_include_pad: bool,
    },
    /// Clamp to a range.
    Clamp(Output),
    /// Any function of one element: the results for −128, −127, … 127.
    Table(Vec<i8>),
    /// Softmax over the channels of each place, by a table of exponentials.
    Softmax(Vec<u16>),
    /// Sum of two tensors; the second may have one row, column or channel where the first has many.
    /// Mantissas may be negative, which subtracts.
    Add {
        /// Place of the second summand.
        other: usize,
        /// Factors over one shift.
        mantissas: [i32; 2],
        /// 1 … 62.
        shift: u8,
        /// Output range.
        range: Output,
    },
    /// Product of two tensors, the second broadcast as in [`Kind::Add`]:
    /// `requantize((a − z_a)·(b − z_b))`.
    Mul {
        /// Place of the second factor.
        other: usize,
        /// `s_a·s_b / s_y`
        multiplier: Multiplier,
        /// Output range.
        range: Output,
    },
    /// Matrix product of two tensors at each row: `[rows, m, k]·[rows, k, n]`, where `[rows, m, k]` is
    /// `[height, width, channels]`; the second may have one row for all of the first's.
    MatMul {
        /// Place of the second factor.
        other: usize,
        /// Whether the second stands as `[rows, n, k]`.
        transposed: bool,
        /// `s_a·s_b / s_y`
        multiplier: Multiplier,
        /// Output range.
        range: Output,
    },
    /// A block of elements moved: slices, concatenation, padding, transposition, repetition, reversal.
    /// Only what it names of the output is written; scale and zero point stay.
    Copy(Block),
    /// Constant elements: one value for all, or one for each, row-major and channels last. No input
    /// (`Operator::input` is the output).
    Constant(Vec<i8>),
    /// Rows of a table: input element q names row q + 128; `[h, w, 1]` becomes `[h, w, columns]`.
    Embedding {
        /// Elements of a row: the output's channels.
        columns: usize,
        /// Row-major, at most 256 rows.
        table: Vec<i8>,
    },
    /// `x`, or `slope·x` below 0, per channel.
    PRelu {
        /// Factor at and above the zero point, magnitude below 2²⁴.
        positive: i32,
        /// Factors below it: one for all channels or one for each, magnitudes below 2²⁴.
        negative: Vec<i32>,
        /// Of all factors, 1 … 62.
        shift: u8,
        /// Output range.
        range: Output,
    },
    /// `x − ln Σe^x` over the channels of each place:
    /// `requantize((x − max)·m₀ + ln Σe^(x − max)·2¹⁶·m₁)`.
    LogSoftmax {
        /// As of a softmax.
        exponentials: Vec<u16>,
        /// `s_x / s_y` and `−2⁻¹⁶ / s_y` over one shift, magnitudes below 2³⁰.
        mantissas: [i32; 2],
        /// 1 … 62.
        shift: u8,
        /// Output range.
        range: Output,
    },
    /// Place of the largest channel at each place, the first of equals unless `last`: `[h, w, 1]`, the
    /// integer being the place − 128, at most 127.
    ArgMax {
        /// Whether the last of equals counts.
        last: bool,
    },
    /// Layer normalization over the channels of each place.
    LayerNorm {
        /// `epsilon / s_x²` in 1/65,536ths, rounded.
        epsilon: u32,
        /// Per channel `scale / s_y` over `shift`, magnitudes below 2²⁴.
        scales: Vec<i32>,
        /// 1 … 50.
        shift: u8,
        /// Per channel `bias / s_y` in 1/256ths, magnitudes below 2²⁴.
        biases: Vec<i32>,
        /// Output range.
        range: Output,
    },
    /// Local response normalization over `size` neighbouring channels, `⌊(size − 1)/2⌋` of them before
    /// the channel itself: `(x − z)·f(Σ(x − z)²)`.
    Lrn {
        /// Channels in the sum.
        size: usize,
        /// f at 0, 1, … steps of `2^step`, at most 256 entries, in between interpolated and past the
        /// end the last one; `s_x/s_y` included, in 1/65,536ths.
        table: Vec<u32>,
        /// log₂ of the distance between the table's entries, at most 20.
        step: u8,
        /// Output range.
        range: Output,
    },
    /// A recurrent layer over time, which is the width: `[1, time, features]` to `[1, time, hidden]`,
    /// or to the last cell state, `[1, 1, hidden]`.
    Recurrent(Recurrent),
}

/// A block of elements moved from one tensor to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// First element read.
    pub from: usize,
    /// First element written.
    pub to: usize,
    /// Loops, outermost first, at most [`MAX_AXES`](no_std_core::operator::MAX_AXES).
    pub axes: Vec<Axis>,
}

/// A recurrent layer. Gates in ONNX's order.
///
/// The two matrices each give int16 pre-activations in 1/4,096ths (Q3.12), saturated, whose sum
/// saturates again. Their `range` has no meaning: what is written in the image is `range` below.
///
/// Two states go from step to step: int8 hidden states, which the matrix multiplies, and, of an LSTM
/// and a GRU, int16 states of `state_bits` fractional bits, in which the blending is done: the cell
/// state of an LSTM, the hidden state of a GRU.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// What is computed at each step.
    pub cell: Cell,
    /// `[gates · hidden, features]`: multipliers and biases lead to 1/4,096ths, except under a ReLU,
    /// whose unit is the writer's choice.
    pub input: Linear,
    /// `[gates · hidden, hidden]`, likewise, from the int8 hidden state (its zero point folded into the
    /// biases).
    pub hidden: Linear,
    /// From real hidden states to their int8 steps: `1 / s_h` times the unit of what it is applied to,
    /// which is 2⁻¹⁵ (an RNN of tanh or sigmoid), the pre-activations' unit (of ReLU), 2⁻³⁰ (an LSTM's
    /// `o·tanh(c)`) or `2^−state_bits` (a GRU).
    pub multiplier: Multiplier,
    /// Zero point and clamp of the int8 hidden state: those of the output unless `cell_output`.
    pub range: Output,
    /// Fractional bits of the int16 state of an LSTM or GRU, at most 15.
    pub state_bits: u8,
    /// Int8 hidden state at the start, of an RNN or LSTM; the zero point without.
    pub initial_hidden: Option<Vec<i8>>,
    /// Int16 state at the start, of an LSTM (cell) or GRU (hidden state); 0 without.
    pub initial_state: Option<Vec<i16>>,
    /// Where the output is the last cell state of an LSTM and not the hidden states: `2^−state_bits /
    /// s_y`, zero point and clamp.
    pub cell_output: Option<(Multiplier, Output)>,
    /// Whether the state is kept from one inference to the next (streaming).
    pub carried: bool,
}

impl Kind {
    /// Matrices of weights with their biases, in the order written.
    pub fn linears(&self) -> Vec<&Linear> {
        match self {
            Kind::Dense(linear) | Kind::Conv { linear, .. } => vec![linear],
            Kind::Recurrent(layer) => vec![&layer.input, &layer.hidden],
            _ => Vec::new(),
        }
    }

    /// Place of the second tensor read, of the operators that read two.
    pub fn other(&self) -> Option<usize> {
        match *self {
            Kind::Add { other, .. } | Kind::Mul { other, .. } | Kind::MatMul { other, .. } => {
                Some(other)
            }
            _ => None,
        }
    }

    /// Whether the output and an input of its shape may share memory.
    pub fn in_place(&self) -> bool {
        matches!(
            self,
            Kind::Clamp(_)
                | Kind::Table(_)
                | Kind::Softmax(_)
                | Kind::PRelu { .. }
                | Kind::LogSoftmax { .. }
                | Kind::LayerNorm { .. }
                | Kind::Add { .. }
                | Kind::Mul { .. }
        )
    }

    /// Whether its scratch memory must stay as it is from one inference to the next.
    pub fn carries(&self) -> bool {
        matches!(self, Kind::Recurrent(layer) if layer.carried)
    }
}

/// Rows of vectors from codebooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Weights of a vector; the last one of a row may be shorter.
    pub dimension: usize,
    /// Vectors of a row that one codebook serves.
    pub span: usize,
}

/// A matrix of int8 weights with what turns its sums into int8 activations.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The graph's name of the weights.
    pub name: String,
    /// Shape in the graph, for reports.
    pub shape: Vec<usize>,
    /// Output channels.
    pub rows: usize,
    /// Weights of one output channel, in the order of channels-last inputs.
    pub columns: usize,
    /// Row-major.
    pub weights: Vec<i8>,
    /// The hash that the weights came from, if any.
    pub hashed: Option<Hashed>,
    /// How rows are cut into the vectors of which the weights are made, if they are.
    pub vectors: Option<Vectors>,
    /// One for all rows, or one per row.
    pub multipliers: Vec<Multiplier>,
    /// Per row, at the accumulators' scale, input zero point folded in.
    pub biases: Vec<i32>,
    /// Output zero point and clamp.
    pub range: Output,
}

impl Linear {
    /// The weights of an output channel.
    pub fn row(&self, row: usize) -> &[i8] {
        let from = row * self.columns;
        self.weights.get(from..from + self.columns).unwrap_or(&[])
    }
}
