//! The command line.

mod fine_tune;
mod plans;
mod stages;

use crate::calibrate::Method;
use crate::diff::diff;
use crate::host::{self, End};
use crate::inspect::inspect;
use crate::passes::sensitivity::{self, Pass, Sensitivity};
use crate::pipeline::{Checkpoints, Examples, SYNTHETIC_INPUTS, compress, scannable};
use crate::progress::Steps;
use crate::report::{Report, Sized, html, spreads_of};
use crate::search::{Budgets, affordable};
use crate::settings::{Coder, Settings};
use clap::{Args, Parser, Subcommand};
use fine_tune::put_first_if_needed;
use no_std_core::Model;
use plans::{ParetoArgs, SensitivityArgs, run_pareto, run_sensitivity, within_budgets};
use stages::StageArgs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use trainer::command::{self, EvalArgs, Failure, check_outputs, print};
use trainer::data::{DataSpec, Dataset, Splits, read_inputs};
use trainer::files::{parse_toml, write_atomically};
use trainer::graph::Graph;
use trainer::names::meant;
use trainer::onnx;
use trainer::train::{
    DeviceChoice, TrainError, check_fit, check_labelled, check_meaning, error_percent, interrupt,
    predict, tolerated_augmentation,
};

/// Compresses a neural network into an image for microcontrollers.
///
/// An ONNX model goes in, a .pith file comes out: pruned, quantized to integers, Huffman-coded, and
/// executed in that form by `edge-runtime`.
#[derive(Debug, Parser)]
#[command(
    name = "compress",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  compress model.onnx                                    plain int8
  compress --prune --quantize model.onnx --data mnist:DIR -o model.pith
  compress --prune=0.95 --quantize=3 model.onnx --data mnist:DIR --report r.json
  compress --prune=0.8 --quantize=4 theirs.onnx --data cifar10:DIR,scale=255 --epochs 12
  compress --prune --quantize model.onnx --data mnist:DIR --html r.html      a page to look at
  compress model.onnx --data mnist:DIR --max-loss 0.2 --max-ram 8000      a search for the smallest
  compress inspect model.pith                            every byte accounted for
  compress eval model.pith --data mnist:DIR              accuracy of the integers
  compress diff model.onnx model.pith --data mnist:DIR   where they leave the float model
  compress sensitivity model.onnx --data mnist:DIR       what each layer can lose
  compress pareto model.onnx --data mnist:DIR -o front   files, bytes against error
  compress run model.pith --input x.npy --output y.npy"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compress: CompressArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows an image's operators, tensors, encodings, arena map and the purpose of every byte.
    #[command(after_help = "\
Examples:
  compress inspect digits.pith
  compress inspect digits.pith --json
  compress inspect digits.pith --html digits.html        a page to look at")]
    Inspect {
        /// A .pith file.
        image: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// As one page to look at, written to this file.
        #[arg(long, value_name = "R.html", conflicts_with = "json")]
        html: Option<PathBuf>,
    },
    /// Runs a model on inputs from an NPY file.
    #[command(after_help = "\
Examples:
  compress run digits.pith --input x.npy --output y.npy          real values
  compress run digits.pith --input x.npy --output y.npy --raw    the device's integers
  compress run digits.onnx --input x.npy --output y.npy          the float graph")]
    Run(RunArgs),
    /// Measures the accuracy of a model: of an image's integers (.pith) or of a float graph (.onnx).
    #[command(after_help = "\
Examples:
  compress eval digits.pith --data mnist:DIR
  compress eval digits.onnx --data mnist:DIR --split train --json")]
    Eval(EvalArgs),
    /// Runs a float model and its image side by side: error, signal-to-noise ratio and saturation of
    /// every layer, and the first one that goes wrong.
    #[command(after_help = "\
Examples:
  compress diff digits.onnx digits.pith --data mnist:DIR
  compress diff digits.onnx digits.pith --data mnist:DIR --examples 1000 --json")]
    Diff(DiffArgs),
    /// Compresses each layer alone, by each pass in turn, without retraining: its coded bytes and the
    /// error and loss of the network.
    #[command(after_help = "\
Examples:
  compress sensitivity digits.onnx --data mnist:DIR
  compress sensitivity digits.onnx --data mnist:DIR --passes prune --json
  compress sensitivity digits.onnx --data mnist:DIR --html curves.html    curves to look at")]
    Sensitivity(SensitivityArgs),
    /// Makes a front of files, bytes against error, each retrained: images, front.json and front.html.
    #[command(after_help = "\
Examples:
  compress pareto digits.onnx --data mnist:DIR -o front
  compress pareto digits.onnx --data mnist:DIR -o front --files 12 --epochs 30
Run again after an interruption, it keeps what is finished.")]
    Pareto(ParetoArgs),
}

#[derive(Debug, Args)]
struct DiffArgs {
    /// The float model that the image was made from.
    model: PathBuf,
    /// The image.
    image: PathBuf,
    /// Data whose examples both are run on, such as `mnist:DIR` or `glyphs`.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// Which examples.
    #[arg(long, default_value = "test", value_parser = ["test", "train"])]
    split: String,
    /// The first so many of them.
    #[arg(long, value_name = "N", default_value_t = 100)]
    examples: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A .pith file (the host twin of the device's integers) or an .onnx file (the float graph).
    model: PathBuf,
    /// One input, or a batch along the first axis: float32.
    #[arg(long)]
    input: PathBuf,
    /// Where the outputs go.
    #[arg(long)]
    output: PathBuf,
    /// The output's integers themselves instead of real values (.pith only).
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
struct CompressArgs {
    /// An ONNX model.
    #[arg(required = true, value_parser = model_file)]
    model: Option<PathBuf>,
    /// A second model, or what follows a misspelt command.
    #[arg(hide = true, value_parser = second_model)]
    _second: Option<String>,
    #[command(flatten)]
    stages: StageArgs,
    /// Bits of the uniform integer grid of weights: 8, 4 or 2.
    #[arg(long, value_name = "BITS")]
    grid: Option<u8>,
    /// Huffman-codes whatever gets smaller by it (the default).
    #[arg(long, overrides_with = "no_huffman")]
    huffman: bool,
    /// Never Huffman-codes.
    #[arg(long, overrides_with = "huffman")]
    no_huffman: bool,
    /// What writes coded weights: `huffman`, which devices read fast (the default), `range`, or for each
    /// layer the `smallest`.
    #[arg(long, value_name = "CODER")]
    coder: Option<Coder>,
    /// Processor whose weight layouts are preferred; every runtime runs every image. So far one
    /// layout serves them all.
    #[arg(long, default_value = "any", value_parser = ["any", "m0", "m4", "host"])]
    target: String,
    /// Refuses an image whose test error is more percentage points above the float model's. With
    /// budgets and no passes, a search finds them: the smallest file that loses no more on examples held
    /// out of training, or without this the most accurate one within the other budgets.
    #[arg(
        long,
        value_name = "POINTS",
        requires = "data",
        allow_hyphen_values = true
    )]
    max_loss: Option<f64>,
    /// Refuses a larger image.
    #[arg(long, value_name = "N")]
    max_bytes: Option<usize>,
    /// Refuses an image with a larger arena.
    #[arg(long, value_name = "N")]
    max_ram: Option<usize>,
    /// Refuses an image that takes more instructions an inference on a Cortex-M4, by an estimate from
    /// its operators; `mcu` of this repository counts them.
    #[arg(long, value_name = "N")]
    max_instructions: Option<u64>,
    /// Labelled data for retraining, calibration and accuracy, such as `mnist:DIR` or `glyphs`.
    #[arg(long, value_name = "SPEC")]
    data: Option<DataSpec>,
    /// Bounds of the synthetic calibration inputs used without data.
    #[arg(long, value_name = "LO,HI", value_parser = bounds, allow_hyphen_values = true, conflicts_with = "data")]
    input_range: Option<(f32, f32)>,
    /// How activation ranges are measured: min-max, percentile, mean-square (the default) or entropy.
    #[arg(long, value_name = "HOW")]
    calibrate: Option<Method>,
    /// Gives these layers' outputs int16 and not int8, by name; `auto` searches those that matter most.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    int16: Vec<String>,
    /// Takes sequences one step at a time and carries the state of recurrent layers along.
    #[arg(long)]
    stream: bool,
    /// Ordered settings in a TOML file; flags override it.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Goes on in the middle of the stage where an interrupted run stopped. Finished stages are not
    /// done again in any case, as long as nothing that they depend on has changed.
    #[arg(long)]
    resume: bool,
    /// Keeps the results of stages in this folder, for later runs with the same beginning; unless
    /// given, they stand beside the image until it is finished.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The image; beside the model unless given.
    #[arg(short, long, value_name = "MODEL.pith")]
    output: Option<PathBuf>,
    /// The compressed float model as ONNX.
    #[arg(long, value_name = "OUT.onnx")]
    onnx: Option<PathBuf>,
    /// The compressed model as ONNX with its int8 weights and activations (QDQ).
    #[arg(long, value_name = "OUT.onnx")]
    onnx_qdq: Option<PathBuf>,
    /// Sizes, errors, stages and the purpose of every byte, as JSON.
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,
    /// The same and more as one page to look at: sizes, stages, layers, sensitivities, weights, arena,
    /// confusions. It needs nothing but itself.
    #[arg(long, value_name = "R.html")]
    html: Option<PathBuf>,
}

impl CompressArgs {
    fn budgets(&self) -> Budgets {
        Budgets {
            loss: self.max_loss,
            bytes: self.max_bytes,
            ram: self.max_ram,
            instructions: self.max_instructions,
        }
    }

    /// Whether budgets are given and nothing that says how to meet them.
    fn searches(&self, settings: &Settings) -> bool {
        let said = !settings.stages.is_empty() || self.grid.is_some() || self.config.is_some();
        self.budgets() != Budgets::default() && !said
    }
}

/// A file, or a misspelt command.
fn model_file(text: &str) -> Result<PathBuf, String> {
    let hint = meant(
        text,
        ["inspect", "run", "eval", "diff", "sensitivity", "pareto"],
    );
    if hint.is_empty() || Path::new(text).exists() {
        Ok(text.into())
    } else {
        Err(format!("there is no such file or command{hint}"))
    }
}

fn second_model(_: &str) -> Result<String, &'static str> {
    Err("one model is compressed at a time")
}

fn bounds(text: &str) -> Result<(f32, f32), String> {
    let number = |s: &str| f32::from_str(s).ok().filter(|n| n.is_finite());
    let parts = text
        .split_once(',')
        .and_then(|(low, high)| Some((number(low)?, number(high)?)));
    parts
        .filter(|(low, high)| low < high)
        .ok_or_else(|| "expected LO,HI with LO below HI".into())
}

/// Runs the command line; the exit status. Errors are one line on standard error.
pub fn main() -> std::process::ExitCode {
    command::run(|cli: Cli| match cli.command {
        Some(Command::Inspect { image, json, html }) => run_inspect(&image, json, html.as_deref()),
        Some(Command::Run(args)) => run_model(&args),
        Some(Command::Eval(args)) => run_eval(&args),
        Some(Command::Diff(args)) => run_diff(&args),
        Some(Command::Sensitivity(args)) => run_sensitivity(&args),
        Some(Command::Pareto(args)) => run_pareto(&args),
        None => run_compress(&cli.compress),
    })
}

fn read_image(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()).into())
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, Failure> {
    Model::parse(bytes).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn is_onnx(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
}

fn run_inspect(path: &Path, json: bool, page: Option<&Path>) -> Result<(), Failure> {
    check_outputs(&[path], page.as_slice())?;
    let bytes = read_image(path)?;
    let model = parse(path, &bytes)?;
    let inspection = inspect(&model);
    if let Some(file) = page {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let weights = spreads_of(&model, &inspection);
        let text = html::image(&name, &inspection, &weights);
        write_atomically(file, text.as_bytes())?;
        return print(format_args!("wrote {}", file.display()));
    }
    if json {
        print(serde_json::to_string_pretty(&inspection)?)
    } else {
        print(inspection.to_string().trim_end())
    }
}

fn run_eval(args: &EvalArgs) -> Result<(), Failure> {
    if is_onnx(&args.model) {
        let graph = onnx::read(&args.model)?;
        return args.run(|data| Ok(error_percent(&graph, data, DeviceChoice::Cpu)?));
    }
    let bytes = read_image(&args.model)?;
    let model = parse(&args.model, &bytes)?;
    args.run(|data| {
        check_image(&model, data)?;
        check_labelled(data)?;
        Ok(host::error_percent(&model, &data.inputs, &data.labels)?)
    })
}

fn run_diff(args: &DiffArgs) -> Result<(), Failure> {
    let graph = onnx::read(&args.model)?;
    let bytes = read_image(&args.image)?;
    let model = parse(&args.image, &bytes)?;
    let Splits { train, test } = args.data.load()?;
    let data = if args.split == "train" { train } else { test };
    check_fit(&graph, &data)?;
    check_image(&model, &data)?;
    let count = args.examples.clamp(1, data.len().max(1)) * data.input_len();
    let inputs = &data.inputs[..count.min(data.inputs.len())];
    let diff =
        diff(&graph, &model, inputs).map_err(|e| format!("{}: {e}", args.image.display()))?;
    if args.json {
        print(serde_json::to_string_pretty(&diff)?)
    } else {
        print(&diff)
    }
}

/// Whether an image can be measured on this data.
fn check_image(model: &Model, data: &Dataset) -> Result<(), TrainError> {
    let (outputs, classes) = (model.output_len(), data.classes);
    let steps = host::carries(model) && data.input_len().is_multiple_of(model.input_len());
    if model.input_len() != data.input_len() && !steps {
        return Err(TrainError::InputShape {
            model: End::Input.shape(model),
            data: data.input_shape.clone(),
        });
    }
    if outputs < classes {
        return Err(TrainError::Classes { outputs, classes });
    }
    let known = |key: &str| {
        model
            .metadata()
            .find(|(k, _)| *k == key)
            .map(|(_, text)| text)
    };
    check_meaning(known, data)
}

fn run_model(args: &RunArgs) -> Result<(), Failure> {
    check_outputs(&[&args.model, &args.input], &[&args.output])?;
    if is_onnx(&args.model) {
        if args.raw {
            return Err("--raw is for .pith images: a float graph has no integers".into());
        }
        let graph = onnx::read(&args.model)?;
        let inputs = read_inputs(&args.input, &graph.value(graph.input).shape)?;
        let shape = &graph.value(graph.output).shape;
        let outputs = predict(&graph, &inputs, DeviceChoice::Cpu)?;
        return write_npy(&args.output, shape, &outputs);
    }
    let bytes = read_image(&args.model)?;
    let model = parse(&args.model, &bytes)?;
    let inputs = read_inputs(&args.input, &End::Input.shape(&model))?;
    let named = |e| format!("{}: {e}", args.input.display());
    let integers = host::run(&model, &inputs).map_err(named)?;
    let shape = End::Output.shape(&model);
    if args.raw && model.output().wide {
        write_npy(&args.output, &shape, &integers)
    } else if args.raw {
        let bytes: Vec<i8> = integers.iter().map(|&q| q as i8).collect();
        write_npy(&args.output, &shape, &bytes)
    } else {
        let values = host::dequantize(&model.output(), &integers);
        write_npy(&args.output, &shape, &values)
    }
}

/// Writes `[n, shape...]`.
fn write_npy<T: npyz::AutoSerialize + Copy>(
    path: &Path,
    shape: &[usize],
    values: &[T],
) -> Result<(), Failure> {
    use npyz::WriterBuilder;
    let each: usize = shape.iter().product();
    let dimensions: Vec<u64> = std::iter::once(values.len() / each.max(1))
        .chain(shape.iter().copied())
        .map(|d| d as u64)
        .collect();
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&dimensions)
        .writer(&mut bytes)
        .begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    Ok(write_atomically(path, &bytes)?)
}

fn run_compress(args: &CompressArgs) -> Result<(), Failure> {
    let Some(path) = &args.model else {
        return Err("name an ONNX model; --help shows examples".into());
    };
    let beside_model = || path.with_extension("pith");
    let output = args.output.clone().unwrap_or_else(beside_model);
    check_files(args, path, &output)?;
    let mut settings = settings(args)?;
    settings.check()?;
    let seed = settings.seed;
    let graph = onnx::read(path)?;
    let teachers = onnx::read_all(&args.stages.teacher)?;
    let splits = args.data.as_ref().map(DataSpec::load).transpose()?;
    let examples = match &splits {
        Some(splits) => {
            check_fit(&graph, &splits.train)?;
            if args.config.is_none() {
                put_first_if_needed(&args.stages, &mut settings, &graph, &splits.train)?;
            }
            if args.config.is_none() && args.stages.train.augment.is_none() {
                augment(&mut settings, &graph, &splits.train)?;
            }
            Examples::Data(&splits.train)
        }
        None => {
            eprintln!("{}", without_data(args));
            let range = args.input_range;
            Examples::Synthetic { range, seed }
        }
    };
    interrupt::listen();
    let checkpoints = Checkpoints {
        stem: Some(output.clone()),
        cache: args.cache.clone(),
        resume: args.resume,
    };
    if args.searches(&settings) && !teachers.is_empty() {
        return Err(
            "--teacher is for passes that are named: a search within budgets does not ask one yet"
                .into(),
        );
    }
    let (compressed, tries, scanned) = if args.searches(&settings) {
        let found = within_budgets(
            &graph,
            examples,
            &mut settings,
            &args.stages.train,
            &args.budgets(),
        )?;
        (found.compressed, found.tries, found.sensitivity)
    } else {
        let compressed = compress(&graph, &teachers, examples, &settings, &checkpoints)?;
        (compressed, Vec::new(), Vec::new())
    };
    let mut report = Report::new(&graph, seed, &compressed);
    (report.tries, report.sensitivity) = (tries, scanned);
    if let Some(Splits { train, test }) = splits.as_ref().filter(|s| s.test.is_labelled()) {
        report.measure(&graph, &compressed, test)?;
        if args.html.is_some() && report.sensitivity.is_empty() {
            report.sensitivity = sensitivities(&graph, train, seed)?;
        }
    }
    check_limits(args, &report)?;
    write_atomically(&output, &compressed.encoded.bytes)?;
    if let Some(path) = &args.onnx {
        onnx::write(&compressed.graph, path, onnx::WriteOptions::default())?;
    }
    if let Some(path) = &args.onnx_qdq {
        let options = onnx::WriteOptions {
            qdq: true,
            ..onnx::WriteOptions::default()
        };
        onnx::write(&compressed.graph, path, options)?;
    }
    if let Some(path) = &args.report {
        write_atomically(path, serde_json::to_string_pretty(&report)?.as_bytes())?;
    }
    if let Some(path) = &args.html {
        write_atomically(path, html::page(&report).as_bytes())?;
    }
    checkpoints.remove();
    if let Some(folder) = args.cache.as_ref().filter(|folder| folder.is_dir()) {
        eprintln!("the results of the stages stay in {}", folder.display());
    }
    print(format!("{}\nwrote {}", report.summary(), output.display()))
}

/// A scan of the layers that is short beside the compression: on a few training examples.
fn sensitivities(graph: &Graph, train: &Dataset, seed: u64) -> Result<Vec<Sensitivity>, Failure> {
    let graph = scannable(graph);
    let some = affordable(&graph, train, seed);
    let passes = [Pass::Prune, Pass::Codebook];
    let steps = Steps::new("sensitivity", sensitivity::measurements(&graph, &passes));
    Ok(sensitivity::scan(&graph, &some, &passes, || steps.done())?)
}

/// Lets training distort images in the ways that the model does not mind.
fn augment(settings: &mut Settings, graph: &Graph, train: &Dataset) -> Result<(), TrainError> {
    let trained: Vec<_> = settings.trainings_mut().filter(|t| t.epochs > 0).collect();
    if !trained.is_empty() {
        let tolerated = tolerated_augmentation(graph, train, DeviceChoice::Cpu)?;
        trained.into_iter().for_each(|t| t.augment = tolerated);
    }
    Ok(())
}

/// Refuses outputs that cannot be written or would replace another file, before any work.
fn check_files(args: &CompressArgs, model: &Path, output: &Path) -> Result<(), Failure> {
    let mut inputs = vec![model];
    inputs.extend(args.config.as_deref());
    inputs.extend(args.stages.teacher.iter().map(PathBuf::as_path));
    inputs.extend(args.data.iter().flat_map(DataSpec::files));
    let mut outputs = vec![output];
    outputs.extend(
        [&args.onnx, &args.onnx_qdq, &args.report, &args.html]
            .into_iter()
            .flatten()
            .map(|p| &**p),
    );
    check_outputs(&inputs, &outputs)
}

/// Holds an image against `--max-bytes`, `--max-ram`, `--max-instructions` and `--max-loss`.
fn check_limits(args: &CompressArgs, report: &Report) -> Result<(), Failure> {
    let error = |sized: &Sized| sized.measure.as_ref().map_or(0.0, |m| m.value);
    let loss = error(&report.image) - error(&report.float);
    let limits = [
        (
            "max-bytes",
            "bytes",
            args.max_bytes.map(|n| n as f64),
            report.image.bytes as f64,
        ),
        (
            "max-ram",
            "bytes of arena",
            args.max_ram.map(|n| n as f64),
            report.arena_bytes as f64,
        ),
        (
            "max-instructions",
            "instructions (estimated)",
            args.max_instructions.map(|n| n as f64),
            report.instructions as f64,
        ),
        (
            "max-loss",
            "points of error more than the float model",
            args.max_loss,
            loss,
        ),
    ];
    for (flag, what, limit, value) in limits {
        if let Some(limit) = limit.filter(|limit| value > *limit) {
            let value = (value * 1000.0).round() / 1000.0;
            return Err(format!("the image has {value} {what}, --{flag} allows {limit}").into());
        }
    }
    Ok(())
}

fn without_data(args: &CompressArgs) -> String {
    let inputs = match args.input_range {
        Some((low, high)) => format!("uniform between {low} and {high}"),
        None => "standard normal; --input-range LO,HI chooses others".to_owned(),
    };
    format!(
        "without --data there is no fine-tuning and no accuracy; activation ranges come from {SYNTHETIC_INPUTS} seeded inputs ({inputs})"
    )
}

/// The configuration file's settings, changed by flags.
fn settings(args: &CompressArgs) -> Result<Settings, Failure> {
    let mut settings = match &args.config {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            parse_toml(&text).map_err(|e| format!("{}, {e}", path.display()))?
        }
        None => Settings {
            hold_out: DEFAULT_HOLD_OUT,
            ..Settings::default()
        },
    };
    settings.grid = args.grid.unwrap_or(settings.grid);
    let learned = args.grid.filter(|bits| *bits < 8 && args.data.is_some());
    args.stages.apply(&mut settings, learned)?;
    settings.calibration = args.calibrate.unwrap_or(settings.calibration);
    settings.int16.extend(args.int16.iter().cloned());
    settings.stream |= args.stream;
    settings.coder = args.coder.unwrap_or(settings.coder);
    settings.huffman = match (args.huffman, args.no_huffman) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => settings.huffman,
    };
    Ok(settings)
}

/// Training examples kept apart unless a configuration file says otherwise.
const DEFAULT_HOLD_OUT: usize = 0;
