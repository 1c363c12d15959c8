//! The whole line on built-in data: train, compress, run, compare; then the same integers on an
//! emulated microcontroller, if the tools for it are there.

use benches::mcu::{Core, Inputs, Measurement, Options, measure};
use clap::Parser;
use compress::host;
use examples::recipe::{Dish, Failure, Recipe, forget};
use no_std_core::Model;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trainer::command::print;
use trainer::data::{DataSpec, Dataset, Splits};
use trainer::train::{DeviceChoice, predict};

const RECIPE: &str = include_str!("../../recipes/quickstart.toml");

/// Where the image is left: the firmware examples look here.
const FOLDER: &str = "target/quickstart";

/// Test images run on the emulated core.
const EMULATED: usize = 100;

/// Trains, compresses and runs a network on built-in data, and checks what has to hold.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  quickstart          leaves its files in target/quickstart")]
struct Args {}

fn main() -> std::process::ExitCode {
    trainer::command::run(|_: Args| run())
}

fn run() -> Result<(), Failure> {
    let started = Instant::now();
    print("Pith quickstart: LeNet-300-100 on 10,000 synthetic digits\n")?;
    let recipe = Recipe::parse("quickstart", RECIPE)?;
    let splits = recipe.data.parse::<DataSpec>()?.load()?;
    let folder = folder()?;
    // It always starts anew: a checkpoint of an interrupted run would be refused.
    forget(&folder);
    let dish = recipe.cook(&splits, &folder, None, false)?;
    dish.write(&folder)?;
    let mut checks = vec![accuracy(&dish), ratio(&dish), integers(&dish, &splits)?];
    checks.extend(emulated(&folder.join("model.pith"), &splits.test)?);
    table(&dish, &checks)?;
    print(format_args!(
        "\n{} holds model.onnx, model.pith and report.json; {:.0} s\n\
         next: cargo run --release -p compress -- inspect {}",
        folder.display(),
        started.elapsed().as_secs_f64(),
        folder.join("model.pith").display()
    ))?;
    let failed: Vec<&str> = checks
        .iter()
        .filter(|c| !c.passed)
        .map(|c| c.what)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("does not hold: {}", failed.join(", ")).into())
    }
}

/// The target folder of this workspace, wherever the command is run.
fn folder() -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder)
        .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    Ok(folder)
}

/// One thing that had to hold.
struct Check {
    what: &'static str,
    found: String,
    passed: bool,
}

fn errors(dish: &Dish) -> (f64, f64) {
    let value = |sized: &compress::report::Sized| sized.measure.as_ref().map_or(100.0, |m| m.value);
    (
        value(&dish.finished.report.float),
        value(&dish.finished.report.image),
    )
}

fn accuracy(dish: &Dish) -> Check {
    let (float, image) = errors(dish);
    // 2,000 test images: one standard deviation of an error of 1 % is 0.22 points.
    Check {
        what: "accuracy kept",
        found: format!("{float:.2} % error before, {image:.2} % after"),
        passed: float <= 3.0 && image <= float + 0.25,
    }
}

fn ratio(dish: &Dish) -> Check {
    Check {
        what: "at least 75 times smaller",
        found: format!(
            "{} bytes, {:.1} times smaller",
            dish.finished.report.image.bytes, dish.finished.report.ratio
        ),
        passed: dish.finished.report.ratio >= 75.0,
    }
}

/// The image's integers against the quantized float graph: a rounding may fall on either side, more
/// may not.
fn integers(dish: &Dish, splits: &Splits) -> Result<Check, Failure> {
    let model = Model::parse(&dish.compressed.encoded.bytes)?;
    let inputs = &splits.test.inputs;
    let image = host::dequantize(&model.output(), &host::run(&model, inputs)?);
    let graph = predict(&dish.compressed.graph, inputs, DeviceChoice::Cpu)?;
    let step = f32::from_bits(model.output().scale_bits);
    let apart = image
        .iter()
        .zip(&graph)
        .filter(|(a, b)| (*a - *b).abs() > 1.5 * step)
        .count();
    Ok(Check {
        what: "image computes the trained function",
        found: format!("{apart} of {} outputs off by more than a step", image.len()),
        // Rounding differences of a layer can add up in the next.
        passed: apart * 1000 <= image.len(),
    })
}

/// The same integers on a Cortex-M4; nothing if the tools are missing, which is said.
fn emulated(image: &Path, test: &Dataset) -> Result<Option<Check>, Failure> {
    let options = Options {
        timeout: Duration::from_secs(120),
        prove_no_panic: false,
    };
    let images = |model: &Model| {
        let quantized =
            (0..EMULATED.min(test.len())).flat_map(|i| host::quantize(model, test.input(i)));
        Ok(Inputs::new(model.input().bytes(), quantized.collect()))
    };
    print("\nbuilding firmware for an emulated Cortex-M4 …")?;
    Ok(match measure(image, Core::M4, images, options) {
        Ok(measured) => Some(same_integers(&measured)),
        Err(error) if error.is_missing_tool() => {
            print(format_args!("left out: {error}"))?;
            None
        }
        Err(error) => Some(Check {
            what: "same integers on the M4",
            found: error.to_string(),
            passed: false,
        }),
    })
}

fn same_integers(measured: &Measurement) -> Check {
    Check {
        what: "same integers on the M4",
        found: format!(
            "{} images; {} instructions each, {} bytes of code, arena {}, stack {}",
            measured.inputs_compared,
            measured.instructions,
            measured.code_bytes,
            measured.arena_bytes,
            measured.stack_bytes
        ),
        passed: measured.matches_host,
    }
}

fn table(dish: &Dish, checks: &[Check]) -> Result<(), Failure> {
    print(format_args!(
        "\n{:<10} {:>8}  {:>10}  {:>18}",
        "stage", "seconds", "bytes", "held-out error"
    ))?;
    for stage in &dish.finished.report.stages {
        let bytes = if stage.bytes == 0 {
            "-".to_owned()
        } else {
            stage.bytes.to_string()
        };
        let error = stage
            .value
            .map_or_else(|| "-".to_owned(), |v| format!("{v:.2} %"));
        print(format_args!(
            "{:<10} {:>8.1}  {:>10}  {:>18}",
            stage.name, stage.seconds, bytes, error
        ))?;
    }
    print("")?;
    for check in checks {
        let passed = if check.passed { "ok    " } else { "FAILED" };
        print(format_args!("{passed} {}: {}", check.what, check.found))?;
    }
    Ok(())
}
