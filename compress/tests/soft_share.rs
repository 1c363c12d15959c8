//! Weights drawn together while they learn, from training to the file.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

#[path = "common/digits.rs"]
mod digits;

use digits::{DATA, network, open};
use serde_json::Value;
use std::collections::BTreeSet;
use terminal::Terminal;
use trainer::data::DataSpec;
use trainer::graph::{Graph, Parametrization};
use trainer::onnx;
use trainer::train::{Hook, Optimizer, Progress, TrainConfig, fit};

/// Percent of errors after so little training, where guessing makes 90.
const LEARNED: f64 = 30.0;

/// The report of a stage with these settings, and the network that it leaves in `s.onnx`.
fn run(t: &Terminal, settings: &str) -> (Value, Graph) {
    let train = "train = { epochs = 12, batch = 32, learning_rate = 2e-3 }";
    t.write(
        "c.toml",
        format!("[[stages]]\npass = 'soft-share'\n{settings}\n{train}"),
    );
    t.says(&format!(
        "compress --config c.toml m.onnx --data {DATA} --report r.json --onnx s.onnx"
    ));
    let graph = onnx::read(&t.path("s.onnx")).expect("reads");
    (t.json("r.json"), graph)
}

fn bytes(report: &Value) -> u64 {
    report["image"]["bytes"].as_u64().expect("bytes")
}

fn error(report: &Value) -> f64 {
    report["image"]["value"].as_f64().expect("an error")
}

/// How many values each layer has, of those that share some.
fn values(graph: &Graph) -> Vec<usize> {
    let shared = |p: &&trainer::graph::Parameter| {
        matches!(p.parametrization, Parametrization::Shared { .. })
    };
    let distinct = |p: &trainer::graph::Parameter| {
        let bits = p.materialize().into_iter().map(f32::to_bits);
        bits.collect::<BTreeSet<u32>>().len()
    };
    graph
        .parameters
        .iter()
        .filter(shared)
        .map(distinct)
        .collect()
}

/// Pulls every weight to zero.
struct Pull(f32);

impl Hook for Pull {
    fn update(&mut self, _: f64, _: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        Ok(())
    }

    fn penalize(&mut self, graph: &Graph, gradients: &mut [Option<Vec<f32>>]) {
        for (parameter, gradient) in graph.parameters.iter().zip(gradients) {
            let entries = parameter.free().iter().zip(gradient.iter_mut().flatten());
            entries.for_each(|(w, g)| *g += self.0 * w);
        }
    }
}

/// A quadratic penalty of a hook is the same as L2 in the settings.
#[test]
fn a_penalty_is_a_part_of_the_loss() {
    let data = DATA.parse::<DataSpec>().expect("data").load();
    let data = data.expect("data").train.subset(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let trained = |l2: f64, pull: f32| {
        let mut graph = network();
        // L2 leaves biases alone.
        let frozen = graph.parameters.iter().filter(|p| p.shape.len() == 1);
        let config = TrainConfig {
            epochs: 5,
            optimizer: Optimizer::Sgd,
            frozen: frozen.map(|p| p.name.clone()).collect(),
            l2,
            ..TrainConfig::default()
        };
        let outcome = fit(
            &mut graph,
            &data,
            None,
            &config,
            &mut Pull(pull),
            Progress::Silent,
        );
        outcome.expect("trains");
        graph
    };
    let norm = |graph: &Graph| {
        let all = graph.parameters.iter().flat_map(|p| p.free());
        all.map(|w| f64::from(*w).powi(2)).sum::<f64>()
    };
    let (plain, l2, pulled) = (trained(0.0, 0.0), trained(0.5, 0.0), trained(0.0, 0.5));
    assert!(norm(&l2) < 0.8 * norm(&plain));
    assert!((norm(&pulled) - norm(&l2)).abs() < 1e-4 * norm(&l2));
}

/// A network trained alike that shares no values stands for the one without.
#[test]
fn a_mixture_leaves_few_values_many_zeros_and_a_small_file() {
    let t = open();
    t.write(
        "c.toml",
        "[[stages]]\npass = 'fine-tune'\ntrain = { epochs = 12, batch = 32, learning_rate = 2e-3 }",
    );
    t.says(&format!(
        "compress --config c.toml m.onnx --data {DATA} --report without.json"
    ));
    let without = t.json("without.json");
    let (report, graph) = run(&t, "");
    assert_eq!(report["stages"][0]["name"], "soft-share");
    let distinct = values(&graph);
    assert_eq!(distinct.len(), 2);
    assert!(
        distinct.iter().all(|n| (2..=16).contains(n)),
        "{distinct:?}"
    );
    let (plain, small) = (bytes(&without), bytes(&report));
    assert!(small * 2 < plain, "{small} {plain}");
    assert!(error(&report) < error(&without) + 10.0, "{report}");
}

#[test]
fn pairs_leave_few_values_and_a_small_file() {
    let t = open();
    let (report, graph) = run(&t, "components = 9\nby = 'pairwise'");
    let distinct = values(&graph);
    assert_eq!(distinct.len(), 2);
    assert!(distinct.iter().all(|n| (2..=9).contains(n)), "{distinct:?}");
    assert!(bytes(&report) < 25_500 / 2, "{report}");
    assert!(error(&report) < LEARNED, "{}", error(&report));
}

#[test]
fn zeros_of_pruning_stay_and_the_flag_is_the_stage() {
    let t = open();
    t.says(&format!(
        "compress --prune=0.8 --epochs 2 m.onnx --data {DATA} --onnx p.onnx"
    ));
    t.says(&format!(
        "compress --soft-share=8 --epochs 3 p.onnx --data {DATA} --onnx s.onnx --report r.json"
    ));
    let graph = |name| onnx::read(&t.path(name)).expect("reads");
    let (pruned, shared) = (graph("p.onnx"), graph("s.onnx"));
    assert!(values(&shared).iter().all(|n| (2..=8).contains(n)));
    for (before, after) in pruned.parameters.iter().zip(&shared.parameters) {
        if before.shape.len() > 1 {
            let pairs = before.latent().into_iter().zip(after.materialize());
            let woken = pairs.filter(|(b, a)| *b == 0.0 && *a != 0.0);
            assert_eq!(woken.count(), 0, "{}", before.name);
        }
    }
    // Both stages at once; and what was shared is read back as it is.
    let line = format!("compress --prune=0.8 --soft-share --epochs 1 m.onnx --data {DATA}");
    t.says(&format!("{line} --report both.json"));
    let both = t.json("both.json");
    let names: Vec<_> = both["stages"].as_array().expect("a list").iter().collect();
    assert_eq!(
        names.iter().map(|s| &s["name"]).collect::<Vec<_>>(),
        ["prune", "soft-share"]
    );
    assert!(t.says("compress --help").contains("--soft-share"));
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let t = open();
    let data = format!("m.onnx --data {DATA}");
    t.refuses(
        &format!("compress --soft-share=1 {data}"),
        &["--soft-share", "2 to 256", "1"],
    );
    t.refuses(
        &format!("compress --soft-share=257 {data}"),
        &["--soft-share", "2 to 256", "257"],
    );
    t.refuses(
        &format!("compress --soft-share --quantize {data}"),
        &["stage 2 (soft-share)", "stage 1 (quantize)"],
    );
    for (settings, words) in [
        ("lambda = 0.1", ["soft-share.lambda", "left out"]),
        ("by = 'pairwise'\ntau = 0.1", ["soft-share.tau", "left out"]),
        (
            "by = 'pairwise'\nzero = 0.5",
            ["soft-share.zero", "left out"],
        ),
        ("by = 'pairs'", ["pairs", "pairwise"]),
        ("tau = -1.0", ["soft-share.tau", "at least 0"]),
        ("zero = 1.0", ["soft-share.zero", "below 1"]),
        ("until = 1.5", ["soft-share.until", "0 to 1"]),
        ("componets = 4", ["componets", "mean components?"]),
    ] {
        t.write(
            "c.toml",
            format!("[[stages]]\npass = 'soft-share'\n{settings}"),
        );
        t.refuses(&format!("compress --config c.toml {data}"), &words);
    }
    t.write("c.toml", "[[stages]]\npass = 'soft-shair'");
    t.refuses(
        &format!("compress --config c.toml {data}"),
        &["soft-shair", "mean soft-share?"],
    );
}
