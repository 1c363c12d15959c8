//! The command line.

use crate::arch::Architecture;
use crate::command::{self, EvalArgs, Failure, beside, check_outputs, print};
use crate::data::{Augment, DataSpec, Dataset, Splits};
use crate::files::write_atomically;
use crate::graph::Graph;
use crate::onnx::{self, WriteOptions};
use crate::train::{
    DeviceChoice, Measure, NoHook, Optimizer, Outcome, Progress, Schedule, TrainConfig,
    check_labelled, distill, error_percent, interrupt, tolerated_augmentation,
};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Trains float neural networks and writes them as ONNX.
#[derive(Debug, Parser)]
#[command(
    name = "trainer",
    version,
    after_help = "\
Examples:
  trainer fit --arch lenet-300-100 --data mnist:DIR -o digits.onnx
  trainer fit --arch tiny.toml --data csv:table.csv --optimizer adamw --l2 1e-4 -o tiny.onnx
  trainer fit --arch mlp:100-50 --data glyphs --augment default --epochs 20 --hold-out 1000 --patience 5 -o m.onnx
  trainer fit --from theirs.onnx --data cifar10:DIR,scale=255 --epochs 12 -o finer.onnx
  trainer eval digits.onnx --data mnist:DIR --json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trains a network and writes it as ONNX.
    #[command(after_help = "\
Examples:
  trainer fit --arch lenet-300-100 --data mnist:DIR -o digits.onnx
  trainer fit --arch tiny.toml --data csv:table.csv,label=kind --optimizer adamw --l2 1e-4 -o tiny.onnx
  trainer fit --arch mlp:100-50 --data glyphs --augment shift=2,rotate=10 --hold-out 1000 --patience 5 -o m.onnx
  trainer fit --arch lenet-5-caffe --data mnist:DIR -o l.onnx --resume    after Ctrl-C
  trainer fit --arch mlp:30 --data mnist:DIR --teacher a.onnx --teacher b.onnx -o s.onnx
  trainer fit --arch speech-cnn --data wav:DIR --augment slide=3,scale=0.15,level=0.5,noise=0.15 -o words.onnx
  trainer fit --from theirs.onnx --data cifar10:DIR,scale=255 --epochs 12 -o finer.onnx

Clips of sound, 16-bit mono WAV, become log-mel features by the code that runs on the device too:
  wav:DIR                          DIR/7_anna_12.wav (indices 0 to 4 are the test) or split/class/file.wav
  wav:DIR,features=mfcc,mels=40    also coefficients, frames, window, hop, fft (samples), low, high (Hz),
                                   floor (octaves of power), steps (int8 units an octave)

A description of an architecture in TOML, from input to output:
  name = \"tiny\"
  layer = [
    { op = \"conv\", channels = 8, kernel = 3, padding = \"same\" },
    { op = \"relu\" },
    { op = \"max_pool\", kernel = 2 },
    { op = \"dense\", units = \"classes\" },
  ]
Layers, with what may be left out in brackets; a window's size is a number or [height, width], padding
a number or \"same\":
  conv                channels, kernel [stride, padding, dilation, groups, bias]
  depthwise           kernel [stride, padding, dilation, bias]
  conv1d              as conv, over time
  dense               units [bias, each_step]
  rnn, lstm, gru      units [bidirectional, sequence]
  embedding           rows, units
  max_pool, average_pool                       kernel [stride, padding]
  global_average_pool, flatten, softmax, batch_norm, layer_norm
  relu, prelu, sigmoid, tanh, hard_sigmoid, hard_swish, softplus, gelu
  leaky_relu, elu     [alpha]
  clip                min, max
  dropout             probability
  mark, from          name: gives what is here a name; goes on from there
  add, concat         with: the name of what to add or append
Layers over time take [time, features]; an image is the sequence of its rows.")]
    Fit(Box<FitArgs>),
    /// Measures the accuracy of an ONNX model.
    #[command(after_help = "\
Examples:
  trainer eval digits.onnx --data mnist:DIR
  trainer eval digits.onnx --data mnist:DIR --split train --json")]
    Eval(EvalArgs),
}

#[derive(Debug, Args)]
struct FitArgs {
    /// lenet-300-100, lenet-5-caffe, speech-cnn, mlp:UNITS-UNITS-…, or a TOML description.
    #[arg(long, value_name = "NAME|FILE.toml", required_unless_present = "from")]
    arch: Option<String>,
    /// A trained model to train further, instead of an architecture.
    #[arg(long, value_name = "MODEL.onnx", conflicts_with_all = ["arch", "dropout"])]
    from: Option<PathBuf>,
    /// Labelled data, such as `mnist:DIR`, `wav:DIR` or `glyphs`; `npy:X.npy` has no labels, for teachers
    /// to say what they are.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// A model whose answers are learnt in place of the labels; several are an ensemble.
    #[arg(long, value_name = "MODEL.onnx")]
    teacher: Vec<PathBuf>,
    /// Share of the loss that comes from teachers rather than from labels.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 1.0,
        requires = "teacher"
    )]
    soft: f64,
    /// What teacher's and student's logits are divided by before they are compared.
    #[arg(long, value_name = "T", default_value_t = 1.0, requires = "teacher")]
    temperature: f64,
    /// Passes over the training examples.
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam, adamw or lamb; adam unless given, and
    /// lamb with --from.
    #[arg(long)]
    optimizer: Option<Optimizer>,
    /// Learning rate at the start; each optimizer has a usual one.
    #[arg(long, value_name = "X", value_parser = rate)]
    lr: Option<f64>,
    /// How the learning rate falls: constant, cosine, linear, step, exponential, inverse or plateau.
    #[arg(long, default_value = "cosine")]
    schedule: Schedule,
    /// Examples per step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Weight decay.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    l2: f64,
    /// Weight of the sum of magnitudes.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    l1: f64,
    /// Share of hidden activations dropped while training.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    dropout: f32,
    /// Distortion of training images: default (for digits), none, or amounts such as
    /// shift=2,rotate=10,scale=0.1,shear=0.1,crop=4,flip=0.5; of sound, frames by bands, also slide=3
    /// (frames), level=0.5,noise=0.1,mask_rows=4,mask_columns=2. None unless given; with --from, those of
    /// crop and flip that the model does not mind.
    #[arg(long, value_name = "HOW")]
    augment: Option<Augment>,
    /// Of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// cpu, or cuda and wgpu where built in.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Training examples kept from training, which choose the best epoch.
    #[arg(long, value_name = "N", default_value_t = 0)]
    hold_out: usize,
    /// Epochs without improvement on the held-out examples after which training stops.
    #[arg(long, value_name = "N", default_value_t = 0)]
    patience: usize,
    /// Stores weights as 16-bit floats.
    #[arg(long)]
    f16: bool,
    /// Goes on where an interrupted run stopped.
    #[arg(long)]
    resume: bool,
    /// The model.
    #[arg(short, long, value_name = "MODEL.onnx")]
    output: PathBuf,
    /// Settings, history and error, as JSON.
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,
}

/// What `--report` writes.
#[derive(Debug, Serialize)]
struct Report<'a> {
    model: &'a str,
    data: String,
    parameters: usize,
    macs: u64,
    settings: &'a TrainConfig,
    outcome: &'a Outcome,
    #[serde(flatten)]
    measure: Option<Measure>,
}

/// Runs the command line; the exit status. Errors are one line on standard error.
pub fn main() -> std::process::ExitCode {
    command::run(|cli: Cli| match cli.command {
        Command::Fit(args) => run_fit(&args),
        Command::Eval(args) => {
            let graph = onnx::read(&args.model)?;
            args.run(|data| Ok(error_percent(&graph, data, DeviceChoice::Cpu)?))
        }
    })
}

fn run_fit(args: &FitArgs) -> Result<(), Failure> {
    let mut inputs = args.data.files();
    inputs.extend(args.arch.as_deref().map(Path::new));
    inputs.extend(args.from.as_deref());
    inputs.extend(args.teacher.iter().map(PathBuf::as_path));
    let outputs: Vec<&Path> = [&args.output]
        .into_iter()
        .chain(&args.report)
        .map(|p| &**p)
        .collect();
    check_outputs(&inputs, &outputs)?;
    let mut config = config(args);
    config.check()?;
    let start = start(args)?;
    let teachers = onnx::read_all(&args.teacher)?;
    let Splits { train, test } = args.data.load()?;
    if teachers.is_empty() {
        check_labelled(&train)?;
    }
    let taught = teachers.first().map_or(0, |t| t.value(t.output).len());
    let mut graph = start.graph(&train, taught, args.seed)?;
    graph.metadata.extend(train.metadata.clone());
    if args.from.is_some() && args.augment.is_none() {
        config.augment = tolerated_augmentation(&graph, &train, args.device)?;
    }
    let (train, held_out) = hold_out(train, args)?;
    if let Some(missing) = config.checkpoint.as_ref().filter(|c| !c.exists())
        && config.resume
    {
        let missing = missing.display();
        eprintln!("training: there is no {missing} to resume from; starts anew");
    }
    interrupt::listen();
    let steps = train.len().div_ceil(config.batch.max(1));
    let progress = Progress::new("training", config.epochs, steps);
    let outcome = distill(
        &mut graph,
        &teachers,
        &train,
        held_out.as_ref(),
        &config,
        &mut NoHook,
        progress,
    )?;
    let measure = match test.is_labelled() {
        true => {
            let value = error_percent(&graph, &test, args.device)?;
            Some(Measure::error_percent(value, "test", test.len()))
        }
        false => None,
    };
    let options = WriteOptions {
        f16: args.f16,
        ..WriteOptions::default()
    };
    onnx::write(&graph, &args.output, options)?;
    let error = measure.as_ref().map_or(String::new(), |m| format!("{m}; "));
    let summary = format!("{error}wrote {}", args.output.display());
    if let Some(path) = &args.report {
        let report = Report {
            model: &graph.name,
            data: args.data.to_string(),
            parameters: graph.parameter_count(),
            macs: graph.macs(),
            settings: &config,
            outcome: &outcome,
            measure,
        };
        write_atomically(path, serde_json::to_string_pretty(&report)?.as_bytes())?;
    }
    if let Some(checkpoint) = &config.checkpoint {
        let _ = std::fs::remove_file(checkpoint);
    }
    print(summary)
}

/// What training begins with.
enum Start {
    Architecture(Architecture),
    Model(Graph),
}

impl Start {
    /// With as many outputs as there are classes in the data or answers of a teacher.
    fn graph(self, train: &Dataset, taught: usize, seed: u64) -> Result<Graph, Failure> {
        let outputs = train.classes.max(taught);
        match self {
            Start::Architecture(arch) => Ok(arch.build(&train.input_shape, outputs, seed)?),
            Start::Model(graph) => Ok(graph),
        }
    }
}

fn start(args: &FitArgs) -> Result<Start, Failure> {
    if let Some(model) = &args.from {
        return Ok(Start::Model(onnx::read(model)?));
    }
    let architecture = Architecture::resolve(args.arch.as_deref().unwrap_or_default())?;
    Ok(Start::Architecture(if args.dropout > 0.0 {
        architecture.with_dropout(args.dropout)
    } else {
        architecture
    }))
}

fn hold_out(train: Dataset, args: &FitArgs) -> Result<(Dataset, Option<Dataset>), Failure> {
    match args.hold_out {
        0 if args.patience > 0 => {
            Err("--patience needs --hold-out N: examples that decide when to stop".into())
        }
        0 => Ok((train, None)),
        n if n >= train.len() => Err(format!(
            "--hold-out {n} leaves none of the {} training examples",
            train.len()
        )
        .into()),
        n => {
            let (train, held_out) = train.hold_out(n, args.seed);
            Ok((train, Some(held_out)))
        }
    }
}

fn config(args: &FitArgs) -> TrainConfig {
    let usual = match args.from {
        Some(_) => TrainConfig::continued(),
        None => TrainConfig::default(),
    };
    TrainConfig {
        epochs: args.epochs,
        batch: args.batch,
        optimizer: args.optimizer.unwrap_or(usual.optimizer),
        // Zero takes the usual one.
        learning_rate: args.lr.unwrap_or(0.0),
        schedule: args.schedule,
        l2: args.l2,
        l1: args.l1,
        soft: args.soft,
        temperature: args.temperature,
        augment: args.augment.unwrap_or(usual.augment),
        seed: args.seed,
        patience: args.patience,
        keep_best: args.hold_out > 0,
        device: args.device,
        checkpoint: Some(beside(&args.output, "ckpt")),
        resume: args.resume,
        ..usual
    }
}

/// A learning rate that learns.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|&x: &f64| x > 0.0 && x.is_finite());
    number.ok_or_else(|| "expected a number above 0; leave it out for the usual rate".into())
}

/// A probability that leaves something.
fn probability(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|p| (0.0..1.0).contains(p));
    number.ok_or_else(|| "expected a number of at least 0 and below 1".into())
}
