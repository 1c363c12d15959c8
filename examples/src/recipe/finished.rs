//! What is left of a recipe that was carried out.

use super::{Failure, Recipe, forget};
use compress::pipeline::Compressed;
use compress::report::Report;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use trainer::files::write_atomically;
use trainer::graph::Graph;
use trainer::onnx::{self, WriteOptions};
use trainer::train::Measure;

/// A finished recipe.
#[derive(Clone, Debug)]
pub struct Dish {
    /// The float network.
    pub graph: Graph,
    /// What became of it.
    pub compressed: Compressed,
    /// Its figures.
    pub finished: Finished,
}

/// What `report.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Of the network and its compression.
    #[serde(flatten)]
    pub report: Report,
    /// Name of the recipe.
    pub recipe: String,
    /// [`Recipe::key`]
    pub recipe_key: String,
    /// Wall-clock time of everything; of a run that took stages from an earlier one, at least the
    /// time of all of its trainings.
    pub seconds: f64,
    /// Most memory that the process had held by the end, where the system says it.
    pub peak_memory_bytes: Option<u64>,
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

/// Names of the files in the folder of a finished recipe.
const REPORT: &str = "report.json";
const IMAGE: &str = "model.pith";
const FLOAT: &str = "model.onnx";

impl Dish {
    /// Writes `model.onnx` (float, before compression), `model.pith` and `report.json`, and deletes what
    /// they were made of.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        onnx::write(&self.graph, &folder.join(FLOAT), WriteOptions::default())?;
        write_atomically(&image(folder), &self.compressed.encoded.bytes)?;
        let report = serde_json::to_string_pretty(&self.finished)?;
        write_atomically(&folder.join(REPORT), report.as_bytes())?;
        forget(folder);
        Ok(())
    }
}

/// The image in the folder of a finished recipe.
pub fn image(folder: &Path) -> PathBuf {
    folder.join(IMAGE)
}

/// The report in the folder of a finished recipe: [`Finished`], or a [`Report`] alone.
///
/// # Errors
/// When there is none, or it is something else.
pub fn read_report<T: serde::de::DeserializeOwned>(folder: &Path) -> Result<T, Failure> {
    read_json(&folder.join(REPORT))
}

/// What a JSON file holds.
///
/// # Errors
/// When there is none, or it is something else.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    Ok(serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))?)
}

impl Finished {
    /// Refuses a folder where a run of another recipe is finished, which a run of this one would write
    /// over.
    ///
    /// # Errors
    /// When it is one.
    pub fn spare(recipe: &Recipe, folder: &Path) -> Result<(), Failure> {
        read_report::<Self>(folder).map_or(Ok(()), |found| found.is_of(recipe, folder))
    }

    fn is_of(&self, recipe: &Recipe, folder: &Path) -> Result<(), Failure> {
        let (other, name, place) = (&self.recipe, &recipe.name, folder.display());
        if other != name {
            return Err(format!("{place} holds the recipe '{other}', not '{name}'").into());
        }
        Ok(())
    }

    /// What a folder holds.
    ///
    /// # Errors
    /// When that is nothing, or of another recipe or seed, or the image is not the one reported on.
    pub fn of(recipe: &Recipe, seed: u64, folder: &Path) -> Result<Self, Failure> {
        let found: Self = read_report(folder)?;
        let place = folder.display();
        found.is_of(recipe, folder)?;
        if found.recipe_key != recipe.key {
            let name = &recipe.name;
            return Err(
                format!("{place} is from before '{name}' was changed; reproduce it").into(),
            );
        }
        if found.report.seed != seed {
            let other = found.report.seed;
            return Err(format!("{place} holds seed {other}, not {seed}").into());
        }
        let length = std::fs::metadata(image(folder)).map_or(0, |m| m.len());
        if length != found.report.image.bytes as u64 {
            return Err(format!("{place} does not hold the image that its report is of").into());
        }
        Ok(found)
    }
}

/// Most memory that the process has held, where the system says it (Linux).
pub(super) fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
