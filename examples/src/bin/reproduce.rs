//! Cooks a recipe: trains and compresses a network from nothing and writes what it measured.

use clap::Parser;
use examples::recipe::{Dish, Failure, Finished, RECIPES, Recipe};
use examples::results::{Summary, folder_of};
use std::path::{Path, PathBuf};
use trainer::command::print;
use trainer::data::Splits;
use trainer::files::write_atomically;
use trainer::memory::Allocator;
use trainer::train::interrupt;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Trains and compresses a network from nothing, by a recipe.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  reproduce --list
  reproduce lenet-300-100 --data ../data -o out        (../data holds mnist/)
  reproduce lenet-5 --data ../data -o out --seed 2
  reproduce lenet-5 --data ../data -o out --seeds 1,2,3   (out/seed-1 …; their mean and spread)
  reproduce lenet-5 --data ../data -o out --resume     (after an interruption)
  reproduce my.toml --data ../data -o out              (a recipe of your own)")]
struct Args {
    /// Name of a recipe, or a TOML file.
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
    /// One run for each of these seeds, in the folder seed-N of the output folder, and their mean and
    /// spread in summary.json. A seed that is finished is not run again.
    #[arg(
        long,
        value_name = "S,S,…",
        value_delimiter = ',',
        conflicts_with = "seed"
    )]
    seeds: Vec<u64>,
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
    interrupt::listen();
    if !args.seeds.is_empty() {
        return seeds(args, &recipe, data, output);
    }
    if let Some(seed) = args.seed {
        recipe = recipe.with_seed(seed);
    }
    let splits = recipe.load(data)?;
    tell(&cook(args, &recipe, &splits, output)?)?;
    print(format_args!("wrote {}", output.display()))
}

/// One run after the other, and what they come to.
fn seeds(args: &Args, recipe: &Recipe, data: &Path, output: &Path) -> Result<(), Failure> {
    let mut seeds = args.seeds.clone();
    seeds.sort_unstable();
    if let Some(twice) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("--seeds names {} twice", twice[0]).into());
    }
    for &seed in &seeds {
        Finished::spare(recipe, &folder_of(output, seed))?;
    }
    let finished = |seed: &&u64| Finished::of(recipe, **seed, &folder_of(output, **seed)).is_ok();
    let (known, open): (Vec<&u64>, Vec<&u64>) = seeds.iter().partition(finished);
    for seed in known {
        print(format_args!("seed {seed}: finished before"))?;
    }
    if !open.is_empty() {
        let splits = recipe.load(data)?;
        for &seed in open {
            print(format_args!("seed {seed}:"))?;
            let recipe = recipe.clone().with_seed(seed);
            tell(&cook(args, &recipe, &splits, &folder_of(output, seed))?)?;
        }
    }
    let summary = Summary::of_seeds(recipe, output, &seeds)?;
    let file = output.join("summary.json");
    write_atomically(&file, summary.to_json()?.as_bytes())?;
    print(format_args!("{}\nwrote {}", summary.line(), file.display()))
}

fn cook(args: &Args, recipe: &Recipe, splits: &Splits, folder: &Path) -> Result<Dish, Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let dish = recipe.cook(splits, folder, args.cache.as_deref(), args.resume)?;
    dish.write(folder)?;
    Ok(dish)
}

/// A run's figures.
fn tell(dish: &Dish) -> Result<(), Failure> {
    let Finished { report, others, .. } = &dish.finished;
    for stage in &report.stages {
        let held_out = stage.value.map_or_else(String::new, |v| {
            format!("{v:.2} % error on held-out examples")
        });
        print(format_args!(
            "{:<9} {:>6.0} s  {:>8} bytes  {held_out}",
            stage.name, stage.seconds, stage.bytes
        ))?;
    }
    for other in others {
        let (name, parameters) = (&other.name, other.parameters);
        print(format_args!(
            "{name}: {parameters} parameters, {}",
            other.measure
        ))?;
    }
    print(report.summary())
}
