//! Weight sharing by a codebook per layer (Han 2016): k-means over a layer's surviving weights;
//! training then moves the centroids by the summed gradients of their copies.

use super::choice::is_bound;
use super::rate;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, Grid, Op, ParamId, Parameter, Parametrization, entry_of, nearest};

/// Where k-means starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Evenly between the smallest and the largest weight: large weights, which matter most, get
    /// centroids of their own (Han's finding, the default).
    #[default]
    Linear,
    /// At equal shares of the weights in order of size.
    Density,
    /// At weights drawn at random.
    Random,
}

/// Why a layer cannot have a codebook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodebookError {
    /// More centroids than weights to share them.
    #[error(
        "a codebook of {entries} entries is larger than layer '{layer}', which has {weights} weights left; ask for fewer bits"
    )]
    TooLarge {
        /// Name of the weights.
        layer: String,
        /// Weights that are not zero.
        weights: usize,
        /// Entries asked for.
        entries: usize,
    },
    /// A weight that is not a finite number.
    #[error("layer '{0}' holds a weight that is not finite")]
    NotFinite(String),
}

/// Shares a layer's weights among `entries` centroids; weights that are zero stay so, as a pinned
/// entry of their own.
///
/// # Errors
/// When the layer has fewer weights left than centroids, or one that is not finite.
pub fn share(
    graph: &mut Graph,
    id: ParamId,
    entries: usize,
    start: Start,
    seed: u64,
) -> Result<(), CodebookError> {
    let parameter = &mut graph.parameters[id.0];
    let values = parameter.parametrization.values();
    if values.iter().any(|v| !v.is_finite()) {
        return Err(CodebookError::NotFinite(parameter.name.clone()));
    }
    let mut alive: Vec<f32> = values.iter().copied().filter(|&v| v != 0.0).collect();
    check_size(parameter, entries)?;
    alive.sort_unstable_by(f32::total_cmp);
    let centroids = k_means(&alive, entries, start, seed);
    assign(parameter, &centroids);
    Ok(())
}

/// Refuses a codebook larger than what is left of a layer.
pub(super) fn check_size(parameter: &Parameter, entries: usize) -> Result<(), CodebookError> {
    let values = parameter.materialize();
    let weights = values.iter().filter(|w| **w != 0.0).count();
    if entries <= weights {
        return Ok(());
    }
    let layer = parameter.name.clone();
    Err(CodebookError::TooLarge {
        layer,
        weights,
        entries,
    })
}

/// Gives every weight that is not zero its nearest centroid, for good.
fn assign(parameter: &mut Parameter, centroids: &[f32]) {
    let values = parameter.parametrization.values();
    let pinned_zero = values.contains(&0.0);
    let offset = u32::from(pinned_zero);
    let index = |&v: &f32| match v {
        0.0 => 0,
        v => nearest(centroids, v) as u32 + offset,
    };
    let indices = values.iter().map(index).collect();
    let codebook = std::iter::repeat_n(0.0, offset as usize)
        .chain(centroids.iter().copied())
        .collect();
    parameter.parametrization = Parametrization::Shared {
        codebook,
        indices,
        pinned_zero,
    };
}

/// Lets a shared tensor's weights learn on, each as its nearest centroid; `values` are those before
/// they were shared. With `zero`, that is a centroid too, which living weights may come to and leave.
pub fn loosen(parameter: &mut Parameter, values: Vec<f32>, zero: bool) {
    let mut codebook = parameter.free().to_vec();
    codebook.retain(|&c| c != 0.0);
    codebook.extend(zero.then_some(0.0));
    codebook.sort_unstable_by(f32::total_cmp);
    let mask = values.iter().map(|&v| v != 0.0).collect();
    parameter.parametrization = Parametrization::Clustered {
        values,
        mask,
        codebook,
        edges: Vec::new(),
    };
}

/// Moves the centroids of a loosened tensor to the means of their weights, zero apart, where that is
/// one. Where there is a `price`, the squared distance that a bit is worth, weights then change to the
/// centroids of least squared distance and bits together.
pub fn follow(parameter: &mut Parameter, price: Option<f64>) {
    if let Parametrization::Clustered {
        values,
        mask,
        codebook,
        edges,
    } = &mut parameter.parametrization
    {
        let living = values.iter().zip(&*mask).filter(|(_, keep)| **keep);
        let mut sums = vec![(0.0f64, 0usize); codebook.len()];
        for (&v, _) in living {
            let (sum, count) = &mut sums[entry_of(codebook, edges, v)];
            *sum += f64::from(v);
            *count += 1;
        }
        let is_pinned = |c: f32| price.is_some() && c == 0.0;
        let moved = codebook.iter().zip(sums).map(|(&c, (sum, n))| match n {
            0 => (c, 0),
            n if is_pinned(c) => (c, n),
            n => ((sum / n as f64) as f32, n),
        });
        let mut entries: Vec<(f32, usize)> = moved.collect();
        entries.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        *codebook = entries.iter().map(|entry| entry.0).collect();
        if let Some(price) = price {
            let dead = mask.iter().filter(|keep| !**keep).count();
            let costed = entries.into_iter().map(|(c, n)| {
                let n = if c == 0.0 { n + dead } else { n };
                (c, rate::bits(n, mask.len()))
            });
            *edges = rate::edges(&costed.collect::<Vec<_>>(), price);
        }
    }
}

/// Ends what [`loosen`] began: every weight keeps the centroid that it has now.
pub fn tighten(parameter: &mut Parameter) {
    if let Parametrization::Clustered {
        codebook, edges, ..
    } = &parameter.parametrization
    {
        let mut centroids = codebook.clone();
        if !edges.is_empty() {
            centroids.retain(|&c| c != 0.0);
        }
        assign(parameter, &centroids);
    }
}

/// One grid for the tensor, its largest magnitude at the grid's end; where channels have gains, one for each,
/// in which the same value is the same integer. Binary and ternary weights lie on a grid of their own.
pub fn per_tensor_grid(graph: &mut Graph, id: ParamId, max: i32) {
    let parameter = &mut graph.parameters[id.0];
    if let Parametrization::Signs(weights) = &parameter.parametrization {
        parameter.grid = Some(weights.grid());
        return;
    }
    let values = parameter.parametrization.values();
    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let step = step(largest, max);
    let scale = match parameter.gains.as_slice() {
        [] => vec![step],
        gains => gains.iter().map(|gain| gain * step).collect(),
    };
    parameter.grid = Some(Grid { scale, max });
}

/// The nearest of 8 … 16 times a power of two, which an image stores as a byte beside others of its layer.
fn four_bits(gain: f32) -> f32 {
    let unit = gain.log2().floor().exp2() / 8.0;
    (gain / unit).round() * unit
}

/// Factors out of each channel's weights how large they are, in mean squares, so that one codebook fits
/// them all.
pub fn level_channels(parameter: &mut Parameter) {
    let weights = parameter.latent();
    let columns = (weights.len() / parameter.shape[0].max(1)).max(1);
    let size = |row: &[f32]| {
        let living = row.iter().filter(|w| **w != 0.0);
        let (count, sum) = living.fold((0, 0.0), |(n, sum), w| (n + 1, sum + w * w));
        (sum / count.max(1) as f32).sqrt()
    };
    let sizes: Vec<f32> = weights.chunks(columns).map(size).collect();
    give_gains(parameter, &weights, &sizes);
}

/// Shares a tensor's weights among the centroids that it had `before` its channels were scaled: its gains
/// follow. The values for [`loosen`].
pub fn share_again(parameter: &mut Parameter, before: &Parameter) -> Vec<f32> {
    if !before.gains.is_empty() {
        let (now, then) = (parameter.latent(), before.latent());
        let columns = (now.len() / before.gains.len()).max(1);
        let rows = now.chunks(columns).zip(then.chunks(columns));
        let factors = rows.map(|(now, then)| {
            let along = |row: &[f32]| row.iter().zip(then).map(|(a, b)| a * b).sum::<f32>();
            let squares = along(then);
            if squares > 0.0 {
                along(now) / squares
            } else {
                1.0
            }
        });
        let sizes = factors.zip(&before.gains).map(|(k, gain)| k.abs() * gain);
        let sizes: Vec<f32> = sizes.collect();
        give_gains(parameter, &now, &sizes);
    }
    let values = parameter.parametrization.values();
    let mut centroids = match &before.parametrization {
        Parametrization::Clustered { codebook, .. } | Parametrization::Shared { codebook, .. } => {
            codebook.clone()
        }
        _ => return values,
    };
    centroids.retain(|&c| c != 0.0);
    centroids.sort_unstable_by(f32::total_cmp);
    assign(parameter, &centroids);
    values
}

/// Factors these sizes out of the channels of weights; for the reason of [`LEAST_CHANNEL`] no factor is
/// less than that of the largest.
fn give_gains(parameter: &mut Parameter, weights: &[f32], sizes: &[f32]) {
    let columns = (weights.len() / sizes.len().max(1)).max(1);
    let least = LEAST_CHANNEL * sizes.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    parameter.gains = sizes
        .iter()
        .map(|size| four_bits(size.max(least)))
        .collect();
    let rows = weights.chunks(columns).zip(&parameter.gains);
    let values = rows.flat_map(|(row, gain)| row.iter().map(move |w| w / gain));
    parameter.parametrization = Parametrization::Dense {
        values: values.collect(),
    };
}

/// Whether a tensor's first axis are a transposed convolution's inputs.
pub(super) fn is_transposed(graph: &Graph, id: ParamId) -> bool {
    let reads = |op: &Op| matches!(op, Op::ConvTranspose { weight, .. } if *weight == id);
    graph.nodes.iter().any(|node| reads(&node.op))
}

/// Share of the tensor's largest magnitude below which a channel's grid gets no finer: a channel of
/// next to nothing would need biases beyond 32 bits in its tiny steps.
const LEAST_CHANNEL: f32 = 1.0 / 1024.0;

/// One grid for each output channel, for dense forms; for the tensor where its first axis is another,
/// and where channels share their values.
pub fn per_channel_grid(graph: &mut Graph, id: ParamId, max: i32) {
    if is_bound(graph.parameter(id)) || is_transposed(graph, id) {
        return per_tensor_grid(graph, id, max);
    }
    let parameter = &mut graph.parameters[id.0];
    let latent = parameter.latent();
    let columns = latent.len() / parameter.shape[0].max(1);
    let largest = |row: &[f32]| row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let least = LEAST_CHANNEL * largest(&latent);
    let scale = latent
        .chunks(columns.max(1))
        .map(|row| step(largest(row).max(least), max))
        .collect();
    parameter.grid = Some(Grid { scale, max });
}

/// A positive step even for a row of zeros.
fn step(largest: f32, max: i32) -> f32 {
    if largest > 0.0 {
        largest / max as f32
    } else {
        1.0 / max as f32
    }
}

/// Lloyd's iterations over sorted values; clusters are ranges, their means come from prefix sums.
pub(super) fn k_means(sorted: &[f32], entries: usize, start: Start, seed: u64) -> Vec<f32> {
    let prefix: Vec<f64> = std::iter::once(0.0)
        .chain(sorted.iter().scan(0.0, |sum, &v| {
            *sum += v as f64;
            Some(*sum)
        }))
        .collect();
    let mut centroids = initial(sorted, entries, start, seed);
    for _ in 0..MAX_ITERATIONS {
        let next = update(sorted, &prefix, &centroids);
        if next == centroids {
            break;
        }
        centroids = next;
    }
    centroids
}

/// Far more than one-dimensional k-means takes to settle.
const MAX_ITERATIONS: usize = 500;

fn initial(sorted: &[f32], entries: usize, start: Start, seed: u64) -> Vec<f32> {
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut centroids: Vec<f32> = (0..entries)
        .map(|i| match start {
            Start::Linear => low + (high - low) * (i as f32 + 0.5) / entries as f32,
            Start::Density => sorted[(2 * i + 1) * sorted.len() / (2 * entries)],
            Start::Random => sorted[rng.random_range(0..sorted.len())],
        })
        .collect();
    centroids.sort_unstable_by(f32::total_cmp);
    centroids
}

/// Means of the ranges nearest to each centroid; a centroid without weights stays.
fn update(sorted: &[f32], prefix: &[f64], centroids: &[f32]) -> Vec<f32> {
    let mut first = 0;
    let ends = centroids.windows(2).map(|pair| {
        let middle = (pair[0] + pair[1]) / 2.0;
        sorted.partition_point(|&v| v < middle)
    });
    let mut next: Vec<f32> = ends
        .chain([sorted.len()])
        .zip(centroids)
        .map(|(end, &old)| {
            let range = std::mem::replace(&mut first, end)..end;
            match range.len() {
                0 => old,
                n => ((prefix[range.end] - prefix[range.start]) / n as f64) as f32,
            }
        })
        .collect();
    next.sort_unstable_by(f32::total_cmp);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::graph::{Op, Parameter};

    fn layer(values: Vec<f32>) -> Graph {
        let mut graph = Graph::new("g", "x", &[values.len()]);
        let weight = graph.add_parameter(Parameter::dense("w", &[1, values.len()], values));
        graph
            .push("fc", Op::Gemm { weight, bias: None }, &[graph.input])
            .expect("fits");
        graph
    }

    #[test]
    fn well_separated_clusters_get_their_means_from_every_start() {
        for start in [Start::Linear, Start::Density] {
            let mut graph = layer(vec![-1.1, 0.0, -0.9, 2.0, 2.2, 0.0, 5.0, 5.0]);
            share(&mut graph, ParamId(0), 3, start, 1).expect("fits");
            let shared = graph.parameters[0].materialize();
            let expected = [-1.0, 0.0, -1.0, 2.1, 2.1, 0.0, 5.0, 5.0];
            assert!(
                shared
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-6),
                "{start:?}: {shared:?}"
            );
        }
    }

    #[test]
    fn no_assignment_of_the_result_could_be_nearer() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let values: Vec<f32> = (0..500)
            .map(|_| rng.random_range(-1.0f32..1.0).powi(3))
            .collect();
        for start in [Start::Linear, Start::Density, Start::Random] {
            let mut graph = layer(values.clone());
            share(&mut graph, ParamId(0), 8, start, 7).expect("fits");
            let Parametrization::Shared { codebook, .. } = &graph.parameters[0].parametrization
            else {
                panic!("not shared");
            };
            for (v, s) in values.iter().zip(graph.parameters[0].materialize()) {
                let best = codebook
                    .iter()
                    .map(|c| (c - v).abs())
                    .fold(f32::MAX, f32::min);
                assert!((s - v).abs() <= best + 1e-6);
            }
        }
    }

    #[test]
    fn a_codebook_larger_than_the_layer_is_refused() {
        let mut graph = layer(vec![1.0, 0.0, 2.0]);
        let error = share(&mut graph, ParamId(0), 3, Start::Linear, 0)
            .expect_err("two weights, three entries");
        assert!(
            error.to_string().contains("larger than layer 'w'"),
            "{error}"
        );
    }

    #[test]
    fn a_loosened_weight_changes_its_centroid_and_keeps_it_once_tightened() {
        let values = vec![-1.1, 0.0, -0.9, 2.0, 2.2, 2.1];
        let mut graph = layer(values.clone());
        share(&mut graph, ParamId(0), 2, Start::Linear, 1).expect("fits");
        let parameter = &mut graph.parameters[0];
        let shared = parameter.materialize();
        loosen(parameter, values, false);
        assert_eq!(parameter.materialize(), shared);
        assert_eq!(
            parameter.pull_back(&[1.0; 6]),
            [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
        );
        // Training moves the third weight across the middle.
        parameter.free_mut()[2] = 1.7;
        follow(parameter, None);
        let close = |w: &[f32], expected: [f32; 6]| {
            let apart = w.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-6, "{w:?}");
        };
        let expected = [-1.1, 0.0, 2.0, 2.0, 2.0, 2.0];
        close(&parameter.materialize(), expected);
        tighten(parameter);
        close(&parameter.materialize(), expected);
        assert_eq!(parameter.free().len(), 3, "a pinned zero and two centroids");
        assert_eq!(parameter.pull_back(&[1.0; 6]), [0.0, 1.0, 4.0]);
    }

    #[test]
    fn channels_that_differ_in_size_alone_share_a_codebook() {
        let row = [-1.5f32, 0.0, 0.4, 1.1];
        let sizes = [1.0f32, 0.5, 300.0];
        let values: Vec<f32> = sizes.iter().flat_map(|s| row.map(|w| w * s)).collect();
        let mut graph = layer(values.clone());
        graph.parameters[0].shape = vec![3, 4];
        level_channels(&mut graph.parameters[0]);
        // A gain of four bits is off by at most a seventeenth: three values a channel, nine in all.
        share(&mut graph, ParamId(0), 3, Start::Density, 1).expect("fits");
        per_tensor_grid(&mut graph, ParamId(0), 127);
        let parameter = &graph.parameters[0];
        for (shared, value) in parameter.materialize().iter().zip(&values) {
            assert!(
                (shared - value).abs() <= value.abs() / 8.0,
                "{shared} {value}"
            );
        }
        let grid = parameter.grid.as_ref().expect("set");
        let integers = parameter.latent().into_iter().enumerate();
        let integers: Vec<i32> = integers.map(|(i, w)| grid.quantize(w, i / 4)).collect();
        assert_eq!(integers[..4], integers[4..8]);
        assert_eq!(integers[..4], integers[8..]);
    }

    /// As a batch normalization is folded in that settled behind them; one of its factors is negative.
    #[test]
    fn channels_that_are_scaled_keep_their_centroids() {
        let row = [-1.5f32, 0.0, -0.5, 0.5, 1.5];
        let values: Vec<f32> = [1.0f32, 0.5, 3.0]
            .iter()
            .flat_map(|s| row.map(|w| w * s))
            .collect();
        let mut graph = layer(values);
        graph.parameters[0].shape = vec![3, 5];
        level_channels(&mut graph.parameters[0]);
        share(&mut graph, ParamId(0), 4, Start::Density, 1).expect("fits");
        let before = graph.parameters[0].clone();
        let factors = [0.3f32, 17.0, -2.0];
        let mut wanted = before.latent();
        let rows = wanted.chunks_mut(5).zip(factors);
        rows.for_each(|(row, k)| row.iter_mut().for_each(|w| *w *= k));
        graph.parameters[0].set_form(Parametrization::Dense {
            values: wanted.clone(),
        });
        let parameter = &mut graph.parameters[0];
        let values = share_again(parameter, &before);
        assert_eq!(parameter.free(), before.free(), "the same centroids");
        for (w, wanted) in parameter.latent().iter().zip(&wanted) {
            // Half of the last of a gain's four bits, at most.
            assert!((w - wanted).abs() <= wanted.abs() / 16.0, "{w} {wanted}");
        }
        let apart = values.iter().zip(parameter.parametrization.values());
        assert!(apart.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 0.1);
    }

    #[test]
    fn a_channel_of_nothing_keeps_a_gain_in_reach_of_the_largest() {
        let mut graph = layer(vec![0.0, 0.0, 1e-20, 0.0, 3.0, 4.0]);
        graph.parameters[0].shape = vec![3, 2];
        level_channels(&mut graph.parameters[0]);
        let gains = &graph.parameters[0].gains;
        assert_eq!(gains[..2], [3.5 / 1024.0; 2]);
        assert_eq!(gains[2], 3.5);
        let mut graph = layer(vec![0.0; 6]);
        level_channels(&mut graph.parameters[0]);
        assert_eq!(graph.parameters[0].latent(), [0.0; 6]);
    }
}
