//! Functions of one element, or of two.

use super::Network;
use crate::graph::strides::Split;
use crate::graph::{Affine, DynamicOutput, Node, ParamId, Unary};
use burn::tensor::{Tensor, TensorData, activation};

impl Network<'_> {
    /// Of two values, broadcast.
    pub(super) fn pair(
        &self,
        node: &Node,
        [a, b]: [Tensor<2>; 2],
        f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let shape = self.shape(node.output);
        let [a, b] = [(a, 0), (b, 1)]
            .map(|(x, input)| self.spread(x, self.shape(node.inputs[input]), shape));
        f(a, b)
    }

    pub(super) fn prelu(&self, x: Tensor<2>, slope: ParamId, shape: &[usize]) -> Tensor<2> {
        let below = x.clone().clamp_max(0.0);
        activation::relu(x) + below * self.spread_parameter(slope, shape)
    }

    /// One number, or one for each element.
    fn along_axis(&self, numbers: &[f32], axis: usize, shape: &[usize]) -> Tensor<2> {
        let numbers = match numbers {
            [only] => vec![*only],
            several => {
                let split = Split::new(shape, axis);
                let len = shape.iter().product();
                (0..len).map(|i| several[split.along(i)]).collect()
            }
        };
        let len = numbers.len();
        Tensor::from_data(TensorData::new(numbers, [1, len]), &self.device)
    }

    pub(super) fn quantize(&self, affine: &Affine, x: Tensor<2>, shape: &[usize]) -> Tensor<2> {
        let scale = self.along_axis(&affine.scale, affine.axis, shape);
        let zero_point = self.along_axis(&affine.zero_point, affine.axis, shape);
        let [low, high] = affine.range;
        (rounded(x / scale) + zero_point).clamp(low, high)
    }

    pub(super) fn dequantize(&self, affine: &Affine, q: Tensor<2>, shape: &[usize]) -> Tensor<2> {
        let scale = self.along_axis(&affine.scale, affine.axis, shape);
        let zero_point = self.along_axis(&affine.zero_point, affine.axis, shape);
        (q - zero_point) * scale
    }
}

/// Rounded to integers, ties to even, with the gradient of the identity. Exact: what is added is the
/// distance to the integer.
pub(super) fn rounded(x: Tensor<2>) -> Tensor<2> {
    let distance = (x.clone().round() - x.clone()).detach();
    x + distance
}

/// By the range of each example and zero.
pub(super) fn dynamic_quantize(output: DynamicOutput, x: Tensor<2>) -> Tensor<2> {
    let low = x.clone().min_dim(1).clamp_max(0.0);
    let high = x.clone().max_dim(1).clamp_min(0.0);
    let scale = (high - low.clone()).div_scalar(255.0);
    let nothing = scale.clone().equal_elem(0.0);
    let scale = scale.mask_fill(nothing, 1.0);
    let zero_point = (low.neg() / scale.clone()).clamp(0.0, 255.0).round();
    match output {
        DynamicOutput::Scale => scale,
        DynamicOutput::ZeroPoint => zero_point,
        DynamicOutput::Quantized => ((x / scale).round() + zero_point).clamp(0.0, 255.0),
    }
}

pub(super) fn unary(function: Unary, x: Tensor<2>) -> Tensor<2> {
    match function {
        Unary::Sigmoid => activation::sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::HardSigmoid { alpha, beta } => x.mul_scalar(alpha).add_scalar(beta).clamp(0.0, 1.0),
        Unary::HardSwish => {
            let gate = x.clone().div_scalar(6.0).add_scalar(0.5).clamp(0.0, 1.0);
            x * gate
        }
        Unary::LeakyRelu { alpha } => activation::leaky_relu(x, alpha.into()),
        Unary::Elu { alpha } => {
            // Without e^x of a large x, whose gradient would be no number.
            let below = x.clone().clamp_max(0.0).exp().sub_scalar(1.0);
            activation::relu(x) + below.mul_scalar(alpha)
        }
        Unary::Softplus => {
            let tail = x.clone().abs().neg().exp().add_scalar(1.0).log();
            activation::relu(x) + tail
        }
        Unary::Gelu { approximate: false } => activation::gelu(x),
        Unary::Gelu { approximate: true } => activation::gelu_approximate(x),
        Unary::Erf => x.erf(),
        Unary::Exp => x.exp(),
        Unary::Sqrt => x.sqrt(),
    }
}
