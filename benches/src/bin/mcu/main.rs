//! `mcu`: what an image costs on an emulated microcontroller, and whether its integers are the
//! host's.

mod page;

use benches::budgets;
use benches::mcu::{
    Core, Inputs, McuError, Measurement, Options, Toolchain, estimate, measure, target_folder,
};
use benches::networks::NETWORKS;
use clap::Parser;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tempfile::NamedTempFile;
use trainer::command::{self, Failure};

/// Runs images on an emulated Cortex-M core: instructions (exact, of the second inference), flash,
/// RAM, and the integers, which must be the host's to the unit.
#[derive(Debug, Parser)]
#[command(
    name = "mcu",
    after_help = "\
Examples:
  mcu model.pith
  mcu model.pith --core m0 --input x.npy --json
  mcu digits.pith --wav 7_theo_0.wav          the front end on the device, from samples
  mcu folder --all
  mcu --all          the networks that CMSIS-NN was measured on, on every core
  mcu --all --budgets benches/budgets.toml    and writes what they may cost"
)]
struct Arguments {
    /// Images, or folders of them; without any, and with --all, the networks that CMSIS-NN was
    /// measured on, with random weights.
    #[arg(required_unless_present = "all")]
    models: Vec<PathBuf>,

    /// The core [default: m4].
    #[arg(long, conflicts_with = "all")]
    core: Option<Core>,

    /// Every core.
    #[arg(long)]
    all: bool,

    /// A NumPy file of one float input, or of a batch along its first axis; random otherwise.
    #[arg(long)]
    input: Option<PathBuf>,

    /// A clip of sound, from which the device makes the input itself; may be given several times. The
    /// image must have been trained on wav: data.
    #[arg(long, value_name = "FILE.wav", conflicts_with = "input")]
    wav: Vec<PathBuf>,

    /// Random inputs to compare.
    #[arg(long, default_value_t = 1, conflicts_with_all = ["input", "wav"])]
    random: usize,

    /// Seed of random inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write what the built-in networks cost to this file; the tests hold the project to it.
    #[arg(
        long,
        value_name = "FILE.toml",
        requires = "all",
        conflicts_with = "models"
    )]
    budgets: Option<PathBuf>,

    /// Estimate cycles too, on the M4, from the instructions executed and Arm's published timings; QEMU must
    /// take plugins.
    #[arg(long)]
    cycles: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// Fail the link if the panic handler can be reached.
    #[arg(long)]
    prove_no_panic: bool,

    /// Longest an emulation may take, in seconds.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

fn main() -> ExitCode {
    command::run(|arguments: Arguments| run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    check(arguments)?;
    let models = if arguments.models.is_empty() {
        write_networks()?
    } else {
        images(&arguments.models)?
    };
    let cores = match arguments.core {
        _ if arguments.all => Core::ALL.to_vec(),
        core => vec![core.unwrap_or(Core::M4)],
    };
    let single = models.len() == 1 && cores.len() == 1;
    if !single && !arguments.json {
        page::print_heading()?;
    }
    let mut all = Vec::new();
    for model in &models {
        for measurement in on_each(arguments, model, &cores) {
            let measurement = measurement?;
            match (arguments.json, single) {
                (true, _) => {}
                (false, true) => page::print_page(&measurement)?,
                (false, false) => page::print_row(&measurement)?,
            }
            all.push(measurement);
        }
    }
    if arguments.json {
        page::print_json(&all, single)?;
    }
    if let Some(path) = &arguments.budgets {
        let compiler = Toolchain::find(Core::M4.board().triple)?.compiler()?;
        std::fs::write(path, budgets::text(&compiler, &all))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// All cores at once: each has a folder of its own to build in.
fn on_each(
    arguments: &Arguments,
    model: &Path,
    cores: &[Core],
) -> Vec<Result<Measurement, McuError>> {
    thread::scope(|scope| {
        let start = |&core| scope.spawn(move || one(arguments, model, core));
        let started: Vec<_> = cores.iter().map(start).collect();
        let joined = started.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What would come to nothing, before the measuring.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(core) = arguments.core.filter(|&core| core != Core::M4)
        && arguments.cycles
    {
        return Err(format!("--cycles knows the timings of m4, not of {core}").into());
    }
    let folder = arguments.budgets.as_deref().and_then(Path::parent);
    match folder {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            Err(format!("{}: no such folder", folder.display()).into())
        }
        _ => Ok(()),
    }
}

fn one(arguments: &Arguments, model: &Path, core: Core) -> Result<Measurement, McuError> {
    let options = Options {
        timeout: Duration::from_secs(arguments.timeout),
        prove_no_panic: arguments.prove_no_panic,
    };
    let inputs = |model: &no_std_core::Model| inputs(arguments, model);
    let mut measurement = measure(model, core, inputs, options)?;
    if arguments.cycles && core == Core::M4 {
        measurement.estimated_cycles = Some(estimate(model, inputs, options)?);
    }
    Ok(measurement)
}

fn inputs(arguments: &Arguments, model: &no_std_core::Model) -> Result<Inputs, McuError> {
    match &arguments.input {
        Some(path) => Inputs::load(path, model),
        None if !arguments.wav.is_empty() => Inputs::listen(&arguments.wav, model),
        None => Ok(Inputs::random(
            model,
            arguments.random.max(1),
            arguments.seed,
        )),
    }
}

/// The built-in networks' images, as files.
fn write_networks() -> Result<Vec<PathBuf>, Failure> {
    let folder = target_folder().join("networks");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths = Vec::new();
    for network in NETWORKS {
        let path = folder.join(format!("{}.pith", network.name));
        let mut file = NamedTempFile::new_in(&folder)?;
        file.write_all(&network.image()?)?;
        file.persist(&path)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The files named, and the `.pith` files of the folders named.
fn images(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut images = Vec::new();
    for path in paths {
        if !path.is_dir() {
            images.push(path.clone());
            continue;
        }
        let mut found: Vec<PathBuf> = path
            .read_dir()
            .map_err(|error| format!("{}: {error}", path.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "pith")
            })
            .collect();
        if found.is_empty() {
            return Err(format!("{}: no .pith file in this folder", path.display()).into());
        }
        found.sort();
        images.append(&mut found);
    }
    Ok(images)
}
