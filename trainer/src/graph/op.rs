use super::{ParamId, Unary};
use serde::{Deserialize, Serialize};

/// What a node computes. Names and meaning are those of the ONNX operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// `y = W·x + b` over the last axis of a one-dimensional value.
    Gemm {
        /// `[out_features, in_features]`
        weight: ParamId,
        /// `[out_features]`
        bias: Option<ParamId>,
    },
    /// Two-dimensional cross-correlation of `[channels, height, width]`.
    Conv {
        /// `[out_channels, in_channels / groups, kernel_h, kernel_w]`
        weight: ParamId,
        /// `[out_channels]`
        bias: Option<ParamId>,
        /// Kernel geometry; `ceil_mode` has no meaning here.
        window: Window,
        /// Steps between a kernel's taps, vertical and horizontal.
        dilation: [usize; 2],
        /// Channel groups; equal to the channels for a depthwise convolution.
        groups: usize,
    },
    /// Largest value under the window; padding never wins.
    MaxPool {
        /// Geometry.
        window: Window,
    },
    /// Mean under the window.
    AveragePool {
        /// Geometry.
        window: Window,
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
    /// Mean over height and width: `[channels, 1, 1]`.
    GlobalAveragePool,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, min), max)`
    Clip {
        /// Lower bound, at most `max`.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// A function of each element.
    Unary(Unary),
    /// All elements along one axis, in row-major order.
    Flatten,
    /// The same elements under another per-example shape.
    Reshape {
        /// Per example, fully known.
        shape: Vec<usize>,
    },
    /// Softmax over the last axis of a one-dimensional value.
    Softmax,
    /// `scale·(x − mean)/√(variance + epsilon) + bias` per channel (the first axis). Training uses
    /// the batch's statistics and updates the running ones.
    BatchNormalization {
        /// `[channels]`
        scale: ParamId,
        /// `[channels]`
        bias: ParamId,
        /// Running mean, `[channels]`; not trained.
        mean: ParamId,
        /// Running variance, `[channels]`; not trained.
        variance: ParamId,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Sum of two values of one shape.
    Add,
    /// Zeroes elements with this probability while training and scales the others by
    /// `1/(1 − probability)` (inverted dropout), so that it is the identity afterwards.
    Dropout {
        /// Of an element being dropped.
        probability: f32,
    },
}

impl Op {
    /// The ONNX operator's name.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Gemm { .. } => "Gemm",
            Op::Conv { .. } => "Conv",
            Op::MaxPool { .. } => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Relu => "Relu",
            Op::Clip { .. } => "Clip",
            Op::Unary(function) => function.name(),
            Op::Flatten => "Flatten",
            Op::Reshape { .. } => "Reshape",
            Op::Softmax => "Softmax",
            Op::BatchNormalization { .. } => "BatchNormalization",
            Op::Add => "Add",
            Op::Dropout { .. } => "Dropout",
        }
    }

    /// The parameters it reads, weights first.
    pub fn parameters(&self) -> Vec<ParamId> {
        match *self {
            Op::Gemm { weight, bias } | Op::Conv { weight, bias, .. } => {
                std::iter::once(weight).chain(bias).collect()
            }
            Op::BatchNormalization {
                scale,
                bias,
                mean,
                variance,
                ..
            } => vec![scale, bias, mean, variance],
            _ => Vec::new(),
        }
    }

    /// As [`Op::parameters`], to be renumbered.
    pub(super) fn parameters_mut(&mut self) -> Vec<&mut ParamId> {
        match self {
            Op::Gemm { weight, bias } | Op::Conv { weight, bias, .. } => {
                std::iter::once(weight).chain(bias).collect()
            }
            Op::BatchNormalization {
                scale,
                bias,
                mean,
                variance,
                ..
            } => {
                vec![scale, bias, mean, variance]
            }
            _ => Vec::new(),
        }
    }

    /// The weight matrix or filter bank, of the operators that multiply by one.
    pub fn weight(&self) -> Option<ParamId> {
        match *self {
            Op::Gemm { weight, .. } | Op::Conv { weight, .. } => Some(weight),
            _ => None,
        }
    }

    /// The bias beside [`Op::weight`].
    pub fn bias(&self) -> Option<ParamId> {
        match *self {
            Op::Gemm { bias, .. } | Op::Conv { bias, .. } => bias,
            _ => None,
        }
    }
}

/// Geometry of a sliding window over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right (ONNX order).
    pub padding: [usize; 4],
    /// Whether a last, partial window counts (pooling only).
    pub ceil_mode: bool,
}

impl Window {
    /// A square kernel with one stride and no padding.
    pub fn square(kernel: usize, stride: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [0; 4],
            ceil_mode: false,
        }
    }
}
