//! Writes the table of results into a document, from the reports and images of finished recipes.

use benches::mcu::{Core, Inputs, Measurement, Options, measure};
use clap::Parser;
use compress::report::{Report, Sized};
use examples::recipe::Failure;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trainer::files::write_atomically;

/// Fills the part between `<!-- results -->` and `<!-- /results -->` of a document.
#[derive(Debug, Parser)]
struct Args {
    /// The document.
    document: PathBuf,
    /// Folders that `reproduce` wrote.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
}

const BEGIN: &str = "<!-- results -->\n";
const END: &str = "<!-- /results -->";

fn main() -> std::process::ExitCode {
    trainer::command::run(|args: Args| run(&args))
}

fn run(args: &Args) -> Result<(), Failure> {
    let name = args.document.display();
    let text =
        std::fs::read_to_string(&args.document).map_err(|e| format!("cannot read {name}: {e}"))?;
    let missing = || format!("{name} has no part between {} and {END}", BEGIN.trim());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    let rows: Vec<String> = args
        .folders
        .iter()
        .map(|folder| row(folder))
        .collect::<Result<_, _>>()?;
    let head = "| network | float | image | ratio | error before → after | M4 instructions | code | arena | stack |\n|---|---|---|---|---|---|---|---|---|\n";
    write_atomically(
        &args.document,
        format!("{before}{BEGIN}{head}{}{END}{after}", rows.concat()).as_bytes(),
    )?;
    Ok(())
}

fn row(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("report.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let m4 = emulate(&folder.join("model.pith"))?;
    let error = |sized: &Sized| {
        sized
            .measure
            .as_ref()
            .map_or_else(|| "-".to_owned(), |m| format!("{:.2} %", m.value))
    };
    Ok(format!(
        "| {} | {} | {} | {:.1}× | {} → {} | {} | {} | {} | {} |\n",
        report.model,
        grouped(report.float.bytes as u64),
        grouped(report.image.bytes as u64),
        report.ratio,
        error(&report.float),
        error(&report.image),
        grouped(m4.instructions),
        grouped(m4.code_bytes),
        grouped(m4.arena_bytes as u64),
        grouped(m4.stack_bytes as u64),
    ))
}

/// On one seeded input: the instructions of a coded network hardly depend on it.
fn emulate(image: &Path) -> Result<Measurement, Failure> {
    let options = Options {
        timeout: Duration::from_secs(120),
        prove_no_panic: false,
    };
    Ok(measure(
        image,
        Core::M4,
        |model| Ok(Inputs::random(model, 1, 1)),
        options,
    )?)
}

/// 10711 as 10,711.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let place = |(i, digit): (usize, char)| {
        let comma = i > 0 && (digits.len() - i).is_multiple_of(3);
        comma.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(place).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1066440].map(super::grouped),
            ["0", "999", "1,000", "1,066,440"]
        );
    }
}
