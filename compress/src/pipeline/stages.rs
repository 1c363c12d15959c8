//! What a stage is: a pass with its settings, in an order that makes sense.

use super::{CompressError, OrderError, Run};
use crate::passes::choice::is_bound;
use crate::passes::weights;
use crate::settings::{
    Binary, Channels, FineTune, Hash, LearnedGrid, LowRank, Mimic, Prune, Quantize, SettingError,
    SoftShare, Ternary, Vector,
};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use trainer::graph::Graph;
use trainer::train::TrainConfig;

/// What a pass does to a network, which decides what may come before it and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Another network stands in its place: what came before would be lost.
    Network,
    /// It has learnt further.
    Training,
    /// There are other layers than before.
    Layers,
    /// Weights are others, and free to change further.
    Weights,
    /// Weights have the form that is stored, trained through the integers: nothing may change them.
    Form,
}

/// A pass as a stage of a run. Implemented by its settings.
pub(crate) trait Pass {
    /// What it does to the network.
    fn effect(&self) -> Effect;

    /// Whether its weights are of a form that keeps nothing of what stages made of them before, such
    /// as zeros.
    fn forgets(&self) -> bool {
        false
    }

    /// Refuses settings out of their range.
    fn check(&self) -> Result<(), SettingError>;

    /// Refuses, before any time is spent, what does not fit the layers that the run begins with. Not
    /// asked behind a stage after which there are others.
    fn check_graph(&self, _: &Graph) -> Result<(), CompressError> {
        Ok(())
    }

    /// Its training, if it has one.
    fn training(&self) -> Option<&TrainConfig> {
        None
    }

    /// The same, to be changed.
    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        None
    }

    /// Files beside the model and the data that it reads: what is in them is a part of what decides
    /// whether an earlier run has done the same.
    fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Does it.
    fn apply(&self, run: &mut Run) -> Result<(), CompressError>;
}

/// Settings that are a stage.
pub(crate) trait StagePass: Pass + Into<Stage> {
    /// As in files, and as the flag that adds one.
    const NAME: &'static str;

    /// The settings in a stage of this pass.
    fn of(stage: &mut Stage) -> Option<&mut Self>;
}

/// The passes, in the order in which flags put them.
macro_rules! stages {
    ($($(#[$doc:meta])* $name:literal => $pass:ident,)*) => {
        /// One stage of a run: `pass = "…"` and that pass's settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "pass", remote = "Self")]
        pub enum Stage {
            $($(#[$doc])* #[serde(rename = $name)] $pass($pass),)*
        }

        impl Stage {
            const NAMES: &[&str] = &[$($name),*];

            /// Name of its pass.
            pub fn name(&self) -> &'static str {
                match self { $(Stage::$pass(_) => $name,)* }
            }

            pub(crate) fn pass(&self) -> &dyn Pass {
                match self { $(Stage::$pass(pass) => pass,)* }
            }

            pub(crate) fn pass_mut(&mut self) -> &mut dyn Pass {
                match self { $(Stage::$pass(pass) => pass,)* }
            }
        }

        $(impl From<$pass> for Stage {
            fn from(pass: $pass) -> Self {
                Stage::$pass(pass)
            }
        }

        impl StagePass for $pass {
            const NAME: &'static str = $name;

            fn of(stage: &mut Stage) -> Option<&mut Self> {
                match stage {
                    Stage::$pass(pass) => Some(pass),
                    #[allow(unreachable_patterns)] // there is more than one pass
                    _ => None,
                }
            }
        })*
    };
}

stages! {
    /// A student in the network's place, taught by it.
    "mimic" => Mimic,
    /// Training of the network as it is.
    "fine-tune" => FineTune,
    /// Units and channels taken out, with retraining.
    "channels" => Channels,
    /// Layers factored into two, with retraining.
    "low-rank" => LowRank,
    /// Magnitude pruning with retraining.
    "prune" => Prune,
    /// Values that a hash of each weight's place chooses, trained from the start.
    "hash" => Hash,
    /// Weights of two values, trained straight through.
    "binary" => Binary,
    /// Weights of three values, trained straight through.
    "ternary" => Ternary,
    /// Integers of a few bits whose steps are learned, trained through the integers.
    "grid" => LearnedGrid,
    /// Weight sharing by a codebook per layer, trained through the integers.
    "quantize" => Quantize,
    /// Weights drawn together while they learn, then shared, trained through the integers.
    "soft-share" => SoftShare,
    /// Neighbouring weights as entries of codebooks, trained through the integers.
    "vector" => Vector,
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stage::serialize(self, serializer)
    }
}

/// Within a visitor, so that an error has the place of the stage and not of the whole list.
impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = Stage;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a table with `pass` and its settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Stage, A::Error> {
                Stage::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Table)
    }
}

impl Stage {
    /// Whether a report may call a stage so, or a run a part of it: `quantize.weights`.
    pub(super) fn is_named(name: &str) -> bool {
        let name = name.split('.').next().unwrap_or(name);
        let of = |pass: &&&str| {
            let number = name.strip_prefix(**pass).and_then(|n| n.strip_prefix('-'));
            name == **pass || number.is_some_and(|n| n.parse::<usize>().is_ok())
        };
        Self::NAMES.iter().find(of).is_some()
    }

    /// Its training, if it has one.
    pub fn training(&self) -> Option<&TrainConfig> {
        self.pass().training()
    }

    /// Its place in the usual order.
    pub(crate) fn rank(&self) -> usize {
        let place = Self::NAMES.iter().position(|name| *name == self.name());
        place.unwrap_or(Self::NAMES.len())
    }
}

/// Every stage with its name in a report: that of its pass, numbered from the second of it on.
pub(super) fn named(stages: &[Stage]) -> impl Iterator<Item = (String, &Stage)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    stages.iter().map(move |stage| {
        let count = seen.entry(stage.name()).or_default();
        *count += 1;
        let name = match count {
            1 => stage.name().to_owned(),
            n => format!("{}-{n}", stage.name()),
        };
        (name, stage)
    })
}

/// Refuses stages that undo each other.
pub(crate) fn check_order(stages: &[Stage]) -> Result<(), OrderError> {
    let is = |stage: &Stage, effect| stage.pass().effect() == effect;
    for (place, stage) in stages.iter().enumerate().skip(1) {
        let (at, name) = (place + 1, stage.name());
        let lost = stages[..place]
            .iter()
            .position(|s| !is(s, Effect::Training));
        if let Some(lost) = lost.filter(|_| is(stage, Effect::Network)) {
            return Err(OrderError::Lost {
                at,
                name,
                before: lost + 1,
                lost: stages[lost].name(),
            });
        }
        let changed = stages[..place].iter().position(|s| is(s, Effect::Weights));
        if let Some(changed) = changed.filter(|_| stage.pass().forgets()) {
            return Err(OrderError::Forgotten {
                at,
                name,
                before: changed + 1,
                lost: stages[changed].name(),
            });
        }
        if let Some(fixed) = stages[..place].iter().position(|s| is(s, Effect::Form)) {
            return Err(OrderError::Fixed {
                at,
                name,
                before: fixed + 1,
                fixing: stages[fixed].name(),
            });
        }
    }
    Ok(())
}

/// Refuses what does not fit the layers, as long as no stage makes others.
pub(super) fn check_graph(stages: &[Stage], graph: &Graph) -> Result<(), CompressError> {
    for stage in stages {
        let keeps = matches!(stage.pass().effect(), Effect::Network | Effect::Training);
        let bound = graph.parameters.iter().find(|p| is_bound(p));
        if let Some(bound) = bound.filter(|_| !keeps) {
            let (stage, layer) = (stage.name(), bound.name.clone());
            return Err(CompressError::Bound { stage, layer });
        }
        stage.pass().check_graph(graph)?;
        if matches!(stage.pass().effect(), Effect::Network | Effect::Layers) {
            return Ok(());
        }
    }
    Ok(())
}

/// Refuses a list of another length than the layers'; an empty one says nothing.
pub(crate) fn check_count(graph: &Graph, given: usize) -> Result<(), CompressError> {
    let layers = weights(graph).len();
    match given {
        0 => Ok(()),
        given if given == layers => Ok(()),
        given => Err(CompressError::Layers { layers, given }),
    }
}
