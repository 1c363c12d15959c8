//! Fits the costs of the instruction estimate (`compress::search::instructions`) to what the emulator
//! counts.

use clap::Parser;
use compress::search::instructions::{COSTS, KINDS, Work, work};
use no_std_core::Model;
use serde::Deserialize;
use std::path::PathBuf;
use trainer::command::{self, Failure, print};

/// Fits a cost to each kind of work from what `mcu --json` counted on a Cortex-M4 (least squares of
/// relative errors, no cost below zero) and shows how far the estimate is from each image.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  mcu IMAGES --json > counted.json      images of many kinds: plain and coded, dense and convolutional
  calibrate counted.json                costs to put into compress/src/search/instructions.rs")]
struct Arguments {
    /// What `mcu IMAGES --json` printed.
    counted: PathBuf,
}

/// What is needed of it.
#[derive(Deserialize)]
struct Counted {
    model: PathBuf,
    instructions: u64,
}

/// Sweeps over the costs; each is set to its best while the others stay.
const SWEEPS: usize = 20_000;

fn main() -> std::process::ExitCode {
    command::run(|arguments: Arguments| run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.counted.display();
    let text = std::fs::read(&arguments.counted).map_err(|e| format!("{file}: {e}"))?;
    let counted: Vec<Counted> =
        serde_json::from_slice(&text).map_err(|e| format!("{file}: {e}"))?;
    let mut seen: Vec<(Work, f64)> = Vec::new();
    for Counted {
        model,
        instructions,
    } in &counted
    {
        let bytes = std::fs::read(model).map_err(|e| format!("{}: {e}", model.display()))?;
        let parsed = Model::parse(&bytes).map_err(|e| format!("{}: {e}", model.display()))?;
        seen.push((work(&parsed), *instructions as f64));
    }
    let costs = fit(&seen);
    for (image, (work, counted)) in counted.iter().zip(&seen) {
        let now = 100.0 * (estimate(work, &COSTS) / counted - 1.0);
        let fitted = 100.0 * (estimate(work, &costs) / counted - 1.0);
        print(format_args!(
            "{counted:>12.0} counted, estimate {now:>+6.1} %, fitted {fitted:>+6.1} %  {}",
            image.model.display()
        ))?;
    }
    for (kind, cost) in KINDS.iter().zip(costs) {
        print(format_args!("{cost:>10.2}  {kind}"))?;
    }
    Ok(())
}

fn estimate(work: &Work, costs: &Work) -> f64 {
    work.iter().zip(costs).map(|(n, c)| n * c).sum()
}

/// Costs that make estimates over counts closest to one.
fn fit(seen: &[(Work, f64)]) -> Work {
    let rows: Vec<Work> = seen
        .iter()
        .map(|(work, counted)| work.map(|n| n / counted))
        .collect();
    let mut costs = [0.0; KINDS.len()];
    for _ in 0..SWEEPS {
        for kind in 0..KINDS.len() {
            let square: f64 = rows.iter().map(|row| row[kind] * row[kind]).sum();
            if square > 0.0 {
                let without = |row: &Work| 1.0 - estimate(row, &costs) + row[kind] * costs[kind];
                let best: f64 = rows.iter().map(|row| row[kind] * without(row)).sum();
                costs[kind] = f64::max(best / square, 0.0);
            }
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_found_again() {
        let costs: Work = std::array::from_fn(|i| (i % 5) as f64 + 0.5);
        let work = |seed: usize| -> Work {
            std::array::from_fn(|i| ((seed * 7919 + i * 104_729) % 997) as f64)
        };
        let seen: Vec<(Work, f64)> = (1..40)
            .map(work)
            .map(|work| (work, estimate(&work, &costs)))
            .collect();
        for (found, cost) in fit(&seen).into_iter().zip(costs) {
            assert!((found - cost).abs() < 0.01, "{found} {cost}");
        }
    }
}
