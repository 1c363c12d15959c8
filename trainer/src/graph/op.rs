use super::{ParamId, Recurrent, Unary};
use serde::{Deserialize, Serialize};

/// What a node computes. Names and meaning are those of the ONNX operators where these have one;
/// axes count from the first one of an example, without the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// `y = W·x + b` over the last axis, at every place of the axes before it.
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
    /// The gradient of a convolution with respect to its input, taken for a layer: each input element
    /// adds its multiple of the kernel to the output.
    ConvTranspose {
        /// `[in_channels, out_channels / groups, kernel_h, kernel_w]`
        weight: ParamId,
        /// `[out_channels]`
        bias: Option<ParamId>,
        /// Kernel geometry; padding is taken off the output. `ceil_mode` has no meaning here.
        window: Window,
        /// Steps between a kernel's taps, vertical and horizontal.
        dilation: [usize; 2],
        /// Channel groups.
        groups: usize,
        /// Rows and columns added at the bottom and to the right of the output.
        output_padding: [usize; 2],
    },
    /// Product of two values over their last two axes, `[…, m, k]·[…, k, n]`; the axes before them
    /// broadcast.
    MatMul,
    /// Largest value under the window; padding never wins.
    MaxPool {
        /// Geometry.
        window: Window,
        /// Steps between taps, vertical and horizontal.
        dilation: [usize; 2],
    },
    /// Mean under the window.
    AveragePool {
        /// Geometry.
        window: Window,
        /// Steps between taps, vertical and horizontal.
        dilation: [usize; 2],
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
    /// Mean over some axes, which stay with one element.
    ReduceMean {
        /// Ascending.
        axes: Vec<usize>,
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
    /// `e^x / Σe^x` along an axis.
    Softmax {
        /// Summed over.
        axis: usize,
    },
    /// `x − ln Σe^x` along an axis.
    LogSoftmax {
        /// Summed over.
        axis: usize,
    },
    /// Place of the largest element along an axis, which stays with one element.
    ArgMax {
        /// Searched along.
        axis: usize,
        /// Whether the last of equals counts, not the first.
        select_last_index: bool,
    },
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
    /// `scale·(x − mean)/√(variance + epsilon) + bias` by the statistics of each example over its axes
    /// from `axis` on.
    LayerNormalization {
        /// First of the axes normalized over.
        axis: usize,
        /// Broadcast to the normalized axes.
        scale: ParamId,
        /// Broadcast to the normalized axes.
        bias: Option<ParamId>,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `x / (bias + alpha/size · Σx²)^beta`, summed over `size` neighbouring channels (the first axis).
    Lrn {
        /// Channels in the sum, `⌊(size − 1)/2⌋` of them before the channel itself.
        size: usize,
        /// Factor of the sum, before it is divided by `size`.
        alpha: f32,
        /// Exponent.
        beta: f32,
        /// Added to the sum.
        bias: f32,
    },
    /// `x`, or `slope·x` below 0.
    PRelu {
        /// Broadcasts to an example's shape.
        slope: ParamId,
    },
    /// `a + b`, broadcast.
    Add,
    /// `a − b`, broadcast.
    Sub,
    /// `a · b`, broadcast.
    Mul,
    /// `a / b`, broadcast.
    Div,
    /// A value that is the same for every example; no inputs.
    Constant {
        /// The value.
        value: ParamId,
    },
    /// Values one after the other along an axis; any number of inputs.
    Concat {
        /// Joined along.
        axis: usize,
    },
    /// Elements picked along an axis, in this order, perhaps several times: ONNX's Slice, Split,
    /// Resize (nearest), Expand, Tile, Gather with constant indices, Pad with edges or reflections.
    Select {
        /// Picked along.
        axis: usize,
        /// Places along the axis.
        indices: Vec<usize>,
    },
    /// A constant around the value.
    Pad {
        /// Elements before, per axis.
        before: Vec<usize>,
        /// Elements after, per axis.
        after: Vec<usize>,
        /// The constant.
        value: f32,
    },
    /// Axes in another order: axis `i` of the output is axis `perm[i]` of the input.
    Transpose {
        /// A permutation of the axes.
        perm: Vec<usize>,
    },
    /// Rows of a table at the places that the input names (ONNX's Gather with computed indices): its
    /// shape and then the table's columns.
    Embedding {
        /// `[rows, columns]`
        table: ParamId,
    },
    /// A recurrent layer over `[time, features]`.
    Recurrent(Recurrent),
    /// `clamp(round(x / scale) + zero_point)`, ties to even: the integers as real numbers.
    QuantizeLinear(Affine),
    /// `(q − zero_point) · scale`
    DequantizeLinear(Affine),
    /// One of the three outputs of ONNX's DynamicQuantizeLinear, by the range of the whole example.
    DynamicQuantizeLinear {
        /// Which.
        output: DynamicOutput,
    },
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
            Op::ConvTranspose { .. } => "ConvTranspose",
            Op::MatMul => "MatMul",
            Op::MaxPool { .. } => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::ReduceMean { .. } => "ReduceMean",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Relu => "Relu",
            Op::Clip { .. } => "Clip",
            Op::Unary(function) => function.name(),
            Op::Flatten => "Flatten",
            Op::Reshape { .. } => "Reshape",
            Op::Softmax { .. } => "Softmax",
            Op::LogSoftmax { .. } => "LogSoftmax",
            Op::ArgMax { .. } => "ArgMax",
            Op::BatchNormalization { .. } => "BatchNormalization",
            Op::LayerNormalization { .. } => "LayerNormalization",
            Op::Lrn { .. } => "LRN",
            Op::PRelu { .. } => "PRelu",
            Op::Add => "Add",
            Op::Sub => "Sub",
            Op::Mul => "Mul",
            Op::Div => "Div",
            Op::Constant { .. } => "Constant",
            Op::Concat { .. } => "Concat",
            Op::Select { .. } => "Gather",
            Op::Pad { .. } => "Pad",
            Op::Transpose { .. } => "Transpose",
            Op::Embedding { .. } => "Gather",
            Op::Recurrent(recurrent) => recurrent.cell.name(),
            Op::QuantizeLinear(_) => "QuantizeLinear",
            Op::DequantizeLinear(_) => "DequantizeLinear",
            Op::DynamicQuantizeLinear { .. } => "DynamicQuantizeLinear",
            Op::Dropout { .. } => "Dropout",
        }
    }

    /// The parameters it reads, weights first.
    pub fn parameters(&self) -> Vec<ParamId> {
        // One list for both: a copy, whose references are read.
        let mut copy = self.clone();
        copy.parameters_mut().into_iter().map(|id| *id).collect()
    }

    /// As [`Op::parameters`], to be renumbered.
    pub(super) fn parameters_mut(&mut self) -> Vec<&mut ParamId> {
        match self {
            Op::Gemm { weight, bias }
            | Op::Conv { weight, bias, .. }
            | Op::ConvTranspose { weight, bias, .. } => {
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
            Op::LayerNormalization { scale, bias, .. } => {
                std::iter::once(scale).chain(bias).collect()
            }
            Op::PRelu { slope: only }
            | Op::Constant { value: only }
            | Op::Embedding { table: only } => {
                vec![only]
            }
            Op::Recurrent(recurrent) => recurrent.parameters_mut(),
            _ => Vec::new(),
        }
    }

    /// The weight matrix or filter bank, of the operators that multiply by one.
    pub fn weight(&self) -> Option<ParamId> {
        match *self {
            Op::Gemm { weight, .. }
            | Op::Conv { weight, .. }
            | Op::ConvTranspose { weight, .. } => Some(weight),
            _ => None,
        }
    }

    /// The bias beside [`Op::weight`].
    pub fn bias(&self) -> Option<ParamId> {
        match *self {
            Op::Gemm { bias, .. } | Op::Conv { bias, .. } | Op::ConvTranspose { bias, .. } => bias,
            _ => None,
        }
    }
}

/// How integers stand for real numbers, per tensor or along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Real units per step, positive: one, or one per place along `axis`.
    pub scale: Vec<f32>,
    /// The integers that stand for zero, as many as there are scales.
    pub zero_point: Vec<f32>,
    /// Which axis several scales belong to.
    pub axis: usize,
    /// Least and largest integer: −128, 127 for int8.
    pub range: [f32; 2],
}

/// An output of DynamicQuantizeLinear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DynamicOutput {
    /// The uint8 integers.
    Quantized,
    /// The scale, of one element.
    Scale,
    /// The zero point, of one element.
    ZeroPoint,
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
