//! Pruning where places cost bits: of two weights that the loss minds alike, the one goes whose layer is the
//! emptier, for its place costs more.

use super::magnitude::highest;

/// How often the places' bits are counted anew by what they would leave; they hardly change then.
const ROUNDS: usize = 4;

/// Bits by which the positions of one more survivor lengthen those of `count` among `total` weights, of
/// entropy `total · H(count / total)`; below 0 where most survive.
fn place_bits(count: usize, total: usize) -> f64 {
    let (count, gaps) = (count as f64, (total - count) as f64);
    // Half a weight keeps empty and full layers finite.
    ((gaps + 0.5) / (count + 0.5)).log2()
}

/// Which weights stay when this share of all goes: those whose scores, over the mean score of the
/// living, are the highest less `rate` times the bits of their places. Bits of their values would
/// change nothing, for as many survive. What does not live goes first.
pub(super) fn highest_charged(
    scores: &[Vec<f32>],
    living: &[Vec<bool>],
    rate: f64,
    share: f64,
) -> Vec<Vec<bool>> {
    let mut masks = highest(scores, share);
    let mean = mean_living(scores, living);
    for _ in (0..ROUNDS).filter(|_| rate > 0.0 && mean > 0.0) {
        let layers = scores.iter().zip(living).zip(&masks);
        let charged: Vec<Vec<f32>> = layers
            .map(|((scores, living), mask)| {
                let count = mask.iter().filter(|keep| **keep).count();
                let charge = rate * place_bits(count, mask.len());
                let entries = scores.iter().zip(living);
                entries
                    .map(|(&score, &lives)| match lives {
                        true => (f64::from(score) / mean - charge) as f32,
                        false => f32::NEG_INFINITY,
                    })
                    .collect()
            })
            .collect();
        masks = highest(&charged, share);
    }
    masks
}

fn mean_living(scores: &[Vec<f32>], living: &[Vec<bool>]) -> f64 {
    let entries = scores.iter().flatten().zip(living.iter().flatten());
    let living = entries.filter(|(_, lives)| **lives);
    let (count, sum) = living.fold((0usize, 0.0), |(count, sum), (&score, _)| {
        (count + 1, sum + f64::from(score))
    });
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the entropy itself: one more of 100 among 1000.
    #[test]
    fn a_place_costs_what_it_adds_to_the_entropy() {
        let entropy = |n: f64| {
            let p = n / 1000.0;
            -1000.0 * (p * p.log2() + (1.0 - p) * (1.0 - p).log2())
        };
        for count in [100usize, 500, 900] {
            let n = count as f64;
            let slope = (entropy(n + 0.5) - entropy(n - 0.5)) / 1.0;
            assert!((place_bits(count, 1000) - slope).abs() < 0.01, "{count}");
        }
    }

    /// Half of the first layer and all but one of the second would stay; scores are 3, 2 | 1.5, 1.4, 1 …
    #[test]
    fn places_in_the_emptier_layer_go_first_and_as_many_stay() {
        let scores = [vec![3.0, 0.1, 0.2, 1.6], vec![9.0, 8.0, 7.0, 1.5]];
        let living = [vec![true; 4], vec![true; 4]];
        let kept = |rate| highest_charged(&scores, &living, rate, 0.375);
        assert_eq!(kept(0.0), highest(&scores, 0.375));
        assert_eq!(kept(0.0)[0], [true, false, false, true]);
        // The second layer is the fuller: 1.5 there outlives 1.6 here.
        assert_eq!(kept(0.1), [vec![true, false, false, false], vec![true; 4]]);
    }

    #[test]
    fn the_dead_do_not_return_in_place_of_the_dear() {
        let scores = [vec![0.0, 0.0, 0.0, 0.1], vec![0.0, 1.0, 1.0, 1.0]];
        let living = [
            vec![false, false, false, true],
            vec![false, true, true, true],
        ];
        let masks = highest_charged(&scores, &living, 10.0, 0.5);
        assert_eq!(masks, living);
    }
}
