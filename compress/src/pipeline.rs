//! The stages in order, from a float graph to an image.

mod cache;
mod calibration;
mod checkpoints;
mod error;
mod finish;
mod prepare;
mod run;
mod stages;

use crate::encode::Encoded;
use crate::settings::Settings;
pub use cache::Key;
use cache::Step;
pub use calibration::SYNTHETIC_INPUTS;
pub use checkpoints::Checkpoints;
pub use error::{CompressError, OrderError};
pub(crate) use prepare::{checked, lower_check, prepared, scannable};
pub(crate) use run::Run;
use serde::{Deserialize, Serialize};
pub use stages::Stage;
pub(crate) use stages::{Effect, Pass, StagePass, check_count, check_order};
use trainer::data::Dataset;
use trainer::graph::Graph;

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

impl Examples<'_> {
    /// Examples to train on and those held out, as far as there are any.
    fn split(self, settings: &Settings) -> (Option<Dataset>, Option<Dataset>) {
        match self {
            Examples::Data(data) => {
                let (train, held_out) = data.hold_out(settings.hold_out, settings.seed);
                (Some(train), Some(held_out).filter(|h| !h.is_empty()))
            }
            Examples::Synthetic { .. } => (None, None),
        }
    }
}

/// One stage's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The stage: its pass, with a number from the second of one pass on.
    pub name: String,
    /// Wall-clock time.
    pub seconds: f64,
    /// Length of the image, were it written after this stage with int8 for what has no integers yet.
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
    /// What each stage did.
    pub stages: Vec<Figures>,
    /// The float network as it taught the stages behind, where one was fine-tuned to do that.
    pub fine_tuned: Option<Graph>,
}

/// Compresses a float graph. Where there are teachers, training learns from their outputs, as far as
/// [`TrainConfig::soft`](trainer::train::TrainConfig::soft) says.
///
/// # Errors
/// When a setting is out of range, the graph cannot be an image, or training fails.
pub fn compress(
    graph: &Graph,
    teachers: &[Graph],
    examples: Examples,
    settings: &Settings,
    checkpoints: &Checkpoints,
) -> Result<Compressed, CompressError> {
    settings.check()?;
    let macs = graph.macs();
    let graph = checked(graph, examples, settings)?;
    let (train, held_out) = examples.split(settings);
    let calibration = calibration::inputs(&graph, train.as_ref(), examples, settings);
    let data = (train.as_ref(), held_out.as_ref());
    let mut run = Run::new(
        graph,
        teachers,
        data,
        calibration,
        settings,
        checkpoints,
        macs,
    );
    let steps = cache::steps(&run, checkpoints)?;
    let done = reuse(&mut run, &steps, checkpoints)?;
    for place in done..steps.len() {
        let step = &steps[place];
        let applied = run.stage(&step.name, |run| step.stage.pass().apply(run));
        applied.map_err(|error| checkpoints.explain(error, &steps[..place]))?;
        if let (Some(key), Some(figures)) = (&step.key, run.figures.last()) {
            checkpoints.keep(&step.name, key, &run.state(), figures.seconds);
        }
    }
    if steps.is_empty() || !run.quantized() {
        let finished = run.stage(FINISH, finish::integers);
        finished.map_err(|error| checkpoints.explain(error, &steps))?;
    }
    let encoded = run.encode()?;
    let teaches = |stage: &Stage| matches!(stage, Stage::FineTune(tune) if tune.teach);
    let fine_tuned = settings.stages.iter().any(teaches);
    Ok(Compressed {
        fine_tuned: run.teachers.first().filter(|_| fine_tuned).cloned(),
        graph: run.graph,
        encoded,
        stages: run.figures,
    })
}

/// Takes up the stages that another run has done in the same way on the same model and data, and says
/// so; how many of them.
fn reuse(run: &mut Run, steps: &[Step], checkpoints: &Checkpoints) -> Result<usize, CompressError> {
    let found = steps.iter().map_while(|step| {
        let (state, seconds) = checkpoints.load(&step.name, step.key.as_ref()?)?;
        Some((step, state, seconds))
    });
    let mut names = Vec::new();
    for (step, state, seconds) in found {
        run.take_up(state);
        run.measure(&step.name, seconds)?;
        names.push(step.name.as_str());
    }
    if let Some(file) = checkpoints.last(&steps[..names.len()]) {
        let (names, file) = (names.join(", "), file.display());
        eprintln!("{names}: taken from {file}, for nothing has changed up to there");
    }
    Ok(names.len())
}

/// What gives integers to whatever the stages left without.
const FINISH: &str = "quantize";
