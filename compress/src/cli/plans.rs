//! Commands that look for the amounts of passes themselves: sensitivities, budgets, fronts.

use super::augment;
use super::stages::TrainArgs;
use crate::passes::sensitivity::{self, Pass, Sensitivity};
use crate::pipeline::{Examples, scannable};
use crate::progress::Steps;
use crate::report::html;
use crate::search::{self, Budgets, Front, Point};
use crate::settings::{Prune, Quantize, Settings};
use clap::Args;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use trainer::command::{Failure, check_outputs, print};
use trainer::data::{DataSpec, Dataset};
use trainer::files::write_atomically;
use trainer::graph::Graph;
use trainer::onnx;
use trainer::train::{check_fit, interrupt};

#[derive(Debug, Args)]
pub(super) struct SensitivityArgs {
    /// An ONNX model.
    model: PathBuf,
    /// Labelled data; examples of its training split are measured, such as `mnist:DIR` or `glyphs`.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// Which passes.
    #[arg(
        long,
        value_name = "PASS",
        value_delimiter = ',',
        default_value = "prune,codebook,grid"
    )]
    passes: Vec<Pass>,
    /// Training examples that are measured; as many as take seconds unless given.
    #[arg(long, value_name = "N")]
    examples: Option<usize>,
    /// Of the choice of the examples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Curves as a page to look at.
    #[arg(long, value_name = "R.html")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ParetoArgs {
    /// An ONNX model.
    model: PathBuf,
    /// Labelled data for retraining, calibration and the held-out examples that decide.
    #[arg(long, value_name = "SPEC")]
    data: DataSpec,
    /// Folder for the images, front.json and front.html; made if it is not there. Run again, it keeps
    /// the images that are finished.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Plans that are carried out, beside plain int8.
    #[arg(long, value_name = "N", default_value_t = 8)]
    files: usize,
    #[command(flatten)]
    train: TrainArgs,
    /// Training examples kept from training, on which errors are measured; an eighth of them and at
    /// most 5,000 unless given.
    #[arg(long, value_name = "N")]
    hold_out: Option<usize>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The passes that plans are made of, trained as flags ask.
fn usual_passes(settings: &mut Settings, train: &TrainArgs) {
    settings.stages = vec![Prune::continued().into(), Quantize::continued().into()];
    train.apply(settings);
}

pub(super) fn run_sensitivity(args: &SensitivityArgs) -> Result<(), Failure> {
    check_outputs(&[&args.model], args.html.as_deref().as_slice())?;
    let graph = scannable(&onnx::read(&args.model)?);
    let data = args.data.load()?.train;
    check_fit(&graph, &data)?;
    let some = match args.examples {
        Some(count) => data.hold_out(count.max(1), args.seed).1,
        None => search::affordable(&graph, &data, args.seed),
    };
    let steps = Steps::new(
        "sensitivity",
        sensitivity::measurements(&graph, &args.passes),
    );
    let curves = sensitivity::scan(&graph, &some, &args.passes, || steps.done())?;
    if let Some(path) = &args.html {
        write_atomically(path, html::scan(&graph.name, &curves).as_bytes())?;
    }
    if args.json {
        return print(serde_json::to_string_pretty(&curves)?);
    }
    print(format!(
        "{}measured on {} training examples, nothing retrained",
        table(&curves),
        some.len()
    ))
}

fn table(curves: &[Sensitivity]) -> String {
    let mut text =
        String::from("layer                 change               bytes    error %     loss\n");
    for curve in curves {
        for point in &curve.points {
            let change = curve.pass.amount(point.amount);
            let (layer, bytes) = (&curve.layer, point.bytes);
            let (error, loss) = (point.error, point.loss);
            let _ = writeln!(
                text,
                "{layer:<20}  {change:<16} {bytes:>9} {error:>10.2} {loss:>8.4}"
            );
        }
    }
    text
}

pub(super) fn run_pareto(args: &ParetoArgs) -> Result<(), Failure> {
    let graph = onnx::read(&args.model)?;
    let data = args.data.load()?.train;
    check_fit(&graph, &data)?;
    make_folder(&args.output)?;
    let mut settings = Settings::default();
    usual_passes(&mut settings, &args.train);
    distort(&mut settings, &args.train, &graph, &data)?;
    settings.hold_out = hold_out(args.hold_out.unwrap_or(0), &data)?;
    settings.check()?;
    interrupt::listen();
    // Names the model by its bytes, the data by where they come from and how many they are.
    let model = std::fs::read(&args.model)?;
    let identity = format!(
        "{:08x} {:?} {}",
        no_std_core::crc32(&model),
        args.data,
        data.len()
    );
    let made = search::front(
        &graph,
        &data,
        &settings,
        args.files,
        (&args.output, &identity),
    )?;
    let text = serde_json::to_string_pretty(&made)?;
    write_atomically(&args.output.join("front.json"), text.as_bytes())?;
    write_atomically(
        &args.output.join("front.html"),
        html::front(&made).as_bytes(),
    )?;
    if args.json {
        return print(text);
    }
    print(format!("{made}wrote {}", args.output.display()))
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path)
        .map_err(|e| format!("cannot make the folder '{}': {e}", path.display()).into())
}

/// Unless told how, training distorts images in the ways that the model does not mind.
fn distort(
    settings: &mut Settings,
    train: &TrainArgs,
    graph: &Graph,
    data: &Dataset,
) -> Result<(), Failure> {
    if train.augment.is_none() {
        augment(settings, graph, data)?;
    }
    Ok(())
}

/// Examples to hold out: those said, or a part of the training examples.
fn hold_out(said: usize, train: &Dataset) -> Result<usize, Failure> {
    let count = if said > 0 {
        said
    } else {
        search::usual_hold_out(train)
    };
    if count == 0 || count >= train.len() {
        let there = train.len();
        return Err(format!("choices need examples held out of training; {count} of {there} leave too few of one or the other; give more data").into());
    }
    Ok(count)
}

/// Searches the best file within budgets; the settings say how it trains.
pub(super) fn within_budgets(
    graph: &Graph,
    examples: Examples,
    settings: &mut Settings,
    train: &TrainArgs,
    budgets: &Budgets,
) -> Result<search::Found, Failure> {
    usual_passes(settings, train);
    if let Examples::Data(data) = examples {
        distort(settings, train, graph, data)?;
        settings.hold_out = hold_out(settings.hold_out, data)?;
    }
    settings.check()?;
    Ok(search::search(graph, examples, settings, budgets)?)
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (float, error, n) = (self.float_bytes, self.float_error, self.held_out);
        writeln!(
            f,
            "float: {float} bytes, {error:.2} % error on {n} held-out examples"
        )?;
        writeln!(
            f,
            "file                 bytes    ratio    error %    arena  M4 instructions (estimated)"
        )?;
        for Point {
            file,
            run,
            dominated,
        } in &self.points
        {
            let costs = run.costs;
            let ratio = float as f64 / costs.bytes.max(1) as f64;
            let error = run.error.unwrap_or(f64::NAN);
            let note = if *dominated {
                "  beaten by another"
            } else {
                ""
            };
            writeln!(
                f,
                "{file:<16} {:>9} {ratio:>8.1} {error:>10.2} {:>8} {:>12}{note}",
                costs.bytes, costs.arena_bytes, costs.instructions
            )?;
        }
        Ok(())
    }
}
