//! How much of what a pass loses retraining gives back, measured once for the whole network.

use super::PASSES;
use super::SearchError;
use super::menu::rise;
use crate::passes::sensitivity::{Pass, Sensitivity};
use crate::pipeline::{Checkpoints, CompressError, Examples, StagePass, compress};
use crate::settings::{Prune, Quantize, Settings};
use std::collections::BTreeSet;
use trainer::data::Dataset;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, fit_of};

/// The amount of each pass that is tried on all layers at once: harsh enough to be felt.
fn amount(pass: Pass) -> f64 {
    match pass {
        Pass::Prune => 0.9,
        Pass::Codebook | Pass::Grid => 2.0,
    }
}

/// Less than this share of a loss is never counted on to remain.
const LEAST: f64 = 0.02;

/// The share of a loss that remains after retraining, for each of the passes that plans are made of:
/// the loss of a network compressed by that pass alone and retrained, over the sum of what its layers
/// lose without. Pruned weights are made up for by those that are left, few values much less.
pub(super) fn remaining(
    graph: &Graph,
    examples: Examples,
    base: &Settings,
    curves: &[Sensitivity],
    held_out: &Dataset,
) -> Result<[f64; PASSES.len()], SearchError> {
    let mut shares = [1.0; PASSES.len()];
    if base.trainings().all(|train| train.epochs == 0) {
        return Ok(shares);
    }
    let before = fit_of(graph, held_out, DeviceChoice::Cpu)?.loss;
    for (share, pass) in shares.iter_mut().zip(PASSES) {
        eprintln!(
            "search: {} alone, to see what retraining heals",
            pass.means()
        );
        let run = compress(
            graph,
            &[],
            examples,
            &alone(pass, base),
            &Checkpoints::default(),
        );
        let compressed = match run {
            // A layer too small for it: nothing is known then.
            Err(CompressError::Codebook(_)) => continue,
            run => run?,
        };
        let after = fit_of(&compressed.graph, held_out, DeviceChoice::Cpu)?.loss;
        let predicted = predicted(curves, pass);
        if predicted > f64::EPSILON {
            *share = ((after - before) / predicted).clamp(LEAST, 1.0);
        }
    }
    Ok(shares)
}

/// What all layers are predicted to lose together.
fn predicted(curves: &[Sensitivity], pass: Pass) -> f64 {
    let layers: BTreeSet<&str> = curves.iter().map(|c| c.layer.as_str()).collect();
    let of =
        |name: &str| -> Vec<&Sensitivity> { curves.iter().filter(|c| c.layer == name).collect() };
    let losses = layers
        .into_iter()
        .map(|name| rise(&of(name), pass, amount(pass)));
    losses.sum()
}

/// The settings with one pass alone, at one amount for all layers.
fn alone(pass: Pass, base: &Settings) -> Settings {
    let mut settings = base.clone();
    settings.stages.retain_mut(|stage| match pass {
        Pass::Prune => Prune::of(stage).is_some(),
        Pass::Codebook | Pass::Grid => Quantize::of(stage).is_some(),
    });
    for stage in &mut settings.stages {
        if let Some(prune) = Prune::of(stage) {
            prune.sparsity = amount(pass);
        }
        if let Some(quantize) = Quantize::of(stage) {
            quantize.bits = amount(pass) as u8;
        }
    }
    settings
}
