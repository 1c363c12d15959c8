//! Teachers, the network itself, its compression, and what it is compared with, one after the other.

use super::{Dish, Failure, Other, Recipe};
use compress::cli::measure;
use compress::pipeline::{Checkpoints, Examples, Figures, compress};
use compress::report::Report;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trainer::arch::Architecture;
use trainer::data::{Dataset, Splits};
use trainer::graph::Graph;
use trainer::train::{
    DeviceChoice, Measure, NoHook, Progress, TrainConfig, distill, error_percent,
};

impl Recipe {
    /// Deletes what an interrupted run left in `folder`.
    pub fn forget(&self, folder: &Path) {
        checkpoints(folder, false).remove();
        for name in self.trained() {
            let _ = std::fs::remove_file(checkpoint(folder, &name));
        }
    }

    /// Trains, compresses and measures. Checkpoints stand in `folder` while it lasts.
    ///
    /// # Errors
    /// When training or a pass fails.
    pub fn cook(&self, splits: &Splits, folder: &Path, resume: bool) -> Result<Dish, Failure> {
        let (train, held_out) = splits
            .train
            .hold_out(self.compress.hold_out, self.compress.seed);
        let kitchen = Kitchen {
            train,
            held_out,
            folder,
            resume,
        };
        let started = Instant::now();
        let teachers = self.teachers(&kitchen)?;
        let graph = kitchen.train("train", &self.architecture, &teachers, &self.train)?;
        let trained = Figures {
            name: "train".into(),
            seconds: started.elapsed().as_secs_f64(),
            bytes: 4 * graph.parameter_count(),
            value: kitchen.held_out_error(&graph)?,
        };
        let examples = Examples::Data(&splits.train);
        let checkpoints = checkpoints(folder, resume);
        let mut compressed = compress(&graph, &teachers, examples, &self.compress, &checkpoints)?;
        compressed.stages.insert(0, trained);
        let (parameters, macs) = (graph.parameter_count(), graph.macs());
        let seed = self.train.seed;
        let mut report = Report::new(&graph.name, seed, parameters, macs, &compressed);
        measure(&mut report, &graph, &compressed.encoded.bytes, &splits.test)?;
        let others = self.others(&kitchen, &teachers, &splits.test)?;
        self.forget(folder);
        Ok(Dish {
            graph,
            compressed,
            report,
            others,
        })
    }

    fn teachers(&self, kitchen: &Kitchen) -> Result<Vec<Graph>, Failure> {
        let Some(teacher) = &self.teacher else {
            return Ok(Vec::new());
        };
        let train = |place: usize| {
            let config = TrainConfig {
                seed: teacher.train.seed + place as u64,
                ..teacher.train.clone()
            };
            kitchen.train(&teacher_name(place), &teacher.architecture, &[], &config)
        };
        (0..teacher.ensemble).map(train).collect()
    }

    /// Errors of the teachers, and of the baselines, which are trained for it.
    fn others(
        &self,
        kitchen: &Kitchen,
        teachers: &[Graph],
        test: &Dataset,
    ) -> Result<Vec<Other>, Failure> {
        let teachers = teachers.iter().enumerate();
        let mut all: Vec<(String, Graph)> = teachers
            .map(|(place, graph)| (teacher_name(place), graph.clone()))
            .collect();
        for baseline in &self.baselines {
            let (name, config) = (&baseline.name, baseline.train.as_ref());
            let config = config.unwrap_or(&self.train);
            let graph = kitchen.train(name, &baseline.architecture, &[], config)?;
            all.push((name.clone(), graph));
        }
        let measured = all.into_iter().map(|(name, graph)| {
            let error = error_percent(&graph, test, DeviceChoice::Cpu)?;
            Ok(Other {
                name,
                parameters: graph.parameter_count(),
                measure: Measure::error_percent(error, "test", test.len()),
            })
        });
        measured.collect()
    }

    /// Names of all trainings but those of the compression.
    fn trained(&self) -> Vec<String> {
        let teachers = self.teacher.as_ref().map_or(0, |t| t.ensemble);
        let baselines = self.baselines.iter().map(|b| b.name.clone());
        let names = (0..teachers).map(teacher_name).chain(["train".to_owned()]);
        names.chain(baselines).collect()
    }
}

fn teacher_name(place: usize) -> String {
    format!("teacher-{}", place + 1)
}

/// What every training of a recipe uses.
struct Kitchen<'f> {
    train: Dataset,
    held_out: Dataset,
    folder: &'f Path,
    resume: bool,
}

impl Kitchen<'_> {
    fn held_out(&self) -> Option<&Dataset> {
        Some(&self.held_out).filter(|h| !h.is_empty())
    }

    fn held_out_error(&self, graph: &Graph) -> Result<Option<f64>, Failure> {
        let error = |held_out| error_percent(graph, held_out, DeviceChoice::Cpu);
        Ok(self.held_out().map(error).transpose()?)
    }

    /// A network from nothing. A finished training of an interrupted recipe is taken up as it ended.
    fn train(
        &self,
        name: &str,
        architecture: &str,
        teachers: &[Graph],
        config: &TrainConfig,
    ) -> Result<Graph, Failure> {
        let (train, classes) = (&self.train, self.train.classes);
        let architecture = Architecture::resolve(architecture)?;
        let mut graph = architecture.build(&train.input_shape, classes, config.seed)?;
        graph.metadata.extend(train.metadata.clone());
        let config = TrainConfig {
            checkpoint: Some(checkpoint(self.folder, name)),
            resume: self.resume,
            ..config.clone()
        };
        let steps = train.len().div_ceil(config.batch.max(1));
        let progress = Progress::new(name, config.epochs, steps);
        let held_out = self.held_out();
        distill(
            &mut graph,
            teachers,
            train,
            held_out,
            &config,
            &mut NoHook,
            progress,
        )?;
        Ok(graph)
    }
}

fn checkpoint(folder: &Path, training: &str) -> PathBuf {
    folder.join(format!("model.{}.ckpt", training.replace(' ', "-")))
}

/// Of the passes.
fn checkpoints(folder: &Path, resume: bool) -> Checkpoints {
    let stem = Some(folder.join("model.pith"));
    Checkpoints { stem, resume }
}
