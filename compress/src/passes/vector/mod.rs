//! Vector and product quantization (Jégou et al. 2011; of weights Gong et al. 2014, Stock et al. 2020):
//! neighbouring weights of an output are together an entry of a codebook, trained through the integers.

mod codebook;
mod competitive;

use super::choice::chosen;
use super::codebook::per_tensor_grid;
use super::weights;
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
use codebook::Codebook;
use competitive::Competition;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use trainer::graph::{Cut, Graph, Op, ParamId, Parametrization, ValueId, VectorWeights};
use trainer::train::{Hook, TrainConfig};

/// Where the entries begin that training then moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VectorStart {
    /// At k-means' centroids, from k-means++.
    #[default]
    KMeans,
    /// Where frequency-sensitive competitive learning ends.
    Competitive,
}

/// Vector quantization and the training that goes with it. Zeros of pruning are not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vector {
    /// Neighbouring inputs of an output that are a vector together; the last one of a row may be shorter.
    pub dimension: usize,
    /// Entries of a codebook; at most one for every four vectors that it serves.
    pub entries: usize,
    /// Into how many ranges, each with a codebook of its own, the inputs of a layer are divided.
    pub parts: usize,
    /// Where entries begin.
    pub start: VectorStart,
    /// Of competitive learning: the share of the way to a vector that the nearest entry moves at first.
    pub alpha: f64,
    /// Of competitive learning: how much is taken off the distance of an entry for each vector that it
    /// did not win, in root mean squares of the vectors' lengths over the entries; 0 is plain competitive
    /// learning.
    pub gamma: f64,
    /// Share of the fine-tuning until which the weights themselves learn and may change their
    /// entries, rather than the entries alone; at 0 they never do.
    pub reassign: f64,
    /// Layers to leave alone, by name; `*` stands for any characters.
    pub skip: Vec<String>,
    /// Fine-tuning of the entries through the integers.
    pub train: TrainConfig,
}

impl Default for Vector {
    fn default() -> Self {
        Self {
            dimension: 4,
            entries: 64,
            parts: 1,
            start: VectorStart::default(),
            alpha: 0.3,
            gamma: 0.03,
            reassign: 0.0,
            skip: Vec::new(),
            train: TrainConfig {
                learning_rate: 5e-4,
                ..TrainConfig::default()
            },
        }
    }
}

/// Why a layer cannot become vectors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer '{layer}' {reason}")]
pub struct VectorError {
    layer: String,
    reason: String,
}

/// How often competitive learning sees each vector.
const COMPETITION_EPOCHS: usize = 10;

impl Vector {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            reassign: 0.75,
            train: TrainConfig {
                epochs: 5,
                learning_rate: 5e-4,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    /// The layers whose weights become vectors: those whose rows are an image's too.
    fn layers(&self, graph: &Graph) -> Result<Vec<ParamId>, CompressError> {
        let mut ids = chosen(graph, &self.skip)?;
        let in_rows = |op: &Op| matches!(op, Op::Gemm { .. } | Op::Conv { .. } | Op::Recurrent(_));
        let reads = |op: &Op, id| op.parameters().contains(&id);
        ids.retain(|&id| {
            graph
                .nodes
                .iter()
                .all(|n| !reads(&n.op, id) || in_rows(&n.op))
        });
        Ok(ids)
    }

    /// Replaces a layer's weights by entries of codebooks.
    ///
    /// # Errors
    /// When a weight is not finite.
    pub fn quantize(&self, graph: &mut Graph, id: ParamId, seed: u64) -> Result<(), VectorError> {
        let channels = channels(graph, id);
        let parameter = &mut graph.parameters[id.0];
        let error = |reason: String| VectorError {
            layer: parameter.name.clone(),
            reason,
        };
        let values = parameter.latent();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(error("holds a weight that is not finite".to_owned()));
        }
        let rows = parameter.shape[0];
        let columns = values.len() / rows.max(1);
        let dimension = self.dimension.min(columns).max(1);
        let cut = Cut {
            dimension,
            span: columns.div_ceil(dimension).div_ceil(self.parts).max(1),
            channels,
        };
        let cut_values = in_order(&values, cut, columns);
        let entries = self.entries.min(rows * cut.span / 4).max(1);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let books = spans(&cut_values, cut, columns);
        let books = books.map(|points| self.codebook(&points, entries, dimension, &mut rng));
        let books: Vec<Codebook> = books.collect();
        let weights = assigned(books, &cut_values, cut, [rows, columns]).map_err(error)?;
        parameter.set_form(Parametrization::Vectors(match self.reassign > 0.0 {
            true => weights.loosened(values),
            false => weights,
        }));
        Ok(())
    }

    fn codebook(
        &self,
        points: &[&[f32]],
        entries: usize,
        dimension: usize,
        rng: &mut ChaCha8Rng,
    ) -> Codebook {
        match self.start {
            VectorStart::KMeans => Codebook::k_means(points, entries, dimension, rng),
            VectorStart::Competitive => {
                let squares: f64 = points
                    .iter()
                    .flat_map(|p| p.iter())
                    .map(|&x| f64::from(x).powi(2))
                    .sum();
                let length = (squares / points.len() as f64).sqrt();
                let rule = Competition {
                    alpha: self.alpha as f32,
                    gamma: (self.gamma * length / entries as f64) as f32,
                    epochs: COMPETITION_EPOCHS,
                };
                Codebook::competitive(points, entries, dimension, rule, rng)
            }
        }
    }
}

/// The input channels of a layer, which an image's rows hold side by side: those of filters, and those of
/// an image that was flattened.
fn channels(graph: &Graph, id: ParamId) -> usize {
    let node = graph.nodes.iter().find(|n| n.op.parameters().contains(&id));
    match node.map(|n| (&n.op, n.inputs[0])) {
        Some((Op::Conv { .. }, _)) => graph.parameter(id).shape[1],
        Some((Op::Gemm { .. }, input)) => flattened_channels(graph, input),
        _ => 1,
    }
}

fn flattened_channels(graph: &Graph, mut value: ValueId) -> usize {
    loop {
        let writer = graph.nodes.iter().find(|n| n.output == value);
        match writer.map(|n| (&n.op, n.inputs[0])) {
            Some((Op::Flatten | Op::Reshape { .. }, from)) => match graph.value(from).shape[..] {
                [channels, _, _] => return channels,
                _ => value = from,
            },
            Some((Op::Relu | Op::Clip { .. } | Op::Unary(_) | Op::Dropout { .. }, from)) => {
                value = from;
            }
            _ => return 1,
        }
    }
}

/// Weights in the order of the rows that are cut.
fn in_order(values: &[f32], cut: Cut, columns: usize) -> Vec<f32> {
    let order = cut.order(columns);
    let rows = values.chunks(columns);
    rows.flat_map(|row| order.iter().map(|&i| row[i])).collect()
}

/// The vectors that each codebook serves, row by row.
fn spans(values: &[f32], cut: Cut, columns: usize) -> impl Iterator<Item = Vec<&[f32]>> {
    (0..cut.codebooks(columns)).map(move |book| {
        let rows = values.chunks(columns);
        let of_row = |row| {
            <[f32]>::chunks(row, cut.dimension)
                .skip(book * cut.span)
                .take(cut.span)
        };
        rows.flat_map(of_row).collect()
    })
}

/// Every vector at the nearest entry of its codebook.
fn assigned(
    books: Vec<Codebook>,
    values: &[f32],
    cut: Cut,
    sizes @ [rows, columns]: [usize; 2],
) -> Result<VectorWeights, String> {
    let vectors = cut.vectors(columns);
    let mut indices = vec![0; rows * vectors];
    for ((span, points), book) in spans(values, cut, columns).enumerate().zip(&books) {
        let first = span * cut.span;
        let places = (0..rows)
            .flat_map(|r| (first..vectors.min(first + cut.span)).map(move |v| r * vectors + v));
        places
            .zip(book.assign(&points))
            .for_each(|(place, index)| indices[place] = index);
    }
    let values = books.into_iter().flat_map(Codebook::into_values).collect();
    VectorWeights::new(values, indices, cut, sizes)
}

/// Moves the entries to the means of the loose weights' vectors, and these to the entries nearest then.
fn follow(weights: &VectorWeights, values: Vec<f32>) -> Result<VectorWeights, String> {
    let (cut, sizes) = (weights.cut(), weights.sizes());
    let cut_values = in_order(&values, cut, sizes[1]);
    let books = weights
        .codebooks()
        .chunks(weights.entries() * cut.dimension);
    let moved = books
        .zip(spans(&cut_values, cut, sizes[1]))
        .map(|(book, points)| {
            let book = Codebook::new(book.to_vec(), cut.dimension);
            book.means(&points, &book.assign(&points))
        });
    Ok(assigned(moved.collect(), &cut_values, cut, sizes)?.loosened(values))
}

#[cfg(test)]
mod tests;

impl Pass for Vector {
    fn effect(&self) -> Effect {
        Effect::Form
    }

    fn forgets(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        if !(1..=MAX_DIMENSION).contains(&self.dimension) {
            let range = "vectors of 1 to 64 weights";
            return wrong("--vector", range, self.dimension.to_string());
        }
        if !(2..=256).contains(&self.entries) {
            return wrong("vector.entries", "2 to 256", self.entries.to_string());
        }
        if self.parts == 0 {
            return wrong("vector.parts", "at least 1", "0".to_owned());
        }
        for (name, value) in [
            ("vector.alpha", self.alpha),
            ("vector.reassign", self.reassign),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return wrong(name, "0 to 1", value.to_string());
            }
        }
        if !(0.0..=MAX_GAMMA).contains(&self.gamma) {
            return wrong("vector.gamma", "0 to 1000", self.gamma.to_string());
        }
        Ok(())
    }

    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        self.layers(graph).map(drop)
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    /// Codebooks, then all that is left to learn through the integers.
    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        for (place, id) in self.layers(&run.graph)?.into_iter().enumerate() {
            let seed = run.settings.seed.wrapping_add(place as u64);
            self.quantize(&mut run.graph, id, seed)?;
        }
        let mut follow = Follow {
            max: run.settings.grid_max(),
            reassign: self.reassign,
        };
        follow.refresh(&mut run.graph);
        run.calibrate()?;
        run.fit(&self.train, &mut follow)
    }
}

/// Far more weights than are alike.
const MAX_DIMENSION: usize = 64;

/// Far beyond where entries take turns.
const MAX_GAMMA: f64 = 1000.0;

/// Lets entries follow their weights, and the integer grid the entries, as training moves them.
struct Follow {
    max: i32,
    reassign: f64,
}

impl Follow {
    fn refresh(&self, graph: &mut Graph) {
        for id in weights(graph) {
            per_tensor_grid(graph, id, self.max);
        }
    }
}

impl Hook for Follow {
    fn every(&self) -> usize {
        if self.reassign > 0.0 { 20 } else { 100 }
    }

    fn update(&mut self, progress: f64, graph: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        for parameter in &mut graph.parameters {
            if let Parametrization::Vectors(weights) = &mut parameter.parametrization
                && let Some(values) = weights.loose().map(<[f32]>::to_vec)
            {
                *weights = match progress < self.reassign {
                    true => follow(weights, values)?,
                    false => weights.clone().tightened(),
                };
            }
        }
        self.refresh(graph);
        Ok(())
    }
}
