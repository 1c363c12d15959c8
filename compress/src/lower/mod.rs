//! From a quantized float [`Graph`] to a fixed-point
//! [`Program`].

mod linear;
mod steps;

pub use steps::{Step, steps};

use crate::program::{Kind, Operator, Program, Tensor};
use linear::{conv, dense};
use no_std_core::numerics::Output;
use no_std_core::operator::{MAX_WINDOW, Window};
use no_std_core::tensor::Shape;
use std::collections::HashMap;
use trainer::graph::{self, Graph, Op, Quantization, Unary, ValueId};

/// Why a graph cannot be an image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LowerError {
    /// An operator or use of one that images do not have.
    #[error("node '{node}' ({op}): {reason}")]
    Unsupported {
        /// The node's name.
        node: String,
        /// Its ONNX operator.
        op: &'static str,
        /// What is missing and what to do.
        reason: String,
    },
    /// A value without scale and zero point.
    #[error("value '{0}' has no quantization; calibrate the graph first")]
    NotCalibrated(String),
    /// A weight without an integer grid.
    #[error("parameter '{0}' has no integer grid; quantize the weights first")]
    NoGrid(String),
    /// A weight or bias that is not a finite number.
    #[error("parameter '{0}' holds a value that is not finite; the model cannot be quantized")]
    NotFinite(String),
    /// A bias too large for the accumulators.
    #[error("a bias of '{0}' is beyond the 32-bit accumulators' range")]
    BiasRange(String),
}

pub(crate) fn unsupported(node: &graph::Node, reason: impl Into<String>) -> LowerError {
    LowerError::Unsupported {
        node: node.name.clone(),
        op: node.op.name(),
        reason: reason.into(),
    }
}

/// Writes a calibrated graph, whose weights have grids, in integers.
///
/// # Errors
/// When the graph holds an operator that images do not have, or is not quantized.
pub fn lower(graph: &Graph) -> Result<Program, LowerError> {
    let steps = steps(graph)?;
    let mut lowering = Lowering {
        graph,
        tensors: Vec::new(),
        places: HashMap::new(),
    };
    let shape = layout_of(graph.value(graph.input))?;
    let input = lowering.add(graph.input, shape, quantization(graph, graph.input)?);
    let mut operators = Vec::new();
    for step in &steps {
        operators.push(lowering.operator(step)?);
    }
    let output = steps
        .last()
        .map_or(input, |step| lowering.places[&step.output]);
    let metadata = graph
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Ok(Program {
        tensors: lowering.tensors,
        operators,
        input,
        output,
        macs: graph.macs(),
        metadata,
    })
}

fn quantization(graph: &Graph, value: ValueId) -> Result<Quantization, LowerError> {
    let value = graph.value(value);
    value
        .quantization
        .ok_or_else(|| LowerError::NotCalibrated(value.name.clone()))
}

/// Probabilities use all of int8.
pub(crate) const SOFTMAX_OUTPUT: Quantization = Quantization {
    scale: 1.0 / 256.0,
    zero_point: -128,
};

struct Lowering<'g> {
    graph: &'g Graph,
    tensors: Vec<Tensor>,
    places: HashMap<ValueId, usize>,
}

impl Lowering<'_> {
    fn add(&mut self, id: ValueId, shape: Shape, q: Quantization) -> usize {
        self.tensors.push(Tensor {
            name: self.graph.value(id).name.clone(),
            shape,
            scale: q.scale,
            zero_point: q.zero_point as i8,
            wide: false,
        });
        self.places.insert(id, self.tensors.len() - 1);
        self.tensors.len() - 1
    }

    fn operator(&mut self, step: &Step) -> Result<Operator, LowerError> {
        let node = &self.graph.nodes[step.node];
        let input = self.places[&step.inputs[0]];
        let q = self.output_quantization(step, input)?;
        let output = self.add(step.output, self.output_shape(node, step, input)?, q);
        let kind = self.kind(node, step, input, output)?;
        Ok(Operator {
            name: node.name.clone(),
            input,
            output,
            kind,
        })
    }

    /// Element-wise operators keep their input's layout: a flattened image stays one, channels last.
    fn output_shape(
        &self,
        node: &graph::Node,
        step: &Step,
        input: usize,
    ) -> Result<Shape, LowerError> {
        match node.op {
            Op::Relu | Op::Clip { .. } | Op::Unary(_) | Op::Softmax { .. } => {
                Ok(self.tensors[input].shape)
            }
            Op::Add => {
                let shapes = step
                    .inputs
                    .iter()
                    .map(|v| self.tensors[self.places[v]].shape);
                let first = self.tensors[input].shape;
                if shapes.into_iter().all(|shape| shape == first) {
                    Ok(first)
                } else {
                    Err(unsupported(
                        node,
                        "adds a flattened image to a vector; add before flattening",
                    ))
                }
            }
            _ => layout_of(self.graph.value(node.output)),
        }
    }

    /// Operators that pick or average integers keep their input's scale; others have their own.
    fn output_quantization(&self, step: &Step, input: usize) -> Result<Quantization, LowerError> {
        match self.graph.nodes[step.node].op {
            Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::Relu
            | Op::Clip { .. } => {
                let Tensor {
                    scale, zero_point, ..
                } = self.tensors[input];
                Ok(Quantization {
                    scale,
                    zero_point: zero_point as i32,
                })
            }
            Op::Softmax { .. } => Ok(SOFTMAX_OUTPUT),
            _ => quantization(self.graph, step.output),
        }
    }

    fn kind(
        &self,
        node: &graph::Node,
        step: &Step,
        input: usize,
        output: usize,
    ) -> Result<Kind, LowerError> {
        let (x, y) = (&self.tensors[input], &self.tensors[output]);
        let range = range(step, y);
        match &node.op {
            Op::Gemm { .. } => dense(self.graph, node, x, y, range).map(Kind::Dense),
            Op::Conv {
                window,
                dilation,
                groups,
                ..
            } => {
                check_window(node, window, *dilation)?;
                let linear = conv(self.graph, node, x, y, range)?;
                Ok(Kind::Conv {
                    window: leading(window, *dilation),
                    groups: *groups,
                    linear,
                })
            }
            Op::MaxPool { window, dilation } => {
                check_window(node, window, *dilation)?;
                Ok(Kind::MaxPool(leading(window, *dilation)))
            }
            Op::AveragePool {
                window,
                dilation,
                count_include_pad,
            } => {
                check_window(node, window, *dilation)?;
                if *count_include_pad && overhangs(window, x, y) {
                    return Err(unsupported(
                        node,
                        "averages padding under a window that overhangs it; use ceil_mode 0",
                    ));
                }
                Ok(Kind::AveragePool {
                    window: leading(window, *dilation),
                    count_include_pad: *count_include_pad,
                })
            }
            Op::GlobalAveragePool => {
                let kernel = [x.shape.height, x.shape.width];
                let window = Window {
                    kernel,
                    stride: [1, 1],
                    padding: [0, 0],
                    dilation: [1, 1],
                };
                Ok(Kind::AveragePool {
                    window,
                    count_include_pad: false,
                })
            }
            Op::Relu | Op::Clip { .. } => Ok(Kind::Clamp(range)),
            Op::Unary(function) => Ok(Kind::Table(table(*function, x, y, range))),
            Op::Softmax { .. } => Ok(Kind::Softmax(exponentials(x.scale))),
            Op::Add => Ok(self.add_kind(step, x, y, range)),
            _ => Err(unsupported(node, "has no fixed-point form in an image")),
        }
    }

    /// Factors `s_a/s_y` and `s_b/s_y` over the largest common shift that keeps both below 2³⁰.
    fn add_kind(&self, step: &Step, x: &Tensor, y: &Tensor, range: Output) -> Kind {
        let other = self.places[&step.inputs[1]];
        let factors =
            [x.scale, self.tensors[other].scale].map(|scale| scale as f64 / y.scale as f64);
        let largest = factors[0].max(factors[1]);
        let shift = (29 - largest.log2().ceil() as i32).clamp(1, 62);
        let mantissas = factors.map(|f| (f * 2f64.powi(shift)).round() as i32);
        Kind::Add {
            other,
            mantissas,
            shift: shift as u8,
            range,
        }
    }
}

/// A function's results for every int8 argument, the fused activation included. Where the function has
/// no value it is 0.
fn table(function: Unary, x: &Tensor, y: &Tensor, range: Output) -> Vec<i8> {
    let result = |q: i32| {
        let real = f64::from(q - i32::from(x.zero_point)) * f64::from(x.scale);
        let value = function.apply(real);
        let steps = if value.is_nan() {
            0.0
        } else {
            (value / f64::from(y.scale)).round_ties_even()
        };
        range.clamp((steps + f64::from(y.zero_point)).clamp(-128.0, 127.0) as i32)
    };
    (-128..128).map(result).collect()
}

/// The integer range of a step's output: its fused activation, within int8.
fn range(step: &Step, y: &Tensor) -> Output {
    let integer = |real: f32| {
        let q = (real / y.scale).round_ties_even() + y.zero_point as f32;
        q.clamp(i8::MIN as f32, i8::MAX as f32) as i8
    };
    Output {
        zero_point: y.zero_point,
        min: integer(step.min),
        max: integer(step.max),
    }
}

/// What images bound more tightly than graphs.
fn check_window(
    node: &graph::Node,
    window: &graph::Window,
    dilation: [usize; 2],
) -> Result<(), LowerError> {
    for (axis, step) in dilation.into_iter().enumerate() {
        let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
        if [kernel, stride, step].iter().any(|&n| n > MAX_WINDOW) {
            return Err(unsupported(
                node,
                format!("has a kernel, stride or dilation above {MAX_WINDOW}"),
            ));
        }
        if window.padding[axis] > (kernel - 1) * step {
            return Err(unsupported(
                node,
                "has windows on padding alone; pad less than the kernel reaches",
            ));
        }
    }
    Ok(())
}

/// Whether a last window reaches beyond input and padding.
fn overhangs(window: &graph::Window, x: &Tensor, y: &Tensor) -> bool {
    let axes = [
        (x.shape.height, y.shape.height),
        (x.shape.width, y.shape.width),
    ];
    axes.iter().enumerate().any(|(axis, (size, positions))| {
        let end = (positions - 1) * window.stride[axis] + window.kernel[axis];
        end > size + window.padding[axis] + window.padding[axis + 2]
    })
}

/// Padding below and to the right follows from the output's shape.
fn leading(window: &graph::Window, dilation: [usize; 2]) -> Window {
    let [top, left, ..] = window.padding;
    Window {
        kernel: window.kernel,
        stride: window.stride,
        padding: [top, left],
        dilation,
    }
}

fn layout_of(value: &graph::Value) -> Result<Shape, LowerError> {
    channels_last(&value.shape).ok_or_else(|| LowerError::Unsupported {
        node: value.name.clone(),
        op: "value",
        reason: format!(
            "has shape {:?}; images hold vectors and [channels, height, width]",
            value.shape
        ),
    })
}

/// `[channels, height, width]` or `[n]` as a channels-last shape.
pub fn channels_last(shape: &[usize]) -> Option<Shape> {
    match *shape {
        [n] => Shape::new(1, 1, n),
        [channels, height, width] => Shape::new(height, width, channels),
        _ => None,
    }
}

/// `round(65535·e^(−scale·d))` for d = 0, 1, …, without the zeros at the end.
fn exponentials(scale: f32) -> Vec<u16> {
    let entry = |d: u32| (65535.0 * (-(scale as f64) * d as f64).exp()).round() as u16;
    (0..256).map(entry).take_while(|&e| e > 0).collect()
}
