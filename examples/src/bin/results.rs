//! Writes what a document says of finished recipes, from their reports and images.

use clap::Parser;
use examples::recipe::{Failure, Recipe, read_json};
use examples::results::brought::{ALEXNET, AlexNet, BROUGHT, Brought};
use examples::results::{Summary, fill, page, table::table};
use serde::Serialize;
use std::path::{Path, PathBuf};
use trainer::command::print;
use trainer::files::write_atomically;

/// Fills the part between `<!-- results -->` and `<!-- /results -->` of a document.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  results README.md --data ../data out/lenet-300-100 out/lenet-5
  results docs/RESULTS.md --summaries docs/results --data ../data out/hashed-8
  results docs/RESULTS.md --summaries docs/results out/hashed-8  (not run on an emulated core)
  results docs/RESULTS.md --summaries docs/results               (the page from summaries alone)")]
struct Args {
    /// The document.
    document: PathBuf,
    /// Folder of summaries, of which the document becomes a page: of each folder given, which holds a
    /// `seed-N` for every seed, the summary is written there before.
    #[arg(long, value_name = "DIR")]
    summaries: Option<PathBuf>,
    /// Folder that holds a folder for each kind of data; the first test examples are run on emulated
    /// cores.
    #[arg(long, value_name = "DIR", required_unless_present = "summaries")]
    data: Option<PathBuf>,
    /// Folder of the `model.pith` and the `report.json` of ResNet-8, brought as ONNX.
    #[arg(long, value_name = "DIR", requires = "summaries")]
    brought: Option<PathBuf>,
    /// What `alexnet --json` said.
    #[arg(long, value_name = "FILE", requires = "summaries")]
    alexnet: Option<PathBuf>,
    /// Folders that `reproduce` wrote, each named after its recipe.
    #[arg(required_unless_present = "summaries")]
    folders: Vec<PathBuf>,
}

fn main() -> std::process::ExitCode {
    trainer::command::run(|args: Args| run(&args))
}

fn run(args: &Args) -> Result<(), Failure> {
    match (&args.summaries, &args.data) {
        (Some(summaries), data) => fill_page(args, summaries, data.as_deref()),
        (None, Some(data)) => fill(&args.document, &table(&args.folders, data)?),
        (None, None) => Err("give --data, or --summaries; --help shows examples".into()),
    }
}

fn fill_page(args: &Args, summaries: &Path, data: Option<&Path>) -> Result<(), Failure> {
    std::fs::create_dir_all(summaries)
        .map_err(|e| format!("cannot make {}: {e}", summaries.display()))?;
    for folder in &args.folders {
        let summary = summarize(folder, data)?;
        write_atomically(
            &page::file_of(summaries, &summary.recipe),
            summary.to_json()?.as_bytes(),
        )?;
        print(summary.line())?;
    }
    if let Some(folder) = &args.brought {
        keep(summaries, BROUGHT, &Brought::of(folder, data)?)?;
    }
    if let Some(file) = &args.alexnet {
        keep(summaries, ALEXNET, &read_json::<AlexNet>(file)?)?;
    }
    fill(&args.document, &page::page(summaries)?)
}

fn keep(summaries: &Path, name: &str, summary: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(summary)? + "\n";
    Ok(write_atomically(
        &page::file_of(summaries, name),
        text.as_bytes(),
    )?)
}

/// A recipe's seeds, their images run on the emulated core where there is data for it.
fn summarize(folder: &Path, data: Option<&Path>) -> Result<Summary, Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let recipe = Recipe::find(&name)?;
    let mut summary = Summary::of(&recipe, folder)?;
    if let Some(data) = data {
        summary.emulate(folder, &recipe.load(data)?.test)?;
    }
    Ok(summary)
}
