//! Resize by the nearest element: an index map for each axis.

use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, check_size};
use crate::onnx::value::Tensor;

/// How a place of the output is carried to the input.
struct Map {
    coordinates: String,
    rounding: String,
}

pub(super) fn resize(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?.clone();
    check_mode(node)?;
    // Operator set 10 has no region of interest between.
    let scales_input = if importer.opset < 11 { 1 } else { 2 };
    let map = if importer.opset < 11 {
        Map {
            coordinates: "asymmetric".into(),
            rounding: "floor".into(),
        }
    } else {
        Map {
            coordinates: text(node, "coordinate_transformation_mode", "half_pixel")?,
            rounding: text(node, "nearest_mode", "round_prefer_floor")?,
        }
    };
    let axes: Vec<usize> = match node.attributes.ints("axes")? {
        Some(axes) => importer.axes(&x, axes)?,
        None => (0..x.shape().len()).collect(),
    };
    let own: Vec<usize> = axes.iter().map(|&a| x.shape()[a]).collect();
    let scales = match node.optional(scales_input)? {
        Some(scales) if !scales.shape.contains(&0) => Some(scales.floats()?.to_vec()),
        _ => None,
    };
    let (sizes, scales) = match scales {
        Some(scales) => (scaled(&own, &scales)?, scales),
        None => targets(node, &own, scales_input + 1)?,
    };
    apply(importer, x, &axes, &sizes, &scales, &map)
}

/// Of operator sets 7 to 9.
pub(super) fn upsample(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?.clone();
    check_mode(node)?;
    let scales = match (node.optional(1)?, node.attributes.floats("scales")?) {
        (Some(scales), _) => scales.floats()?.to_vec(),
        (None, Some(scales)) => scales.to_vec(),
        (None, None) => return Err(Fault::new("has no scales", "export the model again")),
    };
    let axes: Vec<usize> = (0..x.shape().len()).collect();
    let sizes = scaled(x.shape(), &scales)?;
    let map = Map {
        coordinates: "asymmetric".into(),
        rounding: "floor".into(),
    };
    apply(importer, x, &axes, &sizes, &scales, &map)
}

fn text(node: &NodeView, name: &str, default: &str) -> Result<String, Fault> {
    let value = node.attributes.string(name)?;
    Ok(value.map_or_else(
        || default.to_owned(),
        |v| String::from_utf8_lossy(v).into_owned(),
    ))
}

fn check_mode(node: &NodeView) -> Result<(), Fault> {
    let mode = text(node, "mode", "nearest")?;
    if mode != "nearest" {
        return Err(Fault::new(
            format!("has mode '{}'", mode.escape_debug()),
            "only nearest is supported, use it or a ConvTranspose",
        ));
    }
    Ok(())
}

fn scaled(own: &[usize], scales: &[f32]) -> Result<Vec<usize>, Fault> {
    let positive = scales.iter().all(|s| s.is_finite() && *s > 0.0);
    if scales.len() != own.len() || !positive {
        return Err(Fault::new(
            format!("scales {own:?} by {scales:?}"),
            "one positive scale for each axis is needed",
        ));
    }
    let size = |(&n, &s): (&usize, &f32)| (n as f64 * f64::from(s)).floor() as usize;
    Ok(own.iter().zip(scales).map(size).collect())
}

/// Sizes asked for, and the scales they make.
fn targets(node: &NodeView, own: &[usize], input: usize) -> Result<(Vec<usize>, Vec<f32>), Fault> {
    let sizes = node.ints("sizes", input)?.unwrap_or_default();
    let mut sizes: Vec<usize> = sizes
        .iter()
        .filter_map(|&s| usize::try_from(s).ok())
        .collect();
    if sizes.len() != own.len() || sizes.contains(&0) {
        return Err(Fault::new(
            format!("resizes {own:?} to {sizes:?}"),
            "one size for each axis is needed",
        ));
    }
    let mut scales: Vec<f32> = own
        .iter()
        .zip(&sizes)
        .map(|(&n, &s)| s as f32 / n as f32)
        .collect();
    let fold = |f: fn(f32, f32) -> f32| scales.iter().copied().reduce(f).unwrap_or(1.0);
    let common = match text(node, "keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => None,
        "not_larger" => Some(fold(f32::min)),
        "not_smaller" => Some(fold(f32::max)),
        other => {
            return Err(Fault::new(
                format!("has keep_aspect_ratio_policy '{}'", other.escape_debug()),
                "use stretch, not_larger or not_smaller",
            ));
        }
    };
    if let Some(common) = common {
        scales.fill(common);
        let size = |&n: &usize| (n as f32 * common).round() as usize;
        sizes = own.iter().map(size).collect();
    }
    Ok((sizes, scales))
}

fn apply(
    importer: &mut Importer,
    mut x: Tensor,
    axes: &[usize],
    sizes: &[usize],
    scales: &[f32],
    map: &Map,
) -> Result<Tensor, Fault> {
    for ((&axis, &size), &scale) in axes.iter().zip(sizes).zip(scales) {
        let own = x.shape()[axis];
        let mut shape = x.shape().to_vec();
        shape[axis] = size;
        check_size(&shape)?;
        let nearest = |i| map.nearest(i, own, size, f64::from(scale));
        let indices = (0..size).map(nearest).collect::<Result<Vec<usize>, _>>()?;
        if !indices.iter().copied().eq(0..own) {
            let axis = importer.axis(&x, axis as i64)?;
            x = importer.select(&x, axis, &indices)?;
        }
    }
    Ok(x)
}

impl Map {
    /// The place of the input for place `i` of the output.
    fn nearest(&self, i: usize, own: usize, size: usize, scale: f64) -> Result<usize, Fault> {
        let (place, n, m) = (i as f64, own as f64, size as f64);
        let half = (place + 0.5) / scale - 0.5;
        let at = match self.coordinates.as_str() {
            "half_pixel" => half,
            "half_pixel_symmetric" => n / 2.0 * (1.0 - m / (scale * n)) + half,
            "pytorch_half_pixel" if size > 1 => half,
            "pytorch_half_pixel" => 0.0,
            "asymmetric" => place / scale,
            "align_corners" if size > 1 => place * (n - 1.0) / (m - 1.0),
            "align_corners" => 0.0,
            "tf_half_pixel_for_nn" => (place + 0.5) / scale,
            other => {
                return Err(Fault::new(
                    format!(
                        "has coordinate_transformation_mode '{}'",
                        other.escape_debug()
                    ),
                    "use half_pixel, asymmetric or align_corners",
                ));
            }
        };
        let rounded = match self.rounding.as_str() {
            "round_prefer_floor" => (at - 0.5).ceil(),
            "round_prefer_ceil" => (at + 0.5).floor(),
            "floor" => at.floor(),
            "ceil" => at.ceil(),
            other => {
                return Err(Fault::new(
                    format!("has nearest_mode '{}'", other.escape_debug()),
                    "use round_prefer_floor, round_prefer_ceil, floor or ceil",
                ));
            }
        };
        Ok((rounded.max(0.0) as usize).min(own - 1))
    }
}
