//! Plans as settings of a compression, and what they cost before and after it.

use super::healing::remaining;
use super::instructions;
use super::ladder::{Plan, ladder, thinned};
use super::menu::{Choice, menus};
use super::{PASSES, SearchError, affordable};
use crate::passes::codebook::CodebookError;
use crate::passes::sensitivity::{Sensitivity, measurements, scan};
use crate::pipeline::{
    Checkpoints, CompressError, Compressed, Examples, StagePass, compress, scannable,
};
use crate::progress::Steps;
use crate::settings::{Prune, Quantize, Settings};
use no_std_core::Model;
use serde::{Deserialize, Serialize};
use trainer::graph::Graph;

/// What an image takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Of the file.
    pub bytes: usize,
    /// Working memory of an inference.
    pub arena_bytes: usize,
    /// Instructions of an inference on a Cortex-M4, estimated ([`instructions`](super::instructions)).
    pub instructions: u64,
}

/// One compression that was carried out and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// For each layer the share pruned and the values left; empty for plain int8.
    pub choices: Vec<Choice>,
    /// Whether Huffman codes were allowed.
    pub huffman: bool,
    /// What the image takes.
    #[serde(flatten)]
    pub costs: Costs,
    /// Error of its integers on held-out examples, in percent; absent without data.
    pub error: Option<f64>,
}

/// A plan with the form of its coding.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) choices: Vec<Choice>,
    pub(super) huffman: bool,
    pub(super) settings: Settings,
    /// Sum of the layers' losses.
    pub(super) loss: f64,
}

impl Candidate {
    /// Plain int8, which changes least.
    fn plain(base: &Settings) -> Self {
        Self {
            choices: Vec::new(),
            huffman: false,
            settings: Settings {
                stages: Vec::new(),
                huffman: None,
                ..base.clone()
            },
            loss: 0.0,
        }
    }

    fn of(plan: &Plan, huffman: bool, base: &Settings) -> Self {
        let mut settings = base.clone();
        for stage in &mut settings.stages {
            if let Some(prune) = Prune::of(stage) {
                prune.layers = plan.choices.iter().map(|c| c.sparsity).collect();
            }
            if let Some(quantize) = Quantize::of(stage) {
                quantize.entries = plan.choices.iter().map(|c| c.entries).collect();
            }
        }
        settings.huffman = Some(huffman);
        Self {
            choices: plan.choices.clone(),
            huffman,
            settings,
            loss: plan.loss,
        }
    }

    /// What its image takes if nothing is trained: close to what it takes in the end.
    pub(super) fn expected(&self, graph: &Graph, examples: Examples) -> Result<Costs, SearchError> {
        let mut settings = self.settings.clone();
        settings.trainings_mut().for_each(|train| train.epochs = 0);
        settings.hold_out = 0;
        settings.refine = false;
        let compressed = compress(graph, &[], examples, &settings, &Checkpoints::default())?;
        Ok(costs(&compressed))
    }

    /// Carries it out; nothing where a layer turns out to have fewer weights than values to share.
    pub(super) fn carry_out(
        &self,
        graph: &Graph,
        examples: Examples,
    ) -> Result<Option<(Compressed, Try)>, SearchError> {
        let run = compress(
            graph,
            &[],
            examples,
            &self.settings,
            &Checkpoints::default(),
        );
        let compressed = match run {
            Err(CompressError::Codebook(CodebookError::TooLarge { .. })) => return Ok(None),
            run => run?,
        };
        let done = Try {
            choices: self.choices.clone(),
            huffman: self.huffman,
            costs: costs(&compressed),
            error: compressed.stages.last().and_then(|stage| stage.value),
        };
        Ok(Some((compressed, done)))
    }
}

fn costs(compressed: &Compressed) -> Costs {
    let encoded = &compressed.encoded;
    // The encoder has read its own image before.
    let model = Model::parse(&encoded.bytes).ok();
    Costs {
        bytes: encoded.bytes.len(),
        arena_bytes: encoded.plan.arena_bytes,
        instructions: model.map_or(0, |model| instructions::estimate(&model)),
    }
}

/// Plain int8, then at most `count` plans, largest first, with the sensitivities they come from. The
/// packed forms, which need no tables and are read faster, stand beside the coded ones where
/// `packed` asks for them.
pub(super) fn candidates(
    graph: &Graph,
    examples: Examples,
    base: &Settings,
    count: usize,
    packed: bool,
) -> Result<(Vec<Candidate>, Vec<Sensitivity>), SearchError> {
    let seen = scannable(graph);
    let (mut curves, mut shares) = (Vec::new(), [1.0; PASSES.len()]);
    if let Examples::Data(data) = examples {
        let (train, held_out) = data.hold_out(base.hold_out, base.seed);
        let measured = if held_out.is_empty() {
            &train
        } else {
            &held_out
        };
        let some = affordable(&seen, measured, base.seed);
        let steps = Steps::new("sensitivity", measurements(&seen, &PASSES));
        curves = scan(&seen, &some, &PASSES, || steps.done())?;
        shares = remaining(graph, examples, base, &curves, &some)?;
    }
    let plans = thinned(ladder(&menus(&seen, &curves, shares)), count);
    let mut all = vec![Candidate::plain(base)];
    for plan in &plans {
        all.push(Candidate::of(plan, true, base));
        if packed {
            all.push(Candidate::of(plan, false, base));
        }
    }
    Ok((all, curves))
}
