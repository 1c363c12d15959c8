//! Windows that slide over a plane.

use super::Network;
use super::columns::Axis;
use super::convolution::conv2d;
use super::max_pool::max_pool;
use crate::graph::strides::Split;
use crate::graph::{Node, Op, ParamId, Window};
use burn::tensor::module::{avg_pool2d, conv_transpose2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, ConvTransposeOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData};

fn padding(window: &Window) -> [(usize, usize); 2] {
    let [top, left, bottom, right] = window.padding;
    [(top, bottom), (left, right)]
}

impl Network<'_> {
    /// As `[batch, channels, height, width]`.
    fn image(&self, node: &Node, x: Tensor<2>) -> Tensor<4> {
        let shape = self.shape(node.inputs[0]);
        let [batch, _] = x.dims();
        x.reshape([batch, shape[0], shape[1], shape[2]])
    }

    /// As `[out_channels, in_channels, kernel_h, kernel_w]`, or transposed.
    fn kernels(&self, id: ParamId) -> Tensor<4> {
        let shape = &self.graph.parameter(id).shape;
        self.parameter(id)
            .reshape([shape[0], shape[1], shape[2], shape[3]])
    }

    pub(super) fn conv(&self, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::Conv {
            weight,
            bias,
            window,
            dilation,
            groups,
        } = node.op
        else {
            return x;
        };
        let options =
            ConvOptions::new_with_padding(window.stride, padding(&window), dilation, groups);
        let bias = bias.map(|b| self.parameter(b));
        conv2d(self.image(node, x), self.kernels(weight), bias, options).flatten(1, 3)
    }

    /// Without padding, which is then cut off the output or, as output padding, added to it.
    pub(super) fn conv_transpose(&self, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::ConvTranspose {
            weight,
            bias,
            window,
            dilation,
            groups,
            ..
        } = node.op
        else {
            return x;
        };
        let options = ConvTransposeOptions::new(window.stride, [0, 0], [0, 0], dilation, groups);
        let full = conv_transpose2d(self.image(node, x), self.kernels(weight), None, options);
        let [batch, channels, full_h, full_w] = full.dims();
        let shape = self.shape(node.output);
        let [top, left, ..] = window.padding;
        let source = |place: usize| {
            let (y, x) = (place / shape[2] % shape[1] + top, place % shape[2] + left);
            let channel = place / (shape[1] * shape[2]);
            (y < full_h && x < full_w).then_some((channel * full_h + y) * full_w + x)
        };
        let sources = (0..shape.iter().product()).map(source);
        let y = self.pick_or(full.flatten(1, 3), sources, 0.0);
        let Some(bias) = bias else { return y };
        let y = y.reshape([batch, channels, shape[1] * shape[2]]);
        (y + self.parameter(bias).reshape([1, channels, 1])).flatten(1, 2)
    }

    pub(super) fn max_pool(&self, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::MaxPool { window, dilation } = node.op else {
            return x;
        };
        let image = self.image(node, x);
        let (input, output) = (self.shape(node.inputs[0]), self.shape(node.output));
        let axis = |axis: usize| Axis {
            input: input[axis + 1],
            output: output[axis + 1],
            kernel: window.kernel[axis],
            stride: window.stride[axis],
            dilation: dilation[axis],
            padding: window.padding[axis],
        };
        let pooled = max_pool(&image, [axis(0), axis(1)]);
        let burns = || {
            let mut options = MaxPoolOptions::new(window.kernel);
            (options.stride, options.padding, options.ceil_mode) =
                (window.stride, padding(&window), window.ceil_mode);
            options.dilation = dilation;
            max_pool2d(image, options)
        };
        pooled.unwrap_or_else(burns).flatten(1, 3)
    }

    pub(super) fn average_pool(&self, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        } = node.op
        else {
            return x;
        };
        if dilation != [1, 1] {
            return self.dilated_average_pool(node, &window, dilation, count_include_pad, x);
        }
        let mut options = AvgPoolOptions::new(window.kernel);
        (options.stride, options.padding, options.ceil_mode) =
            (window.stride, padding(&window), window.ceil_mode);
        options.count_include_pad = count_include_pad;
        avg_pool2d(self.image(node, x), options).flatten(1, 3)
    }

    /// As a depthwise convolution with ones, divided by how many of them count.
    fn dilated_average_pool(
        &self,
        node: &Node,
        window: &Window,
        dilation: [usize; 2],
        count_include_pad: bool,
        x: Tensor<2>,
    ) -> Tensor<2> {
        let (own, shape) = (self.shape(node.inputs[0]), self.shape(node.output));
        // What a window of `ceil_mode` reaches beyond the padding counts in no sum.
        let end = |axis: usize| {
            let reach = (shape[axis + 1] - 1) * window.stride[axis]
                + (window.kernel[axis] - 1) * dilation[axis]
                + 1;
            reach.saturating_sub(own[axis + 1] + window.padding[axis])
        };
        let padding = [0, 1].map(|axis| (window.padding[axis], end(axis)));
        let counted = |axis: usize, out: usize| {
            let (from, to) = if count_include_pad {
                (
                    0,
                    own[axis + 1] + window.padding[axis] + window.padding[axis + 2],
                )
            } else {
                (window.padding[axis], own[axis + 1] + window.padding[axis])
            };
            let taps = 0..window.kernel[axis];
            taps.map(|k| out * window.stride[axis] + k * dilation[axis])
                .filter(|at| (from..to).contains(at))
                .count()
        };
        let plane = Split::new(shape, 0).inner;
        let share = |place: usize| {
            let count = counted(0, place / shape[2]) * counted(1, place % shape[2]);
            1.0 / count.max(1) as f32
        };
        let shares = TensorData::new((0..plane).map(share).collect(), [1, 1, shape[1], shape[2]]);
        let options = ConvOptions::new_with_padding(window.stride, padding, dilation, own[0]);
        let ones = Tensor::ones(
            [own[0], 1, window.kernel[0], window.kernel[1]],
            &self.device,
        );
        let sums = conv2d(self.image(node, x), ones, None, options);
        (sums * Tensor::from_data(shares, &self.device)).flatten(1, 3)
    }
}
