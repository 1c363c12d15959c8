//! What the built-in networks may cost on each core: `benches/budgets.toml`, written by
//! `mcu --all --budgets` and held to by the tests.
//!
//! A figure above its budget is a regression; one below makes the file untrue. Either way the file is
//! written anew, and the change stands in the commit.

use crate::mcu::{Core, Measurement};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What writes the file.
pub const COMMAND: &str =
    "cargo run --release -p benches --bin mcu -- --all --budgets benches/budgets.toml";

/// How far a figure may be from its budget, either way, in hundredths.
pub const TOLERANCE_PERCENT: u64 = 1;

/// What a network may cost on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Of an inference.
    pub instructions: u64,
    /// Instructions of start-up.
    pub startup: u64,
    /// Bytes of code and constants.
    pub code: u64,
    /// Bytes of activations and scratch.
    pub arena: u64,
    /// Bytes of the deepest stack.
    pub stack: u64,
}

impl From<&Measurement> for Budget {
    fn from(m: &Measurement) -> Self {
        Self {
            instructions: m.instructions,
            startup: m.startup_instructions,
            code: m.code_bytes,
            arena: m.arena_bytes as u64,
            stack: m.stack_bytes.into(),
        }
    }
}

impl Budget {
    const fn figures(&self) -> [(&'static str, u64); 5] {
        [
            ("instructions", self.instructions),
            ("startup", self.startup),
            ("code", self.code),
            ("arena", self.arena),
            ("stack", self.stack),
        ]
    }

    /// Each figure of `measured` that is further away than so many hundredths, in words.
    pub fn complaints(&self, measured: &Self, tolerance_percent: u64) -> Vec<String> {
        let pairs = self.figures().into_iter().zip(measured.figures());
        pairs
            .filter(|((_, budget), (_, figure))| {
                figure.abs_diff(*budget) * 100 > budget * tolerance_percent
            })
            .map(|((name, budget), (_, figure))| {
                let percent = (figure as f64 / budget as f64 - 1.0) * 100.0;
                format!("{name} {figure}, budget {budget} ({percent:+.1} %)")
            })
            .collect()
    }
}

/// Budgets by network and core.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Budgets {
    /// Whose code they are of: another compiler's may take some hundredths more or less.
    pub compiler: String,
    #[serde(flatten)]
    networks: BTreeMap<String, BTreeMap<Core, Budget>>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what [`text`] writes.
    #[error("{path}: {source}; write it anew: {COMMAND}")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
}

impl Budgets {
    /// Those of the project.
    ///
    /// # Errors
    /// When the file is not there or not what [`text`] writes.
    pub fn load() -> Result<Self, BudgetError> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| BudgetError::File {
            path: path.clone(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| BudgetError::Content { path, source })
    }

    /// What a network may cost on a core.
    pub fn of(&self, network: &str, core: Core) -> Option<&Budget> {
        self.networks.get(network)?.get(&core)
    }
}

/// The file for these measurements by a compiler, networks and cores in their order.
pub fn text(compiler: &str, measurements: &[Measurement]) -> String {
    let mut text = format!(
        "# What the built-in networks may cost: instructions, and bytes of code, arena and stack.\n\
         # Written by `{COMMAND}`.\n\
         compiler = {compiler:?}\n"
    );
    for network in measurements.chunk_by(|a, b| a.model == b.model) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n[{}]", network[0].short_name());
        for m in network {
            let figures = Budget::from(m).figures();
            let figures = figures.map(|(name, figure)| format!("{name} = {}", grouped(figure)));
            let _ = writeln!(text, "{} = {{ {} }}", m.core, figures.join(", "));
        }
    }
    text
}

/// 1_234_567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let place = |i: usize| digits.len() - i;
    let separated = digits.char_indices().flat_map(|(i, digit)| {
        let begins = i > 0 && place(i) % 3 == 0;
        begins.then_some('_').into_iter().chain([digit])
    });
    separated.collect()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn measurement(model: &str, core: Core, instructions: u64) -> Measurement {
        Measurement {
            model: format!("folder/{model}.pith"),
            core,
            instructions,
            startup_instructions: 123,
            macs: 1,
            code_bytes: 45_678,
            image_bytes: 1,
            arena_bytes: 0,
            stack_bytes: 1_000,
            static_bytes: 0,
            output: vec![],
            matches_host: true,
            inputs_compared: 1,
            estimated_cycles: None,
            front_end: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let measurements = [
            measurement("b-1", Core::M0, 1_234_567),
            measurement("b-1", Core::M4, 7),
            measurement("a", Core::M4, 1_000),
        ];
        let budgets: Budgets =
            toml::from_str(&text("rustc 1.2 (\"x\")", &measurements)).expect("TOML");
        assert_eq!(budgets.compiler, "rustc 1.2 (\"x\")");
        for m in &measurements {
            let budget = budgets.of(m.short_name(), m.core).expect("there");
            assert_eq!(*budget, Budget::from(m));
        }
        assert_eq!(budgets.of("a", Core::M0), None);
        let line = "m0 = { instructions = 1_234_567, startup = 123, code = 45_678, ";
        assert!(text("", &measurements).contains(line));
    }

    #[test]
    fn a_hundredth_either_way_is_borne() {
        let budget = Budget::from(&measurement("a", Core::M4, 10_000));
        let complaints = |instructions| {
            let measured = Budget {
                instructions,
                ..budget
            };
            budget.complaints(&measured, TOLERANCE_PERCENT)
        };
        for within in [9_900, 10_000, 10_100] {
            assert!(complaints(within).is_empty());
        }
        let above = ["instructions 10200, budget 10000 (+2.0 %)"];
        assert_eq!(complaints(10_200), above);
        assert_eq!(complaints(9_899).len(), 1);
        // Where nothing is allowed, anything is too much.
        let some = Budget { arena: 1, ..budget };
        assert_eq!(budget.complaints(&some, 10).len(), 1);
    }
}
