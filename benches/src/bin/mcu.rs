//! `mcu`: what an image costs on an emulated microcontroller, and whether its integers are the
//! host's.

use benches::mcu::{
    Core, FrontEndCost, Inputs, McuError, Measurement, Options, measure, target_folder,
};
use benches::networks::NETWORKS;
use clap::Parser;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tempfile::NamedTempFile;
use trainer::command::{self, Failure, print};

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
  mcu --all          the networks that CMSIS-NN was measured on"
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
    let mut all = Vec::new();
    if !single && !arguments.json {
        print_heading()?;
    }
    for model in &models {
        for &core in &cores {
            let measurement = one(arguments, model, core)?;
            match (arguments.json, single) {
                (true, _) => all.push(measurement),
                (false, true) => print_page(&measurement)?,
                (false, false) => print_row(&measurement)?,
            }
        }
    }
    if arguments.json {
        print_json(&all, single)?;
    }
    Ok(())
}

fn one(arguments: &Arguments, model: &Path, core: Core) -> Result<Measurement, McuError> {
    let options = Options {
        timeout: Duration::from_secs(arguments.timeout),
        prove_no_panic: arguments.prove_no_panic,
    };
    let inputs = |model: &no_std_core::Model| match &arguments.input {
        Some(path) => Inputs::load(path, model),
        None if !arguments.wav.is_empty() => Inputs::listen(&arguments.wav, model),
        None => Ok(Inputs::random(
            model,
            arguments.random.max(1),
            arguments.seed,
        )),
    };
    measure(model, core, inputs, options)
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

fn print_json(all: &[Measurement], single: bool) -> Result<(), Failure> {
    let text = match all {
        [measurement] if single => serde_json::to_string_pretty(measurement)?,
        _ => serde_json::to_string_pretty(all)?,
    };
    print(text)
}

fn print_page(m: &Measurement) -> Result<(), Failure> {
    print(format_args!(
        "{} on the emulated {}\n  \
           instructions  {} ({:.2} per MAC, {} MACs)\n  \
           flash         code {}, image {} bytes\n  \
           RAM           static {}, arena {}, stack {} bytes\n  \
           output        {:?}\n  \
           {}equal to the host's on {} input(s)",
        m.model,
        m.core,
        m.instructions,
        per_mac(m),
        m.macs,
        m.code_bytes,
        m.image_bytes,
        m.static_bytes,
        m.arena_bytes,
        m.stack_bytes,
        m.output,
        m.front_end
            .as_ref()
            .map_or_else(String::new, front_end_line),
        m.inputs_compared
    ))
}

fn front_end_line(f: &FrontEndCost) -> String {
    format!(
        "front end     {} instructions for {} frames, workspace {} bytes\n  ",
        f.instructions, f.frames, f.workspace_bytes
    )
}

fn print_heading() -> Result<(), Failure> {
    print(format_args!(
        "{:<20} {:>4} {:>12} {:>7} {:>12} {:>6} {:>8} {:>6} {:>8} {:>6} {:>6}",
        "model",
        "core",
        "instructions",
        "per MAC",
        "CMSIS-NN",
        "code",
        "image",
        "static",
        "arena",
        "stack",
        "equal"
    ))
}

fn print_row(m: &Measurement) -> Result<(), Failure> {
    let stem = Path::new(&m.model).file_stem().unwrap_or_default();
    let name = stem.to_string_lossy();
    let cmsis_nn = NETWORKS
        .iter()
        .find(|network| network.name == name)
        .and_then(|network| network.cmsis_nn_on(m.core))
        .map_or("-".to_owned(), |count| count.to_string());
    print(format_args!(
        "{:<20} {:>4} {:>12} {:>7.2} {:>12} {:>6} {:>8} {:>6} {:>8} {:>6} {:>6}",
        name,
        m.core,
        m.instructions,
        per_mac(m),
        cmsis_nn,
        m.code_bytes,
        m.image_bytes,
        m.static_bytes,
        m.arena_bytes,
        m.stack_bytes,
        m.inputs_compared
    ))
}

fn per_mac(m: &Measurement) -> f64 {
    m.instructions as f64 / m.macs.max(1) as f64
}
