//! Weights under a mixture of Gaussians, one of them at zero: what they cost as a message and which way
//! that draws them (Nowlan & Hinton 1992; Ullrich, Meeds & Welling 2017).

use std::f64::consts::TAU;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Gaussian {
    mean: f64,
    variance: f64,
    /// Of the weights.
    share: f64,
}

impl Gaussian {
    /// `ln(share · density(w))`
    fn log(&self, w: f64) -> f64 {
        let distance = (w - self.mean).powi(2) / self.variance;
        self.share.ln() - (distance + (TAU * self.variance).ln()) / 2.0
    }
}

/// A density p of a layer's weights.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mixture {
    /// The first one is at zero.
    components: Vec<Gaussian>,
}

/// Where weights are counted together: a sixteenth of a step of 8-bit integers.
const BINS: usize = 4096;

/// Iterations of a fit, after which it hardly moves.
const ITERATIONS: usize = 60;

/// Least standard deviation, of the range of the weights: a step of 8-bit integers. Without one a component
/// closes in on a single weight.
const LEAST_WIDTH: f64 = 1.0 / 254.0;

/// Largest standard deviation, in spacings of means spread evenly, and that at the start. The bulk of a layer's weights is much like one Gaussian about zero: without a limit, that at
/// zero takes it all.
const WIDEST: f64 = 0.25;

/// Least share of the weights that a component has.
const LEAST_SHARE: f64 = 1e-6;

impl Mixture {
    /// The maximum of likelihood that expectation-maximization (Dempster et al. 1977) comes to from means
    /// spread evenly over the weights, of which there must be some. The component at zero stays there and
    /// keeps its share `zero`, below 1.
    pub(super) fn fit(weights: &[f32], components: usize, zero: f64) -> Self {
        let ends = weights.iter().fold((0.0f32, 0.0f32), |(low, high), &w| {
            (low.min(w), high.max(w))
        });
        let (low, range) = (f64::from(ends.0), f64::from(ends.1) - f64::from(ends.0));
        let bins = bins(weights, low, range);
        let least = (range * LEAST_WIDTH).powi(2).max(f64::MIN_POSITIVE);
        let spacing = range / components.saturating_sub(1).max(1) as f64;
        let widest = (WIDEST * spacing).powi(2).max(least);
        let mut mixture = Self::start(low, range, components, zero, widest);
        for _ in 0..ITERATIONS {
            mixture = mixture.step(&bins, zero, least, widest);
        }
        mixture
    }

    fn start(low: f64, range: f64, components: usize, zero: f64, widest: f64) -> Self {
        let others = components.saturating_sub(1);
        let spacing = range / others.max(1) as f64;
        let gaussian = |mean, share| Gaussian {
            mean,
            variance: widest,
            share,
        };
        let spread = (0..others).map(|i| {
            let mean = low + spacing * (i as f64 + 0.5);
            gaussian(mean, (1.0 - zero) / others as f64)
        });
        let components = std::iter::once(gaussian(0.0, zero)).chain(spread);
        Self {
            components: components.collect(),
        }
    }

    /// One expectation and one maximization over points with their counts.
    fn step(&self, bins: &[(f64, f64)], zero: f64, least: f64, widest: f64) -> Self {
        // Of responsibilities: sums, and those times w and w².
        let mut sums = vec![[0.0f64; 3]; self.components.len()];
        for &(w, count) in bins {
            let responsible = self.responsibilities(w);
            for (sums, r) in sums.iter_mut().zip(responsible) {
                let r = r * count;
                [r, r * w, r * w * w]
                    .iter()
                    .zip(sums)
                    .for_each(|(part, sum)| *sum += part);
            }
        }
        let others: f64 = sums.iter().skip(1).map(|s| s[0]).sum();
        let moved = self.components.iter().zip(&sums).enumerate();
        let moved = moved.map(|(place, (old, &[count, first, second]))| {
            let pinned = place == 0;
            let mean = match pinned || count < f64::MIN_POSITIVE {
                true => old.mean,
                false => first / count,
            };
            // Of Σ r (w − mean)².
            let spread = second - 2.0 * mean * first + mean * mean * count;
            let share = match pinned {
                true => zero,
                false => (1.0 - zero) * (count / others.max(f64::MIN_POSITIVE)).max(LEAST_SHARE),
            };
            Gaussian {
                mean,
                variance: (spread / count.max(f64::MIN_POSITIVE)).clamp(least, widest),
                share,
            }
        });
        Self {
            components: moved.collect(),
        }
    }

    /// Each component's share in the density at a weight.
    fn responsibilities(&self, w: f64) -> impl Iterator<Item = f64> {
        let all = -self.cost(w);
        self.components.iter().map(move |c| (c.log(w) - all).exp())
    }

    /// `−ln p(w)`, in nats.
    pub(super) fn cost(&self, w: f64) -> f64 {
        let logs = || self.components.iter().map(|c| c.log(w));
        let largest = logs().fold(f64::NEG_INFINITY, f64::max);
        -largest - logs().map(|log| (log - largest).exp()).sum::<f64>().ln()
    }

    /// The derivative of [`cost`](Self::cost): the pull of each component as far as it is responsible,
    /// `Σ r (w − mean)/variance`.
    pub(super) fn slope(&self, w: f64) -> f64 {
        let pull = |c: &Gaussian| (w - c.mean) / c.variance;
        let components = self.components.iter().zip(self.responsibilities(w));
        components.map(|(c, r)| r * pull(c)).sum()
    }

    /// The component most responsible for a weight; 0 is the one at zero.
    pub(super) fn nearest(&self, w: f64) -> usize {
        let logs = self.components.iter().map(|c| c.log(w)).enumerate();
        let most = |best: (usize, f64), next: (usize, f64)| {
            if next.1 > best.1 { next } else { best }
        };
        logs.fold((0, f64::NEG_INFINITY), most).0
    }

    /// Means of the components, the first one 0.
    pub(super) fn means(&self) -> impl Iterator<Item = f64> {
        self.components.iter().map(|c| c.mean)
    }
}

/// Means and counts of the weights of each bin that has some.
fn bins(weights: &[f32], low: f64, range: f64) -> Vec<(f64, f64)> {
    let mut bins = vec![(0.0, 0.0); BINS];
    for w in weights.iter().map(|&w| f64::from(w)) {
        let place = (w - low) / range.max(f64::MIN_POSITIVE) * BINS as f64;
        let (sum, count) = &mut bins[(place as usize).min(BINS - 1)];
        *sum += w;
        *count += 1.0;
    }
    let filled = bins.into_iter().filter(|(_, count)| *count > 0.0);
    filled.map(|(sum, count)| (sum / count, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    /// Draws of three clusters: 7000 about 0, 2000 about 1 and 1000 about −0.5.
    fn weights() -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let clusters = [(7000, 0.0, 0.05), (2000, 1.0, 0.1), (1000, -0.5, 0.02)];
        let draw = |(count, mean, deviation)| {
            let normal = Normal::new(mean, deviation).expect("a width");
            let weights = (0..count).map(|_| normal.sample(&mut rng));
            weights.collect::<Vec<f32>>()
        };
        clusters.map(draw).concat()
    }

    #[test]
    fn the_slope_is_that_of_the_cost() {
        let mixture = Mixture::fit(&weights(), 5, 0.7);
        let step = 1e-6;
        for i in -100..=150 {
            let w = f64::from(i) / 100.0;
            let numeric = (mixture.cost(w + step) - mixture.cost(w - step)) / (2.0 * step);
            let slope = mixture.slope(w);
            let ratio = (numeric - slope).abs() / (numeric + slope).abs().max(1.0);
            assert!(ratio < 1e-6, "at {w}: {numeric} {slope}");
        }
    }

    #[test]
    fn the_cost_is_the_density_written_out() {
        let mixture = Mixture::fit(&weights(), 3, 0.7);
        for w in [-0.5, -0.1, 0.0, 0.4, 1.2] {
            let density: f64 = mixture
                .components
                .iter()
                .map(|c| {
                    let norm = (2.0 * std::f64::consts::PI * c.variance).sqrt();
                    c.share * (-(w - c.mean).powi(2) / (2.0 * c.variance)).exp() / norm
                })
                .sum();
            assert!((mixture.cost(w) + density.ln()).abs() < 1e-9);
        }
        // Far out, where every density is 0 in floating point.
        assert!(mixture.cost(1e3).is_finite() && mixture.slope(1e3) > 0.0);
    }

    #[test]
    fn a_fit_finds_the_clusters_and_leaves_zero_where_it_is() {
        let mixture = Mixture::fit(&weights(), 3, 0.7);
        let [zero, low, high] = mixture.components[..] else {
            panic!("three components");
        };
        let close = |a: f64, b: f64, by: f64| assert!((a - b).abs() < by, "{a} for {b}");
        assert_eq!((zero.mean, zero.share), (0.0, 0.7));
        close(zero.variance.sqrt(), 0.05, 0.005);
        close(low.mean, -0.5, 0.005);
        close(low.variance.sqrt(), 0.02, 0.005);
        close(low.share, 0.1, 0.01);
        close(high.mean, 1.0, 0.01);
        close(high.share, 0.2, 0.01);
        let nearest = [-0.5, -0.1, 0.05, 0.9].map(|w| mixture.nearest(w));
        assert_eq!(nearest, [1, 0, 0, 2]);
        close(mixture.components.iter().map(|c| c.share).sum(), 1.0, 1e-9);
    }

    #[test]
    fn weights_that_are_all_alike_have_a_mixture() {
        for weights in [vec![0.0f32; 9], vec![0.25; 9], vec![-1e-30; 9]] {
            let mixture = Mixture::fit(&weights, 4, 0.5);
            let w = f64::from(weights[0]);
            assert!(mixture.cost(w).is_finite() && mixture.slope(w).is_finite());
        }
    }
}
