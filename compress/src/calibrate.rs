//! Activation ranges: what a value's int8 scale and zero point are to cover, measured on data.

mod seen;

use crate::lower::steps;
use crate::scales::{Scales, take_from_views};
use seen::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trainer::graph::{Graph, Op, Quantization, ValueId};
use trainer::train::{DeviceChoice, TrainError, activations};

/// How a range follows from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// From the smallest to the largest.
    MinMax,
    /// Without the outermost 0.01 % on each side.
    Percentile,
    /// The share of min–max with the least mean square error of rounding and clipping.
    #[default]
    MeanSquare,
    /// The share of min–max whose rounded values tell least apart from the real ones: the least
    /// Kullback-Leibler divergence of their histograms (Migacz 2017).
    Entropy,
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        trainer::names::find(
            name,
            &[
                ("min-max", Method::MinMax),
                ("percentile", Method::Percentile),
                ("mean-square", Method::MeanSquare),
                ("entropy", Method::Entropy),
            ],
        )
    }
}

/// Why ranges could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The graph does not run on the data.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// An activation that is not finite.
    #[error("value '{0}' is not finite on the calibration data")]
    NotFinite(String),
}

/// Gives a scale and a zero point to every value that needs some and has none yet.
///
/// # Errors
/// When the graph does not run on the inputs, or not on finite numbers.
pub fn calibrate(graph: &mut Graph, inputs: &[f32], method: Method) -> Result<(), CalibrateError> {
    let (steps, graph_input) = (steps(graph), graph.input);
    take_from_views(graph, &steps);
    let scales = Scales::of(graph, &steps);
    let open = scales.to_measure(graph).into_iter();
    let mut seen: BTreeMap<ValueId, Seen> = open.map(|id| (id, Seen::nothing())).collect();
    let mut bad = None;
    observe(graph, inputs, &mut seen, |id, seen, values| {
        bad = bad.or(values.iter().any(|v| !v.is_finite()).then_some(id));
        seen.min = values.iter().copied().fold(seen.min, f32::min);
        seen.max = values.iter().copied().fold(seen.max, f32::max);
    })?;
    if let Some(id) = bad {
        return Err(CalibrateError::NotFinite(graph.value(id).name.clone()));
    }
    widen_to_initial_states(graph, &mut seen);
    observe(graph, inputs, &mut seen, |_, seen, values| {
        seen.count(values)
    })?;
    let wide: Vec<ValueId> = seen
        .keys()
        .copied()
        .filter(|v| graph.value(*v).int16)
        .collect();
    let measured = |id: ValueId| {
        // The input's range is a fact of the data's format: clipping it would buy nothing.
        let method = if id == graph_input {
            Method::MinMax
        } else {
            method
        };
        // Sixteen bits need no clipping.
        let method = if wide.contains(&id) {
            Method::MinMax
        } else {
            method
        };
        let range = seen.get(&id).map_or((0.0, 0.0), |seen| seen.range(method));
        if wide.contains(&id) {
            symmetric(range)
        } else {
            quantization(range)
        }
    };
    scales.assign(graph, measured);
    scales.round_averages(graph, &steps);
    Ok(())
}

/// What a recurrent layer starts from has the scale of what it says.
fn widen_to_initial_states(graph: &Graph, seen: &mut BTreeMap<ValueId, Seen>) {
    for node in &graph.nodes {
        let Op::Recurrent(layer) = &node.op else {
            continue;
        };
        let initial = layer.initial_hidden.filter(|_| !layer.cell_output);
        if let (Some(id), Some(seen)) = (initial, seen.get_mut(&node.output)) {
            for value in graph.parameter(id).materialize() {
                (seen.min, seen.max) = (seen.min.min(value), seen.max.max(value));
            }
        }
    }
}

/// Shows the values that are to be measured.
fn observe(
    graph: &Graph,
    inputs: &[f32],
    seen: &mut BTreeMap<ValueId, Seen>,
    mut show: impl FnMut(ValueId, &mut Seen, &[f32]),
) -> Result<(), TrainError> {
    if seen.is_empty() {
        return Ok(());
    }
    activations(graph, inputs, DeviceChoice::Cpu, |id, values| {
        if let Some(seen) = seen.get_mut(&id) {
            show(id, seen, values);
        }
    })
}

/// The affine int8 quantization that covers a range, which is widened to hold zero.
pub fn quantization((low, high): (f32, f32)) -> Quantization {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = if high > low {
        (high - low) / 255.0
    } else {
        1.0 / 255.0
    };
    let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i32;
    Quantization { scale, zero_point }
}

/// The int16 quantization that covers a range, zero being zero, and as much again: sixteen bits have
/// room for what was not seen.
fn symmetric((low, high): (f32, f32)) -> Quantization {
    let largest = high.max(-low);
    let reach = if largest > 0.0 { 2.0 * largest } else { 1.0 };
    Quantization {
        scale: reach / f32::from(i16::MAX),
        zero_point: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_ends_are_covered() {
        for range in [
            (0.0, 6.0),
            (-1.0, 1.0),
            (-3.0, 0.5),
            (2.0, 5.0),
            (-4.0, -1.0),
            (0.0, 0.0),
        ] {
            let q = quantization(range);
            let real = |i: i32| (i - q.zero_point) as f32 * q.scale;
            assert_eq!(real(q.zero_point), 0.0);
            assert!(
                real(-128) <= range.0 + q.scale && real(127) >= range.1 - q.scale,
                "{range:?}: {q:?}"
            );
        }
        assert_eq!(quantization((0.0, 6.0)).zero_point, -128);
    }
}
