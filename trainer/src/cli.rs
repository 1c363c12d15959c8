//! The command line.

use crate::arch::Architecture;
use crate::data::{Augment, DataSpec, Dataset, Splits};
use crate::graph::{Graph, Op};
use crate::onnx::{self, WriteOptions};
use crate::train::{
    DeviceChoice, NoHook, Optimizer, Outcome, Progress, Schedule, TrainConfig, error_percent, fit,
    interrupt,
};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;

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
  trainer eval digits.onnx --data mnist:DIR --json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trains a network and writes it as ONNX.
    Fit(Box<FitArgs>),
    /// Measures a model's accuracy.
    Eval {
        /// An ONNX file.
        model: PathBuf,
        /// Labelled data, such as `mnist:DIR` or `glyphs`.
        #[arg(long)]
        data: DataSpec,
        /// Which examples.
        #[arg(long, default_value = "test", value_parser = ["test", "train"])]
        split: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct FitArgs {
    /// lenet-300-100, lenet-5-caffe, mlp:UNITS-UNITS-…, or a TOML description.
    #[arg(long, value_name = "NAME|FILE.toml")]
    arch: String,
    /// Labelled data, such as `mnist:DIR` or `glyphs`.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// Passes over the training examples.
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam or adamw.
    #[arg(long, default_value = "adam")]
    optimizer: Optimizer,
    /// Learning rate at the start; each optimizer has a usual one.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        hide_default_value = true
    )]
    lr: f64,
    /// How the learning rate falls: constant, cosine, linear, step, exponential or inverse.
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
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    dropout: f32,
    /// Distortion of training images: default, none, or shift=2,rotate=10,scale=0.1,shear=0.1.
    #[arg(long, value_name = "HOW", default_value = "none")]
    augment: Augment,
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

/// One measured error.
#[derive(Clone, Debug, Serialize)]
struct Measure {
    metric: &'static str,
    value: f64,
    split: String,
    n: usize,
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
    measure: Measure,
}

/// Runs the command line; the exit status. Errors are one line on standard error.
pub fn main() -> std::process::ExitCode {
    let done = match Cli::parse().command {
        Command::Fit(args) => run_fit(&args),
        Command::Eval {
            model,
            data,
            split,
            json,
        } => run_eval(&model, &data, split, json),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run_eval(path: &Path, spec: &DataSpec, split: String, json: bool) -> Result<(), Failure> {
    let graph = onnx::read(path)?;
    let Splits { train, test } = spec.load()?;
    let data = if split == "train" { train } else { test };
    let value = error_percent(&graph, &data, DeviceChoice::Cpu)?;
    let measure = Measure {
        metric: "error_percent",
        value,
        split,
        n: data.len(),
    };
    if json {
        println!("{}", serde_json::to_string(&measure)?);
    } else {
        println!(
            "{:.2} % error on {} {} examples",
            measure.value, measure.n, measure.split
        );
    }
    Ok(())
}

fn run_fit(args: &FitArgs) -> Result<(), Failure> {
    check_folder(&args.output)?;
    args.report.as_deref().map_or(Ok(()), check_folder)?;
    if !(0.0..1.0).contains(&args.dropout) {
        return Err(format!(
            "--dropout must be at least 0 and below 1, not {}",
            args.dropout
        )
        .into());
    }
    let architecture = Architecture::resolve(&args.arch)?;
    let Splits { train, test } = args.data.load()?;
    let mut graph = architecture.build(&train.input_shape, train.classes, args.seed)?;
    if args.dropout > 0.0 {
        graph = with_dropout(&graph, args.dropout)?;
    }
    let (train, held_out) = hold_out(train, args)?;
    let config = config(args, held_out.is_some());
    interrupt::listen();
    let progress = Progress::new(
        "training",
        config.epochs,
        train.len().div_ceil(config.batch.max(1)),
    );
    let outcome = fit(
        &mut graph,
        &train,
        held_out.as_ref(),
        &config,
        &mut NoHook,
        progress,
    )?;
    onnx::write(&graph, &args.output, WriteOptions { f16: args.f16 })?;
    let value = error_percent(&graph, &test, args.device)?;
    let measure = Measure {
        metric: "error_percent",
        value,
        split: "test".into(),
        n: test.len(),
    };
    println!(
        "{:.2} % error on {} test examples; wrote {}",
        value,
        test.len(),
        args.output.display()
    );
    if let Some(path) = &args.report {
        let (parameters, macs) = (graph.parameter_count(), graph.macs());
        let (model, data) = (graph.name.as_str(), args.data.to_string());
        let report = Report {
            model,
            data,
            parameters,
            macs,
            settings: &config,
            outcome: &outcome,
            measure,
        };
        write_text(path, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(checkpoint) = &config.checkpoint {
        let _ = std::fs::remove_file(checkpoint);
    }
    Ok(())
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

fn config(args: &FitArgs, keep_best: bool) -> TrainConfig {
    TrainConfig {
        epochs: args.epochs,
        batch: args.batch,
        optimizer: args.optimizer,
        learning_rate: args.lr,
        schedule: args.schedule,
        l2: args.l2,
        l1: args.l1,
        augment: args.augment,
        seed: args.seed,
        patience: args.patience,
        keep_best,
        device: args.device,
        checkpoint: Some(args.output.with_extension("ckpt")),
        resume: args.resume,
        ..TrainConfig::default()
    }
}

/// The same graph with a dropout after each hidden activation.
fn with_dropout(graph: &Graph, probability: f32) -> Result<Graph, Failure> {
    let mut with = Graph::new(
        &graph.name,
        &graph.value(graph.input).name,
        &graph.value(graph.input).shape,
    );
    with.parameters.clone_from(&graph.parameters);
    let mut moved = std::collections::HashMap::from([(graph.input, with.input)]);
    for node in &graph.nodes {
        let inputs: Vec<_> = node.inputs.iter().map(|v| moved[v]).collect();
        let mut output = with.push(&node.name, node.op.clone(), &inputs)?;
        if matches!(node.op, Op::Relu | Op::Clip { .. }) {
            output = with.push(
                format!("{}_dropout", node.name),
                Op::Dropout { probability },
                &[output],
            )?;
        }
        moved.insert(node.output, output);
    }
    Ok(with)
}

fn check_folder(file: &Path) -> Result<(), Failure> {
    let folder = file
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if folder.is_dir() {
        Ok(())
    } else {
        Err(format!(
            "cannot write {}: there is no folder {}",
            file.display(),
            folder.display()
        )
        .into())
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
