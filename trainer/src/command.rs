//! What the command lines share: a failure is one line on standard error and a non-zero status.

use crate::data::{DataSpec, Dataset, Splits};
use crate::files;
use crate::memory;
use crate::train::Measure;
use clap::error::ErrorKind;
use clap::{Args, Parser};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Any error, shown in one line.
pub type Failure = Box<dyn std::error::Error>;

/// Status of a command line that cannot be understood, as usual.
const USAGE: u8 = 2;

/// Parses the arguments of the process and runs `body` on them; the exit status.
pub fn run<C: Parser>(body: impl FnOnce(C) -> Result<(), Failure>) -> ExitCode {
    memory::keep();
    match C::try_parse() {
        Ok(arguments) => match body(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {}", one_line(&error.to_string()));
                ExitCode::FAILURE
            }
        },
        Err(error) => usage(&error),
    }
}

/// Help and version as they are, an error in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(u8::from(error.use_stderr()) * USAGE);
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let said = lines.take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more"));
    let mut line = String::new();
    for part in said.filter(|l| !l.is_empty()) {
        let joint = if part.starts_with("tip:") { "; " } else { " " };
        line += if line.is_empty() { "" } else { joint };
        line += part;
    }
    eprintln!("{}; --help shows examples", one_line(&line));
    ExitCode::from(USAGE)
}

/// Names come from files: escaped, so that an error stays on its line.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_debug()),
            c => line.push(c),
        }
    }
    line
}

/// Writes to standard output; a reader that has gone (`| head`) is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

/// A file beside another: `model.onnx` with the suffix `ckpt` is `model.onnx.ckpt`.
pub fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Refuses, before any work, output files that cannot be written or would overwrite another file of
/// the same command.
///
/// # Errors
/// Naming the file.
pub fn check_outputs(inputs: &[&Path], outputs: &[&Path]) -> Result<(), Failure> {
    for (place, output) in outputs.iter().enumerate() {
        files::check_writable(output)?;
        let replaced = |others: &[&Path]| others.iter().any(|other| same_file(other, output));
        let shown = output.display();
        if replaced(inputs) {
            return Err(
                format!("writing '{shown}' would replace an input; name another file").into(),
            );
        }
        if replaced(&outputs[..place]) {
            return Err(format!("'{shown}' is to hold two things; name two files").into());
        }
    }
    Ok(())
}

/// Whether writing one would replace the other.
fn same_file(one: &Path, other: &Path) -> bool {
    let entry = |path: &Path| {
        Some((
            files::folder(path).ok()?.canonicalize().ok()?,
            path.file_name()?.to_owned(),
        ))
    };
    entry(one).is_some_and(|entry_of_one| entry(other) == Some(entry_of_one))
        && !files::is_special(one)
}

/// Arguments of the `eval` commands.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The model's file.
    pub model: PathBuf,
    /// Labelled data, such as `mnist:DIR` or `glyphs`.
    #[arg(long, value_name = "SPEC")]
    pub data: DataSpec,
    /// Which examples.
    #[arg(long, default_value = "test", value_parser = ["test", "train"])]
    pub split: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

impl EvalArgs {
    /// Reads the split asked for, measures and prints: `error` is the percentage of it that a model
    /// gets wrong.
    ///
    /// # Errors
    /// When the data cannot be read, or `error` fails.
    pub fn run(&self, error: impl FnOnce(&Dataset) -> Result<f64, Failure>) -> Result<(), Failure> {
        let Splits { train, test } = self.data.load()?;
        let data = if self.split == "train" { train } else { test };
        let measure = Measure::error_percent(error(&data)?, &self.split, data.len());
        if self.json {
            print(serde_json::to_string(&measure)?)
        } else {
            print(measure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_the_line() {
        assert_eq!(one_line("a\nb\u{1b}[1m"), "a b\\u{1b}[1m");
    }

    #[test]
    fn no_two_files_at_one_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "").expect("writes");
        check_outputs(&[&a], &[&b]).expect("differ");
        let again = folder.path().join("./a");
        let replaced = check_outputs(&[&a], &[&again]).expect_err("the same");
        assert!(
            replaced.to_string().contains("replace an input"),
            "{replaced}"
        );
        let twice = check_outputs(&[], &[&b, &b]).expect_err("the same");
        assert!(twice.to_string().contains("two things"), "{twice}");
    }
}
