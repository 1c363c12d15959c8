//! Normalization by a batch's own statistics, with gradients in two passes over the batch on the CPU.

use super::flex::{recorded, slice, sum, tensor};
use super::host;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

/// Mean and mean square deviation, per channel.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    pub(super) mean: Vec<f32>,
    pub(super) variance: Vec<f32>,
}

/// `[batch, channels, plane]` normalized, scaled and shifted by channel, and what it was normalized by.
pub(super) fn normalize_batch(
    x: Tensor<3>,
    scale: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
) -> (Tensor<3>, Moments) {
    in_passes(&x, &scale, &bias, epsilon).unwrap_or_else(|| by_operators(x, scale, bias, epsilon))
}

/// On any device.
fn by_operators(
    x: Tensor<3>,
    scale: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
) -> (Tensor<3>, Moments) {
    let [_, channels, _] = x.dims();
    let column = |t: Tensor<1>| t.reshape([1, channels, 1]);
    let mean = x.clone().mean_dim(2).mean_dim(0);
    let centred = x - mean.clone();
    let squares = centred.clone() * centred.clone();
    let variance = squares.mean_dim(2).mean_dim(0);
    let moments = Moments {
        mean: host(mean),
        variance: host(variance.clone()),
    };
    let normal = centred / (variance + epsilon).sqrt();
    (normal * column(scale) + column(bias), moments)
}

/// For gradients on the CPU; nothing elsewhere.
fn in_passes(
    x: &Tensor<3>,
    scale: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f32,
) -> Option<(Tensor<3>, Moments)> {
    let [_, channels, plane] = x.dims();
    let (x, x_node) = recorded(x)?;
    let (scale, scale_node) = recorded(scale)?;
    let (bias, bias_node) = recorded(bias)?;
    let sizes = Sizes { channels, plane };
    let moments = sizes.moments(slice(&x));
    let output = sizes.map(slice(&x), slice(&x), |c| {
        let (mean, bias) = (moments.mean[c], slice(&bias)[c]);
        let factor = slice(&scale)[c] / (moments.variance[c] + epsilon).sqrt();
        move |x, _| (x - mean) * factor + bias
    });
    let output = tensor(output, x.layout().shape().clone());
    let prepared = Normalization.prepare::<NoCheckpointing>([x_node, scale_node, bias_node]);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let state = (x, scale, sizes, moments.clone(), epsilon);
            prepared.finish(state, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Some((Tensor::from_primitive::<Autodiff<Flex>>(output), moments))
}

#[derive(Debug)]
struct Normalization;

impl Backward<Flex, 3> for Normalization {
    /// Input, scale, their sizes, what the input was normalized by, epsilon.
    type State = (FlexTensor, FlexTensor, Sizes, Moments, f32);

    /// With `z = (x - mean) / deviation`, `y = scale z + bias` and `m` the mean over a channel:
    /// `dx = scale / deviation (dy - m(dy) - z m(dy z))` (Ioffe & Szegedy 2015).
    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (x, scale, sizes, Moments { mean, variance }, epsilon) = ops.state;
        let [x_node, scale_node, bias_node] = ops.parents;
        let (elements, output) = (slice(&x), slice(&output));
        let shift = sizes.sums(output, output, |_| |dy, _| dy);
        let inverse = |c: usize| (variance[c] + epsilon).sqrt().recip();
        let stretch = sizes.sums(output, elements, |c| {
            let (mean, inverse) = (mean[c], inverse(c));
            move |dy, x| dy * ((x - mean) * inverse)
        });
        if let Some(node) = x_node {
            let count = sizes.count(elements);
            let gradient = sizes.map(output, elements, |c| {
                let (mean, inverse) = (mean[c], inverse(c));
                let factor = slice(&scale)[c] * inverse;
                let (by_x, same) = (inverse * stretch[c] / count, shift[c] / count);
                move |dy, x| factor * (dy - same - (x - mean) * by_x)
            });
            gradients.register::<Flex>(node.id, tensor(gradient, x.layout().shape().clone()));
        }
        for (node, gradient) in [(scale_node, stretch), (bias_node, shift)] {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, tensor(gradient, [sizes.channels]));
            }
        }
    }
}

/// Of `[batch, channels, plane]`.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    channels: usize,
    plane: usize,
}

impl Sizes {
    /// Elements per channel.
    fn count(&self, x: &[f32]) -> f32 {
        (x.len() / self.channels.max(1)) as f32
    }

    fn moments(&self, x: &[f32]) -> Moments {
        let count = self.count(x);
        let mut mean = self.sums(x, x, |_| |x, _| x);
        mean.iter_mut().for_each(|m| *m /= count);
        let mut variance = self.sums(x, x, |c| {
            let mean = mean[c];
            move |x, _| (x - mean) * (x - mean)
        });
        variance.iter_mut().for_each(|v| *v /= count);
        Moments { mean, variance }
    }

    /// Planes at the same place, with their channel.
    fn planes<'x>(
        &self,
        a: &'x [f32],
        b: &'x [f32],
    ) -> impl Iterator<Item = (usize, (&'x [f32], &'x [f32]))> {
        let plane = self.plane.max(1);
        let pairs = a.chunks_exact(plane).zip(b.chunks_exact(plane));
        (0..self.channels).cycle().zip(pairs)
    }

    /// Over each channel, of a channel's term of pairs.
    fn sums<T: Fn(f32, f32) -> f32>(
        &self,
        a: &[f32],
        b: &[f32],
        term: impl Fn(usize) -> T,
    ) -> Vec<f32> {
        let mut sums = vec![0.0; self.channels];
        for (c, (a, b)) in self.planes(a, b) {
            sums[c] += sum(a, b, term(c));
        }
        sums
    }

    /// A channel's function of each pair.
    fn map<F: Fn(f32, f32) -> f32>(
        &self,
        a: &[f32],
        b: &[f32],
        of: impl Fn(usize) -> F,
    ) -> Vec<f32> {
        let mut results = Vec::with_capacity(a.len());
        for (c, (a, b)) in self.planes(a, b) {
            let of = of(c);
            results.extend(a.iter().zip(b).map(|(a, b)| of(*a, *b)));
        }
        results
    }
}
