//! `latency`: how long an image's inferences take on this host, one thread, one input at a time.

use benches::mcu::Inputs;
use clap::Parser;
use edge_runtime::Session;
use no_std_core::Model;
use serde_json::json;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use trainer::command::{self, Failure, print};

/// Times an image's inferences on this host, on one thread, of a random input. A shared machine's absolute
/// times mean little: `benches/compare.py` runs others in turn with this and shows ratios.
#[derive(Debug, Parser)]
#[command(
    name = "latency",
    after_help = "\
Examples:
  latency model.pith
  echo 1000 | latency model.pith --serve      nanoseconds of a thousand inferences"
)]
struct Arguments {
    /// The image.
    model: PathBuf,

    /// Inferences that the median is of.
    #[arg(long, default_value_t = 2000)]
    count: usize,

    /// Lets the session have memory for speed: weights prepared once for this processor.
    #[arg(long)]
    prepared: bool,

    /// Reads a number of inferences from each line, runs them and answers with the nanoseconds they took
    /// together, until there are no more lines.
    #[arg(long, conflicts_with = "count")]
    serve: bool,
}

fn main() -> ExitCode {
    command::run(|arguments: Arguments| run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.model.display();
    let bytes = std::fs::read(&arguments.model).map_err(|e| format!("{file}: {e}"))?;
    let model = Model::parse(&bytes).map_err(|e| format!("{file}: {e}"))?;
    let inputs = Inputs::random(&model, 1, 1);
    let input = inputs.iter().next().unwrap_or_default();
    let mut arena = vec![0; model.arena_bytes()];
    let mut session = match arguments.prepared {
        true => Session::prepared(&model, &mut arena)?,
        false => Session::new(&model, &mut arena)?,
    };
    let mut infer = |count: usize| {
        let start = Instant::now();
        for _ in 0..count {
            session.input_mut().copy_from_slice(input);
            session.run();
        }
        start.elapsed().as_nanos() as u64
    };
    if arguments.serve {
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let count = line.trim().parse().map_err(|e| format!("{line:?}: {e}"))?;
            print(infer(count))?;
        }
        return Ok(());
    }
    infer(arguments.count / 10);
    let mut times: Vec<u64> = (0..arguments.count).map(|_| infer(1)).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(0);
    print(json!({ "model": arguments.model, "inferences": times.len(), "median_ns": median }))
}
