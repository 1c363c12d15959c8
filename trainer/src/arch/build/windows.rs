//! Convolutions and pools.

use super::super::layer::Layer;
use super::super::settings::Padding;
use super::{Builder, Misfit};
use crate::graph::{Op, Window};

/// What a convolution is made of.
struct Kernels {
    channels: usize,
    kernel: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
}

impl Builder {
    pub(super) fn conv(&mut self, layer: &Layer) -> Result<(), Misfit> {
        let [inputs, _, _] = *self.shape() else {
            let shape = self.shape();
            return Err(format!("needs an image [channels, height, width], not {shape:?}").into());
        };
        let (kernels, stride, padding) = match *layer {
            Layer::Conv {
                channels,
                kernel,
                stride,
                padding,
                dilation,
                groups,
                bias,
            } => {
                let kernels = Kernels {
                    channels,
                    kernel: kernel.sides(),
                    dilation: dilation.sides(),
                    groups,
                    bias,
                };
                (kernels, stride, padding)
            }
            Layer::Depthwise {
                kernel,
                stride,
                padding,
                dilation,
                bias,
            } => {
                let kernels = Kernels {
                    channels: inputs,
                    kernel: kernel.sides(),
                    dilation: dilation.sides(),
                    groups: inputs,
                    bias,
                };
                (kernels, stride, padding)
            }
            _ => return Ok(()),
        };
        let window = self.window(kernels.kernel, stride.sides(), kernels.dilation, &padding);
        self.convolve("conv", kernels, window)
    }

    /// As a convolution of `[features, 1, time]`.
    pub(super) fn conv1d(&mut self, layer: &Layer) -> Result<(), Misfit> {
        let Layer::Conv1d {
            channels,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            bias,
        } = *layer
        else {
            return Ok(());
        };
        self.make_row()?;
        let dilation = [1, dilation];
        let mut window = self.window([1, kernel], [1, stride], dilation, &padding);
        // A row has nothing above or below it.
        (window.padding[0], window.padding[2]) = (0, 0);
        let kernels = Kernels {
            channels,
            kernel: window.kernel,
            dilation,
            groups,
            bias,
        };
        self.convolve("conv", kernels, window)
    }

    /// Of `[channels, height, width]`.
    fn convolve(
        &mut self,
        kind: &'static str,
        kernels: Kernels,
        window: Window,
    ) -> Result<(), Misfit> {
        let Kernels {
            channels,
            kernel: [height, width],
            dilation,
            groups,
            bias,
        } = kernels;
        let inputs = self.shape()[0];
        if groups == 0 || !inputs.is_multiple_of(groups) {
            return Err(format!("cannot split {inputs} channels in {groups} groups").into());
        }
        let name = self.name(kind);
        let op = Op::Conv {
            weight: self.weight(&name, &[channels, inputs / groups, height, width])?,
            bias: bias.then(|| self.vector(&name, "bias", channels, 0.0)),
            window,
            dilation,
            groups,
        };
        self.push(name, op)
    }

    pub(super) fn pool(&mut self, layer: &Layer) -> Result<(), Misfit> {
        let (Layer::MaxPool {
            kernel,
            stride,
            padding,
        }
        | Layer::AveragePool {
            kernel,
            stride,
            padding,
        }) = layer
        else {
            return Ok(());
        };
        let stride = stride.unwrap_or(*kernel).sides();
        let window = self.window(kernel.sides(), stride, [1, 1], padding);
        let dilation = [1, 1];
        let op = match layer {
            Layer::MaxPool { .. } => Op::MaxPool { window, dilation },
            _ => Op::AveragePool {
                window,
                dilation,
                count_include_pad: false,
            },
        };
        self.simple("pool", op)
    }

    fn window(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: &Padding,
    ) -> Window {
        let sides = |axis: usize| match padding {
            Padding::Sides(n) => [*n, *n],
            Padding::Same(_) => {
                let size = self.shape().get(axis + 1).copied().unwrap_or(1);
                let steps = size.div_ceil(stride[axis].max(1)).saturating_sub(1);
                let extent = dilation[axis] * kernel[axis].saturating_sub(1) + 1;
                let total = (steps * stride[axis] + extent).saturating_sub(size);
                [total / 2, total - total / 2]
            }
        };
        let ([top, bottom], [left, right]) = (sides(0), sides(1));
        Window {
            kernel,
            stride,
            padding: [top, left, bottom, right],
            ceil_mode: false,
        }
    }
}
