//! README's table: a finished recipe a row.

use super::device::{Cost, emulate};
use super::grouped;
use crate::recipe::{Failure, Recipe, image, read_report};
use benches::mcu::Core;
use benches::networks::NETWORKS;
use compress::report::{Report, Sized};
use std::path::{Path, PathBuf};

const HEAD: &str = "| network | float | image | ratio | error before → after | M4 instructions | dense CMSIS-NN | code | arena | stack |\n|---|---|---|---|---|---|---|---|---|---|\n";

/// Of folders that are named after their recipes.
///
/// # Errors
/// When one is not finished, or a core's integers are not the host's.
pub fn table(folders: &[PathBuf], data: &Path) -> Result<String, Failure> {
    let rows: Vec<String> = folders
        .iter()
        .map(|folder| row(folder, data))
        .collect::<Result<_, _>>()?;
    Ok(format!("{HEAD}{}", rows.concat()))
}

fn row(folder: &Path, data: &Path) -> Result<String, Failure> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let test = Recipe::find(&name)?.load(data)?.test;
    let report: Report = read_report(folder)?;
    let image = image(folder);
    // Each fails if a single integer differs from the host's.
    for core in [Core::M0, Core::M3, Core::M33] {
        emulate(&image, core, &test)?;
    }
    let m4 = Cost::on_m4(&image, &test)?;
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
        grouped(m4.arena_bytes),
        grouped(m4.stack_bytes),
    ))
}

/// What CMSIS-NN takes for the dense network of the recipe's name.
fn cmsis_nn(name: &str) -> Option<u64> {
    let network = NETWORKS.iter().find(|network| network.name == name)?;
    network.cmsis_nn_on(Core::M4)
}
