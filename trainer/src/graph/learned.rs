//! Integer grids whose steps are learned (LSQ; Esser et al. 2020).

use super::{Grid, Parameter};

impl Grid {
    /// A grid to learn from: steps of `2 · mean(abs(w)) / √max`, zeros, which are no weights any more,
    /// left out (Esser 2020, section 2.1). `channels` is 1, or the number of output channels.
    pub fn to_learn(values: &[f32], channels: usize, max: i32) -> Self {
        let step = |channel: &[f32]| {
            let living = channel.iter().filter(|v| **v != 0.0);
            let add = |(sum, n): (f64, u32), v: &f32| (sum + f64::from(v.abs()), n + 1);
            let (sum, n) = living.fold((0.0, 0), add);
            let step = 2.0 * sum / f64::from(n.max(1)) / f64::from(max).sqrt();
            (step as f32).max(LEAST_STEP)
        };
        let size = values.len().div_ceil(channels.max(1)).max(1);
        let scale = values.chunks(size).map(step).collect();
        Self { scale, max }
    }

    /// The gradients of the steps from that of W, by
    ///
    /// ```text
    /// ∂W/∂s = round(w/s) − w/s   inside ±max,   ±max outside
    /// ```
    ///
    /// times `1 / √(weights of the step · max)`, which makes a step change as much, relative to itself,
    /// as its weights do. The gradients of weights outside the grid become 0.
    ///
    /// # Panics
    /// When there are fewer gradients than weights.
    pub fn pull_back(&self, latent: &[f32], gradient: &mut [f32]) -> Vec<f32> {
        let size = latent.len().div_ceil(self.scale.len().max(1)).max(1);
        let max = self.max as f32;
        let balance = 1.0 / (size as f32 * max).sqrt();
        let mut sums = Vec::new();
        for (channel, (values, gradient)) in latent
            .chunks(size)
            .zip(gradient.chunks_mut(size))
            .enumerate()
        {
            let step = self.scale[channel];
            let mut sum = 0.0;
            for (v, g) in values.iter().zip(gradient) {
                let ratio = v / step;
                if ratio.abs() < max {
                    sum += *g * (ratio.round() - ratio);
                } else {
                    sum += *g * max.copysign(ratio);
                    *g = 0.0;
                }
            }
            sums.push(sum * balance);
        }
        sums
    }

    /// Moves the steps by a change of their logarithms, which keeps them positive. To first order a
    /// step against `gradient / s` moves s itself against its gradient.
    #[cfg(feature = "train")]
    pub(crate) fn move_steps(&mut self, logarithms: &[f32]) {
        let bounded = |l: &f32| l.exp().clamp(LEAST_STEP, f32::MAX);
        self.scale
            .iter_mut()
            .zip(logarithms.iter().map(bounded))
            .filter(|(_, moved)| moved.is_finite())
            .for_each(|(s, moved)| *s = moved);
    }
}

/// Far below the weights of any network.
const LEAST_STEP: f32 = 1e-20;

impl Parameter {
    /// As [`pull_back`](Self::pull_back), followed by the gradients of the grid's steps, if it has a
    /// grid.
    ///
    /// # Panics
    /// When the gradient is not as long as W.
    pub fn pull_back_with_steps(&self, mut gradient: Vec<f32>) -> Vec<f32> {
        let steps = match &self.grid {
            Some(grid) => grid.pull_back(&self.latent(), &mut gradient),
            None => Vec::new(),
        };
        let mut free = self.pull_back(&gradient);
        free.extend(steps);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights inside and beyond a grid of ±3, none near a rounding point.
    const LATENT: [f32; 6] = [0.3, -0.72, 1.9, -2.5, 0.06, 0.9];
    const SCALE: f32 = 0.5;

    fn parameter() -> Parameter {
        let mut parameter = Parameter::dense("w", &[1, 6], LATENT.to_vec());
        let scale = vec![SCALE];
        parameter.grid = Some(Grid { scale, max: 3 });
        parameter
    }

    /// W's rounded part does not move with a small change of s, so that W is linear in s between
    /// rounding points: `W(s) = s · q`, and ∂W/∂s = q. LSQ's straight-through gradient takes the
    /// latent's own share off, `q − w/s`, inside the grid. Both by the numbers.
    #[test]
    fn steps_by_hand() {
        let gradient = vec![1.0, -2.0, 0.5, 4.0, 1.0, 3.0];
        // q − w/s: 1 − 0.6, −1 + 1.44; 3.8 and −5 are beyond ±3; 0 − 0.12; 2 − 1.8.
        let sum = 0.4 + -2.0 * 0.44 + 0.5 * 3.0 + 4.0 * -3.0 - 0.12 + 3.0 * 0.2;
        let pulled = parameter().pull_back_with_steps(gradient);
        assert_eq!(pulled[..6], [1.0, -2.0, 0.0, 0.0, 1.0, 3.0]);
        let expected = sum / (6.0f32 * 3.0).sqrt();
        assert!((pulled[6] - expected).abs() < 1e-5, "{pulled:?} {expected}");
    }

    /// The derivative of W by s with w/s held as LSQ's rule has it: that of the rounding residual,
    /// `s · (round(w/s) − w/s)` at a fixed w/s, and of `s · max` beyond the grid.
    #[test]
    fn steps_by_a_numeric_derivative() {
        for (i, w) in LATENT.into_iter().enumerate() {
            let mut gradient = vec![0.0; 6];
            gradient[i] = 1.0;
            let pulled = parameter().pull_back_with_steps(gradient);
            let at = |s: f32| {
                let fixed = Grid {
                    scale: vec![s],
                    max: 3,
                };
                let w_of_s = fixed.dequantize(fixed.quantize(w, 0), 0);
                // Straight through, W follows w = s · (w/s) where it lies inside.
                let follows = if (w / SCALE).abs() < 3.0 {
                    s * (w / SCALE)
                } else {
                    0.0
                };
                f64::from(w_of_s) - f64::from(follows)
            };
            let numeric = (at(SCALE + 0.005) - at(SCALE - 0.005)) / 0.01;
            let balanced = numeric / 18f64.sqrt();
            assert!((balanced - f64::from(pulled[6])).abs() < 1e-4, "{i}");
        }
    }

    #[test]
    fn the_first_step_leaves_zeros_out() {
        let values = [0.0, 1.0, -3.0, 0.0, 0.5, 0.5, 0.0, 0.0];
        let grid = Grid::to_learn(&values, 2, 4);
        assert_eq!(grid.scale, [2.0, 0.5]);
        assert!(Grid::to_learn(&[0.0; 4], 1, 7).scale[0] > 0.0);
    }
}
