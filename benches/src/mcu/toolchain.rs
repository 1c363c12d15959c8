//! Which compiler builds for a core.

use crate::mcu::McuError;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A way to compile for a bare-metal target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The user's own, with the target's library installed (`rustup target add`).
    Installed,
    /// Debian's, which carries the library's source and compiles it along.
    LibrarySource,
}

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "ld.lld";

/// The project's `rust-version`, as in `1.95`.
const OLDEST_MINOR: u32 = 95;

impl Toolchain {
    /// Looks for one, the user's own first.
    ///
    /// # Errors
    /// When there is none, with what to install.
    pub fn find(triple: &'static str) -> Result<Self, McuError> {
        if has_target(triple) {
            Ok(Self::Installed)
        } else if has_library_source() {
            Ok(Self::LibrarySource)
        } else {
            Err(McuError::NoTarget { triple })
        }
    }

    /// The compiler's name, version and commit.
    ///
    /// # Errors
    /// When it does not say.
    pub fn compiler(self) -> Result<String, McuError> {
        let program = match self {
            Self::Installed => "rustc",
            Self::LibrarySource => DEBIAN_RUSTC,
        };
        output_of(program, &["--version"]).ok_or_else(|| McuError::Start {
            program: program.to_owned(),
            source: std::io::Error::other("it does not tell its version"),
        })
    }

    /// `cargo build --target …`, to which the caller adds what to build; `flags` go to rustc.
    pub fn build_command(self, triple: &str, flags: &[String]) -> Command {
        let mut flags = flags.to_vec();
        let mut command = match self {
            Self::Installed => Command::new("cargo"),
            Self::LibrarySource => {
                flags.push(format!("-Clinker={DEBIAN_LINKER}"));
                flags.push(format!("-Clinker-flavor={DEBIAN_LINKER}"));
                Command::new(DEBIAN_CARGO)
            }
        };
        // What the surrounding `cargo run` or the user set is meant for the host.
        for name in ["RUSTC", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            command.env_remove(name);
        }
        command.args(["build", "--release", "--quiet", "--target", triple]);
        if self == Self::LibrarySource {
            command
                .arg("-Zbuild-std=core")
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTC", DEBIAN_RUSTC);
        }
        // Flags are separated by the unit separator, so that they may hold blanks.
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        command.stdin(Stdio::null());
        command
    }
}

fn has_target(triple: &str) -> bool {
    let Some(folder) = output_of("rustc", &["--print", "target-libdir", "--target", triple]) else {
        return false;
    };
    let Ok(entries) = Path::new(&folder).read_dir() else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn has_library_source() -> bool {
    let new_enough = output_of(DEBIAN_RUSTC, &["--version"])
        .and_then(|version| minor_of(&version))
        .is_some_and(|minor| minor >= OLDEST_MINOR);
    let source = output_of(DEBIAN_RUSTC, &["--print", "sysroot"])
        .map(|root| PathBuf::from(root).join("lib/rustlib/src/rust/library/core/Cargo.toml"));
    new_enough
        && source.is_some_and(|source| source.is_file())
        && output_of(DEBIAN_CARGO, &["--version"]).is_some()
        && output_of(DEBIAN_LINKER, &["--version"]).is_some()
}

/// 96 of `rustc 1.96.0 (…)`.
fn minor_of(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

/// What a program prints, without the line's end, if it succeeds.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(minor_of("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some(96));
        assert_eq!(minor_of("rustc"), None);
    }

    #[test]
    fn a_target_that_does_not_exist_is_not_found() {
        assert!(!has_target("no-such-target"));
    }
}
