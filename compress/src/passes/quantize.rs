//! Weight sharing by a codebook per layer (Han 2016), trained through the integers.

use super::codebook::{self, Start};
use super::rate::{self, is_off};
use super::{fold_batch_norm, normalize, weights};
use crate::pipeline::{CompressError, Effect, Pass, Run, check_count};
use crate::settings::SettingError;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, Op, ParamId, Parameter};
use trainer::train::{Hook, TrainConfig};

/// Weight sharing and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantize {
    /// 2^bits centroids for each layer's surviving weights.
    pub bits: u8,
    /// Centroids per layer, in order; they replace `bits`.
    pub entries: Vec<usize>,
    /// Where k-means starts.
    pub start: Start,
    /// Whether each channel of a convolution has a factor of its own by which its centroids are multiplied:
    /// batch normalization, folded in, left some channels many times larger than others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub per_channel: bool,
    /// Share of the fine-tuning, at its beginning, in which convolutions that come without batch
    /// normalization have one, at larger steps and with activations as they are: weights settle on their
    /// centroids. Left out where there are no such convolutions. Channels need factors of their own for it, in
    /// which the normalization ends.
    #[serde(skip_serializing_if = "is_off")]
    pub normalized: f64,
    /// Share of the fine-tuning through the integers until which the weights themselves learn and may change
    /// their centroids, rather than the centroids alone; at 0 they never do.
    pub reassign: f64,
    /// What a coded bit is worth when weights choose their centroids, of which zero then is one, in shares
    /// of what the loss minds an average weight; 0 asks for the nearest centroid alone.
    #[serde(skip_serializing_if = "is_off")]
    pub rate: f64,
    /// Fine-tuning of the centroids through the integers.
    pub train: TrainConfig,
}

impl Default for Quantize {
    fn default() -> Self {
        Self {
            bits: 4,
            entries: Vec::new(),
            start: Start::default(),
            per_channel: false,
            normalized: 0.0,
            reassign: 0.0,
            rate: 0.0,
            train: TrainConfig {
                learning_rate: 5e-4,
                ..TrainConfig::default()
            },
        }
    }
}

impl Quantize {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            // A few epochs do not make up for a bulk of weights with few centroids.
            start: Start::Density,
            per_channel: true,
            normalized: 0.5,
            reassign: 0.5,
            train: TrainConfig {
                epochs: 10,
                learning_rate: 5e-4,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    /// Centroids of the layer at this place.
    fn entries_of(&self, place: usize) -> usize {
        self.entries.get(place).copied().unwrap_or(1 << self.bits)
    }
}

impl Pass for Quantize {
    fn effect(&self) -> Effect {
        Effect::Form
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        if !(1..=8).contains(&self.bits) {
            return wrong("--quantize", "1 to 8 bits", self.bits.to_string());
        }
        if let Some(entries) = self.entries.iter().find(|e| !(1..=256).contains(*e)) {
            let range = "1 to 256 centroids";
            return wrong("quantize.entries", range, entries.to_string());
        }
        if !(0.0..1.0).contains(&self.normalized) {
            let range = "a share of at least 0 and below 1";
            return wrong("quantize.normalized", range, self.normalized.to_string());
        }
        if self.normalized > 0.0 && !self.per_channel {
            let range = "left out, or quantize.per_channel true";
            return wrong("quantize.normalized", range, self.normalized.to_string());
        }
        rate::check("quantize.rate", self.rate)
    }

    /// Codebooks must not be larger than their layers.
    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        check_count(graph, self.entries.len())?;
        for (place, id) in weights(graph).into_iter().enumerate() {
            codebook::check_size(graph.parameter(id), self.entries_of(place))?;
        }
        Ok(())
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    /// Codebooks by k-means, then all that is left to learn through the integers.
    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        let (first, then) = self.trainings();
        let settled = if run.trains(&first) && normalize::has_bare_convolution(&run.graph) {
            self.settle(run, &first)?
        } else {
            Vec::new()
        };
        self.share(run, &settled)?;
        let mut follow = Follow {
            max: Some(run.settings.grid_max()),
            reassign: self.reassign,
            rate: self.rate,
        };
        follow.settle(&mut run.graph);
        follow.refresh(&mut run.graph);
        run.calibrate()?;
        run.fit(&then, &mut follow)
    }
}

/// What steps are multiplied by while convolutions have batch normalization, which makes up for them.
const NORMALIZED_STEPS: f64 = 4.0;

impl Quantize {
    /// Epochs in all where so many go through the integers.
    pub fn epochs(&self, through_integers: usize) -> usize {
        (through_integers as f64 / (1.0 - self.normalized)).round() as usize
    }

    /// With batch normalization, and then without.
    fn trainings(&self) -> (TrainConfig, TrainConfig) {
        let all = self.train.epochs;
        let epochs = (self.normalized * all as f64).round() as usize;
        let first = TrainConfig {
            epochs,
            learning_rate: NORMALIZED_STEPS * self.train.learning_rate,
            ..self.train.clone()
        };
        let then = TrainConfig {
            epochs: all - epochs,
            ..self.train.clone()
        };
        (first, then)
    }

    /// Trains weights that share centroids, each convolution normalized; the weights as they were before
    /// that was folded into them.
    fn settle(&self, run: &mut Run, train: &TrainConfig) -> Result<Vec<Parameter>, CompressError> {
        normalize::for_training(run, train)?;
        self.share(run, &[])?;
        let mut follow = Follow {
            max: None,
            reassign: f64::INFINITY,
            rate: self.rate,
        };
        follow.settle(&mut run.graph);
        run.fit_part("weights", train, &mut follow)?;
        let ids = weights(&run.graph).into_iter();
        let settled = ids.map(|id| run.graph.parameter(id).clone()).collect();
        fold_batch_norm(&mut run.graph);
        Ok(settled)
    }

    /// Gives every layer its codebook: the one that it has `settled` on, or one by k-means.
    fn share(&self, run: &mut Run, settled: &[Parameter]) -> Result<(), CompressError> {
        let seed = run.settings.seed;
        for (place, id) in weights(&run.graph).into_iter().enumerate() {
            let parameter = &mut run.graph.parameters[id.0];
            let before = settled.iter().find(|p| p.name == parameter.name);
            let values = match before {
                Some(before) => codebook::share_again(parameter, before),
                None => {
                    if self.per_channel && is_convolution(&run.graph, id) {
                        codebook::level_channels(&mut run.graph.parameters[id.0]);
                    }
                    let values = run.graph.parameter(id).parametrization.values();
                    codebook::share(&mut run.graph, id, self.entries_of(place), self.start, seed)?;
                    values
                }
            };
            if self.reassign > 0.0 || self.rate > 0.0 {
                let parameter = &mut run.graph.parameters[id.0];
                codebook::loosen(parameter, values, self.rate > 0.0);
            }
        }
        Ok(())
    }
}

/// Whether a tensor's first axis are a convolution's channels.
fn is_convolution(graph: &Graph, id: ParamId) -> bool {
    let reads = |op: &Op| matches!(op, Op::Conv { weight, .. } if *weight == id);
    graph.nodes.iter().any(|node| reads(&node.op))
}

/// Lets centroids follow their weights, and the integer grid the centroids, as training moves them.
struct Follow {
    /// Of the grid; weights are not rounded without.
    max: Option<i32>,
    reassign: f64,
    rate: f64,
}

/// Far more than weights take to settle where bits count.
const MOST_CHANGES: usize = 50;

impl Follow {
    fn refresh(&self, graph: &mut Graph) {
        if let Some(max) = self.max {
            let ids = weights(graph).into_iter();
            ids.for_each(|id| codebook::per_tensor_grid(graph, id, max));
        }
    }

    /// Where bits count, lets weights choose until the shares of the centroids, and so their bits, stand
    /// still.
    fn settle(&self, graph: &mut Graph) {
        for _ in (0..MOST_CHANGES).filter(|_| self.rate > 0.0) {
            let before = graph.clone();
            self.follow(graph, &[]);
            if *graph == before {
                return;
            }
        }
    }

    /// One choice of every weight that may still choose.
    fn follow(&self, graph: &mut Graph, squares: &[&[f32]]) {
        let counts = self.rate > 0.0;
        let prices = rate::prices(graph, squares, self.rate);
        for (id, price) in weights(graph).into_iter().zip(prices) {
            let price = Some(price).filter(|_| counts);
            codebook::follow(&mut graph.parameters[id.0], price);
        }
    }
}

impl Hook for Follow {
    fn every(&self) -> usize {
        if self.reassign > 0.0 { 10 } else { 100 }
    }

    fn update(
        &mut self,
        progress: f64,
        graph: &mut Graph,
        squares: &[&[f32]],
    ) -> Result<(), String> {
        if progress < self.reassign {
            self.follow(graph, squares);
        } else {
            for id in weights(graph) {
                codebook::tighten(&mut graph.parameters[id.0]);
            }
        }
        self.refresh(graph);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_training_has_its_epochs() {
        let parts = |normalized: f64, asked: usize| {
            let mut quantize = Quantize {
                normalized,
                ..Quantize::continued()
            };
            quantize.train.epochs = quantize.epochs(asked);
            let (first, then) = quantize.trainings();
            (first.epochs, then.epochs)
        };
        assert_eq!(parts(2.0 / 3.0, 12), (24, 12));
        assert_eq!(parts(0.5, 12), (12, 12));
        assert_eq!(parts(0.0, 12), (0, 12));
        assert_eq!(parts(0.25, 12), (4, 12));
    }
}
