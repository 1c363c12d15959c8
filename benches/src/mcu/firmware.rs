//! Builds the firmware in `benches/firmware` around an image.

use crate::mcu::{Core, McuError, Sizes, Toolchain};
use no_std_core::Model;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What runs between two reads of the timer.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Nothing: start-up and harness alone.
    Empty,
    /// A loop of known length.
    Known,
    /// The reading and checking of an image and the setting up of a session, each time anew.
    Startup {
        /// Its file.
        path: &'a Path,
        /// What the file holds.
        bytes: &'a [u8],
    },
    /// An image.
    Model {
        /// Its file.
        path: &'a Path,
        /// What the file holds.
        bytes: &'a [u8],
        /// Whether clips of sound are its inputs, by the front end that its metadata describe.
        audio: bool,
    },
}

/// RAM that the firmware may use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Below the first frame; a multiple of 8.
    pub stack: u32,
    /// Arena and statics.
    pub statics: u32,
}

impl Memory {
    /// Ample: to find out what is needed.
    pub fn ample(core: Core) -> Self {
        let ram = core.board().ram.length;
        Self {
            stack: ram / 4,
            statics: ram - ram / 4,
        }
    }

    /// The stack lies below the statics, so that it runs over into nothing rather than into them.
    fn script(self, core: Core) -> String {
        let board = core.board();
        format!(
            "MEMORY {{\n  FLASH : ORIGIN = {:#x}, LENGTH = {}\n  RAM : ORIGIN = {:#x}, LENGTH = {}\n}}\n\
             _stack_start = ORIGIN(RAM);\n_stack_end = {:#x};\n",
            board.flash.origin,
            board.flash.length,
            board.ram.origin + self.stack,
            self.statics,
            board.ram.origin,
        )
    }
}

/// A linked firmware.
#[derive(Debug)]
pub struct Firmware {
    /// Core it is built for.
    pub core: Core,
    /// The ELF file.
    pub elf: Vec<u8>,
    /// What it takes.
    pub sizes: Sizes,
}

impl Firmware {
    /// Builds it. With `prove_no_panic` the link fails if the panic handler can be reached.
    ///
    /// # Errors
    /// When no toolchain is there, when it does not compile or link (too little memory among the
    /// reasons), or when the image is refused.
    pub fn build(
        core: Core,
        subject: Subject,
        memory: Memory,
        prove_no_panic: bool,
    ) -> Result<Self, McuError> {
        let folder = target_folder().join(core.name());
        fs::create_dir_all(&folder).map_err(McuError::file(&folder))?;
        let _lock = lock(&folder.join("in-use"))?;
        let mut command = cargo(core, &folder)?;
        describe_board(&mut command, core, memory);
        let mut features = describe_subject(&mut command, subject)?;
        if prove_no_panic {
            features.push("no-panic");
        }
        command.arg("--features").arg(features.join(","));
        run(command, core, &folder.join("build.log"))?;
        Self::read(core, &folder)
    }

    fn read(core: Core, folder: &Path) -> Result<Self, McuError> {
        let path = folder
            .join(core.board().triple)
            .join("release")
            .join("mcu-firmware");
        let elf = fs::read(&path).map_err(McuError::file(&path))?;
        let sizes = Sizes::of(&elf).map_err(|source| McuError::Elf {
            core: core.to_string(),
            source,
        })?;
        Ok(Self { core, elf, sizes })
    }
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware")
}

/// `target/mcu` of the workspace, where firmware is built: one folder a core, since their flags
/// differ.
pub fn target_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or(workspace, PathBuf::from)
        .join("mcu")
}

/// Held while the core's target folder is used: the program linked there has one name.
fn lock(path: &Path) -> Result<File, McuError> {
    let file = File::create(path).map_err(McuError::file(path))?;
    file.lock().map_err(McuError::file(path))?;
    Ok(file)
}

fn cargo(core: Core, target_folder: &Path) -> Result<Command, McuError> {
    let board = core.board();
    let mut flags = vec!["-Clink-arg=-Tlink.x".to_owned()];
    flags.extend(board.cpu.map(|cpu| format!("-Ctarget-cpu={cpu}")));
    let mut command = Toolchain::find(board.triple)?.build_command(board.triple, &flags);
    command
        .arg("--manifest-path")
        .arg(source_folder().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_folder);
    Ok(command)
}

fn describe_board(command: &mut Command, core: Core, memory: Memory) {
    let board = core.board();
    command
        .env("PITH_MCU_MEMORY", memory.script(core))
        .env("PITH_MCU_TIMER", board.timer.kind)
        .env("PITH_MCU_TIMER_BASE", format!("{:#x}", board.timer.base))
        .env("PITH_MCU_INPUTS", format!("{:#x}", board.inputs.origin));
}

/// Sets what the build script reads and returns the features to build with.
fn describe_subject(
    command: &mut Command,
    subject: Subject,
) -> Result<Vec<&'static str>, McuError> {
    match subject {
        Subject::Empty => Ok(vec![]),
        Subject::Known => Ok(vec!["known"]),
        Subject::Startup { path, bytes } => with_image(command, path, bytes, "startup"),
        Subject::Model { path, bytes, audio } => {
            with_image(command, path, bytes, if audio { "audio" } else { "model" })
        }
    }
}

fn with_image(
    command: &mut Command,
    path: &Path,
    bytes: &[u8],
    subject: &'static str,
) -> Result<Vec<&'static str>, McuError> {
    let path = path.canonicalize().map_err(McuError::file(path))?;
    let crc = no_std_core::crc32(bytes);
    command
        .env("PITH_MCU_IMAGE", path)
        .env("PITH_MCU_IMAGE_CRC", format!("{crc:08x}"));
    Ok(families(bytes).into_iter().chain([subject]).collect())
}

/// What the runtime must be built with to know the image's operators.
fn families(image: &[u8]) -> BTreeSet<&'static str> {
    let model = Model::parse(image).ok();
    let operators = model.iter().flat_map(Model::operators);
    operators
        .flat_map(|op| op.features().collect::<Vec<_>>())
        .collect()
}

fn run(mut command: Command, core: Core, log: &Path) -> Result<(), McuError> {
    let output = command.output().map_err(|source| McuError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    fs::write(log, &output.stderr).map_err(McuError::file(log))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let core = core.to_string();
    if text.contains("undefined symbol: a_panic_can_be_reached") {
        return Err(McuError::Panic { core });
    }
    Err(McuError::Build {
        core,
        reason: first_complaint(&text),
        log: log.to_owned(),
    })
}

/// The linker's line if it is the linker that fails, otherwise the first error.
fn first_complaint(text: &str) -> String {
    let linker = text.lines().find_map(|line| {
        let (_, complaint) = line.split_once("lld: error: ")?;
        Some(complaint)
    });
    let compiler = || text.lines().find(|line| line.starts_with("error"));
    let any = || text.lines().find(|line| !line.trim().is_empty());
    linker
        .or_else(compiler)
        .or_else(any)
        .unwrap_or("it failed without a word")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_complaint_comes_first() {
        let text = "error: linking with `ld.lld` failed: exit status: 1\n  = note: ld.lld: error: \
                    section '.bss' will not fit in region 'RAM'\n";
        assert_eq!(
            first_complaint(text),
            "section '.bss' will not fit in region 'RAM'"
        );
        assert_eq!(first_complaint("\nerror: a\nerror: b"), "error: a");
    }

    #[test]
    fn the_stack_lies_below_the_statics() {
        let memory = Memory {
            stack: 64,
            statics: 100,
        };
        let script = memory.script(Core::M4);
        assert!(script.contains("RAM : ORIGIN = 0x20000040, LENGTH = 100"));
        assert!(script.contains("_stack_end = 0x20000000;"));
    }
}
