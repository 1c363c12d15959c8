use super::{LowerError, refused};
use crate::program::{Linear, Tensor, Vectors};
use no_std_core::hashed::Hashed;
use no_std_core::numerics::{MAX_BIAS, MAX_ROW, Multiplier, Output};
use trainer::graph::{Cut, Graph, Grid, ParamId, Parameter, Parametrization};

/// Largest error that storing a bias with fewer bits may add to an activation, in integer steps.
const BIAS_TOLERANCE: f64 = 1.0 / 8.0;

/// Most bits of a stored bias (what `BitReader::read_signed` yields at once).
const MAX_BIAS_BITS: u32 = 25;

/// How many bits of a bias are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Biases {
    /// As few as change an activation by less than an eighth of a step.
    Rounded,
    /// All: those of a model whose integers are to stay what they are.
    Exact,
}

/// Weights on their grids and real biases.
pub(super) struct Matrix {
    pub(super) name: String,
    /// In the graph, for reports.
    pub(super) shape: Vec<usize>,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Row-major.
    pub(super) weights: Vec<i8>,
    /// The hash that the weights came from, if any.
    pub(super) hashed: Option<Hashed>,
    /// The vectors of which the weights are made, if they are.
    pub(super) vectors: Option<Vectors>,
    /// Of the weights: one for all rows, or one per row.
    pub(super) scales: Vec<f64>,
    /// What they are made of beside one that all share, as [`Parameter::gains`] has it.
    pub(super) gains: Vec<f32>,
    /// Per row.
    pub(super) biases: Vec<f64>,
}

impl Matrix {
    /// A parameter whose first axis are the rows, columns in the order given.
    pub(super) fn new(
        graph: &Graph,
        weight: ParamId,
        bias: Option<ParamId>,
        order: &[usize],
    ) -> Result<Self, LowerError> {
        let parameter = graph.parameter(weight);
        let (grid, latent) = on_grid(parameter)?;
        let rows = parameter.shape[0];
        let row = |(row, values): (usize, &[f32])| -> Vec<i8> {
            let integer = |&i: &usize| grid.quantize(values[i], row) as i8;
            order.iter().map(integer).collect()
        };
        Ok(Self {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            rows,
            columns: order.len(),
            weights: latent
                .chunks(order.len().max(1))
                .enumerate()
                .flat_map(row)
                .collect(),
            hashed: hashed(parameter, order),
            vectors: vectors(parameter, order),
            scales: grid.scale.iter().map(|&s| s.into()).collect(),
            gains: parameter.gains.clone(),
            biases: real_biases(graph, bias, rows)?,
        })
    }

    /// Ones, so that a row sums what it reads times a factor.
    pub(super) fn ones(name: &str, columns: usize, factor: f64) -> Self {
        Self {
            name: name.to_owned(),
            shape: vec![1, columns],
            rows: 1,
            columns,
            weights: vec![1; columns],
            hashed: None,
            vectors: None,
            scales: vec![factor],
            gains: Vec::new(),
            biases: vec![0.0],
        }
    }

    /// What turns the sums over inputs like `x` into integers of scale `y`.
    pub(super) fn linear(
        &self,
        x: &Tensor,
        y: f64,
        range: Output,
        stored: Biases,
    ) -> Result<Linear, LowerError> {
        if self.columns > MAX_ROW {
            let reason = format!("sums {} products; images allow {MAX_ROW}", self.columns);
            return Err(refused(reason));
        }
        let scales: Vec<f64> = self.scales.iter().map(|s| s * f64::from(x.scale)).collect();
        let of_row = |row: usize| scales[if scales.len() == 1 { 0 } else { row }];
        let rows = self.weights.chunks(self.columns).zip(&self.biases);
        let exact: Vec<i64> = rows
            .enumerate()
            .map(|(row, (weights, bias))| {
                let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
                let bias = (bias / of_row(row)).round() as i64;
                bias.saturating_sub(sum * i64::from(x.zero_point))
            })
            .collect();
        if exact.iter().any(|b| b.unsigned_abs() > MAX_BIAS as u64) {
            return Err(LowerError::BiasRange(self.name.clone()));
        }
        let largest = scales.iter().fold(0.0f64, |max, s| max.max(s / y));
        let tolerated = match stored {
            Biases::Exact => 0,
            Biases::Rounded => tolerated_bits(largest),
        };
        let bias_shift = tolerated.max(needed_bits(&exact));
        Ok(Linear {
            name: self.name.clone(),
            shape: self.shape.clone(),
            rows: self.rows,
            columns: self.columns,
            weights: self.weights.clone(),
            hashed: self.hashed,
            vectors: self.vectors,
            multipliers: match self.gains.as_slice() {
                [] => scales.iter().map(|s| multiplier(s / y)).collect(),
                gains => with_gains(scales[0] / f64::from(gains[0]) / y, gains),
            },
            biases: exact.iter().map(|&b| rounded(b, bias_shift)).collect(),
            range,
        })
    }
}

/// The hash of a parameter whose columns come in the order given. An order that the image cannot say
/// makes a hash that does not explain the weights, which the encoder sees.
fn hashed(parameter: &Parameter, order: &[usize]) -> Option<Hashed> {
    let Parametrization::Hashed(hashed) = &parameter.parametrization else {
        return None;
    };
    // From channel to channel, a whole plane of the channels-first order.
    let plane = order.get(1).copied().unwrap_or(1).max(1);
    let channels = order
        .len()
        .checked_div(plane)
        .filter(|c| c * plane == order.len());
    let hash = hashed.hash();
    let channels = channels.unwrap_or(1) as u32;
    Some(Hashed { hash, channels })
}

/// The vectors of a parameter whose columns come in the order in which its rows are cut.
fn vectors(parameter: &Parameter, order: &[usize]) -> Option<Vectors> {
    match &parameter.parametrization {
        Parametrization::Vectors(weights) if weights.cut().order(order.len()) == order => {
            let Cut {
                dimension, span, ..
            } = weights.cut();
            Some(Vectors { dimension, span })
        }
        _ => None,
    }
}

/// A parameter's grid and its values before rounding.
pub(super) fn on_grid(parameter: &Parameter) -> Result<(&Grid, Vec<f32>), LowerError> {
    let latent = parameter.latent();
    if latent.iter().any(|v| !v.is_finite()) {
        return Err(LowerError::NotFinite(parameter.name.clone()));
    }
    match &parameter.grid {
        Some(grid) => Ok((grid, latent)),
        None => Err(LowerError::NoGrid(parameter.name.clone())),
    }
}

/// A parameter's values.
pub(super) fn finite(graph: &Graph, id: ParamId) -> Result<Vec<f32>, LowerError> {
    let values = graph.parameter(id).materialize();
    if values.iter().all(|v| v.is_finite()) {
        Ok(values)
    } else {
        Err(LowerError::NotFinite(graph.parameter(id).name.clone()))
    }
}

pub(super) fn real_biases(
    graph: &Graph,
    bias: Option<ParamId>,
    rows: usize,
) -> Result<Vec<f64>, LowerError> {
    let values = bias.map_or_else(|| Ok(vec![0.0; rows]), |id| finite(graph, id))?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// The nearest `mantissa · 2^−shift` with 31 significant bits, or as many as the shift allows.
pub(super) fn multiplier(real: f64) -> Multiplier {
    let exponent = real.log2().floor() as i32;
    let shift = 30i32.saturating_sub(exponent).clamp(1, 62);
    let mantissa = (real * 2f64.powi(shift))
        .round()
        .clamp(0.0, i32::MAX as f64);
    Multiplier::new(mantissa as i32, shift as u8).unwrap_or(Multiplier {
        mantissa: i32::MAX,
        shift: 1,
    })
}

/// A real times gains: multipliers that an image stores as one and a byte each, where gains have four
/// significant bits.
fn with_gains(real: f64, gains: &[f32]) -> Vec<Multiplier> {
    let octave = |gain: f32| gain.log2().floor();
    let highest = gains.iter().copied().map(octave).fold(f32::MIN, f32::max);
    let common = multiplier(real * f64::from(highest + 1.0).exp2());
    let gained = |&gain: &f32| {
        let (eighths, high) = (gain / octave(gain).exp2() * 8.0, highest - octave(gain));
        let stored = || common.with_gain((high as u8) << 3 | eighths as u8 & 7);
        let is_exact = eighths.fract() == 0.0 && high < 32.0;
        let stored = is_exact.then(stored).flatten();
        stored.unwrap_or_else(|| multiplier(real * f64::from(gain)))
    };
    gains.iter().map(gained).collect()
}

/// Bits of the factors of a sum of two.
pub(super) const FACTOR_BITS: i32 = 30;

/// Factors over the largest common shift, at least 1, that keeps all below `2^bits`.
pub(super) fn over_one_shift(factors: &[f64], bits: i32, most: i32) -> (Vec<i32>, u8) {
    let largest = factors.iter().fold(0.0f64, |max, f| max.max(f.abs()));
    let exponent = if largest > 0.0 {
        largest.log2().ceil() as i32
    } else {
        0
    };
    let shift = (bits - 1).saturating_sub(exponent).clamp(1, most);
    let bound = f64::from((1 << bits) - 1);
    let mantissa = |f: &f64| (f * 2f64.powi(shift)).round().clamp(-bound, bound) as i32;
    (factors.iter().map(mantissa).collect(), shift as u8)
}

/// Low bits of a bias whose error, half of the last one kept, stays within the tolerance at the
/// activation's scale.
fn tolerated_bits(largest_multiplier: f64) -> u8 {
    (2.0 * BIAS_TOLERANCE / largest_multiplier)
        .log2()
        .floor()
        .clamp(0.0, 24.0) as u8
}

/// Low bits that the widest bias has beyond those stored.
fn needed_bits(exact: &[i64]) -> u8 {
    let bits = |b: &i64| 65 - (if *b < 0 { !*b } else { *b }).leading_zeros();
    let widest = exact.iter().map(bits).max().unwrap_or(1);
    widest.saturating_sub(MAX_BIAS_BITS) as u8
}

/// To a multiple of `2^shift`, ties towards +∞, as far as a stored bias reaches.
fn rounded(bias: i64, shift: u8) -> i32 {
    let half = if shift == 0 { 0 } else { 1i64 << (shift - 1) };
    let bound = (MAX_BIAS as i64 >> shift).min((1 << (MAX_BIAS_BITS - 1)) - 1);
    ((((bias + half) >> shift).clamp(-bound, bound)) << shift) as i32
}
