//! A network in fixed point: what is computed on which integers, before any byte is chosen.

use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
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
            let Shape { height, width, .. } = self.tensors[op.output].shape;
            let weights = op.kind.linear().map_or(0, |l| l.rows * l.columns);
            (weights * height * width) as u64
        };
        self.operators.iter().map(macs).sum()
    }
}

/// An int8 activation.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The float value it stands for.
    pub name: String,
    /// Channels last.
    pub shape: Shape,
    /// Real units per integer step.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i8,
}

/// One operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The graph node it came from.
    pub name: String,
    /// Place of the tensor read.
    pub input: usize,
    /// Place of the tensor written.
    pub output: usize,
    /// What is computed.
    pub kind: Kind,
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
        /// Steps between taps.
        dilation: [usize; 2],
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
    /// Softmax, by a table of exponentials.
    Softmax(Vec<u16>),
    /// Sum of two tensors.
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
}

impl Kind {
    /// Weights and biases, of the operators that have some.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Kind::Dense(linear) | Kind::Conv { linear, .. } => Some(linear),
            _ => None,
        }
    }

    /// Whether output and input may share memory.
    pub fn in_place(&self) -> bool {
        matches!(self, Kind::Clamp(_) | Kind::Table(_))
    }
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
    /// One for all rows, or one per row.
    pub multipliers: Vec<Multiplier>,
    /// Per row, at the accumulators' scale, input zero point folded in.
    pub biases: Vec<i32>,
    /// Trailing bits that are zero in every bias and are not stored.
    pub bias_shift: u8,
    /// Output zero point and clamp.
    pub range: Output,
}
