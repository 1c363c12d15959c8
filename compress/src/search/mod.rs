//! Budgets and fronts: which amounts of which pass every layer gets.
//!
//! Every layer's sensitivities say what it loses by each amount; coding its weights says what it
//! saves. For a price of a byte, each layer takes the offer that is cheapest with its loss added
//! (the Lagrangian of the problem, which falls apart into layers): from a low to a high price these
//! plans form a ladder from large and exact to small and coarse. Retraining heals much, but not the
//! same share for every pass: how much is measured once for each. Losses add up only roughly, so plans
//! are then carried out and measured on held-out examples.

mod budget;
mod candidate;
mod error;
mod front;
mod healing;
pub mod instructions;
mod ladder;
mod menu;

pub use budget::{Budgets, Found, search};
pub use candidate::{Costs, Try};
pub use error::SearchError;
pub use front::{Front, Point, front};
pub use menu::Choice;

use crate::passes::sensitivity::Pass;
use trainer::data::Dataset;
use trainer::graph::Graph;

/// Passes that plans are made of.
pub(crate) const PASSES: [Pass; 2] = [Pass::Prune, Pass::Codebook];

/// Multiply-accumulates that one measurement of a scan may take.
const SCAN_MACS: u64 = 4_000_000_000;

/// As many of the examples as a scan can afford for each of its measurements.
pub(crate) fn affordable(graph: &Graph, examples: &Dataset, seed: u64) -> Dataset {
    let count = (SCAN_MACS / graph.macs().max(1)).clamp(100, 2000);
    examples.hold_out(count as usize, seed).1
}

/// Training examples to hold out where nothing else is said: an eighth, at most this many.
const MOST_HELD_OUT: usize = 5000;

/// Examples that choices are made on, where nothing else is said.
pub(crate) fn usual_hold_out(train: &Dataset) -> usize {
    (train.len() / 8).min(MOST_HELD_OUT)
}
