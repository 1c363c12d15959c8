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

mod build;
mod layer;

pub use layer::{Init, Layer, Padding, Units};

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
            let activation = matches!(layer, Layer::Relu { .. } | Layer::Clip { .. });
            let dropout = activation.then_some(Layer::Dropout { probability });
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
                    },
                    Layer::Relu { name: None },
                ]
            })
            .chain([Layer::Dense {
                units: Units::Classes(layer::ClassCount::Classes),
                bias: true,
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
mod tests {
    use super::*;

    fn build(name: &str) -> crate::graph::Graph {
        Architecture::resolve(name)
            .expect(name)
            .build(&[1, 28, 28], 10, 1)
            .expect(name)
    }

    #[test]
    fn published_counts_of_parameters_and_products() {
        let (mlp, cnn) = (build("lenet-300-100"), build("lenet-5-caffe"));
        assert_eq!((mlp.parameter_count(), mlp.macs()), (266_610, 266_200));
        assert_eq!((cnn.parameter_count(), cnn.macs()), (431_080, 2_293_000));
        assert_eq!(build("mlp:300-100").parameter_count(), 266_610);
        let speech = Architecture::resolve("speech-cnn").expect("built in");
        let speech = speech.build(&[1, 48, 32], 10, 1).expect("fits");
        let weights = 9 * (16 + 16 * 32 + 32 * 48 + 48 * 64) + 3 * 2 * 64 * 10 + 10;
        let normalization = 4 * (16 + 32 + 48 + 64);
        assert_eq!(speech.parameter_count(), weights + normalization);
    }

    #[test]
    fn weights_begin_with_he_spread_and_the_same_seed_gives_the_same() {
        let graph = build("lenet-300-100");
        let values = graph.parameters[0].materialize();
        let variance = values.iter().map(|v| (v * v) as f64).sum::<f64>() / values.len() as f64;
        assert!((variance / (2.0 / 784.0) - 1.0).abs() < 0.02, "{variance}");
        assert!(graph.parameters[1].materialize().iter().all(|&b| b == 0.0));
        assert_eq!(graph, build("lenet-300-100"));
    }

    #[test]
    fn mistakes_are_one_line_that_helps() {
        let error = |name: &str| Architecture::resolve(name).expect_err(name).to_string();
        assert!(error("lenet-5").contains("do you mean lenet-5-caffe?"));
        assert!(error("lenet").contains("lenet-300-100"));
        assert!(error("/nowhere/a.toml").contains("/nowhere/a.toml"));
        let misspelt = parse("f.toml", "name = 'x'\n[[layer]]\nop = 'dense'\nunit = 3\n")
            .expect_err("misspelt");
        assert!(
            misspelt.to_string().contains("unit") && !misspelt.to_string().contains('\n'),
            "{misspelt}"
        );
        let unknown = parse("f.toml", "name = 'x'\n[[layer]]\nop = 'dens'\n")
            .expect_err("unknown")
            .to_string();
        assert!(
            unknown.contains("dens") && unknown.contains("dense"),
            "{unknown}"
        );
        let big = "name = 'x'\n[[layer]]\nop = 'conv'\nchannels = 2\nkernel = 40\n";
        let shape = parse("f.toml", big)
            .expect("reads")
            .build(&[1, 28, 28], 10, 1)
            .expect_err("too large");
        assert!(shape.to_string().contains("window of 40 on 28"), "{shape}");
    }

    #[test]
    fn every_layer_builds() {
        let text = r#"
            name = "all"
            init = "xavier"
            layer = [
              { op = "conv", channels = 4, kernel = 3, padding = "same", bias = false },
              { op = "batch_norm" },
              { op = "relu", name = "a" },
              { op = "conv", channels = 4, kernel = 3, padding = 1, groups = 4 },
              { op = "add", with = "a" },
              { op = "clip", min = 0.0, max = 6.0 },
              { op = "max_pool", kernel = 3, stride = 2, padding = 1 },
              { op = "average_pool", kernel = 2 },
              { op = "global_average_pool" },
              { op = "dropout", probability = 0.2 },
              { op = "dense", units = "classes" },
              { op = "softmax" },
            ]"#;
        let graph = parse("all", text)
            .expect("reads")
            .build(&[3, 16, 16], 7, 1)
            .expect("builds");
        assert_eq!(graph.value(graph.output).shape, [7]);
        let named = |op: &str| graph.nodes.iter().filter(|n| n.op.name() == op).count();
        assert_eq!((named("Conv"), named("Add"), named("Flatten")), (2, 1, 1));
    }
}
