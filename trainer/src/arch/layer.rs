use serde::{Deserialize, Serialize};

/// How weights begin; biases begin at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Normal, variance 2/fan-in (He 2015): for ReLUs.
    #[default]
    He,
    /// Normal, variance 2/(fan-in + fan-out) (Glorot 2010).
    Xavier,
    /// Normal, variance 1/fan-in (LeCun 1998).
    Lecun,
    /// Uniform within ±1/√fan-in.
    Uniform,
}

/// Units of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Units {
    /// So many.
    Count(usize),
    /// As many as the data has classes.
    Classes(ClassCount),
}

/// The word `classes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassCount {
    /// As many as the data has.
    Classes,
}

/// Padding of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Padding {
    /// On all four sides.
    Sides(usize),
    /// Such that stride 1 keeps the size; what is odd goes to the end.
    Same(SameSize),
}

/// The word `same`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSize {
    /// Output as large as the input divided by the stride, rounded up.
    Same,
}

impl Default for Padding {
    fn default() -> Self {
        Padding::Sides(0)
    }
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

/// One layer of a description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // fields are those of `graph::Op`
pub enum Layer {
    /// Two-dimensional convolution with square kernels.
    Conv {
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
    /// Fully connected; images are flattened before.
    Dense {
        units: Units,
        #[serde(default = "yes")]
        bias: bool,
    },
    /// `max(x, 0)`
    Relu {
        #[serde(default)]
        name: Option<String>,
    },
    /// To a range.
    Clip { min: f32, max: f32 },
    /// Largest under a square window; the stride is the kernel's side unless given.
    MaxPool {
        kernel: usize,
        #[serde(default)]
        stride: Option<usize>,
        #[serde(default)]
        padding: Padding,
    },
    /// Mean under a square window; the stride is the kernel's side unless given.
    AveragePool {
        kernel: usize,
        #[serde(default)]
        stride: Option<usize>,
        #[serde(default)]
        padding: Padding,
    },
    /// Mean over height and width.
    GlobalAveragePool,
    /// Normalization by batch statistics.
    BatchNorm,
    /// Drops elements while training.
    Dropout { probability: f32 },
    /// To a vector.
    Flatten,
    /// To probabilities.
    Softmax,
    /// Adds the output of the ReLU of that name.
    Add { with: String },
}

impl Layer {
    /// Every size it names.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let sides = |padding: &Padding| match padding {
            Padding::Sides(n) => *n,
            Padding::Same(_) => 0,
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
            } => vec![
                *channels,
                *kernel,
                *stride,
                sides(padding),
                *dilation,
                *groups,
            ],
            Layer::Dense {
                units: Units::Count(n),
                ..
            } => vec![*n],
            Layer::MaxPool {
                kernel,
                stride,
                padding,
            }
            | Layer::AveragePool {
                kernel,
                stride,
                padding,
            } => {
                vec![*kernel, stride.unwrap_or(0), sides(padding)]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn op(&self) -> &'static str {
        match self {
            Layer::Conv { .. } => "conv",
            Layer::Dense { .. } => "dense",
            Layer::Relu { .. } => "relu",
            Layer::Clip { .. } => "clip",
            Layer::MaxPool { .. } => "max_pool",
            Layer::AveragePool { .. } => "average_pool",
            Layer::GlobalAveragePool => "global_average_pool",
            Layer::BatchNorm => "batch_norm",
            Layer::Dropout { .. } => "dropout",
            Layer::Flatten => "flatten",
            Layer::Softmax => "softmax",
            Layer::Add { .. } => "add",
        }
    }
}
