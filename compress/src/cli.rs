//! The command line.

use crate::calibrate::Method;
use crate::host;
use crate::inspect::inspect;
use crate::pipeline::{Checkpoints, Examples, SYNTHETIC_INPUTS, compress, write_file};
use crate::report::{Measure, Report};
use crate::settings::{Prune, PruneBy, Quantize, Settings};
use clap::{Args, Parser, Subcommand};
use no_std_core::Model;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use trainer::data::{Augment, DataSpec, Dataset, Splits};
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, error_percent, interrupt, predict};

type Failure = Box<dyn std::error::Error>;

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
  compress inspect model.pith                            every byte accounted for
  compress eval model.pith --data mnist:DIR              accuracy of the integers
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
    Inspect {
        /// A .pith file.
        image: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Runs a model on inputs from an NPY file.
    Run(RunArgs),
    /// Measures a model's accuracy.
    Eval {
        /// A .pith or .onnx file.
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
    #[arg(required = true)]
    model: Option<PathBuf>,
    /// Prunes this share of the weights (0.9 unless given), with retraining where there is data.
    #[arg(long, value_name = "SPARSITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.9")]
    prune: Option<f64>,
    /// How pruning is spread over the layers: global or sensitivity.
    #[arg(long, value_name = "HOW", default_value = "global", value_parser = prune_by)]
    prune_by: PruneBy,
    /// Shares the weights of each layer among 2^BITS values (4 bits unless given).
    #[arg(long, value_name = "BITS", num_args = 0..=1, require_equals = true, default_missing_value = "4")]
    quantize: Option<u8>,
    /// Bits of the uniform integer grid of weights: 8, 4 or 2.
    #[arg(long, value_name = "BITS")]
    grid: Option<u8>,
    /// Huffman-codes whatever gets smaller by it (the default).
    #[arg(long, overrides_with = "no_huffman")]
    huffman: bool,
    /// Never Huffman-codes.
    #[arg(long)]
    no_huffman: bool,
    /// Processor whose weight layouts are preferred; every runtime runs every image.
    #[arg(long, default_value = "any", value_parser = ["any"])]
    target: String,
    /// Labelled data for retraining, calibration and accuracy, such as `mnist:DIR` or `glyphs`.
    #[arg(long, value_name = "SPEC")]
    data: Option<DataSpec>,
    /// Bounds of the synthetic calibration inputs used without data.
    #[arg(long, value_name = "LO,HI", value_parser = bounds, allow_hyphen_values = true)]
    input_range: Option<(f32, f32)>,
    /// How activation ranges are measured: min-max, percentile or mean-square.
    #[arg(long, value_name = "HOW")]
    calibrate: Option<Method>,
    /// Epochs of retraining altogether, two thirds of them while pruning.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Distortion of training images: `default`, `none`, or `shift=2,rotate=10,scale=0.1,shear=0.1`.
    #[arg(long, value_name = "HOW")]
    augment: Option<Augment>,
    /// Of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ordered settings in a TOML file; flags override it.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Goes on where an interrupted run stopped.
    #[arg(long)]
    resume: bool,
    /// The image; beside the model unless given.
    #[arg(short, long, value_name = "MODEL.pith")]
    output: Option<PathBuf>,
    /// The compressed float model as ONNX.
    #[arg(long, value_name = "OUT.onnx")]
    onnx: Option<PathBuf>,
    /// Sizes, errors, stages and the purpose of every byte, as JSON.
    #[arg(long, value_name = "R.json")]
    report: Option<PathBuf>,
}

fn prune_by(name: &str) -> Result<PruneBy, String> {
    match name {
        "global" => Ok(PruneBy::Global),
        "sensitivity" => Ok(PruneBy::Sensitivity),
        _ => Err("expected global or sensitivity".into()),
    }
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
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Inspect { image, json }) => run_inspect(&image, json),
        Some(Command::Run(args)) => run_model(&args),
        Some(Command::Eval {
            model,
            data,
            split,
            json,
        }) => run_eval(&model, &data, &split, json),
        None => run_compress(&cli.compress),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
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

fn run_inspect(path: &Path, json: bool) -> Result<(), Failure> {
    let bytes = read_image(path)?;
    let inspection = inspect(&parse(path, &bytes)?);
    if json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{inspection}");
    }
    Ok(())
}

fn run_eval(path: &Path, spec: &DataSpec, split: &str, json: bool) -> Result<(), Failure> {
    let Splits { train, test } = spec.load()?;
    let data = if split == "train" { train } else { test };
    let value = if is_onnx(path) {
        error_percent(&trainer::onnx::read(path)?, &data, DeviceChoice::Cpu)?
    } else {
        let bytes = read_image(path)?;
        let model = parse(path, &bytes)?;
        if model.output_len() < data.classes {
            return Err(format!(
                "the model has {} outputs for {} classes",
                model.output_len(),
                data.classes
            )
            .into());
        }
        host::error_percent(&model, &data.inputs, &data.labels)?
    };
    let measure = Measure::error_percent(value, split, data.len());
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

fn run_model(args: &RunArgs) -> Result<(), Failure> {
    let inputs = read_npy(&args.input)?;
    if is_onnx(&args.model) {
        if args.raw {
            return Err("--raw is for .pith images: a float graph has no integers".into());
        }
        let graph = trainer::onnx::read(&args.model)?;
        let shape = &graph.value(graph.output).shape;
        let outputs = predict(&graph, &inputs, DeviceChoice::Cpu)?;
        return write_npy(&args.output, shape, &outputs);
    }
    let bytes = read_image(&args.model)?;
    let model = parse(&args.model, &bytes)?;
    let integers = host::run(&model, &inputs)?;
    let out = model.output().shape;
    let shape = match (out.height, out.width) {
        (1, 1) => vec![out.channels],
        (height, width) => vec![out.channels, height, width],
    };
    if args.raw {
        write_npy(&args.output, &shape, &integers)
    } else {
        write_npy(
            &args.output,
            &shape,
            &host::dequantize(model.output(), &integers),
        )
    }
}

fn read_npy(path: &Path) -> Result<Vec<f32>, Failure> {
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let file = npyz::NpyFile::new(&bytes[..]).map_err(|e| fail(&e))?;
    if file.order() != npyz::Order::C {
        return Err(fail(&"the array is in Fortran order; save it in C order").into());
    }
    let reader = file
        .data::<f32>()
        .map_err(|e| fail(&format!("expected float32: {e}")))?;
    reader
        .collect::<Result<Vec<f32>, _>>()
        .map_err(|e| fail(&e).into())
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
    Ok(write_file(path, &bytes)?)
}

fn run_compress(args: &CompressArgs) -> Result<(), Failure> {
    let Some(path) = &args.model else {
        return Err("name an ONNX model; --help shows examples".into());
    };
    let settings = settings(args)?;
    settings.check()?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| path.with_extension("pith"));
    for target in [Some(&output), args.onnx.as_ref(), args.report.as_ref()]
        .into_iter()
        .flatten()
    {
        check_folder(target)?;
    }
    let graph = trainer::onnx::read(path)?;
    let splits = args.data.as_ref().map(DataSpec::load).transpose()?;
    let examples = match &splits {
        Some(splits) => {
            check_data(&graph, &splits.train)?;
            Examples::Data(&splits.train)
        }
        None => {
            eprintln!("{}", without_data(args));
            Examples::Synthetic {
                range: args.input_range,
                seed: args.seed,
            }
        }
    };
    interrupt::listen();
    let checkpoints = Checkpoints {
        stem: Some(output.clone()),
        resume: args.resume,
    };
    let compressed = compress(&graph, examples, &settings, &checkpoints)?;
    let mut report = Report::new(
        &graph.name,
        args.seed,
        graph.parameter_count(),
        graph.macs(),
        &compressed,
    );
    if let Some(Splits { test, .. }) = &splits {
        measure(&mut report, &graph, &compressed.encoded.bytes, test)?;
    }
    write_file(&output, &compressed.encoded.bytes)?;
    if let Some(onnx) = &args.onnx {
        trainer::onnx::write(
            &compressed.graph,
            onnx,
            trainer::onnx::WriteOptions::default(),
        )?;
    }
    if let Some(path) = &args.report {
        write_file(path, serde_json::to_string_pretty(&report)?.as_bytes())?;
    }
    checkpoints.remove();
    println!("{}\nwrote {}", report.summary(), output.display());
    Ok(())
}

/// Fills in the errors of the float graph and of the image.
///
/// # Errors
/// When either does not run on the data.
pub fn measure(
    report: &mut Report,
    graph: &Graph,
    image: &[u8],
    test: &Dataset,
) -> Result<(), Failure> {
    let model = Model::parse(image)?;
    let float = error_percent(graph, test, DeviceChoice::Cpu)?;
    let integers = host::error_percent(&model, &test.inputs, &test.labels)?;
    report.float.measure = Some(Measure::error_percent(float, "test", test.len()));
    report.image.measure = Some(Measure::error_percent(integers, "test", test.len()));
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

fn check_data(graph: &Graph, data: &Dataset) -> Result<(), Failure> {
    let (input, outputs) = (graph.value(graph.input), graph.value(graph.output).len());
    if input.len() != data.input_len() {
        return Err(format!(
            "the model takes inputs of {:?} and the data has {:?}",
            input.shape, data.input_shape
        )
        .into());
    }
    if outputs < data.classes {
        return Err(format!(
            "the model has {outputs} outputs for {} classes",
            data.classes
        )
        .into());
    }
    Ok(())
}

/// The configuration file's settings, changed by flags.
fn settings(args: &CompressArgs) -> Result<Settings, Failure> {
    let mut settings = match &args.config {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            toml::from_str(&text).map_err(|e| one_line(path, &e))?
        }
        None => Settings {
            hold_out: DEFAULT_HOLD_OUT,
            ..Settings::default()
        },
    };
    if let Some(sparsity) = args.prune {
        let prune = settings.prune.get_or_insert_with(|| Prune {
            train: training(DEFAULT_EPOCHS * 2 / 3, 1e-5, 0.0),
            ..Prune::default()
        });
        (prune.sparsity, prune.by) = (sparsity, args.prune_by);
    }
    if let Some(bits) = args.quantize {
        let quantize = settings.quantize.get_or_insert_with(|| Quantize {
            train: training(DEFAULT_EPOCHS / 3, 0.0, 5e-4),
            ..Quantize::default()
        });
        quantize.bits = bits;
    }
    settings.grid = args.grid.unwrap_or(settings.grid);
    settings.calibration = args.calibrate.unwrap_or(settings.calibration);
    settings.huffman &= !args.no_huffman;
    let both = settings.prune.is_some() && settings.quantize.is_some();
    let prune = settings
        .prune
        .as_mut()
        .map(|p| (&mut p.train, if both { 2 } else { 3 }));
    let quantize = settings
        .quantize
        .as_mut()
        .map(|q| (&mut q.train, if both { 1 } else { 3 }));
    for (train, thirds) in prune.into_iter().chain(quantize) {
        train.seed = args.seed;
        train.augment = args.augment.unwrap_or(train.augment);
        train.epochs = args
            .epochs
            .map_or(train.epochs, |epochs| (epochs * thirds).div_ceil(3));
    }
    Ok(settings)
}

/// Training examples kept apart unless a configuration file says otherwise.
const DEFAULT_HOLD_OUT: usize = 0;

/// Epochs of retraining unless told otherwise.
const DEFAULT_EPOCHS: usize = 15;

fn training(epochs: usize, l2: f64, learning_rate: f64) -> trainer::train::TrainConfig {
    trainer::train::TrainConfig {
        epochs,
        l2,
        learning_rate,
        ..Default::default()
    }
}

fn one_line(path: &Path, error: &toml::de::Error) -> String {
    let place = error
        .span()
        .map_or_else(String::new, |span| format!(" at byte {}", span.start));
    format!(
        "{}{place}: {}",
        path.display(),
        error.message().replace('\n', " ")
    )
}
