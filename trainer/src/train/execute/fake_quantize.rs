//! Values through a quantizer and back, with the straight-through gradient inside its range (Jacob et al.
//! 2018): one pass over the elements on the CPU, and one for their gradients.

use super::elementwise::rounded;
use super::flex::{plain, recorded, slice, tensor};
use crate::graph::Quantization;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

/// Each element as the integer nearest to it, ties to even, of those from the first to the second of
/// `integers`, and back.
pub(super) fn fake_quantize(x: Tensor<2>, q: Quantization, integers: [i32; 2]) -> Tensor<2> {
    let [low, high] = integers.map(|end| (end - q.zero_point) as f32);
    let steps = Steps {
        size: q.scale,
        low,
        high,
    };
    steps.in_one_pass(&x).unwrap_or_else(|| {
        let places = x.div_scalar(q.scale).clamp(low, high);
        rounded(places).mul_scalar(q.scale)
    })
}

/// Equal steps from a lowest to a highest.
#[derive(Clone, Copy, Debug)]
struct Steps {
    size: f32,
    low: f32,
    high: f32,
}

/// Added and taken away again it leaves a number of at most 2²² rounded to an integer, ties to even, without
/// a call on processors that have no instruction for that.
const ROUNDING: f32 = 1.5 * (1u32 << 23) as f32;

impl Steps {
    /// Nothing where the tensor is not on the CPU.
    fn in_one_pass(self, x: &Tensor<2>) -> Option<Tensor<2>> {
        let Some((x, node)) = recorded(x) else {
            return Some(Tensor::from_primitive::<Flex>(self.nearest(&plain(x)?)));
        };
        let output = self.nearest(&x);
        let prepared = StraightThrough.prepare::<NoCheckpointing>([node]);
        let output = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((x, self), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
    }

    fn nearest(self, x: &FlexTensor) -> FlexTensor {
        let nearest = |x: &f32| {
            let place = (x / self.size).clamp(self.low, self.high);
            ((place + ROUNDING) - ROUNDING) * self.size
        };
        let elements = slice(x).iter().map(nearest).collect();
        tensor(elements, x.layout().shape().clone())
    }

    fn gradient(self, x: &[f32], output: &[f32]) -> Vec<f32> {
        let inside = |x: &f32| {
            let place = x / self.size;
            place >= self.low && place <= self.high
        };
        let pairs = x.iter().zip(output);
        pairs
            .map(|(x, dy)| if inside(x) { *dy } else { 0.0 })
            .collect()
    }
}

#[derive(Debug)]
struct StraightThrough;

impl Backward<Flex, 1> for StraightThrough {
    /// The input.
    type State = (FlexTensor, Steps);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let ((x, steps), [node]) = (ops.state, ops.parents);
        if let Some(node) = node {
            let gradient = steps.gradient(slice(&x), slice(&output));
            gradients.register::<Flex>(node.id, tensor(gradient, x.layout().shape().clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Halves about zero, a range that one side leaves, and what lies outside: against the definition by
    /// double precision.
    #[test]
    fn nearest_steps_and_gradients_inside_the_range_alone() {
        let q = Quantization {
            scale: 0.25,
            zero_point: -100,
        };
        let device = Device::flex().autodiff();
        let inputs: Vec<f32> = (-300..=1000).map(|i| i as f32 / 16.0).collect();
        let count = inputs.len();
        let x = Tensor::<2>::from_data(TensorData::new(inputs.clone(), [1, count]), &device);
        let x = x.require_grad();
        let y = fake_quantize(x.clone(), q, [-128, 127]);
        let weights: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let by = Tensor::<2>::from_data(TensorData::new(weights.clone(), [1, count]), &device);
        let gradients = (y.clone() * by).sum().backward();
        let gradient = super::super::host(x.grad(&gradients).expect("recorded"));
        let outputs = super::super::host(y);
        for (i, &x) in inputs.iter().enumerate() {
            let place = f64::from(x) / 0.25;
            let integer = (place.round_ties_even() - 100.0).clamp(-128.0, 127.0);
            assert_eq!(f64::from(outputs[i]), (integer + 100.0) * 0.25, "of {x}");
            let inside = (-28.0..=227.0).contains(&place);
            assert_eq!(gradient[i], if inside { weights[i] } else { 0.0 }, "of {x}");
        }
    }
}
