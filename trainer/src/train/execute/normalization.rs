//! Elements scaled by what others are.

use super::batch_normalization::{Moments, normalize_batch};
use super::{Mode, Network};
use crate::graph::strides::Split;
use crate::graph::{Node, Op};
use burn::tensor::{Tensor, TensorData, activation};

/// What a batch normalization saw.
#[derive(Clone, Debug)]
pub(in crate::train) struct BatchStatistics {
    /// Place of the node.
    pub(in crate::train) node: usize,
    /// Elements per channel.
    count: f32,
    /// Per channel.
    pub(in crate::train) mean: Vec<f32>,
    /// Per channel; the mean square deviation (biased).
    variance: Vec<f32>,
}

impl BatchStatistics {
    /// Takes in what the same node saw in another part of the batch (Chan et al. 1979).
    pub(in crate::train) fn merge(&mut self, other: &Self) {
        let total = self.count + other.count;
        let (own, others) = (self.count / total, other.count / total);
        for c in 0..self.mean.len() {
            let apart = other.mean[c] - self.mean[c];
            self.mean[c] += others * apart;
            self.variance[c] =
                own * self.variance[c] + others * other.variance[c] + own * others * apart * apart;
        }
        self.count = total;
    }

    /// Whether there is more than one element to tell a variance from.
    pub(in crate::train) fn have_variance(&self) -> bool {
        self.count > 1.0
    }

    /// Per channel, unbiased: what the running variance estimates.
    pub(in crate::train) fn unbiased_variance(&self) -> Vec<f32> {
        let factor = self.count / (self.count - 1.0).max(1.0);
        self.variance.iter().map(|v| v * factor).collect()
    }
}

impl Network<'_> {
    /// Over `[batch, channels, plane]`; in training by the statistics of the part of the batch at hand.
    pub(super) fn batch_normalization(
        &mut self,
        place: usize,
        node: &Node,
        x: Tensor<2>,
    ) -> Tensor<2> {
        let Op::BatchNormalization {
            scale,
            bias,
            mean,
            variance,
            epsilon,
        } = node.op
        else {
            return x;
        };
        let [batch, elements] = x.dims();
        let channels = self.graph.parameter(scale).len();
        let x = x.reshape([batch, channels, elements / channels.max(1)]);
        let parameter = |id| self.parameter(id);
        if let Mode::Training(_) = self.mode {
            let (y, Moments { mean, variance }) =
                normalize_batch(x, parameter(scale), parameter(bias), epsilon);
            self.statistics.push(BatchStatistics {
                node: place,
                count: (batch * elements / channels.max(1)) as f32,
                mean,
                variance,
            });
            return y.reshape([batch, elements]);
        }
        let column = |id| parameter(id).reshape([1, channels, 1]);
        let normal = (x - column(mean)) / (column(variance) + epsilon).sqrt();
        let y = normal * column(scale) + column(bias);
        y.reshape([batch, elements])
    }

    pub(super) fn softmax(
        &self,
        x: Tensor<2>,
        shape: &[usize],
        axis: usize,
        logarithm: bool,
    ) -> Tensor<2> {
        let dims = x.dims();
        let Split { outer, size, inner } = Split::new(shape, axis);
        let x = x.reshape([dims[0], outer, size, inner]);
        let y = if logarithm {
            activation::log_softmax(x, 2)
        } else {
            activation::softmax(x, 2)
        };
        y.reshape(dims)
    }

    /// Over `[batch, outer, normalized]`.
    pub(super) fn layer_normalization(&self, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::LayerNormalization {
            axis,
            scale,
            bias,
            epsilon,
        } = node.op
        else {
            return x;
        };
        let dims = x.dims();
        let (outer, normalized) = self.shape(node.inputs[0]).split_at(axis);
        let len: usize = normalized.iter().product();
        let x = x.reshape([dims[0], outer.iter().product(), len]);
        let spread = |id| self.spread_parameter(id, normalized).reshape([1, 1, len]);
        let centred = x.clone() - x.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2);
        let y = centred / (variance + epsilon).sqrt() * spread(scale);
        let y = match bias {
            Some(bias) => y + spread(bias),
            None => y,
        };
        y.reshape(dims)
    }

    /// Sums over neighbouring channels as one product with a matrix of ones around its diagonal.
    pub(super) fn lrn(&self, node: &Node, x: Tensor<2>) -> Tensor<2> {
        let Op::Lrn {
            size,
            alpha,
            beta,
            bias,
        } = node.op
        else {
            return x;
        };
        let dims = x.dims();
        let Split {
            size: channels,
            inner,
            ..
        } = Split::new(self.shape(node.inputs[0]), 0);
        let near = |i: usize| {
            let (c, other) = (i / channels, i % channels);
            f32::from(other + (size - 1) / 2 >= c && other <= c + size / 2)
        };
        let near = (0..channels * channels).map(near).collect();
        let near = TensorData::new(near, [1, channels, channels]);
        let near: Tensor<3> = Tensor::from_data(near, &self.device);
        let planes = x.clone().reshape([dims[0], channels, inner]);
        let squares = near
            .expand([dims[0], channels, channels])
            .matmul(planes.clone() * planes);
        let sum = squares.mul_scalar(alpha / size as f32).add_scalar(bias);
        x * sum.powf_scalar(-beta).reshape(dims)
    }
}
