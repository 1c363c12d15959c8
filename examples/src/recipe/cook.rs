//! Teachers, the network itself, its compression, and what it is compared with, one after the other.

use super::finished::peak_bytes;
use super::{Design, Dish, Failure, Finished, Other, Recipe};
use compress::pipeline::{Checkpoints, Examples, Figures, Key, compress};
use compress::report::Report;
use std::cell::Cell;
use std::path::Path;
use std::time::Instant;
use trainer::data::{Dataset, Splits};
use trainer::graph::Graph;
use trainer::train::{
    DeviceChoice, Measure, NoHook, Progress, TrainConfig, distill, error_percent,
};

/// Name of the training of the float network among the stages.
const TRAIN: &str = "train";

/// Beginning of the names of all that is left in a folder.
const STEM: &str = "model.pith";

/// Deletes what an interrupted run left in `folder`.
pub fn forget(folder: &Path) {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in names {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let left = name.ends_with(".ckpt") || name.ends_with(".stage");
        if left && name.starts_with(STEM) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Recipe {
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
        let started = Instant::now();
        // Refused before any time is spent.
        for baseline in &self.baselines {
            self.training(baseline)?;
        }
        let (train, held_out) = splits
            .train
            .hold_out(self.compress.hold_out, self.compress.seed);
        let checkpoints = Checkpoints {
            stem: Some(folder.join(STEM)),
            cache: cache.map(Path::to_owned),
            resume,
        };
        checkpoints.open()?;
        let kitchen = Kitchen {
            train,
            held_out,
            folder,
            checkpoints,
            seconds: Cell::new(0.0),
        };
        let teachers = self.teachers(&kitchen)?;
        let (graph, seconds) = kitchen.train(TRAIN, &self.architecture, &teachers, &self.train)?;
        let trained = Figures {
            name: TRAIN.into(),
            seconds,
            bytes: 4 * graph.parameter_count(),
            value: kitchen.held_out_error(&graph)?,
        };
        let (examples, checkpoints) = (Examples::Data(&splits.train), &kitchen.checkpoints);
        let mut compressed = compress(&graph, &teachers, examples, &self.compress, checkpoints)?;
        let stages: f64 = compressed.stages.iter().map(|s| s.seconds).sum();
        compressed.stages.insert(0, trained);
        let mut report = Report::new(&graph, self.train.seed, &compressed);
        report.measure(&graph, &compressed, &splits.test)?;
        let others = self.others(&kitchen, &teachers, &splits.test)?;
        let trained = stages + kitchen.seconds.get();
        Ok(Dish {
            graph,
            compressed,
            finished: Finished {
                report,
                recipe: self.name.clone(),
                recipe_key: self.key.clone(),
                seconds: trained.max(started.elapsed().as_secs_f64()),
                peak_memory_bytes: peak_bytes(),
                others,
            },
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
            let trained = kitchen.train(&teacher_name(place), &teacher.architecture, &[], &config);
            trained.map(|(graph, _)| graph)
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
            let (name, config) = (&baseline.name, self.training(baseline)?);
            let (graph, _) = kitchen.train(name, &baseline.architecture, &[], config)?;
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
}

fn teacher_name(place: usize) -> String {
    format!("teacher-{}", place + 1)
}

/// What every training of a recipe uses.
struct Kitchen<'f> {
    train: Dataset,
    held_out: Dataset,
    folder: &'f Path,
    checkpoints: Checkpoints,
    /// That all of its trainings took, those of earlier runs too.
    seconds: Cell<f64>,
}

impl Kitchen<'_> {
    fn held_out(&self) -> Option<&Dataset> {
        Some(&self.held_out).filter(|h| !h.is_empty())
    }

    fn held_out_error(&self, graph: &Graph) -> Result<Option<f64>, Failure> {
        let error = |held_out| error_percent(graph, held_out, DeviceChoice::Cpu);
        Ok(self.held_out().map(error).transpose()?)
    }

    /// A network from nothing and the seconds it took, or what an earlier run made of the same.
    fn train(
        &self,
        name: &str,
        design: &Design,
        teachers: &[Graph],
        config: &TrainConfig,
    ) -> Result<(Graph, f64), Failure> {
        let trained = self.trained(name, design, teachers, config)?;
        self.seconds.set(self.seconds.get() + trained.1);
        Ok(trained)
    }

    fn trained(
        &self,
        name: &str,
        design: &Design,
        teachers: &[Graph],
        config: &TrainConfig,
    ) -> Result<(Graph, f64), Failure> {
        let train = &self.train;
        let architecture = design.resolve()?;
        let mut graph = architecture.build(&train.input_shape, train.classes, config.seed)?;
        graph.metadata.extend(train.metadata.clone());
        let settings = serde_json::to_string(config)?;
        let key = Key::of(&(&graph, teachers, train, &self.held_out, settings))?;
        let file = name.replace(' ', "-");
        if let Some(known) = self.checkpoints.load(&file, &key) {
            eprintln!("{name}: taken from the run before, for nothing has changed up to there");
            return Ok(known);
        }
        let started = Instant::now();
        let config = TrainConfig {
            checkpoint: Some(self.folder.join(format!("{STEM}.{file}.ckpt"))),
            resume: self.checkpoints.resume,
            ..config.clone()
        };
        self.fit(&mut graph, name, teachers, &config)?;
        let seconds = started.elapsed().as_secs_f64();
        self.checkpoints.keep(&file, &key, &graph, seconds);
        Ok((graph, seconds))
    }

    fn fit(
        &self,
        graph: &mut Graph,
        name: &str,
        teachers: &[Graph],
        config: &TrainConfig,
    ) -> Result<(), Failure> {
        let steps = self.train.len().div_ceil(config.batch.max(1));
        let progress = Progress::new(name, config.epochs, steps);
        let held_out = self.held_out();
        distill(
            graph,
            teachers,
            &self.train,
            held_out,
            config,
            &mut NoHook,
            progress,
        )?;
        Ok(())
    }
}
