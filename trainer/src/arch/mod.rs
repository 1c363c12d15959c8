//! Architectures: built-in ones by name, others described in TOML.
//!
//! ```toml
//! name = "tiny"
//!
//! [[layer]]
//! op = "conv"
//! channels = 8
//! kernel = 3
//! padding = "same"
//!
//! [[layer]]
//! op = "relu"
//!
//! [[layer]]
//! op = "global_average_pool"
//!
//! [[layer]]
//! op = "dense"
//! units = "classes"
//! ```
//!
//! The layers, with what may be left out in brackets; a size of a window is a number or
//! `[height, width]`, padding a number or `"same"`.
//!
//! | layer | fields |
//! |---|---|
//! | `conv` | `channels`, `kernel`, \[`stride`, `padding`, `dilation`, `groups`, `bias`\] |
//! | `depthwise` | `kernel`, \[`stride`, `padding`, `dilation`, `bias`\] |
//! | `conv1d` | as `conv`, with one number for each size; over time |
//! | `dense` | `units` (a number or `"classes"`), \[`bias`, `each_step`\] |
//! | `rnn`, `lstm`, `gru` | `units`, \[`bidirectional`, `sequence`\]; the last state, or those of all steps |
//! | `embedding` | `rows`, `units`; of inputs that are whole numbers |
//! | `relu`, `clip` (`min`, `max`), `leaky_relu` \[`alpha`\], `elu` \[`alpha`\], `prelu` | |
//! | `sigmoid`, `tanh`, `hard_sigmoid`, `hard_swish`, `softplus`, `gelu`, `softmax` | |
//! | `max_pool`, `average_pool` | `kernel`, \[`stride`, `padding`\] |
//! | `global_average_pool` | over height and width, or over time |
//! | `batch_norm`, `layer_norm` | of channels by the batch, of the last axis by itself |
//! | `dropout` | `probability` |
//! | `flatten` | |
//! | `mark`, `from` | `name`: names what is here; goes on from what has the name |
//! | `add`, `concat` | `with`: a name |
//!
//! Layers over time take `[time, features]`. An image becomes such a sequence by itself: time is its
//! height, the features of a step are a row of all channels. Of an image of height 1, as `conv1d`
//! makes it, time is the width and the features are the channels. A keyword spotter:
//!
//! ```toml
//! name = "spotter"
//! layer = [
//!   { op = "conv1d", channels = 32, kernel = 5, stride = 2, padding = "same" },
//!   { op = "batch_norm" },
//!   { op = "relu" },
//!   { op = "gru", units = 24 },
//!   { op = "dense", units = "classes" },
//! ]
//! ```

mod build;
mod layer;
mod settings;

pub use layer::Layer;
pub use settings::{Extent, Init, Padding, Units};

use crate::files;
use crate::graph::ShapeError;
use crate::names::meant;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A chain of layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Of the graph it builds.
    pub name: String,
    /// How weights begin.
    #[serde(default)]
    pub init: Init,
    /// From input to output.
    #[serde(rename = "layer")]
    pub layers: Vec<Layer>,
}

/// Why there is no such architecture, or why it does not fit its input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchError {
    /// Neither a built-in name nor a file.
    #[error(
        "unknown architecture '{name}'; expected {}, mlp:UNITS-UNITS-…, or a TOML file{hint}",
        names()
    )]
    Unknown {
        /// As given.
        name: String,
        /// Which one may be meant.
        hint: String,
    },
    /// Hidden layers that are no numbers of units.
    #[error("'{0}': expected mlp:UNITS-UNITS-… with 1 to {MAX_UNITS} units a hidden layer")]
    Hidden(String),
    /// A description that cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A layer that does not fit.
    #[error("{0}")]
    Shape(#[from] ShapeError),
    /// A layer described wrongly.
    #[error("layer {layer} ({op}): {reason}")]
    Layer {
        /// Counted from 1.
        layer: usize,
        /// Its operator.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Largest size in a description: units, channels, sides of a window.
pub(crate) const MAX_UNITS: usize = 65_536;

const BUILT_IN: [(&str, &str); 3] = [
    ("lenet-300-100", include_str!("builtin/lenet-300-100.toml")),
    ("lenet-5-caffe", include_str!("builtin/lenet-5-caffe.toml")),
    ("speech-cnn", include_str!("builtin/speech-cnn.toml")),
];

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

impl Architecture {
    /// A built-in architecture, `mlp:300-100` (hidden units), or the one described in a TOML file.
    ///
    /// # Errors
    /// When there is none of that name, or the file is wrong.
    pub fn resolve(name: &str) -> Result<Self, ArchError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return parse(name, text);
        }
        if let Some(hidden) = name.strip_prefix("mlp:") {
            return Self::mlp(name, hidden);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|e| e != "toml") {
            return Err(ArchError::Unknown {
                name: name.to_owned(),
                hint: meant(name, BUILT_IN.map(|(name, _)| name)),
            });
        }
        let failed = |e: std::io::Error| ArchError::File {
            path: name.to_owned(),
            reason: e.to_string(),
        };
        parse(name, &std::fs::read_to_string(path).map_err(failed)?)
    }

    /// The same with a dropout after each hidden activation.
    pub fn with_dropout(mut self, probability: f32) -> Self {
        let layers = self.layers.into_iter().flat_map(|layer| {
            let hidden = layer.is_activation();
            let dropout = hidden.then_some(Layer::Dropout { probability });
            std::iter::once(layer).chain(dropout)
        });
        self.layers = layers.collect();
        self
    }

    fn mlp(name: &str, hidden: &str) -> Result<Self, ArchError> {
        let wrong = || ArchError::Hidden(name.to_owned());
        let units: Vec<usize> = hidden
            .split('-')
            .map(|n| n.parse().ok().filter(|n| (1..=MAX_UNITS).contains(n)))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let layers = units
            .into_iter()
            .flat_map(|n| {
                [
                    Layer::Dense {
                        units: Units::Count(n),
                        bias: true,
                        each_step: false,
                    },
                    Layer::Relu { name: None },
                ]
            })
            .chain([Layer::Dense {
                units: Units::Classes(settings::ClassCount::Classes),
                bias: true,
                each_step: false,
            }]);
        Ok(Self {
            name: name.replace(':', "-"),
            init: Init::default(),
            layers: layers.collect(),
        })
    }
}

fn parse(path: &str, text: &str) -> Result<Architecture, ArchError> {
    files::parse_toml(text).map_err(|reason| ArchError::File {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
