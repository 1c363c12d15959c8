//! The page of results: recipes with all of their seeds, and what no recipe is behind, from summaries.

use super::{Run, Statistics, Summary, brought, grouped};
use crate::recipe::{Failure, RECIPES, Recipe, Record};
use std::path::{Path, PathBuf};

const HEAD: &str = "| recipe | file | ratio | of the file, values | error before | error | published | M4 instructions | minutes | seeds |\n|---|---|---|---|---|---|---|---|---|---|\n";

const RUNS: &str = "| seed | file | values | error before | error | M4 instructions | code | arena | stack | minutes | memory |\n|---|---|---|---|---|---|---|---|---|---|---|\n";

/// Where the summary of a recipe stands.
pub fn file_of(folder: &Path, recipe: &str) -> PathBuf {
    folder.join(format!("{recipe}.json"))
}

/// Of the summaries of recipes that a folder holds. Recipes with published results beside them that
/// have no summary there are named.
///
/// # Errors
/// When a summary is damaged, or not of the recipe that has its name.
pub fn page(folder: &Path) -> Result<String, Failure> {
    let (mut rows, mut sections, mut missing) = (String::new(), String::new(), Vec::new());
    for (name, _) in RECIPES {
        let recipe = Recipe::find(name)?;
        let path = file_of(folder, name);
        if path.exists() {
            let summary = Summary::read(&path)?;
            summary.check(&recipe)?;
            rows += &row(&recipe, &summary);
            sections += &section(&recipe, &summary);
        } else if !recipe.records.is_empty() {
            missing.push(format!("`{name}`"));
        }
    }
    let table = if rows.is_empty() {
        rows
    } else {
        format!("{HEAD}{rows}\n")
    };
    let missing = match missing.as_slice() {
        [] => String::new(),
        missing => format!(
            "Without reports, and so without a row: {}.\n",
            missing.join(", ")
        ),
    };
    let others = brought::sections(folder)?;
    Ok(format!("{table}{missing}{sections}{others}"))
}

/// A recipe in the table.
fn row(recipe: &Recipe, summary: &Summary) -> String {
    let records: Vec<String> = recipe.records.iter().map(figures).collect();
    format!(
        "| [{name}](#{name}) | {} | {:.1}× | {} | {} | {} | {} | {} | {} | {} |\n",
        range(summary.bytes()),
        summary.ratio(),
        range(summary.statistics(|run| run.value_bytes as f64)),
        percent(summary.float_error()),
        percent(summary.error()),
        records.join("; "),
        instructions(summary),
        range(summary.statistics(minutes)),
        summary.seeds(", "),
        name = recipe.name,
    )
}

/// All about a recipe.
fn section(recipe: &Recipe, summary: &Summary) -> String {
    let records: Vec<String> = recipe.records.iter().map(published).collect();
    format!(
        "\n## {}\n\n```sh\n{}\n```\n\n{} parameters ({} bytes as floats).{}\n\n{RUNS}{}{}",
        recipe.name,
        command(recipe, summary),
        grouped(summary.float_bytes as u64 / 4),
        grouped(summary.float_bytes as u64),
        if records.is_empty() {
            String::new()
        } else {
            format!(" Published:\n\n{}", records.concat().trim_end())
        },
        summary.runs.iter().map(run).collect::<String>(),
        beside(recipe, summary),
    )
}

/// What reproduces a summary's figures, at the root of the repository.
fn command(recipe: &Recipe, summary: &Summary) -> String {
    let (name, seeds) = (&recipe.name, summary.seeds(","));
    format!(
        "cargo run --release -p examples --bin reproduce -- {name} --data ../data -o out/{name} --seeds {seeds}"
    )
}

/// A seed in a section's table.
fn run(run: &Run) -> String {
    let m4 = run.m4.map_or_else(
        || vec!["-".to_owned(); 4],
        |m4| {
            let all = [
                m4.instructions,
                m4.code_bytes,
                m4.arena_bytes,
                m4.stack_bytes,
            ];
            all.map(grouped).to_vec()
        },
    );
    let memory = run.peak_memory_bytes;
    format!(
        "| {} | {} | {} | {:.2} % | {:.2} % | {} | {:.0} | {} |\n",
        run.seed,
        grouped(run.bytes as u64),
        grouped(run.value_bytes as u64),
        run.float_error,
        run.error,
        m4.join(" | "),
        minutes(run),
        memory.map_or_else(
            || "-".to_owned(),
            |bytes| format!("{:.0} MB", bytes as f64 / 1e6)
        ),
    )
}

/// Teachers and baselines, and how many fewer errors than each of these there are.
fn beside(recipe: &Recipe, summary: &Summary) -> String {
    let Some(first) = summary.runs.first() else {
        return String::new();
    };
    let line = |(place, other): (usize, &super::Beside)| {
        let errors = summary.runs.iter().filter_map(|run| run.others.get(place));
        let errors = Statistics::of(errors.map(|other| other.error));
        let is_baseline = recipe.baselines.iter().any(|b| b.name == other.name);
        let compared = is_baseline.then(|| compared(recipe, summary, errors));
        format!(
            "- {}, {} parameters: {}{}\n",
            other.name,
            grouped(other.parameters as u64),
            percent(errors),
            compared.unwrap_or_default(),
        )
    };
    let lines: String = first.others.iter().enumerate().map(line).collect();
    let begin = if lines.is_empty() {
        ""
    } else {
        "\nBeside it, in float:\n\n"
    };
    format!("{begin}{lines}")
}

/// Errors of the network against those of a baseline: its float ones where nothing is done to it but
/// the conversion to integers, the image's otherwise.
fn compared(recipe: &Recipe, summary: &Summary, baseline: Statistics) -> String {
    let (what, own) = if recipe.compress.stages.is_empty() {
        ("network, in float,", summary.float_error())
    } else {
        ("image", summary.error())
    };
    let share = 100.0 * (1.0 - own.mean / baseline.mean);
    let (share, more) = (share.abs(), if share < 0.0 { "more" } else { "fewer" });
    format!("; the {what} makes {share:.1} % {more} errors")
}

/// A published result in a list.
fn published(record: &Record) -> String {
    format!("- {} ({})\n", figures(record), record.source)
}

/// `Deep Compression 40×, 1.58 %`
fn figures(record: &Record) -> String {
    let bytes = record
        .bytes
        .map(|bytes| format!("{} bytes", grouped(bytes as u64)));
    let ratio = record.ratio.map(|ratio| format!("{ratio}×"));
    let error = record.error.map(|error| format!("{error:.2} %"));
    let all: Vec<String> = [bytes, ratio, error].into_iter().flatten().collect();
    format!("{} {}", record.name, all.join(", "))
        .trim_end()
        .to_owned()
}

fn instructions(summary: &Summary) -> String {
    let counted = summary
        .runs
        .iter()
        .map(|run| run.m4.map(|m4| m4.instructions as f64));
    let counted: Option<Vec<f64>> = counted.collect();
    counted.map_or_else(|| "-".to_owned(), |counted| range(Statistics::of(counted)))
}

fn minutes(run: &Run) -> f64 {
    run.seconds / 60.0
}

/// `7,010 (6,987 to 7,044)`, or one number where all are the same.
fn range(of: Statistics) -> String {
    let [mean, min, max] = [of.mean, of.min, of.max].map(|v| grouped(v.round() as u64));
    if min == max {
        return mean;
    }
    format!("{mean} ({min} to {max})")
}

/// `1.52 % ± 0.04`, the deviation of a sample.
fn percent(of: Statistics) -> String {
    format!("{:.2} % ± {:.2}", of.mean, of.deviation)
}
