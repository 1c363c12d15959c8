//! The training loop.

use super::checkpoint::{Checkpoint, fingerprint_of_examples, fingerprint_of_graphs};
use super::config::TrainConfig;
use super::evaluate::{check_fit, check_labelled, error_percent};
use super::execute::{BatchStatistics, Network, host, materialized};
use super::optimizer::State;
use super::teachers::{Teachers, check_teachers};
use super::{Progress, TrainError, interrupt};
use crate::data::Dataset;
use crate::graph::{Graph, Op, Parameter};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Changes a graph while it is trained: pruning along a schedule, say.
pub trait Hook {
    /// Called before every `every`-th step.
    fn every(&self) -> usize {
        usize::MAX
    }

    /// Changes the graph; `progress` is the share of all steps done, 0 … 1. Called a last time with
    /// 1.0 after the last step.
    ///
    /// `squares` tell how much the loss minds each weight: for every parameter the running means of the
    /// squares of its free values' gradients, as the optimizer keeps them for its steps; nothing before the
    /// first one, under rules that keep none and without training.
    ///
    /// # Errors
    /// A reason to stop, in one line.
    fn update(
        &mut self,
        progress: f64,
        graph: &mut Graph,
        squares: &[&[f32]],
    ) -> Result<(), String>;

    /// Adds the gradient of a penalty on the weights to that of the loss, before every step. There is one
    /// list for each parameter that has a gradient: its free values first, in their order.
    fn penalize(&mut self, _graph: &Graph, _gradients: &mut [Option<Vec<f32>>]) {}
}

/// Changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoHook;

impl Hook for NoHook {
    fn update(&mut self, _: f64, _: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        Ok(())
    }
}

/// One epoch's figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochStats {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the training examples, as augmented.
    pub loss: f64,
    /// Percent, where examples are held out.
    pub held_out_error: Option<f64>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// One entry per epoch.
    pub history: Vec<EpochStats>,
    /// The epoch whose graph was kept.
    pub epoch: usize,
}

/// Each step's batch is split in this many parts, computed side by side and summed in order: the
/// same sums on any number of cores. Batch normalization sees one part at a time in training.
const SHARDS: usize = 2;

/// Examples below which a part is not worth a thread, nor its statistics a batch normalization: a
/// batch that would be split in smaller ones is left whole.
const MIN_SHARD: usize = 16;

/// Examples in a part, at most; the last one may have one fewer.
fn part_len(batch: usize) -> usize {
    if batch < SHARDS * MIN_SHARD {
        batch
    } else {
        batch.div_ceil(SHARDS)
    }
}

/// Weight of a batch in the running statistics of batch normalization.
const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// Trains a graph in place on the examples' labels.
///
/// # Errors
/// When data and model do not fit or there is nothing to train, the loss diverges, a setting is out of
/// range, or Ctrl-C asks.
pub fn fit(
    graph: &mut Graph,
    train: &Dataset,
    held_out: Option<&Dataset>,
    config: &TrainConfig,
    hook: &mut dyn Hook,
    progress: Progress,
) -> Result<Outcome, TrainError> {
    distill(graph, &[], train, held_out, config, hook, progress)
}

/// Trains a graph in place to answer as its teachers do: on their soft outputs for the examples as
/// augmented, in place of the labels or beside them ([`TrainConfig::soft`]); without teachers, on the
/// labels. Where images are mirrored, a teacher's answer is the mean of those to both.
///
/// # Errors
/// As [`fit`], and when a teacher has other outputs or does not fit the data.
pub fn distill(
    graph: &mut Graph,
    teachers: &[Graph],
    train: &Dataset,
    held_out: Option<&Dataset>,
    config: &TrainConfig,
    hook: &mut dyn Hook,
    progress: Progress,
) -> Result<Outcome, TrainError> {
    config.check()?;
    check_gradients(graph)?;
    check_frozen(graph, config)?;
    check_fit(graph, train)?;
    check_teachers(graph, teachers, train)?;
    if teachers.is_empty() || config.soft < 1.0 {
        check_labelled(train)?;
    }
    if !config.augment.is_none() && train.input_shape.len() != 3 {
        return Err(TrainError::Augment(train.input_shape.clone()));
    }
    if train.is_empty() {
        return Err(TrainError::NoExamples(held_out.map_or(0, Dataset::len)));
    }
    let device = config.device.device()?;
    let state = Checkpoint {
        config: config.clone(),
        origin: fingerprint_of_graphs([&*graph].into_iter().chain(teachers)),
        examples: match config.checkpoint {
            Some(_) => fingerprint_of_examples(train, held_out),
            None => 0,
        },
        epoch: 0,
        graph: graph.clone(),
        optimizer: State::default(),
        history: Vec::new(),
        best: None,
        since_best: 0,
    };
    let resumed = match &config.checkpoint {
        Some(path) if config.resume => Checkpoint::load(path, &state)?,
        Some(path) => Checkpoint::spare(path, &state).map(|()| None)?,
        None => None,
    };
    let steps = train.len().div_ceil(config.batch);
    let mut teachers = Teachers::new(teachers, config, train, &device);
    if config.augment.is_none() {
        teachers.keep(train, &device);
    }
    let mut run = Run {
        state: resumed.unwrap_or(state),
        train,
        held_out: held_out.filter(|h| h.is_labelled()),
        config,
        teachers,
        device,
        steps,
        progress,
    };
    let outcome = run.epochs(hook).inspect_err(|error| run.forget(error))?;
    *graph = run.state.graph;
    Ok(outcome)
}

/// Whether the output depends on weights, and by nothing but operators that have a gradient.
pub(super) fn check_gradients(graph: &Graph) -> Result<(), TrainError> {
    let mut learns = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let inputs_learn = node.inputs.iter().any(|v| learns[v.0]);
        let stops = matches!(
            node.op,
            Op::ArgMax { .. } | Op::Embedding { .. } | Op::DynamicQuantizeLinear { .. }
        );
        if inputs_learn && stops {
            return Err(TrainError::NoGradient {
                node: node.name.clone(),
                op: node.op.name(),
            });
        }
        learns[node.output.0] = inputs_learn || !node.op.parameters().is_empty();
    }
    if learns[graph.output.0] {
        return Ok(());
    }
    Err(TrainError::NoParameters(graph.name.clone()))
}

/// Whether what is to stay as it is can be found.
fn check_frozen(graph: &Graph, config: &TrainConfig) -> Result<(), TrainError> {
    let known = |name: &&String| graph.parameters.iter().any(|p| p.name == **name);
    let unknown = config.frozen.iter().find(|name| !known(name));
    unknown.map_or(Ok(()), |name| {
        Err(TrainError::Setting {
            name: "frozen",
            range: "names of the model's parameters",
            value: name.clone(),
        })
    })
}

struct Run<'a> {
    state: Checkpoint,
    train: &'a Dataset,
    held_out: Option<&'a Dataset>,
    config: &'a TrainConfig,
    teachers: Teachers<'a>,
    device: Device,
    /// Per epoch.
    steps: usize,
    progress: Progress,
}

impl Run<'_> {
    fn epochs(&mut self, hook: &mut dyn Hook) -> Result<Outcome, TrainError> {
        let first = self.state.epoch;
        self.progress.skip(first, self.steps);
        self.save()?;
        while self.state.epoch < self.config.epochs && !self.out_of_patience() {
            let loss = self.epoch(hook)?;
            self.state.epoch += 1;
            self.finish_epoch(loss, first)?;
            self.save()?;
        }
        self.progress.finish();
        let squares = self.state.optimizer.squares();
        hook.update(1.0, &mut self.state.graph, &squares)
            .map_err(TrainError::Hook)?;
        let mut epoch = self.state.epoch;
        if let Some((error, best)) = self.state.best.take() {
            let is_best = |s: &&EpochStats| s.held_out_error == Some(error);
            epoch = self
                .state
                .history
                .iter()
                .rev()
                .find(is_best)
                .map_or(epoch, |s| s.epoch);
            self.state.graph = best;
        }
        Ok(Outcome {
            history: std::mem::take(&mut self.state.history),
            epoch,
        })
    }

    fn out_of_patience(&self) -> bool {
        self.config.patience > 0 && self.state.since_best >= self.config.patience
    }

    fn save(&self) -> Result<(), TrainError> {
        self.config
            .checkpoint
            .as_ref()
            .map_or(Ok(()), |path| self.state.save(path))
    }

    /// Deletes the state that led nowhere.
    fn forget(&self, error: &TrainError) {
        if let (TrainError::Diverged { .. }, Some(path)) = (error, &self.config.checkpoint) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// One pass over the shuffled examples; the mean loss.
    fn epoch(&mut self, hook: &mut dyn Hook) -> Result<f64, TrainError> {
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut self.rng(u64::MAX));
        let mut sum = 0.0;
        for (step, batch) in order.chunks(self.config.batch).enumerate() {
            if interrupt::requested() {
                let checkpoint = self.config.checkpoint.clone();
                return Err(TrainError::Interrupted {
                    epochs: self.state.epoch,
                    checkpoint,
                });
            }
            let at = self.state.epoch * self.steps + step;
            let done = at as f64 / (self.config.epochs * self.steps) as f64;
            if at.is_multiple_of(hook.every()) {
                let squares = self.state.optimizer.squares();
                hook.update(done, &mut self.state.graph, &squares)
                    .map_err(TrainError::Hook)?;
            }
            let rate = self.config.rate(done, &self.state.history);
            let loss = self.step(batch, rate, hook)?;
            if !loss.is_finite() {
                let (epoch, learning_rate) = (self.state.epoch + 1, rate);
                return Err(TrainError::Diverged {
                    epoch,
                    loss,
                    learning_rate,
                });
            }
            sum += loss * batch.len() as f64;
            self.progress.step();
        }
        Ok(sum / self.train.len() as f64)
    }

    fn finish_epoch(&mut self, loss: f64, first: usize) -> Result<(), TrainError> {
        let held_out_error = match self.held_out {
            Some(data) if !data.is_empty() => {
                Some(error_percent(&self.state.graph, data, self.config.device)?)
            }
            _ => None,
        };
        let stats = EpochStats {
            epoch: self.state.epoch,
            loss,
            held_out_error,
        };
        self.state.history.push(stats);
        self.progress.epoch(&stats, self.state.epoch - first);
        let counts = self.state.epoch as f64 >= self.config.best_from * self.config.epochs as f64;
        if let Some(error) = held_out_error
            && self.config.keeps_best()
            && counts
        {
            self.rank(error);
        }
        Ok(())
    }

    /// Of epochs that are equally good the last is kept, trained the longest; but only a better one
    /// is an improvement, or patience would wait for ever on an error that stands still.
    fn rank(&mut self, error: f64) {
        let state = &mut self.state;
        let best = state.best.as_ref().map(|(best, _)| *best);
        let improves = best.is_none_or(|best| error < best);
        state.since_best = if improves { 0 } else { state.since_best + 1 };
        if improves || best == Some(error) {
            state.best = Some((error, state.graph.clone()));
        }
    }

    /// A generator of its own for each purpose and epoch, so that a resumed run draws the same.
    fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed ^ (self.state.epoch as u64) << 32);
        rng.set_stream(stream);
        rng
    }

    /// One step; the batch's mean loss before it.
    fn step(&mut self, batch: &[usize], rate: f64, hook: &mut dyn Hook) -> Result<f64, TrainError> {
        let this = &*self;
        let parameters = materialized(&this.state.graph);
        let shards = side_by_side(batch, part_len(batch.len()), |part| {
            this.shard(part, batch.len(), parameters.clone())
        });
        let mut total = Shard::default();
        let epoch = self.state.epoch + 1;
        shards
            .ok_or(TrainError::Engine { epoch })?
            .into_iter()
            .for_each(|shard| total.add(shard));
        let mut gradients = self.pull_back(total.gradients);
        hook.penalize(&self.state.graph, &mut gradients);
        self.state
            .optimizer
            .update(&mut self.state.graph, &gradients, rate, self.config);
        update_running(&mut self.state.graph, &total.statistics);
        Ok(total.loss)
    }

    /// Loss and gradients of a part of a batch of `count` examples.
    fn shard(&self, part: &[usize], count: usize, parameters: Vec<TensorData>) -> Shard {
        let graph = &self.state.graph;
        let seed = self.config.seed ^ ((self.state.epoch as u64) << 32) ^ part[0] as u64;
        let mut network = Network::for_training(graph, parameters, &self.device, seed);
        let device = network.device().clone();
        let length = self.train.input_len();
        let inputs = TensorData::new(self.inputs(part), [part.len(), length]);
        let taught = self.taught(part, &inputs);
        let logits = network.forward(Tensor::from_data(inputs, &device), true, |_, _| {});
        let width = graph.value(graph.output).len();
        let cross_entropy = |targets: Vec<f32>, temperature: f32| {
            let targets = TensorData::new(targets, [part.len(), width]);
            let likely = activation::log_softmax(logits.clone().div_scalar(temperature), 1);
            (likely * Tensor::from_data(targets, &device)).sum()
        };
        let hard = cross_entropy(self.targets(part, width), 1.0);
        let likelihood = match taught {
            Some(soft) => {
                // The gradient of soft targets shrinks with the temperature's square (Hinton 2015).
                let (share, temperature) = (self.config.soft, self.config.temperature);
                let soft = cross_entropy(soft, temperature as f32);
                hard * (1.0 - share) + soft * (share * temperature * temperature)
            }
            None => hard,
        };
        let loss = likelihood.div_scalar(-(count as f32));
        let mut gradients = loss.backward();
        let parameters = network.parameters().iter();
        let gradients = parameters
            .map(|tensor| tensor.grad_remove(&mut gradients).map(host))
            .collect();
        let loss = host(loss.reshape([1]))
            .first()
            .map_or(f64::NAN, |&l| l as f64);
        Shard {
            loss,
            gradients,
            statistics: network.statistics().to_vec(),
        }
    }

    /// What the teachers say of these examples, if there are teachers.
    fn taught(&self, part: &[usize], inputs: &TensorData) -> Option<Vec<f32>> {
        let width = self.state.graph.value(self.state.graph.output).len();
        let ask = || {
            let x = Tensor::from_data(inputs.clone(), &self.device);
            self.teachers.targets(&x)
        };
        let kept = self.teachers.kept(part, width);
        kept.or_else(|| (!self.teachers.is_empty()).then(ask))
    }

    /// From the elements of each parameter to its free values.
    fn pull_back(&self, gradients: Vec<Option<Vec<f32>>>) -> Vec<Option<Vec<f32>>> {
        let to_free = |(gradient, parameter): (Option<Vec<f32>>, &Parameter)| {
            let gradient = gradient?;
            Some(if self.config.learn_steps {
                parameter.pull_back_with_steps(gradient)
            } else {
                parameter.pull_back(&gradient)
            })
        };
        let parameters = &self.state.graph.parameters;
        gradients.into_iter().zip(parameters).map(to_free).collect()
    }

    /// Examples as augmented: what is drawn depends on seed, epoch and example alone.
    fn inputs(&self, part: &[usize]) -> Vec<f32> {
        let length = self.train.input_len();
        let image = <[usize; 3]>::try_from(self.train.input_shape.as_slice()).ok();
        let mut inputs = vec![0.0; part.len() * length];
        for (&i, out) in part.iter().zip(inputs.chunks_mut(length)) {
            match image.filter(|_| !self.config.augment.is_none()) {
                Some(shape) => self.config.augment.apply(
                    self.train.input(i),
                    shape,
                    &mut self.rng(i as u64),
                    out,
                ),
                None => out.copy_from_slice(self.train.input(i)),
            }
        }
        inputs
    }

    fn targets(&self, part: &[usize], width: usize) -> Vec<f32> {
        let spread = self.config.label_smoothing as f32;
        let mut targets = vec![spread / width as f32; part.len() * width];
        for (&i, row) in part.iter().zip(targets.chunks_mut(width)) {
            if let Some(&label) = self.train.labels.get(i) {
                row[label as usize] += 1.0 - spread;
            }
        }
        targets
    }
}

/// Runs `job` on each part of a batch, side by side; the results in order, or nothing where one
/// panicked.
fn side_by_side<T: Send>(
    batch: &[usize],
    size: usize,
    job: impl Fn(&[usize]) -> T + Sync,
) -> Option<Vec<T>> {
    // Nothing a panicked part wrote to is looked at afterwards.
    let caught = |part| catch_unwind(AssertUnwindSafe(|| job(part))).ok();
    let results: Vec<Option<T>> = batch.par_chunks(size).map(caught).collect();
    results.into_iter().collect()
}

/// What one part of a batch adds to a step.
#[derive(Default)]
struct Shard {
    loss: f64,
    /// Of every parameter's elements.
    gradients: Vec<Option<Vec<f32>>>,
    statistics: Vec<BatchStatistics>,
}

impl Shard {
    fn add(&mut self, other: Shard) {
        self.loss += other.loss;
        if self.gradients.is_empty() {
            (self.gradients, self.statistics) = (other.gradients, other.statistics);
            return;
        }
        for (sum, more) in self.gradients.iter_mut().zip(other.gradients) {
            match (sum, more) {
                (Some(sum), Some(more)) => sum.iter_mut().zip(more).for_each(|(a, b)| *a += b),
                (sum @ None, more) => *sum = more,
                _ => {}
            }
        }
        let nodes = self.statistics.iter_mut().zip(&other.statistics);
        nodes.for_each(|(own, others)| own.merge(others));
    }
}

fn update_running(graph: &mut Graph, statistics: &[BatchStatistics]) {
    for seen in statistics.iter().filter(|seen| seen.have_variance()) {
        if let Op::BatchNormalization { mean, variance, .. } = graph.nodes[seen.node].op {
            let batch = [
                (mean, seen.mean.clone()),
                (variance, seen.unbiased_variance()),
            ];
            for (id, batch) in batch {
                let running = graph.parameters[id.0].free_mut().iter_mut();
                let pairs = running.zip(batch);
                pairs.for_each(|(r, b)| *r += BATCH_NORM_MOMENTUM * (b - *r));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_smaller_than_its_statistics_are_worth() {
        for (batch, first) in [(1, 1), (17, 17), (31, 31), (32, 16), (33, 17), (128, 64)] {
            assert_eq!(part_len(batch), first, "of {batch}");
            let rest = batch - first;
            assert!(rest == 0 || rest >= MIN_SHARD, "{batch} leaves {rest}");
        }
    }

    #[test]
    fn a_panic_in_any_part_or_all_is_no_result() {
        let batch: Vec<usize> = (0..4).collect();
        let with = |bad: &[usize]| {
            let job = |part: &[usize]| {
                assert!(part.iter().all(|i| !bad.contains(i)), "meant to fail");
                part.len()
            };
            side_by_side(&batch, 2, job)
        };
        assert_eq!(with(&[]), Some(vec![2, 2]));
        for bad in [&[0][..], &[3], &[1, 2]] {
            assert_eq!(with(bad), None);
        }
    }
}
