//! Integers for whatever the stages left without.

use super::{CompressError, Run, lower_check};
use crate::calibrate::calibrate;
use crate::lower::Biases;
use crate::passes::post_training::{choose_int16, quantize_best};
use crate::passes::{codebook, weights};
use crate::settings::Settings;
use trainer::graph::{Graph, Parametrization};

/// Grids for the weights and scales for the activations, without training.
pub(super) fn integers(run: &mut Run) -> Result<(), CompressError> {
    let (settings, calibration) = (run.settings, &run.calibration);
    let quantize = |graph: &mut Graph| {
        grids(graph, settings);
        calibrate(graph, calibration, settings.calibration)
    };
    // What a quantized model brings stays as it is, and random inputs tell nothing about means.
    let refine = settings.refine && run.train.is_some() && !coded(&run.graph, settings);
    if settings.searches_int16() {
        let possible = |graph: &Graph| lower_check(graph).is_ok();
        let chosen = choose_int16(&mut run.graph, calibration, &quantize, &possible)?;
        let none = if chosen.is_empty() { "none" } else { "" };
        eprintln!("int16 activations: {none}{}", chosen.join(", "));
    }
    if refine && matches!(run.biases, Biases::Rounded) {
        Ok(quantize_best(&mut run.graph, calibration, &quantize)?)
    } else {
        Ok(quantize(&mut run.graph)?)
    }
}

/// Integer grids for weights that have none: per output channel for dense forms, per tensor for coded
/// ones.
fn grids(graph: &mut Graph, settings: &Settings) {
    let (max, coded) = (settings.grid_max(), coded(graph, settings));
    for id in weights(graph) {
        if graph.parameter(id).grid.is_some() {
            continue;
        }
        if coded {
            codebook::per_tensor_grid(graph, id, max);
        } else {
            codebook::per_channel_grid(graph, id, max);
        }
    }
}

/// Whether stages left weights that are not just values, one beside the other.
fn coded(graph: &Graph, settings: &Settings) -> bool {
    let dense = |id| {
        let form = &graph.parameter(id).parametrization;
        matches!(form, Parametrization::Dense { .. })
    };
    !settings.stages.is_empty() && !weights(graph).into_iter().all(dense)
}
