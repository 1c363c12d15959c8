//! Quantized operators, as the float operators between a `DequantizeLinear` and a `QuantizeLinear`:
//! both ways of writing a quantized model become the same graph. Integers are carried as real
//! numbers, of which those below 2^24 are exact.

use super::arithmetic::{self, Binary};
use super::{convolution, linear};
use crate::graph::{Affine, DynamicOutput, Op};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::{Constant, Kind, Steps};
use crate::onnx::value::{Computed, Tensor, place};

pub(super) fn quantize_linear(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    check_blocks(node)?;
    let x = node.value(0)?.clone();
    let zero = node.optional(2)?.map(|z| &**z);
    let named = node.attributes.int("output_dtype", 0)?;
    let kind = match (zero, named) {
        (Some(zero), _) => zero.kind,
        (None, 0) => Kind::Uint8,
        (None, named) => Kind::from_onnx(i32::try_from(named).unwrap_or(0))?,
    };
    let axis = node.attributes.int("axis", 1)?;
    quantize(importer, &x, node.constant(1)?, zero, axis, kind)
}

fn check_blocks(node: &NodeView) -> Result<(), Fault> {
    if node.attributes.int("block_size", 0)? != 0 {
        return Err(Fault::new(
            "quantizes in blocks (block_size)",
            "quantize per tensor or per axis",
        ));
    }
    Ok(())
}

fn quantize(
    importer: &mut Importer,
    x: &Computed,
    scale: &Constant,
    zero: Option<&Constant>,
    axis: i64,
    kind: Kind,
) -> Result<Tensor, Fault> {
    let Some(range) = kind.range() else {
        return Err(Fault::new(
            format!("quantizes to {kind:?}"),
            "only int8 and uint8 are supported",
        ));
    };
    let (id, affine) = affine(importer, x, scale, zero, axis, range)?;
    let id = importer.push(Op::QuantizeLinear(affine), &[id])?;
    Ok(Tensor::Value(Computed {
        id,
        shape: x.shape.clone(),
        kind,
    }))
}

/// How integers stand for a value, and the value with the axis of several scales.
fn affine(
    importer: &mut Importer,
    x: &Computed,
    scale: &Constant,
    zero: Option<&Constant>,
    axis: i64,
    range: [f32; 2],
) -> Result<(crate::graph::ValueId, Affine), Fault> {
    let scales = checked_scales(scale)?.to_vec();
    let zero_point = zero_points(zero, scales.len())?
        .iter()
        .map(|&z| z as f32)
        .collect();
    let (id, axis) = if scales.len() == 1 {
        (x.id, 0)
    } else {
        let axis = importer.axis(&Tensor::Value(x.clone()), axis)?;
        check_axis(&x.shape, axis, scales.len())?;
        let view = importer.view(x, &[axis])?;
        (view.id, view.axis(axis))
    };
    Ok((
        id,
        Affine {
            scale: scales,
            zero_point,
            axis,
            range,
        },
    ))
}

fn check_axis(shape: &[usize], axis: usize, scales: usize) -> Result<(), Fault> {
    if shape.get(axis) == Some(&scales) {
        return Ok(());
    }
    Err(Fault::new(
        format!("has {scales} scales for axis {axis} of {shape:?}"),
        "one scale is needed, or one for each place along the axis",
    ))
}

fn checked_scales(scale: &Constant) -> Result<&[f32], Fault> {
    let scales = scale.floats()?;
    let positive = scales.iter().all(|s| s.is_finite() && *s > 0.0);
    if !positive || scales.is_empty() || scale.shape.len() > 1 {
        return Err(Fault::new(
            format!(
                "has scales of shape {:?} that are not all positive, or in blocks",
                scale.shape
            ),
            "one positive scale is needed, or one for each place along an axis",
        ));
    }
    Ok(scales)
}

/// As many as there are scales; 0 without.
fn zero_points(zero: Option<&Constant>, count: usize) -> Result<Vec<i64>, Fault> {
    match zero.map(|z| z.ints()).transpose()? {
        None => Ok(vec![0; count]),
        Some(&[zero]) => Ok(vec![zero; count]),
        Some(zeros) if zeros.len() == count => Ok(zeros.to_vec()),
        Some(zeros) => Err(Fault::new(
            format!("has {} zero points for {count} scales", zeros.len()),
            "as many are needed",
        )),
    }
}

pub(super) fn dequantize_linear(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    check_blocks(node)?;
    let axis = node.attributes.int("axis", 1)?;
    let (x, scale) = (node.required(0)?, node.required(1)?);
    if let Tensor::Constant(scale) = scale
        && !matches!(node.tensor(2), Some(Tensor::Value(_)))
    {
        let zero = node.optional(2)?.map(|z| &**z);
        return dequantize(importer, x, scale, zero, axis);
    }
    // A scale that is computed, as DynamicQuantizeLinear does.
    if scale.shape().iter().any(|&d| d != 1) {
        return Err(Fault::new(
            format!("has computed scales of shape {:?}", scale.shape()),
            "several scales must be constant",
        ));
    }
    let mut centred = x.clone();
    if let Some(zero) = node.tensor(2) {
        centred = arithmetic::combine(importer, &node.name, Binary::Sub, x, zero)?;
    }
    let product = arithmetic::combine(importer, &node.name, Binary::Mul, &centred, scale)?;
    Ok(as_kind(product, Kind::Float))
}

fn as_kind(tensor: Tensor, kind: Kind) -> Tensor {
    match tensor {
        Tensor::Value(value) => Tensor::Value(Computed { kind, ..value }),
        other => other,
    }
}

/// `(x − zero) · scale`; constants become real numbers that know their steps.
fn dequantize(
    importer: &mut Importer,
    x: &Tensor,
    scale: &Constant,
    zero: Option<&Constant>,
    axis: i64,
) -> Result<Tensor, Fault> {
    match x {
        Tensor::Constant(c) => dequantized(c, scale, zero, axis).map(Tensor::constant),
        Tensor::Value(x) => {
            let range = match x.kind {
                Kind::Float => {
                    return Err(Fault::new("reads real numbers", "quantize them before"));
                }
                kind => kind.range().unwrap_or([i32::MIN as f32, i32::MAX as f32]),
            };
            let (id, affine) = affine(importer, x, scale, zero, axis, range)?;
            let id = importer.push(Op::DequantizeLinear(affine), &[id])?;
            Ok(Computed::float(id, x.shape.clone()))
        }
        Tensor::Unknown => Ok(Tensor::Unknown),
    }
}

fn dequantized(
    c: &Constant,
    scale: &Constant,
    zero: Option<&Constant>,
    axis: i64,
) -> Result<Constant, Fault> {
    let scales = checked_scales(scale)?;
    let zeros = zero_points(zero, scales.len().max(zero.map_or(1, |z| z.data.len())))?;
    let count = scales.len().max(zeros.len());
    let axis = if count == 1 {
        0
    } else {
        place(axis, c.shape.len()).unwrap_or(usize::MAX)
    };
    if count > 1 {
        check_axis(&c.shape, axis, count)?;
    }
    let inner: usize = c.shape.iter().skip(axis + 1).product();
    let channel = |i: usize| i / inner.max(1) % count;
    let real = |(i, &q): (usize, &i64)| {
        let channel = channel(i);
        let scale = scales[channel % scales.len()];
        (q - zeros[channel % zeros.len()]) as f32 * scale
    };
    let integers = c.ints()?;
    let values = integers.iter().enumerate().map(real).collect();
    // Integers of 32 bits are biases, which have no grid of their own.
    let steps = c.kind.range().map(|_| Steps {
        scale: scales.to_vec(),
        axis,
    });
    Ok(Constant {
        steps,
        ..Constant::of_floats(c.name.clone(), c.shape.clone(), values)
    })
}

pub(super) fn dynamic_quantize_linear(
    importer: &mut Importer,
    node: &NodeView,
) -> Result<Vec<Tensor>, Fault> {
    importer.keep_apart()?;
    let x = node.value(0)?.clone();
    let outputs = [
        (DynamicOutput::Quantized, x.shape.clone(), Kind::Uint8),
        (DynamicOutput::Scale, vec![], Kind::Float),
        (DynamicOutput::ZeroPoint, vec![], Kind::Uint8),
    ];
    let mut tensors = Vec::with_capacity(outputs.len());
    for (i, (output, shape, kind)) in outputs.into_iter().enumerate() {
        tensors.push(if node.used(i) {
            let id = importer.push(Op::DynamicQuantizeLinear { output }, &[x.id])?;
            Tensor::Value(Computed { id, shape, kind })
        } else {
            Tensor::Unknown
        });
    }
    Ok(tensors)
}

pub(super) fn qlinear_conv(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let zero = |i| node.optional(i).map(|z| z.map(|z| &**z));
    let (x_scale, w_scale) = (node.constant(1)?, node.constant(4)?);
    let x = dequantize(importer, node.required(0)?, x_scale, zero(2)?, 1)?;
    let Tensor::Value(x) = x else { return Ok(x) };
    let w = dequantized(node.constant(3)?, w_scale, zero(5)?, 0)?;
    let bias = match node.optional(8)? {
        Some(bias) => {
            let x_scale = x_scale.real()?;
            let scale = w_scale.floats()?.iter().map(|w| w * x_scale).collect();
            let scale = Constant::of_floats("", w_scale.shape.clone(), scale);
            Some(dequantized(bias, &scale, None, 0)?)
        }
        None => None,
    };
    let y = convolution::convolve(importer, node, &x, &w, bias.as_ref())?;
    requantized(importer, node, y, [6, 7])
}

/// Quantized by the scale and the zero point at these inputs.
fn requantized(
    importer: &mut Importer,
    node: &NodeView,
    y: Tensor,
    inputs: [usize; 2],
) -> Result<Tensor, Fault> {
    let Tensor::Value(y) = y else { return Ok(y) };
    let (scale, zero) = (node.constant(inputs[0])?, node.constant(inputs[1])?);
    quantize(importer, &y, scale, Some(zero), 1, zero.kind)
}

pub(super) fn qlinear_mat_mul(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let mut operands = Vec::with_capacity(2);
    for (i, axis) in [(0, -2), (3, -1)] {
        let (x, scale) = (node.required(i)?, node.constant(i + 1)?);
        let zero = node.optional(i + 2)?.map(|z| &**z);
        operands.push(dequantize(importer, x, scale, zero, axis)?);
    }
    let y = linear::product(importer, &operands[0], &operands[1])?;
    requantized(importer, node, y, [6, 7])
}

/// A tensor of integers less its zero points.
fn centred(
    importer: &mut Importer,
    node: &NodeView,
    inputs: [usize; 2],
    axis: i64,
) -> Result<Tensor, Fault> {
    let x = node.required(inputs[0])?;
    let one = Constant::of_floats("", vec![], vec![1.0]);
    match (x, node.tensor(inputs[1])) {
        (Tensor::Constant(c), None) => dequantized(c, &one, None, axis).map(Tensor::constant),
        (Tensor::Constant(c), Some(Tensor::Constant(zero))) => {
            dequantized(c, &one, Some(zero), axis).map(Tensor::constant)
        }
        (_, None) => Ok(x.clone()),
        (_, Some(Tensor::Constant(zero))) if zero.ints()?.iter().all(|&z| z == 0) => Ok(x.clone()),
        (_, Some(Tensor::Constant(zero))) => {
            let scale = Constant::of_floats("", zero.shape.clone(), vec![1.0; zero.data.len()]);
            dequantize(importer, x, &scale, Some(zero), axis)
        }
        (_, Some(zero)) => arithmetic::combine(importer, &node.name, Binary::Sub, x, zero),
    }
}

pub(super) fn conv_integer(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = centred(importer, node, [0, 2], 1)?;
    let Tensor::Value(x) = x else { return Ok(x) };
    let w = centred(importer, node, [1, 3], 0)?;
    let Tensor::Constant(w) = w else {
        node.constant(1)?;
        return Ok(w);
    };
    let y = convolution::convolve(importer, node, &x, &w, None)?;
    Ok(as_kind(y, Kind::Int32))
}

pub(super) fn mat_mul_integer(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let a = centred(importer, node, [0, 2], -2)?;
    let b = centred(importer, node, [1, 3], -1)?;
    let y = linear::product(importer, &a, &b)?;
    Ok(as_kind(y, Kind::Int32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tensor::Data;

    /// −128 has no counterpart, and must stay what it is.
    #[test]
    fn integers_of_weights_survive() {
        let c = Constant {
            kind: Kind::Int8,
            data: Data::Int(vec![-128, 127, 3, -4]),
            ..Constant::of_ints("w", vec![2, 2], vec![])
        };
        let scale = Constant::of_floats("s", vec![2], vec![0.1, 0.003]);
        let w = dequantized(&c, &scale, None, 0).expect("is int8");
        let grid = w.grid(0).expect("lies on a grid");
        let integers: Vec<i32> = (w.reals().iter().enumerate())
            .map(|(i, &v)| grid.quantize(v, i / 2))
            .collect();
        assert_eq!(integers, [-128, 127, 3, -4]);
        assert_eq!(w.grid(1), None, "along another axis");
    }
}
