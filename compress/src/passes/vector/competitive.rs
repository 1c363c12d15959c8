//! Frequency-sensitive competitive learning: the units nearest to the points win and move, and those that
//! do not win are favoured the more the longer they wait, so that none is left unused.

use super::codebook::squared;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The rule's constants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Competition {
    /// Share of the way to the point that the winner moves; it falls to 0 over the epochs.
    pub(super) alpha: f32,
    /// What a unit that did not win has over the distance, more each time; 0 is plain competitive
    /// learning.
    pub(super) gamma: f32,
    /// How often each point is shown.
    pub(super) epochs: usize,
}

/// Units W of equal size, one behind the other, and what each has over its distance.
struct Units {
    values: Vec<f32>,
    dimension: usize,
    advantages: Vec<f32>,
}

impl Units {
    fn new(values: Vec<f32>, dimension: usize) -> Self {
        let advantages = vec![0.0; values.len() / dimension];
        Self {
            values,
            dimension,
            advantages,
        }
    }

    /// Shows a point X: `p = argmin(‖W_i − X‖ − s_i)`, `W_p += α(X − W_p)`, `s_p = 0`, all other
    /// `s_i += γ`. Returns p.
    fn show(&mut self, point: &[f32], alpha: f32, gamma: f32) -> usize {
        let units = self.values.chunks(self.dimension).zip(&self.advantages);
        let scores = units.map(|(unit, s)| squared(unit, point).sqrt() - f64::from(*s));
        let least = |best: (usize, f64), next: (usize, f64)| {
            if next.1 < best.1 { next } else { best }
        };
        let (winner, _) = scores.enumerate().fold((0, f64::MAX), least);
        let unit = &mut self.values[winner * self.dimension..][..self.dimension];
        for (w, x) in unit.iter_mut().zip(point) {
            *w += alpha * (x - *w);
        }
        self.advantages.iter_mut().for_each(|s| *s += gamma);
        self.advantages[winner] = 0.0;
        winner
    }
}

impl Competition {
    /// Shows all points in random order, over and over, and returns the units.
    pub(super) fn learn(
        &self,
        points: &[&[f32]],
        units: Vec<f32>,
        dimension: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<f32> {
        let mut units = Units::new(units, dimension);
        let mut order: Vec<usize> = (0..points.len()).collect();
        let steps = (self.epochs * points.len()).max(1) as f32;
        let mut left = steps;
        for _ in 0..self.epochs {
            order.shuffle(rng);
            for &i in &order {
                units.show(points[i], self.alpha * left / steps, self.gamma);
                left -= 1.0;
            }
        }
        units.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    /// Worked by hand: W = 0, 10; α = 1/2, γ = 2. The distance counts, not its square: at X = 6 unit 1
    /// is nearer (4 against 6) and wins by squares too; after three wins of unit 1, unit 0 has 6 over its
    /// distance, which its square would not make up for.
    #[test]
    fn the_rule_is_the_sources() {
        let mut units = Units::new(vec![0.0, 10.0], 1);
        // (point, winner, W, s)
        let steps = [
            (6.0, 1, [0.0, 8.0], [2.0, 0.0]),
            (6.0, 1, [0.0, 7.0], [4.0, 0.0]),
            // 6 − 4 against 1.
            (6.0, 1, [0.0, 6.5], [6.0, 0.0]),
            // 6 − 6 against 0.5: 0 wins; by squares 36 − 6 against 0.25 would be 1.
            (6.0, 0, [3.0, 6.5], [0.0, 2.0]),
            // 3 against 0.5 − 2.
            (6.0, 1, [3.0, 6.25], [2.0, 0.0]),
        ];
        for (point, winner, values, advantages) in steps {
            assert_eq!(units.show(&[point], 0.5, 2.0), winner);
            assert_eq!(
                (&units.values[..], &units.advantages[..]),
                (&values[..], &advantages[..])
            );
        }
    }

    /// In the plane: distances 5 and 13.
    #[test]
    fn distances_are_euclidean() {
        let mut units = Units::new(vec![3.0, 4.0, 5.0, 12.0], 2);
        assert_eq!(units.show(&[0.0, 0.0], 0.5, 7.9), 0);
        assert_eq!(units.values, [1.5, 2.0, 5.0, 12.0]);
        // 2.5 against 13 − 7.9, then against 13 − 15.8.
        assert_eq!(units.show(&[0.0, 0.0], 0.0, 7.9), 0);
        assert_eq!(units.show(&[0.0, 0.0], 1.0, 7.9), 1);
        assert_eq!(units.values, [1.5, 2.0, 0.0, 0.0]);
    }

    /// Two clusters and two units, one of them far from both: γ brings it to one; without, which is plain
    /// competitive learning, it never wins, and the other ends between the clusters.
    #[test]
    fn gamma_leaves_no_unit_unused() {
        let values: Vec<f32> = (0..200)
            .map(|i| (i % 2) as f32 * 2.0 - 1.0 + (i / 2) as f32 / 1000.0)
            .collect();
        let points: Vec<&[f32]> = values.chunks(1).collect();
        let learn = |gamma| {
            let rule = Competition {
                alpha: 0.3,
                gamma,
                epochs: 20,
            };
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut units = rule.learn(&points, vec![0.9, 10.0], 1, &mut rng);
            units.sort_unstable_by(f32::total_cmp);
            units
        };
        let plain = learn(0.0);
        assert!(plain[0].abs() < 0.5 && plain[1] == 10.0, "{plain:?}");
        let fair = learn(0.05);
        let means = [-0.95, 1.05];
        let off = fair
            .iter()
            .zip(means)
            .map(|(unit, mean)| (unit - mean).abs());
        assert!(off.fold(0.0, f32::max) < 0.05, "{fair:?}");
    }
}
