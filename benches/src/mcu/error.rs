//! What can go wrong in a measurement.

use std::path::PathBuf;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum McuError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An array of inputs that does not fit.
    #[error("{path}: {reason}")]
    Input {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A clip of sound that does not fit.
    #[error(transparent)]
    Clip(#[from] trainer::data::DataError),
    /// Bytes that are not an image.
    #[error("{name}: {source}")]
    Image {
        /// Its name.
        name: String,
        /// Why.
        source: no_std_core::FormatError,
    },
    /// Nothing here compiles for the core.
    #[error(
        "no Rust library for {triple}: run `rustup target add {triple}`, or on Debian `apt-get \
         install --no-install-recommends rustc-web cargo-web rust-web-src lld`"
    )]
    NoTarget {
        /// Rust's target.
        triple: &'static str,
    },
    /// No emulator.
    #[error("no {program}: install QEMU (on Debian `apt-get install qemu-system-arm`)")]
    NoEmulator {
        /// What was looked for.
        program: &'static str,
    },
    /// A program that does not start.
    #[error("{program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The firmware does not build.
    #[error("building the firmware for {core}: {reason} (all of it in {})", log.display())]
    Build {
        /// Core.
        core: String,
        /// The compiler's first complaint.
        reason: String,
        /// What the compiler printed.
        log: PathBuf,
    },
    /// The runtime holds a call to the panic handler.
    #[error(
        "a panic can be reached in the firmware for {core}: build it without the proof and look \
         for calls into core::panicking in its disassembly"
    )]
    Panic {
        /// Core.
        core: String,
    },
    /// A linked program that cannot be read.
    #[error("the firmware for {core} is not an ELF file that can be read: {source}")]
    Elf {
        /// Core.
        core: String,
        /// Why.
        source: object::read::Error,
    },
    /// No executed blocks from the emulator's plugin.
    #[error("the plugin that tells what QEMU executes: {reason}")]
    Plugin {
        /// Why.
        reason: String,
    },
    /// The emulated program did not reach its end.
    #[error("{name} on {core}: {reason}")]
    Stopped {
        /// Model.
        name: String,
        /// Core.
        core: String,
        /// What was seen.
        reason: String,
    },
    /// Not the host's integers.
    #[error("{name} on {core}: {what} {place} of input {input} is {got}, on the host {expected}")]
    Differs {
        /// Output or feature.
        what: &'static str,
        /// Model.
        name: String,
        /// Core.
        core: String,
        /// Number of the input.
        input: usize,
        /// Place in it.
        place: usize,
        /// The core's.
        got: i8,
        /// The host's.
        expected: i8,
    },
}

impl McuError {
    /// A file's error, for `map_err`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Whether it is the machine that lacks a tool, not the image that is at fault.
    pub const fn is_missing_tool(&self) -> bool {
        matches!(self, Self::NoTarget { .. } | Self::NoEmulator { .. })
    }
}
