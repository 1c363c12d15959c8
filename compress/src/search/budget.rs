//! The best file within budgets.

use super::SearchError;
use super::candidate::{Candidate, Costs, Try, candidates};
use crate::passes::sensitivity::Sensitivity;
use crate::pipeline::{Compressed, Examples};
use crate::progress::Steps;
use crate::settings::Settings;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, error_percent};

/// What a file may take; none of them said is no budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budgets {
    /// Points of error above the float model's.
    pub loss: Option<f64>,
    /// Of the file.
    pub bytes: Option<usize>,
    /// Bytes of the arena.
    pub ram: Option<usize>,
    /// Of an inference on a Cortex-M4, as estimated.
    pub instructions: Option<u64>,
}

/// What a search ends with.
#[derive(Debug)]
pub struct Found {
    /// The best file within the budgets.
    pub compressed: Compressed,
    /// Every compression that was carried out.
    pub tries: Vec<Try>,
    /// What each layer loses by each pass alone; none without data.
    pub sensitivity: Vec<Sensitivity>,
}

/// Plans that are looked at.
const PLANS: usize = 16;

/// Examples for activation ranges where only sizes matter.
const FEW: usize = 16;

/// Plans within the other budgets that are carried out to find the most accurate.
const COMPARED: usize = 2;

/// Plans that are carried out at most where bytes turn out other than expected.
const MOST_TRIES: usize = 6;

/// One budget beside what something takes of it.
struct Line {
    flag: &'static str,
    what: &'static str,
    limit: Option<f64>,
    value: f64,
}

impl Line {
    fn is_met(&self) -> bool {
        self.limit.is_none_or(|limit| self.value <= limit)
    }
}

impl Budgets {
    fn lines(&self, costs: &Costs) -> [Line; 3] {
        let line = |flag, what, limit, value| Line {
            flag,
            what,
            limit,
            value,
        };
        let as_f64 = |n: usize| n as f64;
        let bytes = self.bytes.map(as_f64);
        let ram = self.ram.map(as_f64);
        let instructions = self.instructions.map(|n| n as f64);
        [
            line("max-bytes", "bytes", bytes, costs.bytes as f64),
            line("max-ram", "bytes of arena", ram, costs.arena_bytes as f64),
            line(
                "max-instructions",
                "instructions (estimated)",
                instructions,
                costs.instructions as f64,
            ),
        ]
    }

    /// Whether an image takes no more than it may.
    fn allow(&self, costs: &Costs) -> bool {
        self.lines(costs).iter().all(Line::is_met)
    }
}

/// Finds the smallest file that loses no more than `budgets.loss`, or, where no loss is given, the
/// most accurate one, within the other budgets. `base` holds the training of the passes; plans give
/// their amounts. Losses are measured on examples held out of training.
///
/// # Errors
/// When a budget cannot be met: which, and how close the search came.
pub fn search(
    graph: &Graph,
    examples: Examples,
    base: &Settings,
    budgets: &Budgets,
) -> Result<Found, SearchError> {
    let packed = budgets.ram.is_some() || budgets.instructions.is_some();
    let (all, sensitivity) = candidates(graph, examples, base, PLANS, packed)?;
    let within = within(graph, examples, all, budgets)?;
    let mut search = Search {
        graph,
        examples,
        budgets,
        tries: Vec::new(),
        best: None,
    };
    match budgets.loss {
        Some(limit) => search.smallest(within, limit, base)?,
        None => search.most_accurate(within)?,
    }
    match search.best {
        Some(compressed) => Ok(Found {
            compressed,
            tries: search.tries,
            sensitivity,
        }),
        None => Err(search.failure(base)),
    }
}

/// Candidates that are expected to stay within the budgets, with what they are expected to take.
fn within(
    graph: &Graph,
    examples: Examples,
    all: Vec<Candidate>,
    budgets: &Budgets,
) -> Result<Vec<(Candidate, Costs)>, SearchError> {
    let few = match examples {
        Examples::Data(data) => Some(data.hold_out(FEW, 1).1),
        Examples::Synthetic { .. } => None,
    };
    let examples = few.as_ref().map_or(examples, Examples::Data);
    let steps = Steps::new("plans", all.len());
    let mut expected: Vec<(Candidate, Costs)> = Vec::with_capacity(all.len());
    for candidate in all {
        let costs = candidate.expected(graph, examples)?;
        expected.push((candidate, costs));
        steps.done();
    }
    let costs: Vec<Costs> = expected.iter().map(|(_, costs)| *costs).collect();
    if !costs.iter().any(|costs| budgets.allow(costs)) {
        return Err(out_of_reach(&costs, budgets));
    }
    expected.retain(|(_, costs)| budgets.allow(costs));
    // Both forms of a plan have the same weights: where the smaller will do, the other is not needed.
    expected.dedup_by(|(next, _), (kept, _)| next.choices == kept.choices);
    Ok(expected)
}

/// Which budget no plan meets; where each is met by some, the one that is missed when the others hold.
fn out_of_reach(all: &[Costs], budgets: &Budgets) -> SearchError {
    let closest = |which: usize, among: &mut dyn Iterator<Item = &Costs>| {
        let lines = among.map(|costs| {
            let [a, b, c] = budgets.lines(costs);
            match which {
                0 => a,
                1 => b,
                _ => c,
            }
        });
        lines.min_by(|a, b| a.value.total_cmp(&b.value))
    };
    for which in 0..3 {
        if let Some(line) = closest(which, &mut all.iter()).filter(|line| !line.is_met()) {
            return SearchError::Unmet {
                flag: line.flag,
                limit: line.limit.unwrap_or_default(),
                closest: line.value,
                what: line.what,
                plans: all.len(),
                way_out: "a smaller network may",
            };
        }
    }
    // Each alone can be met: the last that is missed by whatever meets the others.
    let others_met = |which: usize, costs: &&Costs| {
        let lines = budgets.lines(costs);
        let mut others = lines.iter().enumerate().filter(|(i, _)| *i != which);
        others.all(|(_, line)| line.is_met())
    };
    let missed = (0..3)
        .filter(|&which| budgets.lines(&all[0])[which].limit.is_some())
        .find_map(|which| closest(which, &mut all.iter().filter(|c| others_met(which, c))));
    let line = missed.unwrap_or(Line {
        flag: "max-bytes",
        what: "bytes",
        limit: budgets.bytes.map(|n| n as f64),
        value: all.iter().map(|c| c.bytes).min().unwrap_or(0) as f64,
    });
    SearchError::Together {
        flag: line.flag,
        limit: line.limit.unwrap_or_default(),
        closest: line.value,
        what: line.what,
    }
}

struct Search<'s> {
    graph: &'s Graph,
    examples: Examples<'s>,
    budgets: &'s Budgets,
    tries: Vec<Try>,
    best: Option<Compressed>,
}

impl Search<'_> {
    /// Carries a candidate out; its image and what was measured of it.
    fn attempt(&mut self, candidate: &Candidate) -> Result<Option<(Compressed, Try)>, SearchError> {
        let number = self.tries.len() + 1;
        eprintln!("search: plan {number}, {}", described(candidate));
        let done = candidate.carry_out(self.graph, self.examples)?;
        if let Some((_, done)) = &done {
            let error = done
                .error
                .map_or_else(String::new, |e| format!(", {e:.2} % held-out error"));
            eprintln!(
                "search: plan {number} has {} bytes{error}",
                done.costs.bytes
            );
            self.tries.push(done.clone());
        }
        Ok(done)
    }

    /// Halves the ladder until the step between a loss allowed and one not allowed is found.
    fn smallest(
        &mut self,
        mut within: Vec<(Candidate, Costs)>,
        limit: f64,
        base: &Settings,
    ) -> Result<(), SearchError> {
        within.sort_by_key(|(_, costs)| std::cmp::Reverse(costs.bytes));
        let float = float_error(self.graph, self.examples, base)?;
        let (mut low, mut high) = (0, within.len());
        let mut least = usize::MAX;
        while low < high {
            let middle = (low + high) / 2;
            let Some((compressed, done)) = self.attempt(&within[middle].0)? else {
                high = middle;
                continue;
            };
            let loss = done.error.unwrap_or(0.0) - float;
            if loss <= limit && self.budgets.allow(&done.costs) {
                if done.costs.bytes < least {
                    least = done.costs.bytes;
                    self.best = Some(compressed);
                }
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(())
    }

    /// The least damage expected first, until a few within the budgets can be compared.
    fn most_accurate(&mut self, mut within: Vec<(Candidate, Costs)>) -> Result<(), SearchError> {
        within.sort_by(|(a, _), (b, _)| a.loss.total_cmp(&b.loss));
        let (mut met, mut least) = (0, f64::INFINITY);
        // Where an image turned out larger than expected, others are expected to as well.
        let mut excess = 1.0f64;
        for (candidate, expected) in &within {
            let likely = Costs {
                bytes: (expected.bytes as f64 * excess).ceil() as usize,
                ..*expected
            };
            if met >= COMPARED || self.tries.len() >= MOST_TRIES {
                break;
            }
            if !self.budgets.allow(&likely) {
                continue;
            }
            let Some((compressed, done)) = self.attempt(candidate)? else {
                continue;
            };
            if !self.budgets.allow(&done.costs) {
                excess = excess.max(done.costs.bytes as f64 / expected.bytes.max(1) as f64);
                continue;
            }
            met += 1;
            let error = done.error.unwrap_or(candidate.loss);
            if error < least {
                least = error;
                self.best = Some(compressed);
            }
            // Nothing is more accurate than what changes least.
            if candidate.choices.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Why nothing that was carried out will do.
    fn failure(&self, base: &Settings) -> SearchError {
        if let Some(limit) = self.budgets.loss {
            let float = float_error(self.graph, self.examples, base).unwrap_or(0.0);
            let errors = self.tries.iter().filter_map(|t| t.error);
            let closest = errors.fold(f64::INFINITY, f64::min) - float;
            return SearchError::Unmet {
                flag: "max-loss",
                limit,
                closest: (closest * 1000.0).round() / 1000.0,
                what: "points of error more than the float model on held-out examples",
                plans: self.tries.len(),
                way_out: "more --epochs may, or more room in the other budgets",
            };
        }
        let costs: Vec<Costs> = self.tries.iter().map(|t| t.costs).collect();
        out_of_reach(&costs, self.budgets)
    }
}

/// Of the float model on the examples that are held out.
fn float_error(graph: &Graph, examples: Examples, base: &Settings) -> Result<f64, SearchError> {
    match examples {
        Examples::Data(data) => {
            let (_, held_out) = data.hold_out(base.hold_out, base.seed);
            Ok(error_percent(graph, &held_out, DeviceChoice::Cpu)?)
        }
        Examples::Synthetic { .. } => Ok(0.0),
    }
}

fn described(candidate: &Candidate) -> String {
    if candidate.choices.is_empty() {
        return "plain int8".to_owned();
    }
    let layer = |c: &super::menu::Choice| format!("{:.0}%/{}", 100.0 * c.sparsity, c.entries);
    let layers: Vec<String> = candidate.choices.iter().map(layer).collect();
    let form = if candidate.huffman {
        ""
    } else {
        ", not Huffman-coded"
    };
    format!("pruned/values by layer: {}{form}", layers.join(" "))
}
