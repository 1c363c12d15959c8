//! A recipe trains and compresses a network from nothing: architecture, data, training, passes,
//! seeds, in one TOML file. Every figure the documentation claims has one.

mod cook;
mod design;
mod finished;

pub use cook::forget;
pub use design::Design;
pub use finished::{Dish, Finished, Other, image, read_json, read_report};

use compress::pipeline::{Key, Stage};
use compress::settings::Settings;
use serde::{Deserialize, Serialize};
use std::path::Path;
use trainer::data::{DataSpec, Splits};
use trainer::files::parse_toml;
use trainer::names::meant;
use trainer::train::TrainConfig;

pub use trainer::command::Failure;

/// What a file in `recipes/` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// As on the command line.
    #[serde(skip)]
    pub name: String,
    /// A hash of what it says, but for `records` and comments: the same for the same results.
    #[serde(skip)]
    pub key: String,
    /// A built-in architecture, a TOML file, or a table like one.
    pub architecture: Design,
    /// Kind of data: `mnist` is looked for in the folder `mnist` of the data folder, `wav:fsdd` in its
    /// folder `fsdd`, and `glyphs:N` nowhere.
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
    /// What others have reached.
    #[serde(default)]
    pub records: Vec<Record>,
}

/// An ensemble, trained on labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// As a recipe's.
    pub architecture: Design,
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
    pub architecture: Design,
    /// The stage whose training it gets, epochs, distortions and all; that of the float network unless
    /// given.
    pub like: Option<String>,
    /// A training of its own instead.
    pub train: Option<TrainConfig>,
}

/// A published result to compare with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What it is known as.
    pub name: String,
    /// Size, if it is known in bytes.
    pub bytes: Option<usize>,
    /// Size of the float network over its own.
    pub ratio: Option<f64>,
    /// Percent of the test examples.
    pub error: Option<f64>,
    /// Where it stands.
    pub source: String,
}

/// The recipes, by name.
pub const RECIPES: [(&str, &str); 9] = [
    (
        "lenet-300-100",
        include_str!("../recipes/lenet-300-100.toml"),
    ),
    ("lenet-5", include_str!("../recipes/lenet-5.toml")),
    (
        "lenet-300-100-record",
        include_str!("../recipes/lenet-300-100-record.toml"),
    ),
    (
        "lenet-5-record",
        include_str!("../recipes/lenet-5-record.toml"),
    ),
    ("mnist-10k", include_str!("../recipes/mnist-10k.toml")),
    ("hashed-8", include_str!("../recipes/hashed-8.toml")),
    ("hashed-64", include_str!("../recipes/hashed-64.toml")),
    ("mimic-30", include_str!("../recipes/mimic-30.toml")),
    (
        "spoken-digits",
        include_str!("../recipes/spoken-digits.toml"),
    ),
];

impl Recipe {
    /// A recipe by name, or that of a TOML file.
    ///
    /// # Errors
    /// When there is none of that name, or the file is wrong.
    pub fn find(name: &str) -> Result<Self, Failure> {
        if let Some((_, text)) = RECIPES.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, text);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|e| e != "toml") {
            let (names, hint) = (RECIPES.map(|(name, _)| name), RECIPES.map(|(name, _)| name));
            let (names, hint) = (names.join(", "), meant(name, hint));
            let error = format!("unknown recipe '{name}'; expected {names}, or a TOML file{hint}");
            return Err(error.into());
        }
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {name}: {e}"))?;
        let stem = path.file_stem().unwrap_or_default();
        Self::parse(&stem.to_string_lossy(), &text)
    }

    /// The recipe that a text holds.
    ///
    /// # Errors
    /// Naming the line that is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        let wrong = |e| format!("recipe '{name}', {e}");
        let mut recipe: Self = parse_toml(text).map_err(wrong)?;
        let mut said: toml::Table = parse_toml(text).map_err(wrong)?;
        said.remove("records");
        let mut key = Key::of(&serde_json::to_string(&said)?)?;
        for file in recipe.designs().filter_map(Design::file) {
            key = key.and(&std::fs::read(file).unwrap_or_default())?;
        }
        (recipe.name, recipe.key) = (name.to_owned(), key.to_string());
        Ok(recipe)
    }

    fn designs(&self) -> impl Iterator<Item = &Design> {
        let teacher = self.teacher.iter().map(|t| &t.architecture);
        let baselines = self.baselines.iter().map(|b| &b.architecture);
        std::iter::once(&self.architecture)
            .chain(teacher)
            .chain(baselines)
    }

    /// Every training, to be changed.
    pub fn trainings_mut(&mut self) -> impl Iterator<Item = &mut TrainConfig> {
        let teacher = self.teacher.iter_mut().map(|t| &mut t.train);
        let baselines = self.baselines.iter_mut().flat_map(|b| &mut b.train);
        let own = std::iter::once(&mut self.train);
        own.chain(teacher)
            .chain(self.compress.trainings_mut())
            .chain(baselines)
    }

    /// What a baseline is trained by.
    ///
    /// # Errors
    /// When the stage that it is to be trained like is not there, or does not train.
    fn training<'r>(&'r self, baseline: &'r Baseline) -> Result<&'r TrainConfig, Failure> {
        let Some(like) = &baseline.like else {
            return Ok(baseline.train.as_ref().unwrap_or(&self.train));
        };
        let name = &baseline.name;
        if baseline.train.is_some() {
            let error = format!("baseline '{name}' has both `like` and `train`; leave one out");
            return Err(error.into());
        }
        let mut stages = self.compress.stages.iter().filter(|s| s.name() == like);
        let training = stages.find_map(Stage::training);
        Ok(training.ok_or_else(|| {
            format!(
                "baseline '{name}' is to be trained like '{like}', which is no stage that trains"
            )
        })?)
    }

    /// The same with another seed for every random choice.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.compress.seed = seed;
        self.trainings_mut().for_each(|train| train.seed = seed);
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
        let spec = match kind {
            "glyphs" => self.data.clone(),
            _ => format!("{kind}:{}", folder.join(place).display()),
        };
        Ok(spec.parse::<DataSpec>()?.load()?)
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
            for design in recipe.designs() {
                design.resolve().expect(name);
            }
            for baseline in &recipe.baselines {
                recipe.training(baseline).expect(name);
            }
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
