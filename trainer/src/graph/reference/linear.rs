//! Sums of products with weights, or of two values.

use super::{Step, broadcast_strides, places};
use crate::graph::{Op, ParamId};

/// The pairs of numbers below `[rows, columns]`, in row-major order.
pub(super) fn grid([rows, columns]: [usize; 2]) -> impl Iterator<Item = [usize; 2]> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
}

/// The coordinate that tap `k` of a window at `out` falls on, if it is not padding.
pub(super) fn tap(
    out: usize,
    k: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    n: usize,
) -> Option<usize> {
    (out * stride + k * dilation)
        .checked_sub(pad)
        .filter(|&i| i < n)
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let terms = a.iter().zip(b);
    terms.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Of `[channels, height, width]`.
pub(super) fn image(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2]]
}

impl Step<'_> {
    pub(super) fn gemm(&self, weight: ParamId, bias: Option<ParamId>) -> Vec<f32> {
        let columns = self.parameter_shape(weight)[1];
        let weights = self.parameter(weight);
        let bias = self.parameter_or_zeros(bias, self.parameter_shape(weight)[0]);
        let rows = || weights.chunks(columns).zip(&bias);
        let x = self.x().data.chunks(columns);
        x.flat_map(|x| rows().map(|(row, &b)| (dot(row, x) + f64::from(b)) as f32))
            .collect()
    }

    pub(super) fn mat_mul(&self) -> Vec<f32> {
        let [a, b] = [&self.inputs[0], &self.inputs[1]];
        let (lead, last) = self.shape.split_at(self.shape.len() - 2);
        let [m, n] = [last[0], last[1]];
        let k = a.shape[a.shape.len() - 1];
        let matrices = [a, b].map(|side| {
            let (own, matrix) = side.shape.split_at(side.shape.len() - 2);
            let size = matrix[0] * matrix[1];
            let strides = broadcast_strides(own, lead);
            let starts = places(lead, &strides).map(|place| place * size);
            starts.collect::<Vec<usize>>()
        });
        let product = |(a_start, b_start): (&usize, &usize), [row, column]: [usize; 2]| {
            let term = |i: usize| {
                let left = a.data[a_start + row * k + i];
                f64::from(left) * f64::from(b.data[b_start + i * n + column])
            };
            (0..k).map(term).sum::<f64>() as f32
        };
        let pairs = matrices[0].iter().zip(&matrices[1]);
        pairs
            .flat_map(|pair| grid([m, n]).map(move |at| product(pair, at)))
            .collect()
    }

    pub(super) fn conv(&self) -> Vec<f32> {
        let Op::Conv {
            weight,
            bias,
            window,
            dilation,
            groups,
        } = self.op
        else {
            unreachable!("called for convolutions")
        };
        let x = self.x();
        let [_, h, w] = image(x.shape);
        let [out_channels, out_h, out_w] = image(self.shape);
        let per_group = self.parameter_shape(*weight)[1];
        let [kh, kw] = window.kernel;
        let weights = self.parameter(*weight);
        let bias = self.parameter_or_zeros(*bias, out_channels);
        let mut y = Vec::with_capacity(out_channels * out_h * out_w);
        for o in 0..out_channels {
            let first_channel = o / (out_channels / groups) * per_group;
            for [oy, ox] in grid([out_h, out_w]) {
                let mut sum = f64::from(bias[o]);
                for c in 0..per_group {
                    for [ky, kx] in grid([kh, kw]) {
                        let iy = tap(oy, ky, window.stride[0], dilation[0], window.padding[0], h);
                        let ix = tap(ox, kx, window.stride[1], dilation[1], window.padding[1], w);
                        if let (Some(iy), Some(ix)) = (iy, ix) {
                            let value = x.data[((first_channel + c) * h + iy) * w + ix];
                            let weight = weights[((o * per_group + c) * kh + ky) * kw + kx];
                            sum += f64::from(value) * f64::from(weight);
                        }
                    }
                }
                y.push(sum as f32);
            }
        }
        y
    }

    /// Each input element adds its multiple of the kernel to the output.
    pub(super) fn conv_transpose(&self) -> Vec<f32> {
        let Op::ConvTranspose {
            weight,
            bias,
            window,
            dilation,
            groups,
            ..
        } = self.op
        else {
            unreachable!("called for transposed convolutions")
        };
        let x = self.x();
        let [channels, h, w] = image(x.shape);
        let [out_channels, out_h, out_w] = image(self.shape);
        let per_group = self.parameter_shape(*weight)[1];
        let [kh, kw] = window.kernel;
        let weights = self.parameter(*weight);
        let bias = self.parameter_or_zeros(*bias, out_channels);
        let plane = |o: usize| std::iter::repeat_n(f64::from(bias[o]), out_h * out_w);
        let mut y: Vec<f64> = (0..out_channels).flat_map(plane).collect();
        for c in 0..channels {
            let first_channel = c / (channels / groups) * per_group;
            for [iy, ix] in grid([h, w]) {
                let value = f64::from(x.data[(c * h + iy) * w + ix]);
                for o in 0..per_group {
                    for [ky, kx] in grid([kh, kw]) {
                        let oy = tap(
                            iy,
                            ky,
                            window.stride[0],
                            dilation[0],
                            window.padding[0],
                            out_h,
                        );
                        let ox = tap(
                            ix,
                            kx,
                            window.stride[1],
                            dilation[1],
                            window.padding[1],
                            out_w,
                        );
                        if let (Some(oy), Some(ox)) = (oy, ox) {
                            let weight = weights[((c * per_group + o) * kh + ky) * kw + kx];
                            y[((first_channel + o) * out_h + oy) * out_w + ox] +=
                                value * f64::from(weight);
                        }
                    }
                }
            }
        }
        y.into_iter().map(|v| v as f32).collect()
    }
}
