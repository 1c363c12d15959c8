//! Writes the table of results into a document, from the reports and images of finished recipes.

use benches::mcu::{Core, Inputs, Measurement, Options, measure};
use benches::networks::NETWORKS;
use clap::Parser;
use compress::host::quantize;
use compress::report::{Report, Sized};
use examples::recipe::{Failure, Recipe};
use no_std_core::Model;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trainer::data::Dataset;
use trainer::files::write_atomically;

/// Fills the part between `<!-- results -->` and `<!-- /results -->` of a document.
#[derive(Debug, Parser)]
struct Args {
    /// The document.
    document: PathBuf,
    /// Folder that holds a folder for each kind of data; the first test examples are run on every core.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folders that `reproduce` wrote, each named after its recipe.
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
        .map(|folder| row(folder, &args.data))
        .collect::<Result<_, _>>()?;
    let head = "| network | float | image | ratio | error before → after | M4 instructions | dense CMSIS-NN | code | arena | stack |\n|---|---|---|---|---|---|---|---|---|---|\n";
    write_atomically(
        &args.document,
        format!("{before}{BEGIN}{head}{}{END}{after}", rows.concat()).as_bytes(),
    )?;
    Ok(())
}

fn row(folder: &Path, data: &Path) -> Result<String, Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let test = Recipe::find(&name)?.load(data)?.test;
    let path = folder.join("report.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let image = folder.join("model.pith");
    // Each fails if a single integer differs from the host's.
    for core in [Core::M0, Core::M3, Core::M33] {
        emulate(&image, core, &test)?;
    }
    let m4 = emulate(&image, Core::M4, &test)?;
    let error = |sized: &Sized| {
        sized
            .measure
            .as_ref()
            .map_or_else(|| "-".to_owned(), |m| format!("{:.2} %", m.value))
    };
    Ok(format!(
        "| {} | {} | {} | {:.1}× | {} → {} | {} | {} | {} | {} | {} |\n",
        report.model,
        grouped(report.float.bytes as u64),
        grouped(report.image.bytes as u64),
        report.ratio,
        error(&report.float),
        error(&report.image),
        grouped(m4.instructions),
        cmsis_nn(&name).map_or_else(|| "-".to_owned(), grouped),
        grouped(m4.code_bytes),
        grouped(m4.arena_bytes as u64),
        grouped(m4.stack_bytes as u64),
    ))
}

/// What CMSIS-NN takes for the dense network of the recipe's name.
fn cmsis_nn(name: &str) -> Option<u64> {
    let network = NETWORKS.iter().find(|network| network.name == name)?;
    network.cmsis_nn_on(Core::M4)
}

/// Test examples compared on each core.
const EXAMPLES: usize = 100;

fn emulate(image: &Path, core: Core, test: &Dataset) -> Result<Measurement, Failure> {
    let options = Options {
        timeout: Duration::from_secs(600),
        prove_no_panic: true,
    };
    let images = |model: &Model| {
        let quantized = (0..EXAMPLES.min(test.len())).flat_map(|i| quantize(model, test.input(i)));
        Ok(Inputs::new(model.input().bytes(), quantized.collect()))
    };
    Ok(measure(image, core, images, options)?)
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
