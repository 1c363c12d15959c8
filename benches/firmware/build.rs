//! Checks the image and writes what the firmware includes: the image with the size of its arena,
//! the board's addresses, and the memory map.
//!
//! Everything comes in the environment, from `benches --bin mcu`.

use edge_runtime::frontend::{Parameters, Workspace};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    let out = PathBuf::from(variable("OUT_DIR")?);
    println!("cargo::rustc-link-search={}", out.display());
    write(&out.join("memory.x"), &variable("PITH_MCU_MEMORY")?)?;
    write(&out.join("board.rs"), &board()?)?;
    let holds_image = ["CARGO_FEATURE_MODEL", "CARGO_FEATURE_STARTUP"];
    if holds_image.iter().any(|name| env::var_os(name).is_some()) {
        write(&out.join("model.rs"), &model()?)?;
    }
    Ok(())
}

fn board() -> Result<String, String> {
    let timer = variable("PITH_MCU_TIMER")?;
    println!("cargo::rustc-check-cfg=cfg(timer, values(\"cmsdk\", \"system\"))");
    println!("cargo::rustc-cfg=timer=\"{timer}\"");
    Ok(format!(
        "pub const TIMER: usize = {};\npub const INPUTS: usize = {};\n",
        variable("PITH_MCU_TIMER_BASE")?,
        variable("PITH_MCU_INPUTS")?
    ))
}

fn model() -> Result<String, String> {
    // The checksum is there so that another image under the same name is noticed.
    variable("PITH_MCU_IMAGE_CRC")?;
    let path = variable("PITH_MCU_IMAGE")?;
    let bytes = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let model = no_std_core::Model::parse(&bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(format!(
        "pub const ARENA_BYTES: usize = {};\n\
         pub const IMAGE_BYTES: usize = {};\n\
         pub static IMAGE: Aligned<[u8; IMAGE_BYTES]> = Aligned(*include_bytes!({path:?}));\n\
         {}",
        model.arena_bytes(),
        bytes.len(),
        workspace(&model).map_err(|error| format!("{path}: {error}"))?,
    ))
}

/// What the front end needs, where there is one.
fn workspace(model: &no_std_core::Model) -> Result<String, String> {
    if env::var_os("CARGO_FEATURE_AUDIO").is_none() {
        return Ok(String::new());
    }
    let parameters = Parameters::of(model).ok_or("the image takes no audio features")?;
    let parameters = parameters.map_err(|error| error.to_string())?;
    let Workspace { words, halves } = parameters.workspace();
    Ok(format!(
        "pub const WORDS: usize = {words};\npub const HALVES: usize = {halves};\n"
    ))
}

fn variable(name: &str) -> Result<String, String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).map_err(|_| format!("{name} is not set; build this through `benches --bin mcu`"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
