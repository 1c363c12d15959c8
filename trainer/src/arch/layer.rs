use super::settings::{Extent, Padding, Units};
use crate::graph::Unary;
use serde::{Deserialize, Serialize};

fn one() -> usize {
    1
}

fn square() -> Extent {
    Extent::Square(1)
}

fn yes() -> bool {
    true
}

fn leak() -> f32 {
    0.01
}

fn unit() -> f32 {
    1.0
}

/// One layer of a description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // fields are those of `graph::Op`
pub enum Layer {
    /// Two-dimensional convolution.
    Conv {
        channels: usize,
        kernel: Extent,
        #[serde(default = "square")]
        stride: Extent,
        #[serde(default)]
        padding: Padding,
        #[serde(default = "square")]
        dilation: Extent,
        #[serde(default = "one")]
        groups: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Two-dimensional convolution of each channel by itself.
    Depthwise {
        kernel: Extent,
        #[serde(default = "square")]
        stride: Extent,
        #[serde(default)]
        padding: Padding,
        #[serde(default = "square")]
        dilation: Extent,
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Convolution over time; padding is before the first step and after the last.
    Conv1d {
        channels: usize,
        kernel: usize,
        #[serde(default = "one")]
        stride: usize,
        #[serde(default)]
        padding: Padding,
        #[serde(default = "one")]
        dilation: usize,
        #[serde(default = "one")]
        groups: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Fully connected; all but a vector is flattened before, unless each step of time is to be
    /// multiplied by itself.
    Dense {
        units: Units,
        #[serde(default = "yes")]
        bias: bool,
        #[serde(default)]
        each_step: bool,
    },
    /// Rows of a table in place of whole numbers below `rows`.
    Embedding { rows: usize, units: usize },
    /// Recurrent layer with tanh.
    Rnn {
        units: usize,
        #[serde(default)]
        bidirectional: bool,
        #[serde(default)]
        sequence: bool,
    },
    /// Long short-term memory.
    Lstm {
        units: usize,
        #[serde(default)]
        bidirectional: bool,
        #[serde(default)]
        sequence: bool,
    },
    /// Gated recurrent unit; its reset gate multiplies the product, as in PyTorch.
    Gru {
        units: usize,
        #[serde(default)]
        bidirectional: bool,
        #[serde(default)]
        sequence: bool,
    },
    /// `max(x, 0)`
    Relu {
        #[serde(default)]
        name: Option<String>,
    },
    /// To a range.
    Clip { min: f32, max: f32 },
    /// `1 / (1 + e^−x)`
    Sigmoid,
    /// `tanh x`
    Tanh,
    /// `min(max(x/6 + 1/2, 0), 1)`
    HardSigmoid,
    /// `x · min(max(x/6 + 1/2, 0), 1)`
    HardSwish,
    /// `x`, or `alpha·x` below 0.
    LeakyRelu {
        #[serde(default = "leak")]
        alpha: f32,
    },
    /// As `leaky_relu`, with a slope per channel that is learnt and begins at 1/4.
    Prelu,
    /// `x`, or `alpha·(e^x − 1)` below 0.
    Elu {
        #[serde(default = "unit")]
        alpha: f32,
    },
    /// `ln(1 + e^x)`
    Softplus,
    /// `x·Φ(x)`
    Gelu,
    /// Largest under a window; the stride is the kernel unless given.
    MaxPool {
        kernel: Extent,
        #[serde(default)]
        stride: Option<Extent>,
        #[serde(default)]
        padding: Padding,
    },
    /// Mean under a window; the stride is the kernel unless given.
    AveragePool {
        kernel: Extent,
        #[serde(default)]
        stride: Option<Extent>,
        #[serde(default)]
        padding: Padding,
    },
    /// Mean over height and width, or over time.
    GlobalAveragePool,
    /// Normalization by batch statistics.
    BatchNorm,
    /// Normalization of the features (the last axis) by their own statistics.
    LayerNorm,
    /// Drops elements while training.
    Dropout { probability: f32 },
    /// To a vector.
    Flatten,
    /// To probabilities.
    Softmax,
    /// Gives what is here a name.
    Mark { name: String },
    /// Goes on from what has that name.
    From { name: String },
    /// Adds what has that name.
    Add { with: String },
    /// Appends what has that name: channels to channels, features to features.
    Concat { with: String },
}

impl Layer {
    /// Every size it names.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let sides = |padding: &Padding| match padding {
            Padding::Sides(n) => *n,
            Padding::Same(_) => 0,
        };
        let window = |kernel: &Extent, stride: Option<Extent>, padding: &Padding| {
            let [[kh, kw], [sh, sw]] = [*kernel, stride.unwrap_or(*kernel)].map(Extent::sides);
            vec![kh, kw, sh, sw, sides(padding)]
        };
        match self {
            Layer::Conv {
                channels,
                kernel,
                stride,
                padding,
                dilation,
                groups,
                ..
            } => [
                window(kernel, Some(*stride), padding),
                dilation.sides().to_vec(),
                vec![*channels, *groups],
            ]
            .concat(),
            Layer::Depthwise {
                kernel,
                stride,
                padding,
                dilation,
                ..
            } => [
                window(kernel, Some(*stride), padding),
                dilation.sides().to_vec(),
            ]
            .concat(),
            Layer::Conv1d {
                channels,
                kernel,
                stride,
                padding,
                dilation,
                groups,
                ..
            } => {
                let padding = sides(padding);
                vec![*channels, *kernel, *stride, padding, *dilation, *groups]
            }
            Layer::MaxPool {
                kernel,
                stride,
                padding,
            }
            | Layer::AveragePool {
                kernel,
                stride,
                padding,
            } => window(kernel, *stride, padding),
            Layer::Dense {
                units: Units::Count(units),
                ..
            }
            | Layer::Rnn { units, .. }
            | Layer::Lstm { units, .. }
            | Layer::Gru { units, .. } => vec![*units],
            Layer::Embedding { rows, units } => vec![*rows, *units],
            _ => Vec::new(),
        }
    }

    /// The function of one element that it is.
    pub(super) fn unary(&self) -> Option<Unary> {
        match *self {
            Layer::Sigmoid => Some(Unary::Sigmoid),
            Layer::Tanh => Some(Unary::Tanh),
            Layer::HardSigmoid => Some(Unary::HardSigmoid {
                alpha: 1.0 / 6.0,
                beta: 0.5,
            }),
            Layer::HardSwish => Some(Unary::HardSwish),
            Layer::LeakyRelu { alpha } => Some(Unary::LeakyRelu { alpha }),
            Layer::Elu { alpha } => Some(Unary::Elu { alpha }),
            Layer::Softplus => Some(Unary::Softplus),
            Layer::Gelu => Some(Unary::Gelu { approximate: false }),
            _ => None,
        }
    }

    /// Whether its outputs are hidden activations, which may be dropped in training.
    pub(super) fn is_activation(&self) -> bool {
        let others = matches!(
            self,
            Layer::Relu { .. }
                | Layer::Clip { .. }
                | Layer::Prelu
                | Layer::Rnn { .. }
                | Layer::Lstm { .. }
                | Layer::Gru { .. }
        );
        others || self.unary().is_some()
    }

    /// As a description has it.
    pub(super) fn op(&self) -> &'static str {
        match self {
            Layer::Conv { .. } => "conv",
            Layer::Depthwise { .. } => "depthwise",
            Layer::Conv1d { .. } => "conv1d",
            Layer::Dense { .. } => "dense",
            Layer::Embedding { .. } => "embedding",
            Layer::Rnn { .. } => "rnn",
            Layer::Lstm { .. } => "lstm",
            Layer::Gru { .. } => "gru",
            Layer::Relu { .. } => "relu",
            Layer::Clip { .. } => "clip",
            Layer::Sigmoid => "sigmoid",
            Layer::Tanh => "tanh",
            Layer::HardSigmoid => "hard_sigmoid",
            Layer::HardSwish => "hard_swish",
            Layer::LeakyRelu { .. } => "leaky_relu",
            Layer::Prelu => "prelu",
            Layer::Elu { .. } => "elu",
            Layer::Softplus => "softplus",
            Layer::Gelu => "gelu",
            Layer::MaxPool { .. } => "max_pool",
            Layer::AveragePool { .. } => "average_pool",
            Layer::GlobalAveragePool => "global_average_pool",
            Layer::BatchNorm => "batch_norm",
            Layer::LayerNorm => "layer_norm",
            Layer::Dropout { .. } => "dropout",
            Layer::Flatten => "flatten",
            Layer::Softmax => "softmax",
            Layer::Mark { .. } => "mark",
            Layer::From { .. } => "from",
            Layer::Add { .. } => "add",
            Layer::Concat { .. } => "concat",
        }
    }
}
