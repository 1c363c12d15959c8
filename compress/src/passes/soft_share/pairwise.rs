//! The pairwise penalty: `λ(w_i − w_j)²/2` for weights that are believed to be alike, under which a step is
//! `w_i += αλ(w_j − w_i)`, `w_j += αλ(w_i − w_j)`.

use crate::passes::codebook::{Start, k_means};
use trainer::graph::nearest;

/// The places of weights that belong together, of those at `living`: in ascending order and divided into
/// so many groups by k-means, each with the one half its group further on. Direct neighbours would pull
/// on most weights from both sides alike, and none would move. Not more groups than weights.
pub(super) fn pairs(values: &[f32], living: &[usize], groups: usize) -> Vec<(usize, usize)> {
    let mut order = living.to_vec();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]).then(a.cmp(&b)));
    let sorted: Vec<f32> = order.iter().map(|&place| values[place]).collect();
    if sorted.is_empty() {
        return Vec::new();
    }
    let centroids = k_means(&sorted, groups, Start::Density, 0);
    let group = |place: &usize| nearest(&centroids, values[*place]);
    let of_group = |members: &[usize]| {
        let half = members.len() / 2;
        let partners = members.iter().skip(half).copied();
        let pairs = members.iter().copied().zip(partners);
        pairs.filter(|(a, b)| a != b).collect::<Vec<_>>()
    };
    let groups = order.chunk_by(|a, b| group(a) == group(b));
    groups.flat_map(of_group).collect()
}

/// Adds the penalty's gradient, `λ(w_i − w_j)` and its opposite for each pair.
pub(super) fn add_gradient(
    values: &[f32],
    pairs: &[(usize, usize)],
    lambda: f32,
    gradient: &mut [f32],
) {
    for &(i, j) in pairs {
        let pull = lambda * (values[i] - values[j]);
        gradient[i] += pull;
        gradient[j] -= pull;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_update_is_antisymmetric_and_keeps_sums() {
        let values = [0.5, -0.25, 2.0, 1.0];
        let pairs = [(0, 1), (2, 3), (1, 2)];
        let mut gradient = [0.0; 4];
        add_gradient(&values, &pairs[..1], 0.5, &mut gradient);
        // λ(w_0 − w_1) = 0.375.
        assert_eq!(gradient, [0.375, -0.375, 0.0, 0.0]);
        add_gradient(&values, &pairs[1..], 0.5, &mut gradient);
        assert_eq!(gradient, [0.375, -1.5, 1.625, -0.5]);
        assert_eq!(gradient.iter().sum::<f32>(), 0.0);
    }

    #[test]
    fn pairs_stay_in_their_groups() {
        let values = [9.0, 1.0, 0.0, 1.2, 8.8, 0.0, 1.1, 1.3];
        let living = [0, 1, 3, 4, 6, 7];
        // 1.0, 1.1, 1.2, 1.3 and 8.8, 9.0.
        assert_eq!(pairs(&values, &living, 2), [(1, 3), (6, 7), (4, 0)]);
        assert_eq!(pairs(&values, &[], 2), []);
        assert_eq!(pairs(&values, &[4], 1), []);
    }

    #[test]
    fn weights_draw_together_step_by_step() {
        let mut values: Vec<f32> = (0..100)
            .map(|i| (i % 10) as f32 / 100.0 + (i / 50) as f32)
            .collect();
        let living: Vec<usize> = (0..100).collect();
        for _ in 0..200 {
            let mut gradient = vec![0.0; 100];
            let pairs = pairs(&values, &living, 2);
            add_gradient(&values, &pairs, 1.0, &mut gradient);
            values
                .iter_mut()
                .zip(gradient)
                .for_each(|(w, g)| *w -= 0.1 * g);
        }
        let off = |(i, w): (usize, &f32)| (w - (i / 50) as f32 - 0.045).abs();
        let off = values.iter().enumerate().map(off);
        assert!(off.fold(0.0, f32::max) < 1e-3);
    }
}
