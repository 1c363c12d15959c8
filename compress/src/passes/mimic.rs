//! Mimic models (Ba & Caruana 2014): a smaller network learns to answer as a larger one does, or as an
//! ensemble does, and takes its place.

use super::simplify;
use crate::pipeline::{CompressError, Effect, Pass, Run, lower_check};
use crate::settings::SettingError;
use serde::{Deserialize, Serialize};
use trainer::arch::{ArchError, Architecture};
use trainer::data::{DataSpec, Dataset};
use trainer::graph::Graph;
use trainer::train::{NoHook, TrainConfig};

/// A student, and how it learns.
///
/// The network that it replaces becomes a teacher, beside those given. What is learnt from is their
/// soft outputs alone, the labels unused, unless `train.soft` is below 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mimic {
    /// An architecture's name, `mlp:30`, or a TOML file.
    pub student: String,
    /// More examples to learn from, as `--data` takes them; their labels, if there are any, are not
    /// used.
    pub unlabelled: Option<String>,
    /// Whether the stages behind this one go on learning from the teachers.
    pub keep_teaching: bool,
    /// The student's training.
    pub train: TrainConfig,
}

impl Default for Mimic {
    fn default() -> Self {
        Self {
            student: String::new(),
            unlabelled: None,
            keep_teaching: true,
            train: TrainConfig::default(),
        }
    }
}

/// Why there is no student.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum MimicError {
    #[error("mimic: {0}")]
    Student(#[from] ArchError),
    #[error("mimic: {0}")]
    Data(#[from] trainer::data::DataError),
    #[error("mimic: unlabelled examples need --data, which says what the others are")]
    NoData,
    #[error(
        "mimic: the unlabelled inputs have shape {unlabelled:?}, those of --data {labelled:?}; they must agree"
    )]
    Shapes {
        unlabelled: Vec<usize>,
        labelled: Vec<usize>,
    },
}

impl Mimic {
    /// The student as it begins, to take the place of `teacher`.
    fn student(&self, teacher: &Graph, seed: u64) -> Result<Graph, MimicError> {
        let [input, output] = [teacher.input, teacher.output].map(|v| teacher.value(v));
        let architecture = Architecture::resolve(&self.student)?;
        let mut student = architecture.build(&input.shape, output.len(), seed)?;
        student.metadata.extend(teacher.metadata.clone());
        simplify(&mut student);
        Ok(student)
    }

    /// The examples of the run and the unlabelled ones, none of them with its label.
    fn examples(&self, train: &Dataset) -> Result<Option<Dataset>, MimicError> {
        let Some(spec) = &self.unlabelled else {
            return Ok(None);
        };
        let more = spec.parse::<DataSpec>()?.load()?.train;
        if more.input_shape != train.input_shape {
            return Err(MimicError::Shapes {
                unlabelled: more.input_shape,
                labelled: train.input_shape.clone(),
            });
        }
        Ok(Some(Dataset {
            inputs: [&train.inputs[..], &more.inputs].concat(),
            labels: Vec::new(),
            ..train.clone()
        }))
    }
}

impl Pass for Mimic {
    fn effect(&self) -> Effect {
        Effect::Network
    }

    fn check(&self) -> Result<(), SettingError> {
        if self.unlabelled.is_some() && self.train.soft < 1.0 {
            return Err(SettingError {
                name: "mimic.train.soft",
                range: "1 with unlabelled examples",
                value: self.train.soft.to_string(),
            });
        }
        Ok(())
    }

    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        lower_check(&self.student(graph, 0)?)
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        let train = run.train.ok_or(MimicError::NoData)?;
        let student = self.student(&run.graph, self.train.seed)?;
        let examples = self.examples(train)?;
        run.replace(student);
        run.fit_on(examples.as_ref().unwrap_or(train), &self.train, &mut NoHook)?;
        if !self.keep_teaching {
            run.teachers.clear();
        }
        Ok(())
    }
}
