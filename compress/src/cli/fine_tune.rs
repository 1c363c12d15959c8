//! Fine-tuning before anything is taken away, asked for or because the model needs it.

use super::stages::StageArgs;
use crate::pipeline::{Examples, Stage, StagePass, checked};
use crate::settings::{FineTune, Settings};
use trainer::command::Failure;
use trainer::data::Dataset;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, error_percent};

/// How much a fine-tuned model counts beside the labels …
const SOFT: f64 = 0.7;

/// … and what its logits are divided by.
const TEMPERATURE: f64 = 2.0;

/// Training examples that tell whether a model needs fine-tuning …
const EXAMPLES: usize = 2000;

/// … by how many of them, in percent, it gets wrong.
const TOLERATED_ERROR: f64 = 20.0;

/// Has the model fine-tuned before the first stage that takes something away, and teach those behind. What a
/// file says of such a stage and of those it teaches stays.
pub(super) fn put_first(settings: &mut Settings) -> Result<(), String> {
    let is_own = |stage: &Stage| stage.name() == FineTune::NAME;
    let said = settings.stages.iter().any(is_own);
    settings.only(FineTune::continued())?.teach = true;
    let behind = settings
        .stages
        .iter_mut()
        .skip_while(|stage| !is_own(stage));
    let taught = behind.skip(1).filter(|_| !said);
    for train in taught.filter_map(|stage| stage.pass_mut().training_mut()) {
        (train.soft, train.temperature) = (SOFT, TEMPERATURE);
    }
    Ok(())
}

/// Whether flags leave it open: weights are to be taken away with training, and no other network is to
/// teach or to take the model's place.
fn is_open(flags: &StageArgs, settings: &Settings) -> bool {
    let said = flags.fine_tune || flags.no_fine_tune || !flags.teacher.is_empty();
    let takes_away = |stage: &Stage| match stage {
        Stage::Prune(prune) => prune.train.epochs > 0,
        Stage::Channels(channels) => channels.train.epochs > 0,
        _ => false,
    };
    let replaces = |stage: &Stage| matches!(stage, Stage::Mimic(_) | Stage::Hash(_));
    let mut stages = settings.stages.iter();
    !said && stages.clone().any(takes_away) && !stages.any(replaces)
}

/// Puts fine-tuning first where it is left open and the model gets many of the examples wrong, and says so.
pub(super) fn put_first_if_needed(
    flags: &StageArgs,
    settings: &mut Settings,
    graph: &Graph,
    train: &Dataset,
) -> Result<(), Failure> {
    let (some, _) = train.hold_out(train.len().saturating_sub(EXAMPLES), settings.seed);
    if !is_open(flags, settings) || !some.is_labelled() {
        return Ok(());
    }
    let error = error_percent(graph, &some, DeviceChoice::Cpu)?;
    if error <= TOLERATED_ERROR {
        return Ok(());
    }
    // What is refused is refused without a word of what it would have been.
    checked(graph, Examples::Data(train), settings)?;
    let count = some.len();
    eprintln!(
        "the model gets {error:.1} % of {count} training examples wrong: it is fine-tuned first, and then teaches the stages behind (--no-fine-tune leaves that out)"
    );
    put_first(settings)?;
    flags.train_as_said(settings)
}
