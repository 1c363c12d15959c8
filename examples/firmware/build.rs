//! Checks the model while the firmware is built, and writes what the firmware includes: the image,
//! the size of its arena, and a digit quantized as the image says. The device then needs neither a
//! heap nor floating point, and cannot be flashed with an image that it would refuse.

use no_std_core::Model;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const NO_MODEL: &str = "no model: run `cargo run --release -p examples --bin quickstart` in the \
                        repository's root, or set PITH_MODEL to the path of a .pith file";

/// Drawn in characters, 28 lines of 28: blank, `+` for half and `#` for full ink.
const DIGIT: &str = "../digit.txt";

const SIDE: usize = 28;

fn main() -> ExitCode {
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    let path = model_path()?;
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let model = Model::parse(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    write(&out.join("model.rs"), &source(&path, &model)?)?;
    write(&out.join("memory.x"), &read("memory.x")?)?;
    println!("cargo::rustc-link-search={}", out.display());
    Ok(())
}

/// `PITH_MODEL`, or `model.pith` beside the board's manifest, or what the quickstart made.
fn model_path() -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed=PITH_MODEL");
    let given = env::var_os("PITH_MODEL").map(PathBuf::from);
    let usual = ["model.pith", "../../../target/quickstart/model.pith"].map(PathBuf::from);
    // A `model.pith` that appears there later must be noticed.
    println!("cargo::rerun-if-changed=.");
    let found = given.or_else(|| usual.into_iter().find(|path| path.is_file()));
    let path = found.ok_or(NO_MODEL)?;
    println!("cargo::rerun-if-changed={}", path.display());
    path.canonicalize()
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn source(path: &Path, model: &Model) -> Result<String, String> {
    let input = digit(model).map_err(|reason| format!("{}: {reason}", path.display()))?;
    Ok(format!(
        "/// The image; its plain weights are read by words.\n\
         pub static IMAGE: Aligned<[u8; {}]> = Aligned(*include_bytes!({path:?}));\n\
         /// Working memory that the image needs.\n\
         pub const ARENA_BYTES: usize = {};\n\
         /// A digit, as the model takes it.\n\
         pub static DIGIT: [i8; {}] = {input:?};\n",
        model.bytes().len(),
        model.arena_bytes(),
        input.len(),
    ))
}

/// The drawing, quantized: `round(x / scale) + zero_point` with ink from 0 to 1.
fn digit(model: &Model) -> Result<Vec<i8>, String> {
    if model.input_len() != SIDE * SIDE {
        return Err(format!(
            "takes {} values, not an image of {SIDE} by {SIDE} pixels",
            model.input_len()
        ));
    }
    let scale = f32::from_bits(model.input().scale_bits);
    let zero_point = f32::from(model.input().zero_point);
    let quantize = |ink: f32| ((ink / scale).round_ties_even() + zero_point) as i8;
    Ok(ink(&read(DIGIT)?).map(quantize).collect())
}

fn ink(drawing: &str) -> impl Iterator<Item = f32> {
    let lines: Vec<&[u8]> = drawing.lines().map(str::as_bytes).collect();
    (0..SIDE * SIDE).map(move |pixel| {
        match lines
            .get(pixel / SIDE)
            .and_then(|line| line.get(pixel % SIDE))
        {
            Some(b'#') => 1.0,
            Some(b'+') => 0.5,
            _ => 0.0,
        }
    })
}

fn read(path: &str) -> Result<String, String> {
    println!("cargo::rerun-if-changed={path}");
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
