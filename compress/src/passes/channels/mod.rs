//! Structured pruning: whole units and channels go, with all that hangs on them, and the graph shrinks.
//! While the network is retrained their weights are masked, a few more at a time; at the end they are
//! taken out.

mod select;

use super::prune::{Span, cubic};
use super::units::Coupling;
use super::{fold_batch_norm, normalize, remove_dead_units};
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
pub use select::{Importance, UnitAmounts, choose, mask_units, norms, shrink_units, taylor};
use serde::{Deserialize, Serialize};
use trainer::data::Dataset;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, Hook, TrainConfig, gradients};

/// How the share is spread over the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelsBy {
    /// The same of each layer.
    #[default]
    Layer,
    /// One threshold for all layers.
    Global,
}

/// Structured pruning and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// Share of the units that goes, 0 … 1. Outputs of the network stay, and what could not be followed.
    pub share: f64,
    /// How it is spread over the layers.
    pub by: ChannelsBy,
    /// A share per layer whose units can go, in order; they replace `share` and `by`. Channels that are
    /// added up are one layer, and so are those that are concatenated.
    pub layers: Vec<f64>,
    /// What decides which go.
    pub importance: Importance,
    /// Training examples that `taylor` looks at.
    pub examples: usize,
    /// Share of the retraining at which units begin to go …
    pub from: f64,
    /// … and at which all have gone.
    pub until: f64,
    /// Steps between two choices.
    pub every: usize,
    /// Whether convolutions that come without batch normalization get one while they are retrained.
    pub normalize: bool,
    /// Retraining.
    pub train: TrainConfig,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            share: 0.5,
            by: ChannelsBy::default(),
            layers: Vec::new(),
            importance: Importance::default(),
            examples: 1024,
            from: 0.0,
            until: 0.5,
            every: 50,
            normalize: false,
            train: TrainConfig {
                l2: 1e-5,
                ..TrainConfig::default()
            },
        }
    }
}

impl Channels {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            normalize: true,
            train: TrainConfig {
                epochs: 10,
                learning_rate: 5e-3,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    /// Where the amounts grow.
    fn span(&self) -> Span {
        let Self { from, until, .. } = *self;
        Span { from, until }
    }

    fn amounts(&self) -> UnitAmounts {
        match self.by {
            _ if !self.layers.is_empty() => UnitAmounts::PerLayer(self.layers.clone()),
            ChannelsBy::Layer => UnitAmounts::Each(self.share),
            ChannelsBy::Global => UnitAmounts::Global(self.share),
        }
    }

    /// Batches to look at, where the choice is by examples.
    fn batches(&self, run: &Run) -> Result<Vec<Dataset>, CompressError> {
        if self.importance != Importance::Taylor {
            return Ok(Vec::new());
        }
        let Some(train) = run.train else {
            return Err(SettingError {
                name: "channels.importance",
                range: "l1 or l2 without --data",
                value: "taylor".into(),
            }
            .into());
        };
        let places: Vec<usize> = (0..self.examples.clamp(1, train.len())).collect();
        Ok(places
            .chunks(BATCH)
            .map(|part| train.subset(part))
            .collect())
    }
}

/// Examples over which a change of the loss is averaged before it is squared.
const BATCH: usize = 64;

impl Pass for Channels {
    fn effect(&self) -> Effect {
        Effect::Weights
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        let mut shares = self.layers.iter().chain([&self.share]);
        if let Some(share) = shares.find(|s| !(0.0..1.0).contains(*s)) {
            let range = "a share of at least 0 and below 1";
            return wrong("--channels", range, share.to_string());
        }
        self.span().check("channels.from and channels.until")
    }

    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        let given = self.layers.len();
        if given == 0 {
            return Ok(());
        }
        match Coupling::of(graph).layers().len() {
            layers if layers == given => Ok(()),
            layers => Err(CompressError::UnitLayers { layers, given }),
        }
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        if self.normalize {
            normalize::for_training(run, &self.train)?;
        }
        let coupling = Coupling::of(&run.graph);
        let mut thinning = Thinning {
            settings: self,
            batches: self.batches(run)?,
            gone: vec![false; coupling.count()],
            coupling,
            done: false,
        };
        run.fit(&self.train, &mut thinning)?;
        let Thinning { coupling, gone, .. } = thinning;
        let count = gone.iter().filter(|&&gone| gone).count();
        eprintln!("channels: {count} of {} units go", coupling.count() - 1);
        // The kept epoch may be one before the last choice.
        mask_units(&mut run.graph, &coupling, &gone);
        shrink_units(&mut run.graph, &coupling, &gone)?;
        fold_batch_norm(&mut run.graph);
        remove_dead_units(&mut run.graph);
        Ok(())
    }
}

/// Masks more and more units as training goes on.
struct Thinning<'s> {
    settings: &'s Channels,
    batches: Vec<Dataset>,
    coupling: Coupling,
    gone: Vec<bool>,
    /// Whether all have gone that are to.
    done: bool,
}

impl Thinning<'_> {
    fn scores(&self, graph: &Graph) -> Result<Vec<f64>, String> {
        let importance = self.settings.importance;
        if importance != Importance::Taylor {
            return Ok(norms(graph, &self.coupling, importance));
        }
        let of = |batch| gradients(graph, batch, DeviceChoice::Cpu).map_err(|e| e.to_string());
        let batches: Result<Vec<_>, String> = self.batches.iter().map(of).collect();
        Ok(taylor(graph, &self.coupling, &batches?))
    }
}

impl Hook for Thinning<'_> {
    fn every(&self) -> usize {
        self.settings.every.max(1)
    }

    fn update(&mut self, progress: f64, graph: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        let reach = cubic(self.settings.span().progress(progress));
        if !self.done && reach > 0.0 {
            let scores = self.scores(graph)?;
            let amounts = self.settings.amounts();
            choose(&self.coupling, &scores, &amounts, reach, &mut self.gone);
        }
        self.done = reach == 1.0;
        mask_units(graph, &self.coupling, &self.gone);
        Ok(())
    }
}
