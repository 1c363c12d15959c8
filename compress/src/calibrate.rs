//! Activation ranges: what a value's int8 scale and zero point are to cover, measured on data.

use crate::lower::steps;
use crate::scales::{Scales, take_from_views};
use edge_runtime::frontend::{FRACTION_BITS, Parameters};
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

const BINS: usize = 2048;

/// What was seen of one value.
#[derive(Clone, Debug)]
struct Seen {
    min: f32,
    max: f32,
    /// Counts between `min` and `max`, filled on a second pass.
    bins: Vec<u64>,
}

/// Gives a scale and a zero point to every value that needs some and has none yet.
///
/// # Errors
/// When the graph does not run on the inputs, or not on finite numbers.
pub fn calibrate(graph: &mut Graph, inputs: &[f32], method: Method) -> Result<(), CalibrateError> {
    if let Some(q) = audio_quantization(graph) {
        graph.values[graph.input.0].quantization = Some(q);
    }
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

/// Of an input of audio features: the front end's integers themselves, whatever of their range the
/// data have.
fn audio_quantization(graph: &Graph) -> Option<Quantization> {
    let text = graph.metadata.get(Parameters::KEY)?;
    let zero_point = Parameters::parse(text).ok()?.zero_point().into();
    let scale = 1.0 / (1 << FRACTION_BITS) as f32;
    Some(Quantization { scale, zero_point })
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

/// The int16 quantization that covers a range, zero being zero.
fn symmetric((low, high): (f32, f32)) -> Quantization {
    let largest = high.max(-low);
    let scale = if largest > 0.0 { largest } else { 1.0 } / f32::from(i16::MAX);
    Quantization {
        scale,
        zero_point: 0,
    }
}

impl Seen {
    fn nothing() -> Self {
        Self {
            min: 0.0,
            max: 0.0,
            bins: vec![0; BINS],
        }
    }

    fn count(&mut self, values: &[f32]) {
        let width = (self.max - self.min) / BINS as f32;
        for v in values {
            let bin = if width > 0.0 {
                ((v - self.min) / width) as usize
            } else {
                0
            };
            self.bins[bin.min(BINS - 1)] += 1;
        }
    }

    fn center(&self, bin: usize) -> f64 {
        self.min as f64 + (bin as f64 + 0.5) * (self.max - self.min) as f64 / BINS as f64
    }

    fn range(&self, method: Method) -> (f32, f32) {
        match method {
            Method::MinMax => (self.min, self.max),
            Method::Percentile => self.percentile(1e-4),
            Method::MeanSquare => self.least(|range| self.error(range)),
            Method::Entropy => self.least(|range| self.divergence(range)),
        }
    }

    /// Without this share of the values on each side.
    fn percentile(&self, share: f64) -> (f32, f32) {
        let total: u64 = self.bins.iter().sum();
        let tail = (total as f64 * share) as u64;
        let outside = |bins: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0;
            bins.take_while(|&&n| {
                sum += n;
                sum <= tail
            })
            .count()
        };
        let (below, above) = (
            outside(&mut self.bins.iter()),
            outside(&mut self.bins.iter().rev()),
        );
        let width = (self.max - self.min) / BINS as f32;
        (
            self.min + below as f32 * width,
            self.max - above as f32 * width,
        )
    }

    /// The share of the range, 30 … 100 %, that costs least.
    fn least(&self, cost: impl Fn((f32, f32)) -> f64) -> (f32, f32) {
        let shrunk = |percent: u32| {
            (
                self.min * percent as f32 / 100.0,
                self.max * percent as f32 / 100.0,
            )
        };
        let ranges = (30..=100).rev().map(shrunk);
        let costs = ranges.map(|range| (cost(range), range));
        costs
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or((self.min, self.max), |(_, range)| range)
    }

    /// Sum of squares: `scale²/12` for a rounded value, the distance for a clipped one.
    fn error(&self, (low, high): (f32, f32)) -> f64 {
        let (low, high) = (low as f64, high as f64);
        let rounding = ((high - low) / 255.0).powi(2) / 12.0;
        let of_bin = |(bin, &count): (usize, &u64)| {
            let v = self.center(bin);
            let clipped = (low - v).max(v - high).max(0.0);
            count as f64
                * if clipped > 0.0 {
                    clipped * clipped
                } else {
                    rounding
                }
        };
        self.bins.iter().enumerate().map(of_bin).sum()
    }

    /// Divergence of the values rounded to 256 steps of a range from the values themselves, those
    /// outside moved to its ends.
    fn divergence(&self, (low, high): (f32, f32)) -> f64 {
        let (low, high) = (low as f64, high as f64);
        let inside: Vec<usize> = (0..BINS)
            .filter(|&bin| (low..=high).contains(&self.center(bin)))
            .collect();
        let (Some(&first), Some(&last)) = (inside.first(), inside.last()) else {
            return f64::INFINITY;
        };
        let total: u64 = self.bins.iter().sum();
        let kept: u64 = self.bins[first..=last].iter().sum();
        let level = |bin: usize| ((self.center(bin) - low) / (high - low) * LEVELS as f64) as usize;
        // What a step stands for is spread over its bins that hold something.
        let mut levels = [(0u64, 0u64); LEVELS + 1];
        for bin in first..=last {
            let (sum, filled) = &mut levels[level(bin).min(LEVELS)];
            *sum += self.bins[bin];
            *filled += (self.bins[bin] > 0) as u64;
        }
        let outside = |bins: &[u64]| bins.iter().sum::<u64>();
        let divergence = |bin: usize| {
            let mut count = self.bins[bin];
            count += if bin == first {
                outside(&self.bins[..first])
            } else {
                0
            };
            count += if bin == last {
                outside(&self.bins[last + 1..])
            } else {
                0
            };
            if count == 0 {
                return 0.0;
            }
            let (sum, filled) = levels[level(bin).min(LEVELS)];
            let rounded = if self.bins[bin] > 0 {
                sum as f64 / filled as f64
            } else {
                0.0
            };
            let p = count as f64 / total as f64;
            let q = (rounded / kept.max(1) as f64).max(SMALLEST);
            p * (p / q).ln()
        };
        (first..=last).map(divergence).sum()
    }
}

/// Steps of int8 over a range.
const LEVELS: usize = 255;

/// Stands for the probability of what cannot be, whose logarithm would be infinite.
const SMALLEST: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[f32]) -> Seen {
        let (min, max) = values
            .iter()
            .fold((0.0f32, 0.0f32), |(a, b), &v| (a.min(v), b.max(v)));
        let mut seen = Seen {
            min,
            max,
            bins: vec![0; BINS],
        };
        seen.count(values);
        seen
    }

    /// A comb between 0 and 1 and one value at 3: coarse steps merge the comb's teeth with its gaps, so
    /// that clipping the one value tells less apart.
    #[test]
    fn entropy_keeps_what_tells_values_apart() {
        let width = 3.0 / BINS as f32;
        let tooth = |bin: usize| {
            let count = if bin.is_multiple_of(2) { 40 } else { 1 };
            std::iter::repeat_n((bin as f32 + 0.5) * width, count)
        };
        let mut values: Vec<f32> = (0..BINS / 3).flat_map(tooth).collect();
        values.push(3.0);
        let (_, high) = seen(&values).range(Method::Entropy);
        assert!((0.98..1.5).contains(&high), "{high}");
    }

    /// Rounding to steps loses nothing where no bin is emptier than its neighbours, clipping does.
    #[test]
    fn an_even_spread_is_not_clipped() {
        let values: Vec<f32> = (0..100_000)
            .map(|i| i as f32 / 100_000.0 * 2.0 - 0.5)
            .collect();
        for method in [Method::MinMax, Method::MeanSquare, Method::Entropy] {
            let (low, high) = seen(&values).range(method);
            assert!(low < -0.49 && high > 1.45, "{method:?}: {low} … {high}");
        }
    }

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

    /// Of `n` values spread evenly over 0 … 1 and one at 3, a range that ends at `r` costs
    /// n·(r/255)²/12 by rounding and (3 − r)² by clipping: least at r = 3 / (1 + n/(12·255²)).
    #[test]
    fn an_outlier_is_clipped_where_that_costs_less() {
        for n in [10_000, 100_000, 1_000_000] {
            let mut values: Vec<f32> = (0..n).map(|i| i as f32 / n as f32).collect();
            values.push(3.0);
            let (_, high) = seen(&values).range(Method::MeanSquare);
            let best = 3.0 / (1.0 + n as f32 / (12.0 * 255.0 * 255.0));
            assert!((high - best).abs() < 0.05, "{high} of {n}, not {best}");
            let (_, high) = seen(&values).range(Method::Percentile);
            assert!(high < 1.01, "{high} of {n}");
            assert_eq!(seen(&values).range(Method::MinMax), (0.0, 3.0));
        }
    }
}
