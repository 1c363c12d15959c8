//! The flags that put stages in their order, or change those of a configuration file.

use super::fine_tune;
use crate::pipeline::{Stage, StagePass};
use crate::settings::{
    Binary, Channels, Hash, LearnedGrid, LowRank, Mimic, Pattern, Prune, PruneBy, Quantize,
    RankOrEnergy, Settings, Signs, SoftShare, Ternary, Vector,
};
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;
use trainer::command::Failure;
use trainer::data::Augment;

#[derive(Debug, Args)]
pub(super) struct StageArgs {
    /// Prunes this share of the weights (0.9 unless given), with retraining where there is data.
    #[arg(long, value_name = "SPARSITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.9")]
    prune: Option<f64>,
    /// How pruning is spread over the layers: fisher (the default: one threshold on how much the loss
    /// minds each weight, which training shows; without it as adaptive), adaptive (one threshold on
    /// scores relative to each layer's weights), global (one threshold on magnitudes) or sensitivity.
    #[arg(long, value_name = "HOW")]
    prune_by: Option<PruneBy>,
    /// Leaves at most N of every M neighbouring inputs of an output, in place of a share: 2:4, say.
    #[arg(long, value_name = "N:M")]
    prune_pattern: Option<Pattern>,
    /// Takes this share of each layer's units and channels out (0.5 unless given), with retraining where
    /// there is data.
    #[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true, default_missing_value = "0.5")]
    channels: Option<f64>,
    /// Factors layers into two: of this rank where that has fewer weights, or of ranks that keep this
    /// share of the squares of the singular values (0.9 unless given).
    #[arg(long, value_name = "RANK|ENERGY", num_args = 0..=1, require_equals = true, default_missing_value = "0.9")]
    low_rank: Option<RankOrEnergy>,
    /// Shares the weights of each layer among 2^BITS values (4 bits unless given).
    #[arg(long, value_name = "BITS", num_args = 0..=1, require_equals = true, default_missing_value = "4")]
    quantize: Option<u8>,
    /// Draws the weights of each layer together while they learn, until they share at most COMPONENTS values
    /// (16 unless given), zero among them; with retraining where there is data.
    #[arg(long, value_name = "COMPONENTS", num_args = 0..=1, require_equals = true, default_missing_value = "16")]
    soft_share: Option<usize>,
    /// What a coded bit is worth to --prune and --quantize, in shares of what the loss minds an average
    /// weight: weights choose values and places that take fewer bytes. 0.01 is a good
    /// start, 0.1 costs accuracy.
    #[arg(long, value_name = "LAMBDA")]
    rate: Option<f64>,
    /// Puts a smaller network in the model's place, trained to answer as the model does: a built-in
    /// architecture, `mlp:30`, or a TOML file. `--soft 0.5` lets labels count too.
    #[arg(long, value_name = "ARCH", require_equals = true, requires = "data")]
    mimic: Option<String>,
    /// A model whose answers training learns from in place of the labels; several are an ensemble. With
    /// --mimic the model itself is one of them.
    #[arg(long, value_name = "MODEL.onnx", requires = "data")]
    pub(super) teacher: Vec<PathBuf>,
    /// First trains the model as it is, for as long as each other stage; what it then says teaches the
    /// stages behind, beside the labels. Done anyway where a model that --prune or --channels are to
    /// retrain gets more than a fifth of the training examples wrong.
    #[arg(long, overrides_with = "no_fine_tune", requires = "data")]
    pub(super) fine_tune: bool,
    /// Never does that.
    #[arg(long, overrides_with = "fine_tune")]
    pub(super) no_fine_tune: bool,
    /// Share of the loss that comes from teachers rather than from labels, 0 to 1; 1 unless given, and 0.7
    /// behind --fine-tune.
    #[arg(long, value_name = "SHARE")]
    soft: Option<f64>,
    /// What teacher's and student's logits are divided by before they are compared; 1 unless given, and
    /// 2 behind --fine-tune.
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Has a hash of each weight's place choose its value, of which there is one for RATIO weights (8
    /// unless given); trains from the start, which needs data.
    #[arg(long, value_name = "RATIO", num_args = 0..=1, require_equals = true, default_missing_value = "8")]
    hash: Option<f64>,
    /// Makes the weights between the first and the last layer ±1 times a scale per channel.
    #[arg(long)]
    binary: bool,
    /// Makes the weights between the first and the last layer −1, 0 or 1 times a scale per channel.
    #[arg(long)]
    ternary: bool,
    /// Puts entries of a codebook per layer in the place of D neighbouring weights each, 4 and 64 entries
    /// unless given.
    #[arg(long, value_name = "D[xENTRIES]", num_args = 0..=1, require_equals = true, default_missing_value = "4x64")]
    vector: Option<DimensionAndEntries>,
    #[command(flatten)]
    pub(super) train: TrainArgs,
}

/// What `--vector` is given: `4`, or `4x64`.
#[derive(Clone, Copy, Debug)]
struct DimensionAndEntries(usize, Option<usize>);

impl FromStr for DimensionAndEntries {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| "give weights of a vector, or weights and entries: 4 or 4x64")
        };
        match text.split_once('x') {
            None => Ok(Self(number(text)?, None)),
            Some((dimension, entries)) => Ok(Self(number(dimension)?, Some(number(entries)?))),
        }
    }
}

/// How stages train.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// Epochs of each stage that trains: of --prune for every halving of the weights (80 % are 2.3, so that 12
    /// become 28), of --quantize with and then without batch normalization; each has a usual number.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Distortion of training images: `default` (for digits), `none`, or amounts such as
    /// `shift=2,rotate=10,scale=0.1,shear=0.1,crop=4,flip=0.5`. Unless given: those of crop and flip that
    /// the model does not mind.
    #[arg(long, value_name = "HOW")]
    pub(super) augment: Option<Augment>,
    /// Of every random choice; 1 unless given.
    #[arg(long)]
    seed: Option<u64>,
}

impl StageArgs {
    /// Adds the stages asked for in their usual order, and changes those that are there.
    /// `learned` are the bits of a grid whose steps are to be learned, where no other stage gives weights
    /// their form.
    pub(super) fn apply(
        &self,
        settings: &mut Settings,
        learned: Option<u8>,
    ) -> Result<(), Failure> {
        self.mimic(settings)?;
        self.channels(settings)?;
        self.low_rank(settings)?;
        self.prune(settings)?;
        self.hash(settings)?;
        if self.binary {
            settings.only(Binary(Signs::continued()))?;
        }
        if self.ternary {
            settings.only(Ternary(Signs::continued()))?;
        }
        self.quantize(settings)?;
        self.rate(settings)?;
        if let Some(components) = self.soft_share {
            settings.only(SoftShare::continued())?.components = components;
        }
        self.vector(settings)?;
        let own = settings
            .stages
            .iter()
            .any(|s| s.name() == LearnedGrid::NAME);
        if let Some(bits) = learned.filter(|_| own || !settings.has_form()) {
            settings.only(LearnedGrid::continued())?.bits = bits;
        }
        if self.fine_tune {
            fine_tune::put_first(settings)?;
        }
        self.train_as_said(settings)
    }

    /// Changes the trainings of the stages that there are.
    pub(super) fn train_as_said(&self, settings: &mut Settings) -> Result<(), Failure> {
        self.teach(settings)?;
        self.train.apply(settings);
        Ok(())
    }

    fn mimic(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(student) = &self.mimic {
            settings.only(Mimic::default())?.student = student.clone();
        }
        Ok(())
    }

    /// How much teachers count, where there are any.
    fn teach(&self, settings: &mut Settings) -> Result<(), Failure> {
        let teaches = |stage: &Stage| match stage {
            Stage::Mimic(_) => true,
            Stage::FineTune(tune) => tune.teach,
            _ => false,
        };
        let taught = !self.teacher.is_empty() || settings.stages.iter().any(teaches);
        if !taught && (self.soft.is_some() || self.temperature.is_some()) {
            return Err("--soft and --temperature say how to learn from a teacher; name one with --teacher, or use --mimic or --fine-tune".into());
        }
        for train in settings.trainings_mut() {
            train.soft = self.soft.unwrap_or(train.soft);
            train.temperature = self.temperature.unwrap_or(train.temperature);
        }
        Ok(())
    }

    fn prune(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(sparsity) = self.prune {
            let prune = settings.only(Prune::continued())?;
            prune.sparsity = sparsity;
            prune.layers.clear();
        }
        let prunes = settings.stages.iter().any(|s| s.name() == "prune");
        if let Some(by) = self.prune_by {
            if !prunes {
                return Err("--prune-by needs --prune".into());
            }
            settings.only(Prune::continued())?.by = by;
        }
        if let Some(pattern) = self.prune_pattern {
            if !prunes {
                return Err("--prune-pattern needs --prune".into());
            }
            settings.only(Prune::continued())?.pattern = Some(pattern);
        }
        Ok(())
    }

    /// To every stage in which bits can decide.
    fn rate(&self, settings: &mut Settings) -> Result<(), Failure> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let own = settings.stages.iter_mut().filter_map(|stage| match stage {
            Stage::Prune(prune) if prune.spreads() => Some(&mut prune.rate),
            Stage::Quantize(quantize) => Some(&mut quantize.rate),
            _ => None,
        });
        let mut own: Vec<&mut f64> = own.collect();
        if own.is_empty() {
            return Err(
                "--rate needs --quantize, or --prune by one threshold for all layers".into(),
            );
        }
        own.iter_mut().for_each(|own| **own = rate);
        Ok(())
    }

    fn channels(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(share) = self.channels {
            let channels = settings.only(Channels::continued())?;
            channels.share = share;
            channels.layers.clear();
        }
        Ok(())
    }

    fn low_rank(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(chosen) = self.low_rank {
            let low_rank = settings.only(LowRank::continued())?;
            (low_rank.layers, low_rank.max_loss) = (Vec::new(), None);
            (low_rank.rank, low_rank.energy) = match chosen {
                RankOrEnergy::Rank(rank) => (Some(rank), None),
                RankOrEnergy::Energy(share) => (None, Some(share)),
            };
        }
        Ok(())
    }

    fn hash(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(ratio) = self.hash {
            let hash = settings.only(Hash::default())?;
            hash.ratio = ratio;
            hash.values.clear();
        }
        Ok(())
    }

    fn vector(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(DimensionAndEntries(dimension, entries)) = self.vector {
            let vector = settings.only(Vector::continued())?;
            vector.dimension = dimension;
            vector.entries = entries.unwrap_or(vector.entries);
        }
        Ok(())
    }

    fn quantize(&self, settings: &mut Settings) -> Result<(), Failure> {
        if let Some(bits) = self.quantize {
            let quantize = settings.only(Quantize::continued())?;
            quantize.bits = bits;
            quantize.entries.clear();
        }
        Ok(())
    }
}

impl TrainArgs {
    /// Changes the trainings that are there.
    pub(super) fn apply(&self, settings: &mut Settings) {
        if let Some(seed) = self.seed {
            settings.seed = seed;
            settings.trainings_mut().for_each(|t| t.seed = seed);
        }
        if let Some(augment) = self.augment {
            settings.trainings_mut().for_each(|t| t.augment = augment);
        }
        if let Some(epochs) = self.epochs {
            settings.trainings_mut().for_each(|t| t.epochs = epochs);
            for stage in &mut settings.stages {
                if let Some(prune) = Prune::of(stage) {
                    prune.train.epochs = prune.epochs(epochs);
                }
                if let Some(quantize) = Quantize::of(stage) {
                    quantize.train.epochs = quantize.epochs(epochs);
                }
            }
        }
    }
}
