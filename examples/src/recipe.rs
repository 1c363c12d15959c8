//! A recipe trains and compresses a network from nothing: architecture, data, training, passes,
//! seeds, in one TOML file. Every figure the documentation claims has one.

use compress::pipeline::{Checkpoints, Compressed, Examples, Figures, compress};
use compress::report::Report;
use compress::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;
use trainer::arch::Architecture;
use trainer::data::{DataSpec, Splits};
use trainer::files::{parse_toml, write_atomically};
use trainer::graph::Graph;
use trainer::onnx::{self, WriteOptions};
use trainer::train::{DeviceChoice, NoHook, Progress, TrainConfig, error_percent, fit};

pub use trainer::command::Failure;

/// What a file in `recipes/` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// A built-in architecture or a TOML file.
    pub architecture: String,
    /// Kind of data: `mnist` is looked for in the folder `mnist` of the data folder, and `wav:fsdd` in
    /// its folder `fsdd`.
    pub data: String,
    /// Training of the float network.
    pub train: TrainConfig,
    /// Passes.
    pub compress: Settings,
}

/// The recipes, by name.
pub const RECIPES: [(&str, &str); 3] = [
    (
        "lenet-300-100",
        include_str!("../recipes/lenet-300-100.toml"),
    ),
    ("lenet-5", include_str!("../recipes/lenet-5.toml")),
    (
        "spoken-digits",
        include_str!("../recipes/spoken-digits.toml"),
    ),
];

/// A finished recipe.
#[derive(Clone, Debug)]
pub struct Dish {
    /// The float network.
    pub graph: Graph,
    /// What became of it.
    pub compressed: Compressed,
    /// Its figures.
    pub report: Report,
}

impl Recipe {
    /// A recipe by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn find(name: &str) -> Result<Self, Failure> {
        let names = || RECIPES.map(|(name, _)| name).join(", ");
        let text = RECIPES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| text);
        let text =
            text.ok_or_else(|| format!("unknown recipe '{name}'; expected one of {}", names()))?;
        Ok(parse_toml(text).map_err(|e| format!("recipe '{name}', {e}"))?)
    }

    /// The same with another seed for every random choice.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.train.seed = seed;
        self.compress.seed = seed;
        let trainings = self.compress.trainings_mut();
        trainings.for_each(|train| train.seed = seed);
        self
    }

    /// Its data in a folder that holds one folder for each kind.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&self, folder: &Path) -> Result<Splits, Failure> {
        let (kind, place) = self
            .data
            .split_once(':')
            .unwrap_or((&self.data, &self.data));
        let spec = format!("{kind}:{}", folder.join(place).display());
        Ok(spec.parse::<DataSpec>()?.load()?)
    }

    /// Deletes what an interrupted run left in `folder`.
    pub fn forget(folder: &Path) {
        let (checkpoint, checkpoints) = checkpoints(folder, false);
        checkpoints.remove();
        let _ = std::fs::remove_file(checkpoint);
    }

    /// Trains, compresses and measures. Checkpoints stand in `folder` while it lasts.
    ///
    /// # Errors
    /// When training or a pass fails.
    pub fn cook(&self, splits: &Splits, folder: &Path, resume: bool) -> Result<Dish, Failure> {
        let Splits { train, test } = splits;
        let architecture = Architecture::resolve(&self.architecture)?;
        let mut graph = architecture.build(&train.input_shape, train.classes, self.train.seed)?;
        graph.metadata.extend(train.metadata.clone());
        let started = Instant::now();
        let (seen, held_out) = train.hold_out(self.compress.hold_out, self.compress.seed);
        let held_out = Some(&held_out).filter(|h| !h.is_empty());
        let (checkpoint, checkpoints) = checkpoints(folder, resume);
        let config = TrainConfig {
            checkpoint: Some(checkpoint),
            resume,
            ..self.train.clone()
        };
        let progress = Progress::new(
            "train",
            config.epochs,
            seen.len().div_ceil(config.batch.max(1)),
        );
        fit(&mut graph, &seen, held_out, &config, &mut NoHook, progress)?;
        let value = held_out
            .map(|h| error_percent(&graph, h, DeviceChoice::Cpu))
            .transpose()?;
        let trained = Figures {
            name: "train".into(),
            seconds: started.elapsed().as_secs_f64(),
            bytes: 4 * graph.parameter_count(),
            value,
        };
        let mut compressed = compress(&graph, Examples::Data(train), &self.compress, &checkpoints)?;
        compressed.stages.insert(0, trained);
        let mut report = Report::new(&graph, self.train.seed, &compressed);
        report.measure(&graph, &compressed.encoded.bytes, test)?;
        Self::forget(folder);
        Ok(Dish {
            graph,
            compressed,
            report,
        })
    }
}

/// Of training and of the passes.
fn checkpoints(folder: &Path, resume: bool) -> (PathBuf, Checkpoints) {
    let stem = Some(folder.join("model.pith"));
    (
        folder.join("model.train.ckpt"),
        Checkpoints { stem, resume },
    )
}

impl Dish {
    /// Writes `model.onnx` (float, before compression), `model.pith` and `report.json`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        onnx::write(
            &self.graph,
            &folder.join("model.onnx"),
            WriteOptions::default(),
        )?;
        write_atomically(&folder.join("model.pith"), &self.compressed.encoded.bytes)?;
        write_atomically(
            &folder.join("report.json"),
            serde_json::to_string_pretty(&self.report)?.as_bytes(),
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_reads_and_is_within_its_ranges() {
        for (name, _) in RECIPES {
            let recipe = Recipe::find(name).expect(name);
            recipe.compress.check().expect(name);
            Architecture::resolve(&recipe.architecture).expect(name);
            assert!(
                recipe.compress.hold_out > 0,
                "{name} must make its choices on held-out examples"
            );
            assert_eq!(recipe.clone().with_seed(7).train.seed, 7);
        }
        assert!(
            Recipe::find("lenet")
                .expect_err("unknown")
                .to_string()
                .contains("lenet-300-100, lenet-5")
        );
    }
}
