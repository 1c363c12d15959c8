//! A recipe trains and compresses a network from nothing: architecture, data, training, passes,
//! seeds, in one TOML file. Every figure the documentation claims has one.

use compress::cli::measure;
use compress::pipeline::{Checkpoints, Compressed, Examples, Figures, Key, compress};
use compress::report::Report;
use compress::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;
use trainer::arch::Architecture;
use trainer::data::{DataSpec, Dataset, Splits};
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
        checkpoints(folder).remove();
        for file in [STATE, RESULT] {
            let _ = std::fs::remove_file(folder.join(file));
        }
    }

    /// Trains, compresses and measures. Checkpoints stand in `folder` while it lasts, and the results of
    /// stages too unless there is a `cache`.
    ///
    /// # Errors
    /// When training or a pass fails.
    pub fn cook(
        &self,
        splits: &Splits,
        folder: &Path,
        cache: Option<&Path>,
        resume: bool,
    ) -> Result<Dish, Failure> {
        let Splits { train, test } = splits;
        let checkpoints = Checkpoints {
            cache: cache.map(Path::to_owned),
            resume,
            ..checkpoints(folder)
        };
        checkpoints.open()?;
        let (graph, trained) = self.trained(train, folder, &checkpoints)?;
        let mut compressed = compress(&graph, Examples::Data(train), &self.compress, &checkpoints)?;
        compressed.stages.insert(0, trained);
        let mut report = Report::new(
            &graph.name,
            self.train.seed,
            graph.parameter_count(),
            graph.macs(),
            &compressed,
        );
        measure(&mut report, &graph, &compressed.encoded.bytes, test)?;
        Ok(Dish {
            graph,
            compressed,
            report,
        })
    }
}

impl Recipe {
    /// The float network with what its training took, trained or taken from an earlier run.
    fn trained(
        &self,
        train: &Dataset,
        folder: &Path,
        checkpoints: &Checkpoints,
    ) -> Result<(Graph, Figures), Failure> {
        let architecture = Architecture::resolve(&self.architecture)?;
        let mut graph = architecture.build(&train.input_shape, train.classes, self.train.seed)?;
        graph.metadata.extend(train.metadata.clone());
        let (seen, held_out) = train.hold_out(self.compress.hold_out, self.compress.seed);
        let held_out = Some(&held_out).filter(|h| !h.is_empty());
        let settings = serde_json::to_string(&self.train)?;
        let key = Key::of(&(&graph, &seen, held_out, settings))?;
        let (graph, seconds) = match checkpoints.load(TRAIN, &key) {
            Some(result) => {
                eprintln!(
                    "{TRAIN}: taken from the run before, for nothing has changed up to there"
                );
                result
            }
            None => {
                let state = Some(folder.join(STATE));
                let started = Instant::now();
                self.fit(&mut graph, &seen, held_out, state, checkpoints.resume)?;
                let seconds = started.elapsed().as_secs_f64();
                checkpoints.keep(TRAIN, &key, &graph, seconds);
                (graph, seconds)
            }
        };
        let value = held_out
            .map(|h| error_percent(&graph, h, DeviceChoice::Cpu))
            .transpose()?;
        let figures = Figures {
            name: TRAIN.into(),
            seconds,
            bytes: 4 * graph.parameter_count(),
            value,
        };
        Ok((graph, figures))
    }

    fn fit(
        &self,
        graph: &mut Graph,
        seen: &Dataset,
        held_out: Option<&Dataset>,
        checkpoint: Option<PathBuf>,
        resume: bool,
    ) -> Result<(), Failure> {
        let config = TrainConfig {
            checkpoint,
            resume,
            ..self.train.clone()
        };
        let steps = seen.len().div_ceil(config.batch.max(1));
        let progress = Progress::new(TRAIN, config.epochs, steps);
        fit(graph, seen, held_out, &config, &mut NoHook, progress)?;
        Ok(())
    }
}

/// Name of the training of the float network among the stages.
const TRAIN: &str = "train";

/// Beginning of the names of what the passes leave in a folder.
const STEM: &str = "model.pith";

/// State of the training of the float network.
const STATE: &str = "model.train.ckpt";

/// Its result.
const RESULT: &str = "model.pith.train.stage";

/// Of the passes.
fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints {
        stem: Some(folder.join(STEM)),
        ..Checkpoints::default()
    }
}

impl Dish {
    /// Writes `model.onnx` (float, before compression), `model.pith` and `report.json`, and deletes what
    /// they were made of.
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
        Recipe::forget(folder);
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
