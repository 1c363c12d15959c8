use super::Grid;
use serde::{Deserialize, Serialize};

/// A matrix of two or three values (BinaryConnect, Courbariaux et al. 2015; XNOR-Net, Rastegari et al.
/// 2016; Ternary Weight Networks, Li et al. 2016). With w the free values:
///
/// | | W | α |
/// |---|---|---|
/// | binary | `α · sign(w)`, the sign of 0 being + | mean of abs(w) |
/// | ternary | `α · sign(w)` where `abs(w) > 0.7 · mean(abs(w))`, else 0 | mean of abs(w) over those |
///
/// Means are over an output channel or over the whole tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignWeights {
    /// Row-major.
    pub values: Vec<f32>,
    /// Whether 0 is a value too.
    pub ternary: bool,
    /// How many scales there are: 1, or one for each output channel.
    pub channels: usize,
}

/// Share of the mean magnitude up to which ternary weights are zero (Li 2016, equation 6).
const THRESHOLD: f32 = 0.7;

/// How many mean magnitudes a value may lie from 0. BinaryConnect clips to 1, whatever a layer's
/// scale; a bound relative to it means the same for every layer.
const LIMIT: f32 = 3.0;

fn mean(magnitudes: impl Iterator<Item = f32>) -> f32 {
    let add = |(sum, n): (f64, usize), m: f32| (sum + f64::from(m), n + 1);
    let (sum, n) = magnitudes.fold((0.0, 0), add);
    (sum / n.max(1) as f64) as f32
}

impl SignWeights {
    /// The free values of each scale.
    fn channels(&self) -> impl Iterator<Item = &[f32]> {
        let size = self.values.len().div_ceil(self.channels.max(1));
        self.values.chunks(size.max(1))
    }

    fn threshold(&self, channel: &[f32]) -> Option<f32> {
        let mean = || THRESHOLD * mean(channel.iter().map(|v| v.abs()));
        self.ternary.then(mean)
    }

    /// α of each channel, or of all.
    pub fn scales(&self) -> Vec<f32> {
        let scale = |channel: &[f32]| {
            let threshold = self.threshold(channel);
            let magnitudes = channel.iter().map(|v| v.abs());
            mean(magnitudes.filter(|&m| threshold.is_none_or(|t| m > t)))
        };
        self.channels().map(scale).collect()
    }

    /// W, row-major.
    pub fn expand(&self) -> Vec<f32> {
        let weights = |(channel, scale): (&[f32], f32)| -> Vec<f32> {
            let threshold = self.threshold(channel);
            let weight = |&v: &f32| match threshold {
                Some(t) if v.abs() <= t => 0.0,
                _ if v < 0.0 => -scale,
                _ => scale,
            };
            channel.iter().map(weight).collect()
        };
        self.channels()
            .zip(self.scales())
            .flat_map(weights)
            .collect()
    }

    /// The gradient goes straight through, but for a value three mean magnitudes from 0 that a step
    /// against it would push further out: such a value might never come back.
    pub fn pull_back(&self, gradient: &[f32]) -> Vec<f32> {
        let size = self.values.len().div_ceil(self.channels.max(1)).max(1);
        let through = |(channel, gradient): (&[f32], &[f32])| -> Vec<f32> {
            let limit = LIMIT * mean(channel.iter().map(|v| v.abs()));
            let pass = |(&v, &g): (&f32, &f32)| {
                let outward = v * g < 0.0;
                if v.abs() > limit && outward { 0.0 } else { g }
            };
            channel.iter().zip(gradient).map(pass).collect()
        };
        self.channels()
            .zip(gradient.chunks(size))
            .flat_map(through)
            .collect()
    }

    /// The grid on which W is −1, 0 and 1.
    pub fn grid(&self) -> Grid {
        // A channel of zeros needs a step too.
        let scale = self.scales().into_iter();
        let scale = scale.map(|s| s.max(f32::MIN_POSITIVE)).collect();
        Grid { scale, max: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(ternary: bool, channels: usize) -> SignWeights {
        SignWeights {
            values: vec![0.5, -1.5, 0.25, 0.75, -4.0, 0.1, 0.1, -0.2],
            ternary,
            channels,
        }
    }

    #[test]
    fn binary_weights_by_hand() {
        // Mean magnitudes 3.0 / 4 and 4.4 / 4.
        let per_channel = [0.75, -0.75, 0.75, 0.75, -1.1, 1.1, 1.1, -1.1];
        assert_eq!(weights(false, 2).expand(), per_channel);
        let together = weights(false, 1).expand();
        assert_eq!(together[0], 0.925);
        assert_eq!(together[4], -0.925);
    }

    #[test]
    fn ternary_weights_by_hand() {
        // Thresholds 0.7 · 0.75 = 0.525 and 0.7 · 1.1 = 0.77.
        let expected = [0.0, -1.125, 0.0, 1.125, -4.0, 0.0, 0.0, 0.0];
        assert_eq!(weights(true, 2).expand(), expected);
        assert_eq!(weights(true, 2).grid().scale, [1.125, 4.0]);
    }

    #[test]
    fn gradients_go_straight_through_but_not_outward() {
        // −4 lies beyond 3 · 1.1: a positive gradient would push it on, a negative one back.
        let outward = weights(false, 2).pull_back(&[1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(outward, [1.0, -2.0, 3.0, 4.0, 0.0, 6.0, 7.0, 8.0]);
        let back = weights(false, 2).pull_back(&[1.0, -2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 8.0]);
        assert_eq!(back[4], -5.0);
    }

    #[test]
    fn a_channel_of_zeros_has_a_step() {
        let zeros = SignWeights {
            values: vec![0.0; 4],
            ternary: true,
            channels: 2,
        };
        assert_eq!(zeros.expand(), [0.0; 4]);
        assert!(zeros.grid().scale.iter().all(|&s| s > 0.0));
    }
}
