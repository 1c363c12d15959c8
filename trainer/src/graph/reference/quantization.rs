//! Integers for real numbers and back. In `f32`, as ONNX says: a tie between two integers must fall
//! where other runtimes see one.

use super::{Array, Split};
use crate::graph::{Affine, DynamicOutput};

/// `f` of each element with its scale and zero point.
fn with_grid(affine: &Affine, x: Array, f: impl Fn(f32, f32, f32) -> f32) -> Vec<f32> {
    let along_axis = (affine.scale.len() > 1).then(|| Split::new(x.shape, affine.axis));
    let apply = |(i, &v): (usize, &f32)| {
        let at = along_axis.as_ref().map_or(0, |split| split.along(i));
        f(v, affine.scale[at], affine.zero_point[at])
    };
    x.data.iter().enumerate().map(apply).collect()
}

pub(super) fn quantize(affine: &Affine, x: Array) -> Vec<f32> {
    let [low, high] = affine.range;
    with_grid(affine, x, |v, scale, zero_point| {
        ((v / scale).round_ties_even() + zero_point).clamp(low, high)
    })
}

pub(super) fn dequantize(affine: &Affine, q: Array) -> Vec<f32> {
    with_grid(affine, q, |q, scale, zero_point| (q - zero_point) * scale)
}

/// To uint8 by the range of the values and zero.
pub(super) fn dynamic_quantize(output: DynamicOutput, x: &[f32]) -> Vec<f32> {
    let low = x.iter().copied().fold(0.0, f32::min);
    let high = x.iter().copied().fold(0.0, f32::max);
    // ONNX divides by 0 here; ONNX Runtime has a scale of 1 for nothing but zeros.
    let scale = if high > low {
        (high - low) / 255.0
    } else {
        1.0
    };
    let zero_point = (-low / scale).clamp(0.0, 255.0).round_ties_even();
    match output {
        DynamicOutput::Scale => vec![scale],
        DynamicOutput::ZeroPoint => vec![zero_point],
        DynamicOutput::Quantized => x
            .iter()
            .map(|v| ((v / scale).round_ties_even() + zero_point).clamp(0.0, 255.0))
            .collect(),
    }
}
