//! What was seen of a value, and the ranges that cover it.

use super::Method;

const BINS: usize = 2048;

/// What was seen of one value.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) min: f32,
    pub(super) max: f32,
    /// Counts between `min` and `max`, filled on a second pass.
    bins: Vec<u64>,
}

impl Seen {
    pub(super) fn nothing() -> Self {
        Self {
            min: 0.0,
            max: 0.0,
            bins: vec![0; BINS],
        }
    }

    pub(super) fn count(&mut self, values: &[f32]) {
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

    pub(super) fn range(&self, method: Method) -> (f32, f32) {
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
