//! Between burn's tensors and the memory of the CPU, for operations with gradients of their own.

use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Shape, Tensor, TensorData};

/// A contiguous tensor on the CPU; nothing where it is elsewhere or recorded for gradients.
pub(super) fn plain<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    let primitive = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(primitive.to_contiguous())
}

/// A contiguous tensor on the CPU and its place among what is recorded for gradients; nothing where
/// it is elsewhere or not recorded.
pub(super) fn recorded<const D: usize>(tensor: &Tensor<D>) -> Option<(FlexTensor, NodeGuard)> {
    let primitive = tensor.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    let (primitive, node) = primitive.into_parts();
    Some((primitive.to_contiguous(), node))
}

pub(super) fn tensor(elements: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(elements, shape.into()))
}

/// The elements of a contiguous tensor.
///
/// # Panics
/// Where it is not contiguous or not of `f32`, which no tensor of this module's is.
pub(super) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous, of f32")
}

/// The sum of a term over pairs: in strides, which a processor adds side by side.
pub(super) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    const STRIDE: usize = 16;
    let mut sums = [0.0; STRIDE];
    let whole = a.len() - a.len() % STRIDE;
    let strides = a.chunks_exact(STRIDE).zip(b.chunks_exact(STRIDE));
    for (a, b) in strides {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(*a, *b);
        }
    }
    let rest = a[whole..].iter().zip(&b[whole..]);
    sums.iter().sum::<f32>() + rest.map(|(a, b)| term(*a, *b)).sum::<f32>()
}
