//! Cooks a recipe: trains and compresses a network from nothing and writes what it measured.

use clap::Parser;
use examples::recipe::{Failure, RECIPES, Recipe};
use std::path::PathBuf;
use trainer::command::print;
use trainer::train::interrupt;

/// Trains and compresses a network from nothing, by a recipe.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  reproduce --list
  reproduce lenet-300-100 --data ../data -o out        (../data holds mnist/)
  reproduce lenet-5 --data ../data -o out --seed 2
  reproduce lenet-5 --data ../data -o out --resume     (after an interruption)")]
struct Args {
    /// Name of a recipe.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Lists the recipes.
    #[arg(long)]
    list: bool,
    /// Folder that holds a folder for each kind of data.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    data: Option<PathBuf>,
    /// Where model.onnx, model.pith and report.json go; made if it is not there.
    #[arg(short, long, value_name = "DIR", required_unless_present = "list")]
    output: Option<PathBuf>,
    /// Of every random choice; the recipe's own unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on in the middle of the stage where an interrupted run stopped. Finished stages are not
    /// done again in any case, as long as nothing that they depend on has changed.
    #[arg(long)]
    resume: bool,
    /// Keeps the results of stages in this folder for later runs; unless given, they stand in the
    /// output folder until the recipe is finished.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

fn main() -> std::process::ExitCode {
    trainer::command::run(|args: Args| run(&args))
}

fn run(args: &Args) -> Result<(), Failure> {
    if args.list {
        return print(RECIPES.map(|(name, _)| name).join("\n"));
    }
    let (Some(name), Some(data), Some(output)) = (&args.name, &args.data, &args.output) else {
        return Err("name a recipe, --data and -o; --help shows examples".into());
    };
    let mut recipe = Recipe::find(name)?;
    if let Some(seed) = args.seed {
        recipe = recipe.with_seed(seed);
    }
    std::fs::create_dir_all(output)
        .map_err(|e| format!("cannot make {}: {e}", output.display()))?;
    let splits = recipe.load(data)?;
    interrupt::listen();
    let dish = recipe.cook(&splits, output, args.cache.as_deref(), args.resume)?;
    dish.write(output)?;
    for stage in &dish.report.stages {
        let held_out = stage.value.map_or_else(String::new, |v| {
            format!("{v:.2} % error on held-out examples")
        });
        print(format_args!(
            "{:<9} {:>6.0} s  {:>8} bytes  {held_out}",
            stage.name, stage.seconds, stage.bytes
        ))?;
    }
    for other in &dish.others {
        let (name, parameters) = (&other.name, other.parameters);
        print(format_args!(
            "{name}: {parameters} parameters, {}",
            other.measure
        ))?;
    }
    let summary = dish.report.summary();
    print(format_args!("{summary}\nwrote {}", output.display()))
}
