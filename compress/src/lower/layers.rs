//! Operators that multiply by weights.

use super::arrange::{Order, Sides};
use super::linear::{Matrix, on_grid, real_biases};
use super::view::View;
use super::{LowerError, Lowering, Step, range, refused};
use crate::program::{Kind, Linear};
use no_std_core::numerics::Output;
use no_std_core::operator::{self, MAX_WINDOW};
use no_std_core::tensor::Shape;
use trainer::graph::{Node, Op, ParamId, Quantization, Window};

impl Lowering<'_> {
    /// A product by a matrix: at one place a dense layer, whose columns follow the input's order in
    /// memory; at many a convolution of one tap.
    pub(super) fn gemm(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let (Op::Gemm { weight, bias }, shape) = (&node.op, self.shape(node.inputs[0])) else {
            return Err(refused("is no Gemm"));
        };
        let q = self.own_quantization(step.output)?;
        let out = self.shape(node.output);
        let (lead, units) = (out.len() - 1, out[out.len() - 1]);
        if out[..lead].iter().product::<usize>() == 1 {
            let view = self.whole(node.inputs[0])?;
            let matrix = Matrix::new(self.graph, *weight, *bias, &columns(&view))?;
            let shape = vector(units)?;
            let linear = self.linear(&matrix, view.tensor, q, range(step, q))?;
            let tensor = self.emit_wide(step, view.tensor, shape, q, Kind::Dense(linear))?;
            return Ok(View::rows(tensor, units));
        }
        let view = self.split_view(node.inputs[0])?;
        let order = self.channels_order(&view, shape, &[lead]);
        let input = self.arrange_view(&view, shape, &order, Sides::Channels)?;
        let columns: Vec<usize> = (0..shape[lead]).collect();
        let matrix = Matrix::new(self.graph, *weight, *bias, &columns)?;
        let linear = self.linear(&matrix, input, q, range(step, q))?;
        let kind = conv_kind(&Window::square(1, 1), [1, 1], 1, linear);
        let shape = self.with_channels(input, units)?;
        let tensor = self.emit_wide(step, input, shape, q, kind)?;
        Ok(View::packed(tensor, out, &order.axes()))
    }

    /// Filters in the order (ky, kx, channel).
    pub(super) fn conv(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let Op::Conv {
            weight,
            bias,
            window,
            dilation,
            groups,
        } = &node.op
        else {
            return Err(refused("is no Conv"));
        };
        check_window(window, *dilation)?;
        let q = self.own_quantization(step.output)?;
        let input = self.arrange(node.inputs[0], &Order::image(), Sides::All)?;
        let shape = &self.graph.parameter(*weight).shape;
        let filter = View::packed(0, &shape[1..], &[0, 1, 2]);
        let filter = filter.transposed(&shape[1..], &[1, 2, 0]);
        let order = filter.map(|view| view.places()).unwrap_or_default();
        let matrix = Matrix::new(self.graph, *weight, *bias, &order)?;
        let linear = self.linear(&matrix, input, q, range(step, q))?;
        let kind = conv_kind(window, *dilation, *groups, linear);
        self.filtered(node, step, input, kind)
    }

    /// Zeros between the input's elements, then a convolution with the kernel turned around.
    pub(super) fn conv_transpose(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let Op::ConvTranspose {
            weight,
            bias,
            window,
            dilation,
            groups,
            output_padding,
        } = &node.op
        else {
            return Err(refused("is no ConvTranspose"));
        };
        let reach = [0, 1].map(|a| (window.kernel[a] - 1) * dilation[a]);
        if (0..4).any(|i| window.padding[i] > reach[i % 2]) {
            return Err(refused(
                "pads more than its kernel reaches; slice the output",
            ));
        }
        let turned = Window {
            stride: [1, 1],
            padding: [0, 1, 2, 3].map(|i| reach[i % 2] - window.padding[i]),
            ..*window
        };
        check_window(&turned, *dilation)?;
        let q = self.own_quantization(step.output)?;
        // Output beyond the padding needs zeros of its own.
        let more = [0, 1].map(|a| output_padding[a].saturating_sub(window.padding[a + 2]));
        let input = self.spread(node, window.stride, more)?;
        let matrix = self.turned(*weight, *bias, *groups)?;
        let linear = self.linear(&matrix, input, q, range(step, q))?;
        let kind = conv_kind(&turned, *dilation, *groups, linear);
        self.filtered(node, step, input, kind)
    }

    /// The input's rows and columns `stride` apart, zeros between them and `more` behind.
    fn spread(
        &mut self,
        node: &Node,
        stride: [usize; 2],
        more: [usize; 2],
    ) -> Result<usize, LowerError> {
        let value = node.inputs[0];
        if stride == [1, 1] && more == [0, 0] {
            return self.arrange(value, &Order::image(), Sides::All);
        }
        let from = self.split_view(value)?;
        let &[channels, height, width] = self.shape(value) else {
            return Err(refused("reads no image"));
        };
        let wide = |size: usize, a: usize| (size - 1) * stride[a] + 1 + more[a];
        let (tall, wide) = (wide(height, 0), wide(width, 1));
        let shape = Shape::new(tall, wide, channels);
        let shape = shape.ok_or_else(|| refused(super::too_large(tall * wide * channels)))?;
        let q = self.quantization_of(from.tensor);
        let tensor = self.add_tensor(&format!("{}.spread", node.name), shape, q);
        self.fill(tensor, q.zero_point as i8);
        let row = wide * channels;
        let run = |size: usize, stride: usize| super::view::Run {
            size,
            stride: stride as isize,
        };
        let runs = vec![
            run(channels, 1),
            run(height, stride[0] * row),
            run(width, stride[1] * channels),
        ];
        self.copy(&from, &View::new(tensor, 0, runs))?;
        Ok(tensor)
    }

    /// `[in, out / groups, kh, kw]` as filters `[out, kh, kw, in / groups]`, last taps first.
    fn turned(
        &self,
        weight: ParamId,
        bias: Option<ParamId>,
        groups: usize,
    ) -> Result<Matrix, LowerError> {
        let parameter = self.graph.parameter(weight);
        let (grid, latent) = on_grid(parameter)?;
        let &[inputs, per_group, kh, kw] = &parameter.shape[..] else {
            return Err(refused("has weights of another rank than 4"));
        };
        let [scale] = grid.scale[..] else {
            return Err(refused(
                "has a scale for each input channel; quantize its weights per tensor",
            ));
        };
        let (taps, in_group) = (kh * kw, inputs / groups.max(1));
        let rows = per_group * groups;
        let weights = (0..rows).flat_map(|row| {
            let (group, of_group) = (row / per_group, row % per_group);
            let (latent, grid) = (&latent, grid);
            (0..taps).rev().flat_map(move |tap| {
                (0..in_group).map(move |i| {
                    let input = group * in_group + i;
                    let place = (input * per_group + of_group) * taps + tap;
                    grid.quantize(latent[place], 0) as i8
                })
            })
        });
        Ok(Matrix {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            rows,
            columns: taps * in_group,
            weights: weights.collect(),
            hashed: None,
            vectors: None,
            scales: vec![scale.into()],
            gains: Vec::new(),
            biases: real_biases(self.graph, bias, rows)?,
        })
    }

    pub(super) fn linear(
        &self,
        matrix: &Matrix,
        input: usize,
        q: Quantization,
        range: Output,
    ) -> Result<Linear, LowerError> {
        matrix.linear(&self.tensors[input], q.scale.into(), range, self.biases)
    }

    /// A tensor's shape with other channels.
    pub(super) fn with_channels(
        &self,
        tensor: usize,
        channels: usize,
    ) -> Result<Shape, LowerError> {
        let Shape { height, width, .. } = self.tensors[tensor].shape;
        let shape = Shape::new(height, width, channels);
        shape.ok_or_else(|| refused(super::too_large(height * width * channels)))
    }

    /// Adds an operator and the tensor it writes.
    pub(super) fn emit(
        &mut self,
        node: &Node,
        input: usize,
        shape: Shape,
        q: Quantization,
        kind: Kind,
    ) -> usize {
        let name = self.graph.value(node.output).name.clone();
        let tensor = self.add_tensor(&name, shape, q);
        self.add_operator(input, tensor, kind);
        tensor
    }

    /// As [`Self::emit`], for the operators that may write int16.
    pub(super) fn emit_wide(
        &mut self,
        step: &Step,
        input: usize,
        shape: Shape,
        q: Quantization,
        kind: Kind,
    ) -> Result<usize, LowerError> {
        let wide = self.graph.value(step.output).int16;
        let relu = step.min == f32::NEG_INFINITY || step.min == 0.0;
        if wide && !(relu && step.max == f32::INFINITY) {
            return Err(refused(
                "is int16 and clamped to other bounds than a Relu's; keep it int8",
            ));
        }
        let tensor = self.emit(&self.graph.nodes[step.node], input, shape, q, kind);
        self.tensors[tensor].wide = wide;
        Ok(tensor)
    }

    /// The output of a convolution.
    fn filtered(
        &mut self,
        node: &Node,
        step: &Step,
        input: usize,
        kind: Kind,
    ) -> Result<View, LowerError> {
        let (shape, order) = (self.shape(node.output), Order::image());
        let q = self.own_quantization(step.output)?;
        let tensor = self.emit_wide(step, input, order.shape(shape)?, q, kind)?;
        Ok(View::packed(tensor, shape, &order.axes()))
    }
}

/// For each place in memory, which of the value's elements stands there.
fn columns(whole: &View) -> Vec<usize> {
    let mut columns = vec![0; whole.len()];
    for (element, place) in whole.places().into_iter().enumerate() {
        columns[place] = element;
    }
    columns
}

pub(super) fn vector(len: usize) -> Result<Shape, LowerError> {
    Shape::new(1, 1, len).ok_or_else(|| refused(super::too_large(len)))
}

pub(super) fn conv_kind(
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
    linear: Linear,
) -> Kind {
    Kind::Conv {
        window: leading(window, dilation),
        groups,
        linear,
    }
}

/// What images bound more tightly than graphs.
pub(super) fn check_window(window: &Window, dilation: [usize; 2]) -> Result<(), LowerError> {
    for (axis, step) in dilation.into_iter().enumerate() {
        let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
        if [kernel, stride, step].iter().any(|&n| n > MAX_WINDOW) {
            let reason = format!("has a kernel, stride or dilation above {MAX_WINDOW}");
            return Err(refused(reason));
        }
        if window.padding[axis] > (kernel - 1) * step {
            return Err(refused(
                "has windows on padding alone; pad less than the kernel reaches",
            ));
        }
    }
    Ok(())
}

/// Padding below and to the right follows from the output's shape.
pub(super) fn leading(window: &Window, dilation: [usize; 2]) -> operator::Window {
    let [top, left, ..] = window.padding;
    operator::Window {
        kernel: window.kernel,
        stride: window.stride,
        padding: [top, left],
        dilation,
    }
}
