//! A recipe's results over seeds, in a small file that a repository can keep.

use super::device::Cost;
use super::{Statistics, grouped};
use crate::recipe::{Failure, Finished, Recipe, image, read_json};
use compress::report::Sized;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use trainer::data::Dataset;
use trainer::train::Measure;

/// Finished runs of one recipe, each of another seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub recipe: String,
    /// [`Recipe::key`]
    pub recipe_key: String,
    /// Name of the network.
    pub network: String,
    /// Four for each of its parameters.
    pub float_bytes: usize,
    /// What the errors are of.
    pub split: String,
    /// How many examples that is.
    pub n: usize,
    /// One a seed, the lowest first.
    pub runs: Vec<Run>,
}

/// One seed's figures; errors are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Of every random choice.
    pub seed: u64,
    /// Of the whole file.
    pub bytes: usize,
    /// Of these, values of weights.
    pub value_bytes: usize,
    /// Of the network before compression.
    pub float_error: f64,
    /// Of the image's integers.
    pub error: f64,
    /// Wall-clock time of everything.
    pub seconds: f64,
    /// Most memory held, where that is known.
    pub peak_memory_bytes: Option<u64>,
    /// Teachers and baselines.
    pub others: Vec<Beside>,
    /// On the emulated Cortex-M4, where the image was run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m4: Option<Cost>,
}

/// A teacher or baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// What it is.
    pub name: String,
    /// Its weights and biases.
    pub parameters: usize,
    /// Percent.
    pub error: f64,
}

/// A summary's file: what readers would work out of the runs is written out.
#[derive(Serialize)]
struct Told<'s> {
    #[serde(flatten)]
    summary: &'s Summary,
    bytes: Statistics,
    error: Statistics,
    float_error: Statistics,
    seconds: Statistics,
}

/// Where `reproduce` leaves the run of a seed.
pub fn folder_of(output: &Path, seed: u64) -> PathBuf {
    output.join(format!("seed-{seed}"))
}

/// The seeds of which an output folder holds a run, the lowest first.
fn seeds_in(output: &Path) -> Vec<u64> {
    let names = std::fs::read_dir(output).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut seeds: Vec<u64> = names
        .filter_map(|name| name.strip_prefix("seed-")?.parse().ok())
        .collect();
    seeds.sort_unstable();
    seeds
}

impl Summary {
    /// Of all the seeds in an output folder.
    ///
    /// # Errors
    /// When there is none, or one is not finished or is another recipe's.
    pub fn of(recipe: &Recipe, output: &Path) -> Result<Self, Failure> {
        Self::of_seeds(recipe, output, &seeds_in(output))
    }

    /// Of some of the seeds in an output folder.
    ///
    /// # Errors
    /// When there is none, or one is not finished or is another recipe's.
    pub fn of_seeds(recipe: &Recipe, output: &Path, seeds: &[u64]) -> Result<Self, Failure> {
        let finished: Vec<Finished> = seeds
            .iter()
            .map(|&seed| Finished::of(recipe, seed, &folder_of(output, seed)))
            .collect::<Result<_, _>>()?;
        let Some(first) = finished.first() else {
            let (name, place) = (&recipe.name, output.display());
            let error = format!(
                "{place} holds no seed-N of '{name}'; reproduce {name} -o {place} --seeds 1,2,3"
            );
            return Err(error.into());
        };
        let of = measured(&first.report.image)?;
        Ok(Self {
            recipe: recipe.name.clone(),
            recipe_key: recipe.key.clone(),
            network: first.report.model.clone(),
            float_bytes: first.report.float.bytes,
            split: of.split.clone(),
            n: of.n,
            runs: finished.iter().map(Run::of).collect::<Result<_, _>>()?,
        })
    }

    /// What a file holds.
    ///
    /// # Errors
    /// When it is no summary, or has no runs.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let read: Self = read_json(path)?;
        if read.runs.is_empty() {
            return Err(format!("{} has no runs", path.display()).into());
        }
        Ok(read)
    }

    /// Refuses the results of another recipe, or of what this one said before.
    ///
    /// # Errors
    /// When it is one.
    pub fn check(&self, recipe: &Recipe) -> Result<(), Failure> {
        let (name, of) = (&recipe.name, &self.recipe);
        if of != name {
            return Err(format!("the results of '{name}' are those of '{of}'").into());
        }
        if self.recipe_key != recipe.key {
            let error =
                format!("the results of '{name}' are from before it was changed; run it anew");
            return Err(error.into());
        }
        Ok(())
    }

    /// Runs every seed's image on the emulated Cortex-M4.
    ///
    /// # Errors
    /// When an integer is not the host's, or a tool is missing.
    pub fn emulate(&mut self, output: &Path, test: &Dataset) -> Result<(), Failure> {
        for run in &mut self.runs {
            run.m4 = Some(Cost::on_m4(&image(&folder_of(output, run.seed)), test)?);
        }
        Ok(())
    }

    /// Of one figure.
    pub fn statistics(&self, figure: impl Fn(&Run) -> f64) -> Statistics {
        Statistics::of(self.runs.iter().map(figure))
    }

    /// Of the whole file.
    pub fn bytes(&self) -> Statistics {
        self.statistics(|run| run.bytes as f64)
    }

    /// Of the image's integers.
    pub fn error(&self) -> Statistics {
        self.statistics(|run| run.error)
    }

    /// Of the network before compression.
    pub fn float_error(&self) -> Statistics {
        self.statistics(|run| run.float_error)
    }

    /// Bytes of the float network over those of the file, in the mean.
    pub fn ratio(&self) -> f64 {
        self.float_bytes as f64 / self.bytes().mean
    }

    /// The seeds, with commas.
    pub fn seeds(&self, separator: &str) -> String {
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        seeds.join(separator)
    }

    /// As a file.
    ///
    /// # Errors
    /// Never, but for a number that JSON does not have.
    pub fn to_json(&self) -> Result<String, Failure> {
        let told = Told {
            summary: self,
            bytes: self.bytes(),
            error: self.error(),
            float_error: self.float_error(),
            seconds: self.statistics(|run| run.seconds),
        };
        Ok(serde_json::to_string_pretty(&told)? + "\n")
    }

    /// For people, in a line.
    pub fn line(&self) -> String {
        let (bytes, error) = (self.bytes(), self.error());
        format!(
            "{}: {} bytes ({} to {}), {:.1}x, {:.2} % error ± {:.2} (standard deviation) on {} {} examples, seeds {}, {:.0} s each",
            self.recipe,
            grouped(bytes.mean.round() as u64),
            grouped(bytes.min as u64),
            grouped(bytes.max as u64),
            self.ratio(),
            error.mean,
            error.deviation,
            grouped(self.n as u64),
            self.split,
            self.seeds(", "),
            self.statistics(|run| run.seconds).mean,
        )
    }
}

impl Run {
    fn of(finished: &Finished) -> Result<Self, Failure> {
        let report = &finished.report;
        let others = finished.others.iter().map(|other| Beside {
            name: other.name.clone(),
            parameters: other.parameters,
            error: other.measure.value,
        });
        Ok(Self {
            seed: report.seed,
            bytes: report.image.bytes,
            value_bytes: report.ledger.values,
            float_error: measured(&report.float)?.value,
            error: measured(&report.image)?.value,
            seconds: finished.seconds,
            peak_memory_bytes: finished.peak_memory_bytes,
            others: others.collect(),
            m4: None,
        })
    }
}

fn measured(sized: &Sized) -> Result<&Measure, Failure> {
    let measure = sized.measure.as_ref();
    Ok(measure.ok_or("the report has no error on test examples")?)
}
