//! What to do to a model: the command line's flags and a recipe's `[compress]` table.

use crate::calibrate::Method;
use crate::encode::Coding;
pub use crate::passes::channels::Channels;
pub use crate::passes::fine_tune::FineTune;
pub use crate::passes::grid::LearnedGrid;
pub use crate::passes::hash::Hash;
pub use crate::passes::low_rank::{LowRank, RankOrEnergy};
pub use crate::passes::mimic::Mimic;
pub use crate::passes::prune::{Pattern, Prune, PruneBy};
pub use crate::passes::quantize::Quantize;
pub use crate::passes::signs::{Binary, Signs, Ternary};
pub use crate::passes::soft_share::{SoftShare, SoftShareBy};
pub use crate::passes::vector::{Vector, VectorStart};
use crate::pipeline::{CompressError, Effect, Stage, StagePass, check_order};
use serde::{Deserialize, Serialize};
use trainer::train::TrainConfig;

/// The stages in their order, and what goes for all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Passes with their settings, one after the other. Without any the model becomes plain integers.
    pub stages: Vec<Stage>,
    /// Bits of the uniform integer grid of weights: 8, 4 or 2.
    pub grid: u8,
    /// Whether Huffman codes may be used. Unless said, they are where a pass asks for coded weights.
    pub huffman: Option<bool>,
    /// Which entropy coder writes coded weights.
    pub coder: Coder,
    /// How activation ranges are measured.
    pub calibration: Method,
    /// Training examples that calibration looks at.
    pub calibration_examples: usize,
    /// Values that are to be int16, by their name or their node's; `auto` for those that matter most.
    pub int16: Vec<String>,
    /// Whether integers without training may have layers equalized and biases corrected, where the
    /// output on calibration data then comes closer to the float model's.
    pub refine: bool,
    /// Whether the image takes one step of time after the other and carries recurrent state along.
    pub stream: bool,
    /// Training examples kept from training, which decide every choice.
    pub hold_out: usize,
    /// Of the choice of the held-out examples and of k-means; trainings have seeds of their own.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stages: Vec::new(),
            grid: 8,
            huffman: None,
            coder: Coder::default(),
            calibration: Method::default(),
            calibration_examples: 1024,
            int16: Vec::new(),
            refine: true,
            stream: false,
            hold_out: 0,
            seed: 1,
        }
    }
}

/// Writers of coded weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coder {
    /// Huffman codes alone, which a device reads fast.
    #[default]
    Huffman,
    /// Range codes alone.
    Range,
    /// For each layer the one with fewer bytes; large sparse layers then take several times the
    /// instructions.
    Smallest,
}

impl std::str::FromStr for Coder {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [
            ("huffman", Coder::Huffman),
            ("range", Coder::Range),
            ("smallest", Coder::Smallest),
        ];
        trainer::names::find(name, &known)
    }
}

impl From<Coder> for Coding {
    fn from(coder: Coder) -> Self {
        match coder {
            Coder::Huffman => Coding::Huffman,
            Coder::Range => Coding::Range,
            Coder::Smallest => Coding::Smallest,
        }
    }
}

/// Stands among the names of `int16` for those that a search is to find.
pub(crate) const AUTO: &str = "auto";

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {range}, not {value}")]
pub struct SettingError {
    /// As on the command line.
    pub name: &'static str,
    /// What is allowed.
    pub range: &'static str,
    /// What was given.
    pub value: String,
}

impl Settings {
    /// Checks ranges, the order of the stages and the training of every one that trains at all.
    ///
    /// # Errors
    /// Naming the first setting out of its range, or the first stage out of place.
    pub fn check(&self) -> Result<(), CompressError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value }.into());
        if ![2, 4, 8].contains(&self.grid) {
            return wrong("--grid", "8, 4 or 2", self.grid.to_string());
        }
        for stage in &self.stages {
            stage.pass().check()?;
        }
        check_order(&self.stages)?;
        if self.searches_int16() && self.has_form() {
            let range = "names of layers where stages train through the integers";
            return wrong("--int16", range, AUTO.to_owned());
        }
        let mut trainings = self.trainings().filter(|train| train.epochs > 0);
        Ok(trainings.try_for_each(TrainConfig::check)?)
    }

    /// Of the stages that train, in order.
    pub fn trainings(&self) -> impl Iterator<Item = &TrainConfig> {
        self.stages.iter().filter_map(|s| s.pass().training())
    }

    /// The same, to be changed.
    pub fn trainings_mut(&mut self) -> impl Iterator<Item = &mut TrainConfig> {
        let stages = self.stages.iter_mut();
        stages.filter_map(|s| s.pass_mut().training_mut())
    }

    /// Whether a stage gives weights their last form.
    pub(crate) fn has_form(&self) -> bool {
        let stages = self.stages.iter();
        stages.map(|s| s.pass().effect()).any(|e| e == Effect::Form)
    }

    /// Whether values to be int16 are to be searched for.
    pub(crate) fn searches_int16(&self) -> bool {
        self.int16.iter().any(|name| name == AUTO)
    }

    /// The one stage of this pass, put in its usual place if there is none.
    ///
    /// # Errors
    /// When there are several, of which none can be meant alone.
    pub(crate) fn only<P: StagePass>(&mut self, usual: P) -> Result<&mut P, String> {
        if !self.stages.iter().any(|stage| stage.name() == P::NAME) {
            self.put(usual.into());
        }
        let mut own = self.stages.iter_mut().filter_map(P::of);
        match (own.next(), own.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(format!(
                "--{0} changes one stage, and there are several '{0}'; change them in the file",
                P::NAME
            )),
        }
    }

    /// Puts a stage before the first that usually follows it.
    fn put(&mut self, stage: Stage) {
        let follows = |other: &Stage| other.rank() > stage.rank();
        let place = self.stages.iter().position(follows);
        self.stages
            .insert(place.unwrap_or(self.stages.len()), stage);
    }

    /// Largest magnitude on the integer grid: 127, 7 or 1.
    pub fn grid_max(&self) -> i32 {
        (1 << (self.grid - 1)) - 1
    }
}
