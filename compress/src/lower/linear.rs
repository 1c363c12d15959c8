use super::{LowerError, unsupported};
use crate::program::{Linear, Tensor};
use no_std_core::numerics::{MAX_BIAS, MAX_ROW, Multiplier, Output};
use trainer::graph::{Graph, Node, Op, Parameter};

/// Largest error that storing a bias with fewer bits may add to an activation, in integer steps.
const BIAS_TOLERANCE: f64 = 1.0 / 8.0;

/// Most bits of a stored bias (what `BitReader::read_signed` yields at once).
const MAX_BIAS_BITS: u32 = 25;

/// A dense layer. Where its input is a flattened image, columns are put in channels-last order.
pub(super) fn dense(
    graph: &Graph,
    node: &Node,
    x: &Tensor,
    y: &Tensor,
    range: Output,
) -> Result<Linear, LowerError> {
    let order = transpose(x.shape.channels, x.shape.height * x.shape.width);
    linear(graph, node, &order, x, y, range)
}

/// A convolution, its filters in the order (ky, kx, channel).
pub(super) fn conv(
    graph: &Graph,
    node: &Node,
    x: &Tensor,
    y: &Tensor,
    range: Output,
) -> Result<Linear, LowerError> {
    let Op::Conv { weight, .. } = node.op else {
        return Err(unsupported(node, "is not a convolution"));
    };
    let shape = &graph.parameter(weight).shape;
    linear(
        graph,
        node,
        &transpose(shape[1], shape[2] * shape[3]),
        x,
        y,
        range,
    )
}

/// Places of `[channels, plane]` elements, read in the order `[plane, channels]`.
fn transpose(channels: usize, plane: usize) -> Vec<usize> {
    (0..plane)
        .flat_map(|p| (0..channels).map(move |c| c * plane + p))
        .collect()
}

fn linear(
    graph: &Graph,
    node: &Node,
    order: &[usize],
    x: &Tensor,
    y: &Tensor,
    range: Output,
) -> Result<Linear, LowerError> {
    let weight = node
        .op
        .weight()
        .ok_or_else(|| unsupported(node, "has no weights"))?;
    let parameter = graph.parameter(weight);
    let (rows, columns) = (parameter.shape[0], order.len());
    if columns > MAX_ROW {
        return Err(unsupported(
            node,
            format!("sums {columns} products; images allow {MAX_ROW}"),
        ));
    }
    let weights = integers(parameter, order)?;
    let grid = parameter
        .grid
        .as_ref()
        .ok_or_else(|| LowerError::NoGrid(parameter.name.clone()))?;
    let scales: Vec<f64> = grid
        .scale
        .iter()
        .map(|&s| s as f64 * x.scale as f64)
        .collect();
    let multipliers = scales
        .iter()
        .map(|s| multiplier(s / y.scale as f64))
        .collect();
    let of_row = |row: usize| scales[if scales.len() == 1 { 0 } else { row }];
    let bias = match node.op.bias() {
        Some(id) => real_biases(graph.parameter(id))?,
        None => vec![0.0; rows],
    };
    let exact: Vec<i64> = weights
        .chunks(columns)
        .zip(&bias)
        .enumerate()
        .map(|(row, (weights, &bias))| {
            let zero: i64 = weights.iter().map(|&w| w as i64).sum::<i64>() * x.zero_point as i64;
            ((bias as f64 / of_row(row)).round() as i64).saturating_sub(zero)
        })
        .collect();
    if exact.iter().any(|b| b.unsigned_abs() > MAX_BIAS as u64) {
        return Err(LowerError::BiasRange(parameter.name.clone()));
    }
    let largest = scales
        .iter()
        .fold(0.0f64, |max, s| max.max(s / y.scale as f64));
    let bias_shift = bias_shift(&exact, largest);
    Ok(Linear {
        name: parameter.name.clone(),
        shape: parameter.shape.clone(),
        rows,
        columns,
        weights,
        multipliers,
        biases: exact.iter().map(|&b| rounded(b, bias_shift)).collect(),
        bias_shift,
        range,
    })
}

/// int8 weights on the grid, columns in the given order.
fn integers(parameter: &Parameter, order: &[usize]) -> Result<Vec<i8>, LowerError> {
    let grid = parameter
        .grid
        .as_ref()
        .ok_or_else(|| LowerError::NoGrid(parameter.name.clone()))?;
    let latent = parameter.latent();
    if latent.iter().any(|v| !v.is_finite()) {
        return Err(LowerError::NotFinite(parameter.name.clone()));
    }
    let rows = latent.chunks(order.len()).enumerate();
    Ok(rows
        .flat_map(|(row, values)| {
            order
                .iter()
                .map(move |&i| grid.quantize(values[i], row) as i8)
        })
        .collect())
}

fn real_biases(parameter: &Parameter) -> Result<Vec<f32>, LowerError> {
    let biases = parameter.materialize();
    if biases.iter().all(|b| b.is_finite()) {
        Ok(biases)
    } else {
        Err(LowerError::NotFinite(parameter.name.clone()))
    }
}

/// The nearest `mantissa · 2^−shift` with 31 significant bits, or as many as the shift allows.
fn multiplier(real: f64) -> Multiplier {
    let exponent = real.log2().floor() as i32;
    let shift = (30 - exponent).clamp(1, 62);
    let mantissa = (real * 2f64.powi(shift))
        .round()
        .clamp(0.0, i32::MAX as f64);
    Multiplier::new(mantissa as i32, shift as u8).unwrap_or(Multiplier {
        mantissa: i32::MAX,
        shift: 1,
    })
}

/// The number of low bits that need not be stored. The error, half of the last one kept, stays within
/// the tolerance at the activation's scale, unless the widest bias needs more to be stored at all.
fn bias_shift(exact: &[i64], largest_multiplier: f64) -> u8 {
    let tolerated = (2.0 * BIAS_TOLERANCE / largest_multiplier)
        .log2()
        .floor()
        .clamp(0.0, 24.0) as u8;
    let bits = |b: &i64| 65 - (if *b < 0 { !*b } else { *b }).leading_zeros();
    let widest = exact.iter().map(bits).max().unwrap_or(1);
    tolerated.max(widest.saturating_sub(MAX_BIAS_BITS) as u8)
}

/// To a multiple of `2^shift`, ties towards +∞, as far as a stored bias reaches.
fn rounded(bias: i64, shift: u8) -> i32 {
    let half = if shift == 0 { 0 } else { 1i64 << (shift - 1) };
    let bound = (MAX_BIAS as i64 >> shift).min((1 << (MAX_BIAS_BITS - 1)) - 1);
    ((((bias + half) >> shift).clamp(-bound, bound)) << shift) as i32
}
