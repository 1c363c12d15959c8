//! A recipe trains and compresses a network from nothing: architecture, data, training, passes,
//! seeds, in one TOML file. Every figure the documentation claims has one.

mod cook;

pub use cook::forget;

use compress::pipeline::Compressed;
use compress::report::Report;
use compress::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::Path;
use trainer::data::{DataSpec, Splits};
use trainer::files::{parse_toml, write_atomically};
use trainer::graph::Graph;
use trainer::onnx::{self, WriteOptions};
use trainer::train::{Measure, TrainConfig};

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
    /// Networks that the float network learns from, and every stage of its compression.
    pub teacher: Option<Teacher>,
    /// Training of the float network.
    pub train: TrainConfig,
    /// Networks to compare it with.
    #[serde(default)]
    pub baselines: Vec<Baseline>,
    /// Passes.
    pub compress: Settings,
}

/// An ensemble, trained on labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// As a recipe's.
    pub architecture: String,
    /// How many of them, which differ in their seeds.
    #[serde(default = "one")]
    pub ensemble: usize,
    /// Training of each.
    pub train: TrainConfig,
}

fn one() -> usize {
    1
}

/// A network trained on labels alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What it is, in a word or two.
    pub name: String,
    /// As a recipe's.
    pub architecture: String,
    /// Its training; the recipe's own unless given.
    pub train: Option<TrainConfig>,
}

/// The recipes, by name.
pub const RECIPES: [(&str, &str); 6] = [
    (
        "lenet-300-100",
        include_str!("../recipes/lenet-300-100.toml"),
    ),
    ("lenet-5", include_str!("../recipes/lenet-5.toml")),
    (
        "lenet-300-100-record",
        include_str!("../recipes/lenet-300-100-record.toml"),
    ),
    ("hashed-8", include_str!("../recipes/hashed-8.toml")),
    ("hashed-64", include_str!("../recipes/hashed-64.toml")),
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
    /// Teachers and baselines.
    pub others: Vec<Other>,
}

/// A network beside the one that was compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// `teacher-1`, or a baseline's name.
    pub name: String,
    /// Its weights and biases.
    pub parameters: usize,
    /// On the test split.
    #[serde(flatten)]
    pub measure: Measure,
}

/// What `report.json` holds.
#[derive(Serialize)]
struct Written<'d> {
    #[serde(flatten)]
    report: &'d Report,
    others: &'d [Other],
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
        let teacher = self.teacher.iter_mut().map(|t| &mut t.train);
        let baselines = self.baselines.iter_mut().flat_map(|b| &mut b.train);
        let trainings = self.compress.trainings_mut().chain(teacher);
        trainings.chain(baselines).for_each(|t| t.seed = seed);
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
}

impl Dish {
    /// Writes `model.onnx` (float, before compression), `model.pith` and `report.json`, and deletes what
    /// they were made of.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        let written = Written {
            report: &self.report,
            others: &self.others,
        };
        onnx::write(
            &self.graph,
            &folder.join("model.onnx"),
            WriteOptions::default(),
        )?;
        write_atomically(&folder.join("model.pith"), &self.compressed.encoded.bytes)?;
        write_atomically(
            &folder.join("report.json"),
            serde_json::to_string_pretty(&written)?.as_bytes(),
        )?;
        forget(folder);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::arch::Architecture;

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
