//! What weights cost as coded symbols, and how that enters the choice of their values: entropy-constrained
//! quantization (Chou, Lookabaugh & Gray 1989).
//!
//! A rate λ says what a coded bit is worth, in shares of what the loss minds an average living weight:
//! its square times the mean square of its gradient, as optimal brain damage estimates it, where the
//! optimizer keeps such; else its square, within its layer.

use super::weights;
use crate::settings::SettingError;
use trainer::graph::{Graph, Parametrization};

/// Whether a setting is off, so that it is not written.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
pub(super) fn is_off(rate: &f64) -> bool {
    *rate == 0.0
}

/// Refuses a rate out of range.
pub(super) fn check(name: &'static str, rate: f64) -> Result<(), SettingError> {
    if rate >= 0.0 && rate.is_finite() {
        return Ok(());
    }
    let (range, value) = ("a number of at least 0", rate.to_string());
    Err(SettingError { name, range, value })
}

/// Bits of each of the symbols that `count` of `total` weights are, under a code that fits them; one
/// that none is is taken to occur once.
pub fn bits(count: usize, total: usize) -> f64 {
    (total.max(1) as f64 / count.max(1) as f64).log2()
}

/// The edges between ascending centroids `c` of so many bits that give each value `v` the centroid of least
/// `(v − c)² + price · bits`, as [`Parametrization::Clustered`] has them. `price` is the squared
/// distance that a bit is worth.
pub fn edges(centroids: &[(f32, f64)], price: f64) -> Vec<f32> {
    let height = |i: usize| f64::from(centroids[i].0).powi(2) + price * centroids[i].1;
    // Parabolas of one shape cross once: the further one is lower from there on.
    let crossing = |a: usize, b: usize| {
        let apart = f64::from(centroids[b].0) - f64::from(centroids[a].0);
        match apart > 0.0 {
            true => (height(b) - height(a)) / (2.0 * apart),
            false if height(b) < height(a) => f64::NEG_INFINITY,
            false => f64::INFINITY,
        }
    };
    // Those that are the lowest anywhere, and where each begins to be.
    let mut lowest: Vec<(usize, f64)> = Vec::new();
    for next in 0..centroids.len() {
        let mut begins = f64::NEG_INFINITY;
        while let Some(&(last, since)) = lowest.last() {
            begins = crossing(last, next);
            if begins > since {
                break;
            }
            lowest.pop();
            begins = f64::NEG_INFINITY;
        }
        if begins < f64::INFINITY {
            lowest.push((next, begins));
        }
    }
    // An entry that is never the lowest ends where the one before it does.
    let mut edges = vec![f32::INFINITY; centroids.len().saturating_sub(1)];
    let mut done = 0;
    for &(first, begins) in &lowest {
        edges[done..first].fill(begins as f32);
        done = first;
    }
    edges
}

/// Sums over the living weights of a layer that may still change their centroids.
struct Layer {
    count: f64,
    /// Of w².
    energy: f64,
    /// Of the gradients' mean squares, and of these times w², where they are known.
    minded: Option<(f64, f64)>,
}

impl Layer {
    fn of(values: &[f32], mask: &[bool], squares: &[f32]) -> Self {
        let living = |i: &usize| mask[*i];
        let energy = |i: usize| f64::from(values[i]).powi(2);
        let places = || (0..values.len()).filter(living);
        let mut minded = None;
        if squares.len() == values.len() {
            let sum: f64 = places().map(|i| f64::from(squares[i])).sum();
            let of_weights = places().map(|i| f64::from(squares[i]) * energy(i)).sum();
            minded = Some((sum, of_weights)).filter(|_| sum > 0.0);
        }
        Self {
            count: places().count().max(1) as f64,
            energy: places().map(energy).sum(),
            minded,
        }
    }
}

/// The squared distance that a bit is worth in each layer with weights, in their order. `squares` are the
/// means of the gradients' squares for every parameter, as a [`Hook`](trainer::train::Hook) gets them;
/// there may be none.
pub fn prices(graph: &Graph, squares: &[&[f32]], rate: f64) -> Vec<f64> {
    let layer = |id: trainer::graph::ParamId| match &graph.parameter(id).parametrization {
        Parametrization::Clustered { values, mask, .. } => {
            let squares = squares.get(id.0).copied().unwrap_or_default();
            Some(Layer::of(values, mask, squares))
        }
        _ => None,
    };
    let layers: Vec<Option<Layer>> = weights(graph).into_iter().map(layer).collect();
    let known = layers.iter().flatten();
    let known = known.filter_map(|l| l.minded.map(|(_, of_weights)| (l.count, of_weights)));
    let (count, sum) = known.fold((0.0, 0.0), |all, l| (all.0 + l.0, all.1 + l.1));
    let price = |layer: &Option<Layer>| match layer {
        Some(l) => match l.minded {
            Some((minded, _)) => rate * (sum / count) / (minded / l.count),
            None => rate * l.energy / l.count,
        },
        None => 0.0,
    };
    layers.iter().map(price).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use trainer::graph::{Op, Parameter, entry_of};

    /// By trying every centroid.
    fn least(centroids: &[(f32, f64)], price: f64, value: f32) -> usize {
        let cost = |i: &usize| {
            let (c, bits) = centroids[*i];
            (f64::from(value) - f64::from(c)).powi(2) + price * bits
        };
        (0..centroids.len())
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .expect("some")
    }

    #[test]
    fn every_value_gets_the_centroid_of_least_distance_and_bits() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for price in [0.0, 1e-3, 0.03, 0.3, 10.0] {
            for count in [1, 2, 5, 17] {
                let mut centroids: Vec<(f32, f64)> = (0..count)
                    .map(|_| (rng.random_range(-1.0..1.0), rng.random_range(0.1..9.0)))
                    .collect();
                centroids.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                let edges = edges(&centroids, price);
                assert!(edges.is_sorted() && edges.len() == count - 1);
                let codebook: Vec<f32> = centroids.iter().map(|c| c.0).collect();
                for _ in 0..500 {
                    let value = rng.random_range(-2.0..2.0);
                    let chosen = entry_of(&codebook, &edges, value);
                    assert_eq!(chosen, least(&centroids, price, value), "{centroids:?}");
                }
            }
        }
    }

    #[test]
    fn of_equal_centroids_the_cheaper_one_is_chosen() {
        for centroids in [[(0.5, 3.0), (0.5, 1.0)], [(0.5, 1.0), (0.5, 3.0)]] {
            let edges = edges(&centroids, 0.1);
            let chosen = entry_of(&[0.5, 0.5], &edges, 0.7);
            assert_eq!(centroids[chosen].1, 1.0);
        }
    }

    #[test]
    fn symbols_cost_what_their_share_says() {
        assert_eq!([bits(1, 8), bits(8, 8), bits(2, 8)], [3.0, 0.0, 2.0]);
        assert_eq!(bits(0, 8), 3.0);
    }

    /// Layers of one living weight each, 2 and 4, whose gradients' squares are 3 and 1: the loss minds
    /// 12 and 16, 14 in the mean.
    #[test]
    fn a_bit_is_worth_a_share_of_an_average_weight() {
        let mut graph = Graph::new("g", "x", &[2]);
        for values in [vec![2.0, 9.0], vec![4.0, 9.0]] {
            let weight = graph.add_parameter(Parameter::dense("w", &[1, 2], values.clone()));
            let input = graph.input;
            let op = Op::Gemm { weight, bias: None };
            graph.push("fc", op, &[input]).expect("fits");
            graph.parameters[weight.0].parametrization = Parametrization::Clustered {
                values,
                mask: vec![true, false],
                codebook: vec![1.0],
                edges: Vec::new(),
            };
        }
        assert_eq!(prices(&graph, &[], 0.5), [2.0, 8.0]);
        let squares: [&[f32]; 2] = [&[3.0, 7.0], &[1.0, 7.0]];
        assert_eq!(prices(&graph, &squares, 0.5), [7.0 / 3.0, 7.0]);
        // Rules that keep none.
        let zeros: [&[f32]; 2] = [&[0.0; 2], &[0.0; 2]];
        assert_eq!(prices(&graph, &zeros, 0.5), [2.0, 8.0]);
    }
}
