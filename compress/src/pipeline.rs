//! The passes in order, from a float graph to an image.

use crate::calibrate::{CalibrateError, calibrate};
use crate::encode::{Coding, EncodeError, Encoded, encode};
use crate::host::{self, HostError};
use crate::lower::{Biases, LowerError, lower, steps};
use crate::passes::codebook::{self, CodebookError};
use crate::passes::post_training::{EQUALIZED, choose_int16, quantize_best};
use crate::passes::sensitivity::Pass;
use crate::passes::stream::{StreamError, carry, to_steps};
use crate::passes::{
    Amounts, fold_batch_norm, insert_batch_norm, prune, remove_dead_units, sensitivity, simplify,
    unquantize, weights,
};
use crate::scales::tentative;
use crate::settings::{Prune, PruneBy, Quantize, SettingError, Settings};
use no_std_core::Model;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;
use trainer::command::beside;
use trainer::data::Dataset;
use trainer::graph::{Graph, Node, Op, ValueId};
use trainer::names::meant;
use trainer::train::{DeviceChoice, Hook, Progress, TrainConfig, TrainError, error_percent, fit};

/// Why a model could not be compressed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum CompressError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Codebook(#[from] CodebookError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Run(#[from] HostError),
    #[error("{source}; {} holds the pruned network, from which --resume goes on", checkpoint.display())]
    Pruned {
        source: CodebookError,
        checkpoint: PathBuf,
    },
    #[error("{given} amounts are given for the {layers} layers with weights")]
    Layers { layers: usize, given: usize },
    #[error("parameter '{0}' holds a value that is not finite; the model cannot be compressed")]
    NotFinite(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("--int16: no layer's output is called '{name}'{hint}")]
    Int16 { name: String, hint: String },
}

/// Examples to compress with, if there are any.
#[derive(Clone, Copy, Debug)]
pub enum Examples<'d> {
    /// Labelled training examples: retraining, calibration and choices.
    Data(&'d Dataset),
    /// None: calibration on 64 seeded inputs, standard normal or uniform between two bounds.
    Synthetic {
        /// Bounds of a uniform draw.
        range: Option<(f32, f32)>,
        /// Of the draw.
        seed: u64,
    },
}

/// Examples that a batch normalization begins with the statistics of.
const NORMALIZING_INPUTS: usize = 256;

/// Synthetic inputs without data.
pub const SYNTHETIC_INPUTS: usize = 64;

/// One pass's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The pass.
    pub name: String,
    /// Wall-clock time.
    pub seconds: f64,
    /// Length of the image, were it written after this pass (0 where it cannot be yet).
    pub bytes: usize,
    /// Error on held-out examples in percent, where there are some.
    pub value: Option<f64>,
}

/// A compressed model.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// The graph with the compressed values, quantized.
    pub graph: Graph,
    /// The image with the account of its bytes.
    pub encoded: Encoded,
    /// What each pass did.
    pub stages: Vec<Stage>,
}

/// How a run goes on after an interruption.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// Files begin with this path; nothing is kept without one.
    pub stem: Option<PathBuf>,
    /// Whether existing ones are used.
    pub resume: bool,
}

impl Checkpoints {
    fn config(&self, train: &TrainConfig, stage: &str) -> TrainConfig {
        TrainConfig {
            checkpoint: self.file(stage),
            resume: self.resume,
            ..train.clone()
        }
    }

    fn file(&self, stage: &str) -> Option<PathBuf> {
        let stem = self.stem.as_ref();
        stem.map(|stem| beside(stem, &format!("{stage}.ckpt")))
    }

    /// Says where the pruned network is when there is no codebook for it.
    fn with_pruned(&self, error: CompressError) -> CompressError {
        match (error, self.file("prune").filter(|file| file.exists())) {
            (CompressError::Codebook(source), Some(checkpoint)) => {
                CompressError::Pruned { source, checkpoint }
            }
            (error, _) => error,
        }
    }

    /// Deletes the files of a finished run.
    pub fn remove(&self) {
        for path in ["prune", "quantize"]
            .iter()
            .filter_map(|stage| self.file(stage))
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Compresses a float graph.
///
/// # Errors
/// When a setting is out of range, the graph cannot be an image, or training fails.
pub fn compress(
    graph: &Graph,
    examples: Examples,
    settings: &Settings,
    checkpoints: &Checkpoints,
) -> Result<Compressed, CompressError> {
    settings.check()?;
    settings.check_training()?;
    check_finite(graph)?;
    let macs = graph.macs();
    // A quantized model stays the one it is, unless a pass is to give it other weights.
    let plain = settings.prune.is_none() && settings.quantize.is_none() && settings.grid == 8;
    let mut graph = prepared(graph, plain);
    let biases = if graph.values.iter().any(|v| v.quantization.is_some()) {
        Biases::Exact
    } else {
        Biases::Rounded
    };
    if let Examples::Data(data) = examples {
        graph.metadata.extend(data.metadata.clone());
    }
    simplify(&mut graph);
    widen(&mut graph, &settings.int16)?;
    lower_check(&graph)?;
    if settings.stream {
        to_steps(&graph)?;
    }
    check_layers(&graph, settings)?;
    let (train, held_out) = match examples {
        Examples::Data(data) => {
            let (train, held_out) = data.hold_out(settings.hold_out, settings.seed);
            (Some(train), held_out)
        }
        Examples::Synthetic { .. } => (None, Dataset::default()),
    };
    let calibration = calibration_inputs(&graph, train.as_ref(), examples, settings);
    let data = train
        .as_ref()
        .map(|train| (train, (!held_out.is_empty()).then_some(&held_out)));
    let mut run = Run {
        graph,
        data,
        calibration,
        settings,
        biases,
        macs,
        checkpoints,
        stages: Vec::new(),
    };
    if let Some(settings) = &settings.prune {
        run.stage("prune", |run| run.prune(settings))?;
    }
    match &settings.quantize {
        Some(quantize) => run
            .stage("quantize", |run| run.share(quantize))
            .map_err(|error| checkpoints.with_pruned(error))?,
        None => run.stage("quantize", Run::uniform)?,
    }
    let encoded = run.encode()?;
    Ok(Compressed {
        graph: run.graph,
        encoded,
        stages: run.stages,
    })
}

/// What the passes work on: nothing that leads nowhere, no parameter of two nodes, and no scale or grid
/// of an earlier quantization unless it is kept.
pub(crate) fn prepared(graph: &Graph, keep_quantization: bool) -> Graph {
    let mut graph = graph.clone();
    graph.metadata.remove(EQUALIZED);
    graph.remove_unused();
    graph.unshare_parameters();
    if !keep_quantization {
        unquantize(&mut graph);
    }
    graph
}

/// A graph as the passes find it, for measurements on it.
pub(crate) fn scannable(graph: &Graph) -> Graph {
    let mut graph = prepared(graph, false);
    simplify(&mut graph);
    graph
}

fn check_finite(graph: &Graph) -> Result<(), CompressError> {
    let bad = graph
        .parameters
        .iter()
        .find(|p| p.free().iter().any(|v| !v.is_finite()));
    bad.map_or(Ok(()), |p| Err(CompressError::NotFinite(p.name.clone())))
}

/// Refuses before training what can be known before it: lists of another length than the layers',
/// codebooks larger than their layer.
fn check_layers(graph: &Graph, settings: &Settings) -> Result<(), CompressError> {
    let ids = weights(graph);
    let layers = ids.len();
    let amounts = settings.prune.as_ref().map_or(0, |p| p.layers.len());
    let entries = settings.quantize.as_ref().map_or(0, |q| q.entries.len());
    let wrong = [amounts, entries]
        .into_iter()
        .find(|&n| n > 0 && n != layers);
    if let Some(given) = wrong {
        return Err(CompressError::Layers { layers, given });
    }
    for (place, id) in ids.into_iter().enumerate() {
        let parameter = graph.parameter(id);
        let entries = settings
            .quantize
            .as_ref()
            .map_or(0, |q| q.entries_of(place));
        let weights = parameter
            .materialize()
            .iter()
            .filter(|w| **w != 0.0)
            .count();
        if entries > weights {
            let layer = parameter.name.clone();
            return Err(CodebookError::TooLarge {
                layer,
                weights,
                entries,
            }
            .into());
        }
    }
    Ok(())
}

/// Refuses what an image cannot hold before any time is spent on it.
fn lower_check(graph: &Graph) -> Result<(), CompressError> {
    match lower(&tentative(graph), Biases::Rounded) {
        Err(error @ LowerError::Unsupported(_)) => Err(error.into()),
        Ok(program) => Ok(encode(&program, Coding::Plain).map(drop)?),
        _ => Ok(()),
    }
}

fn calibration_inputs(
    graph: &Graph,
    train: Option<&Dataset>,
    examples: Examples,
    settings: &Settings,
) -> Vec<f32> {
    let length = graph.value(graph.input).len();
    match (train, examples) {
        (Some(train), _) => {
            let count = settings.calibration_examples.max(1).min(train.len());
            train.inputs[..count * train.input_len()].to_vec()
        }
        (None, Examples::Synthetic { range, seed }) => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let places = places_read(graph);
            let draw = |_| match (places, range) {
                (Some(count), _) => rng.random_range(0..count) as f32,
                (None, Some((low, high))) => rng.random_range(low..=high),
                (None, None) => rng.sample(StandardNormal),
            };
            (0..SYNTHETIC_INPUTS * length).map(draw).collect()
        }
        (None, Examples::Data(_)) => Vec::new(),
    }
}

/// Of how many places the input names some, where it goes into a table.
fn places_read(graph: &Graph) -> Option<usize> {
    let reader = |node: &&Node| node.inputs.contains(&graph.input);
    match graph.nodes.iter().find(reader)?.op {
        Op::Embedding { table } => Some(graph.parameter(table).shape[0]),
        _ => None,
    }
}

struct Run<'a> {
    graph: Graph,
    /// Training and, if any, held-out examples.
    data: Option<(&'a Dataset, Option<&'a Dataset>)>,
    calibration: Vec<f32>,
    settings: &'a Settings,
    biases: Biases,
    /// Multiply-accumulates of the graph as it came.
    macs: u64,
    checkpoints: &'a Checkpoints,
    stages: Vec<Stage>,
}

impl Run<'_> {
    fn stage(
        &mut self,
        name: &str,
        pass: impl FnOnce(&mut Self) -> Result<(), CompressError>,
    ) -> Result<(), CompressError> {
        let started = Instant::now();
        pass(self)?;
        let bytes = if self.quantized() {
            self.encode()?.bytes.len()
        } else {
            0
        };
        let value = match self.data {
            Some((_, Some(held_out))) => Some(self.error(held_out)?),
            _ => None,
        };
        self.stages.push(Stage {
            name: name.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
            bytes,
            value,
        });
        Ok(())
    }

    fn quantized(&self) -> bool {
        self.graph.value(self.graph.input).quantization.is_some()
    }

    /// Of the integers once there are some.
    fn error(&self, held_out: &Dataset) -> Result<f64, CompressError> {
        if !self.quantized() {
            return Ok(error_percent(&self.graph, held_out, DeviceChoice::Cpu)?);
        }
        let encoded = self.encode()?;
        let model = Model::parse(&encoded.bytes).map_err(EncodeError::from)?;
        Ok(host::error_percent(
            &model,
            &held_out.inputs,
            &held_out.labels,
        )?)
    }

    fn encode(&self) -> Result<Encoded, CompressError> {
        let coded = self.settings.prune.is_some()
            || self.settings.quantize.is_some()
            || self.settings.grid < 8;
        let coding = match (coded, self.settings.huffman) {
            (_, Some(true)) | (true, None) => Coding::Smallest,
            (true, Some(false)) => Coding::Packed,
            (false, _) => Coding::Plain,
        };
        let mut program = if self.settings.stream {
            let mut steps = lower(&to_steps(&self.graph)?, self.biases)?;
            carry(&mut steps);
            steps
        } else {
            lower(&self.graph, self.biases)?
        };
        program.macs = self.macs;
        Ok(encode(&program, coding)?)
    }

    fn fit(
        &mut self,
        config: &TrainConfig,
        name: &str,
        hook: &mut dyn Hook,
    ) -> Result<(), CompressError> {
        let Some((train, held_out)) = self.data.filter(|_| config.epochs > 0) else {
            return Ok(hook
                .update(1.0, &mut self.graph)
                .map_err(TrainError::Hook)?);
        };
        let config = self.checkpoints.config(config, name);
        let progress = Progress::new(
            name,
            config.epochs,
            train.len().div_ceil(config.batch.max(1)),
        );
        fit(&mut self.graph, train, held_out, &config, hook, progress)?;
        Ok(())
    }

    fn trains(&self, config: &TrainConfig) -> bool {
        self.data.is_some() && config.epochs > 0
    }

    fn prune(&mut self, settings: &Prune) -> Result<(), CompressError> {
        let amounts = self.amounts(settings)?;
        if settings.normalize && self.trains(&settings.train) {
            let length = self.graph.value(self.graph.input).len().max(1);
            let some = (NORMALIZING_INPUTS * length).min(self.calibration.len());
            insert_batch_norm(&mut self.graph, &self.calibration[..some])?;
        }
        let mut hook = PruneHook { amounts, settings };
        self.fit(&settings.train, "prune", &mut hook)?;
        // The kept epoch may be one before the hook's last word.
        prune(&mut self.graph, &hook.amounts, 1.0);
        fold_batch_norm(&mut self.graph);
        remove_dead_units(&mut self.graph);
        Ok(())
    }

    fn amounts(&self, settings: &Prune) -> Result<Amounts, CompressError> {
        if !settings.layers.is_empty() {
            return Ok(Amounts::PerLayer(settings.layers.clone()));
        }
        match (settings.by, self.data) {
            (PruneBy::Sensitivity, Some((train, held_out))) => {
                let examples = held_out.unwrap_or(train);
                let curves = sensitivity::scan(&self.graph, examples, &[Pass::Prune], || {})?;
                Ok(Amounts::PerLayer(sensitivity::amounts(
                    &curves,
                    settings.sparsity,
                )))
            }
            (PruneBy::Adaptive, _) => Ok(Amounts::Adaptive(settings.sparsity)),
            _ => Ok(Amounts::Global(settings.sparsity)),
        }
    }

    /// Codebooks by k-means, then all that is left to learn through the integers.
    fn share(&mut self, settings: &Quantize) -> Result<(), CompressError> {
        for (place, id) in weights(&self.graph).into_iter().enumerate() {
            let (entries, seed) = (settings.entries_of(place), self.settings.seed);
            let values = self.graph.parameter(id).latent();
            codebook::share(&mut self.graph, id, entries, settings.start, seed)?;
            if settings.reassign > 0.0 {
                codebook::loosen(&mut self.graph.parameters[id.0], values);
            }
        }
        let mut hook = ShareHook {
            max: self.settings.grid_max(),
            reassign: settings.reassign,
        };
        hook.refresh(&mut self.graph);
        calibrate(
            &mut self.graph,
            &self.calibration,
            self.settings.calibration,
        )?;
        self.fit(&settings.train, "quantize", &mut hook)
    }

    /// Integers without codebooks: per output channel for dense forms, per tensor for coded ones.
    fn uniform(&mut self) -> Result<(), CompressError> {
        let (settings, calibration) = (self.settings, &self.calibration);
        let quantize = |graph: &mut Graph| {
            grids(graph, settings);
            calibrate(graph, calibration, settings.calibration)
        };
        if settings.int16.iter().any(|name| name == AUTO) {
            let chosen = choose_int16(&mut self.graph, calibration, &quantize, &|graph| {
                lower_check(graph).is_ok()
            })?;
            let none = if chosen.is_empty() { "none" } else { "" };
            eprintln!("int16 activations: {none}{}", chosen.join(", "));
        }
        // What a quantized model brings stays as it is, and random inputs tell nothing about means.
        let refine = settings.refine && self.data.is_some() && settings.prune.is_none();
        if refine && matches!(self.biases, Biases::Rounded) {
            Ok(quantize_best(&mut self.graph, calibration, &quantize)?)
        } else {
            Ok(quantize(&mut self.graph)?)
        }
    }
}

/// Integer grids for weights that have none.
fn grids(graph: &mut Graph, settings: &Settings) {
    let max = settings.grid_max();
    for id in weights(graph) {
        if graph.parameter(id).grid.is_some() {
            continue;
        }
        if settings.prune.is_some() {
            codebook::per_tensor_grid(graph, id, max);
        } else {
            codebook::per_channel_grid(graph, id, max);
        }
    }
}

/// Stands among the names of `int16` for those that a search is to find.
const AUTO: &str = "auto";

/// Marks what is to be int16: the output of a layer with what is fused behind it, or the input.
fn widen(graph: &mut Graph, names: &[String]) -> Result<(), CompressError> {
    for name in names.iter().filter(|name| *name != AUTO) {
        let mut layers: Vec<(String, ValueId)> =
            vec![(graph.value(graph.input).name.clone(), graph.input)];
        for step in &steps(graph).steps {
            let node = &graph.nodes[step.node];
            let called = [
                &graph.value(node.output).name,
                &graph.value(step.output).name,
            ];
            layers.push((node.name.clone(), step.output));
            layers.extend(called.map(|name| (name.clone(), step.output)));
        }
        match layers.iter().find(|(called, _)| called == name) {
            Some((_, value)) => graph.values[value.0].int16 = true,
            None => {
                let called = layers.iter().map(|(called, _)| called.as_str());
                return Err(CompressError::Int16 {
                    name: name.clone(),
                    hint: meant(name, called),
                });
            }
        }
    }
    Ok(())
}

/// Prunes along a schedule.
struct PruneHook<'s> {
    amounts: Amounts,
    settings: &'s Prune,
}

impl Hook for PruneHook<'_> {
    fn every(&self) -> usize {
        self.settings.every.max(1)
    }

    fn update(&mut self, progress: f64, graph: &mut Graph) -> Result<(), String> {
        let Prune { from, until, .. } = *self.settings;
        let reach = ((progress - from) / (until - from)).clamp(0.0, 1.0);
        prune(graph, &self.amounts, reach);
        Ok(())
    }
}

/// Lets centroids follow their weights, and the integer grid the centroids, as training moves them.
struct ShareHook {
    max: i32,
    reassign: f64,
}

impl ShareHook {
    fn refresh(&self, graph: &mut Graph) {
        for id in weights(graph) {
            codebook::per_tensor_grid(graph, id, self.max);
        }
    }
}

impl Hook for ShareHook {
    fn every(&self) -> usize {
        if self.reassign > 0.0 { 10 } else { 100 }
    }

    fn update(&mut self, progress: f64, graph: &mut Graph) -> Result<(), String> {
        for id in weights(graph) {
            let parameter = &mut graph.parameters[id.0];
            if progress < self.reassign {
                codebook::follow(parameter);
            } else {
                codebook::tighten(parameter);
            }
        }
        self.refresh(graph);
        Ok(())
    }
}
