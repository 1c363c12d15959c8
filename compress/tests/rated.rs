//! Coded bits in the choice of values and places, judged by lengths of files and against choices made the
//! plain way.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

#[path = "common/digits.rs"]
mod digits;

use compress::passes::codebook::{Start, follow, loosen, share, tighten};
use compress::settings::{Prune, Quantize};
use digits::{DATA, open};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use terminal::Terminal;
use trainer::graph::{Graph, Op, ParamId, Parameter};

/// The report of a run with these flags.
fn report(t: &Terminal, flags: &str) -> Value {
    t.says(&format!(
        "compress {flags} m.onnx --data {DATA} --report r.json"
    ));
    t.json("r.json")
}

fn bytes(report: &Value) -> u64 {
    report["image"]["bytes"].as_u64().expect("bytes")
}

fn error(report: &Value) -> f64 {
    report["image"]["value"].as_f64().expect("an error")
}

fn survivors(report: &Value) -> u64 {
    let layers = report["layers"].as_array().expect("a list").iter();
    layers.filter_map(|l| l["nonzero"].as_u64()).sum()
}

#[test]
fn the_more_a_bit_is_worth_the_smaller_is_the_file() {
    let t = open();
    let flags = "--prune=0.8 --quantize=4 --epochs 4";
    let plain = report(&t, flags);
    let image = t.read("m.pith");
    let none = report(&t, &format!("{flags} --rate 0"));
    assert_eq!(t.read("m.pith"), image);
    let rates = [0.003, 0.01, 0.03];
    let rated = rates.map(|rate| report(&t, &format!("{flags} --rate {rate}")));
    let all: Vec<&Value> = [&none].into_iter().chain(&rated).collect();
    for pair in all.windows(2) {
        assert!(
            bytes(pair[1]) < bytes(pair[0]),
            "{:?}",
            all.iter().map(|r| bytes(r)).collect::<Vec<_>>()
        );
    }
    // A quarter and more off, at hardly a loss.
    assert!(bytes(&rated[1]) * 4 < bytes(&plain) * 3);
    assert!(error(&rated[1]) < error(&plain) + 5.0);
}

#[test]
fn places_in_emptier_layers_go_and_as_many_weights_are_left() {
    let t = open();
    for by in ["global", "adaptive", "fisher"] {
        let image = |rate: f64| {
            let train = "{ epochs = 4, learning_rate = 5e-3, optimizer = 'lamb' }";
            t.write(
                "c.toml",
                format!("coder = 'huffman'\n[[stages]]\npass = 'prune'\nby = '{by}'\nsparsity = 0.8\nrate = {rate}\ntrain = {train}"),
            );
            report(&t, "--config c.toml")
        };
        let (plain, rated) = (image(0.0), image(0.2));
        // Those left may round to zero, by the way.
        let (before, after) = (survivors(&plain), survivors(&rated));
        assert!(
            after.abs_diff(before) * 50 < before,
            "{by}: {before} {after}"
        );
        assert!(
            bytes(&rated) < bytes(&plain),
            "{by}: {} {}",
            bytes(&plain),
            bytes(&rated)
        );
    }
}

/// A tensor whose weights may change their centroids, of which zero is one; a third of it is pruned.
fn loose(seed: u64) -> (Parameter, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..600)
        .map(|i| {
            if i % 3 == 0 {
                0.0
            } else {
                rng.random_range(-1.0f32..1.0).powi(3)
            }
        })
        .collect();
    let mut graph = Graph::new("g", "x", &[600]);
    let weight = graph.add_parameter(Parameter::dense("w", &[1, 600], values.clone()));
    let op = Op::Gemm { weight, bias: None };
    graph.push("fc", op, &[graph.input]).expect("fits");
    share(&mut graph, ParamId(0), 8, Start::Linear, 1).expect("fits");
    let mut parameter = graph.parameters.swap_remove(0);
    loosen(&mut parameter, values.clone(), true);
    (parameter, values)
}

/// How often each value occurs.
fn count(values: &[f32], value: f32) -> usize {
    values.iter().filter(|v| **v == value).count()
}

/// The choice is that of squared distance plus price times −log2 of the share, tried for every weight and
/// every value: that of the centroids moved to the means of their weights, zero alone standing still.
#[test]
fn weights_choose_by_distance_and_bits() {
    for (seed, price) in [(1, 0.0), (2, 0.003), (3, 0.02), (4, 0.1)] {
        let (mut parameter, values) = loose(seed);
        for _ in 0..3 {
            let before = parameter.materialize();
            let mut old = before.clone();
            old.sort_unstable_by(f32::total_cmp);
            old.dedup();
            let moved = old.iter().map(|&c| {
                let own = values.iter().zip(&before).filter(|(_, b)| **b == c);
                let own: Vec<f64> = own.map(|(&v, _)| f64::from(v)).collect();
                let mean = own.iter().sum::<f64>() / own.len() as f64;
                let bits = -(count(&before, c) as f64 / values.len() as f64).log2();
                (if c == 0.0 { 0.0 } else { mean }, bits)
            });
            let moved: Vec<(f64, f64)> = moved.collect();
            follow(&mut parameter, Some(price));
            for (&v, chosen) in values.iter().zip(parameter.materialize()) {
                if v == 0.0 {
                    assert_eq!(chosen, 0.0, "what is pruned stays so");
                    continue;
                }
                let cost = |c: &&(f64, f64)| (f64::from(v) - c.0).powi(2) + price * c.1;
                let best = moved.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
                let best = best.expect("some").0;
                assert!(
                    (f64::from(chosen) - best).abs() < 1e-6,
                    "{v} to {chosen} for {best}"
                );
            }
        }
        let loose = parameter.materialize();
        tighten(&mut parameter);
        assert_eq!(parameter.materialize(), loose);
    }
}

#[test]
fn a_rate_of_zero_is_not_written() {
    let written = [
        serde_json::to_string(&Quantize::default()).expect("JSON"),
        serde_json::to_string(&Prune::default()).expect("JSON"),
    ];
    assert!(
        written.iter().all(|text| !text.contains("\"rate\"")),
        "{written:?}"
    );
    let rated = Quantize {
        rate: 0.1,
        ..Quantize::default()
    };
    let text = serde_json::to_string(&rated).expect("JSON");
    assert!(text.contains("\"rate\":0.1"), "{text}");
}

#[test]
fn a_rate_that_makes_no_sense_is_refused_in_one_line() {
    let t = open();
    t.refuses(
        "compress --rate 0.1 m.onnx",
        &["--rate", "--quantize", "--prune"],
    );
    t.refuses(
        "compress --quantize --rate=-1 m.onnx",
        &["rate", "at least 0", "-1"],
    );
    t.refuses(
        "compress --prune --rate=inf m.onnx",
        &["rate", "at least 0", "inf"],
    );
    t.refuses(
        "compress --prune --prune-pattern 2:4 --rate 0.1 m.onnx",
        &["--rate", "one threshold"],
    );
    for (stage, words) in [
        (
            "pass = 'prune'\nlayers = [0.5, 0.5]\nrate = 0.1",
            ["prune.rate", "of their own"],
        ),
        (
            "pass = 'prune'\nby = 'sensitivity'\nrate = 0.1",
            ["prune.rate", "of their own"],
        ),
        ("pass = 'quantize'\nrat = 0.1", ["rat", "mean rate?"]),
    ] {
        t.write("c.toml", format!("[[stages]]\n{stage}"));
        t.refuses("compress --config c.toml m.onnx", &words);
    }
}
