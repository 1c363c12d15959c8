//! Stages that give weights another form while they learn: hashed, binary, ternary, on grids whose
//! steps are learned. From training to the file.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

use serde_json::Value;
use terminal::Terminal;
use trainer::arch::Architecture;
use trainer::graph::Parametrization;
use trainer::onnx::{self, WriteOptions};

const DATA: &str = "glyphs:1000";

/// Percent of errors after so little training, where guessing makes 90.
const LEARNED: f64 = 30.0;

/// A folder with `m.onnx`, an untrained network of 784-32-24-10.
fn open() -> Terminal {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    let architecture = Architecture::resolve("mlp:32-24").expect("an architecture");
    let graph = architecture.build(&[1, 28, 28], 10, 1).expect("builds");
    onnx::write(&graph, &t.path("m.onnx"), WriteOptions::default()).expect("writes");
    t
}

fn error(report: &Value) -> f64 {
    report["image"]["value"].as_f64().expect("an error")
}

fn encodings(report: &Value) -> Vec<&str> {
    let layers = report["layers"].as_array().expect("a list").iter();
    let text = |layer: &Value| layer["encoding"].as_str().map(str::len);
    assert!(layers.clone().all(|l| text(l).is_some()));
    layers.filter_map(|l| l["encoding"].as_str()).collect()
}

fn bytes(report: &Value, layer: usize) -> u64 {
    report["layers"][layer]["bytes"].as_u64().expect("bytes")
}

#[test]
fn a_hashed_network_learns_from_the_start_and_is_stored_as_its_values() {
    let t = open();
    t.write(
        "c.toml",
        "[[stages]]\npass = 'hash'\nratio = 8\nskip = ['fc3']\ntrain = { epochs = 20, batch = 32 }",
    );
    t.says(&format!(
        "compress --config c.toml m.onnx --data {DATA} --report r.json --onnx h.onnx"
    ));
    let report = t.json("r.json");
    assert!(error(&report) < LEARNED, "{}", error(&report));
    assert_eq!(encodings(&report)[..2], ["hashed+int8"; 2]);
    // An eighth of 32 · 784 and 24 · 32 weights, a byte each, and a descriptor.
    for (layer, values) in [(0, 3136), (1, 96)] {
        let bytes = bytes(&report, layer);
        assert!((values + 5..values + 12).contains(&bytes), "{bytes}");
    }
    // The hash survives the way through ONNX, and needs no stage to be used again.
    let graph = onnx::read(&t.path("h.onnx")).expect("reads");
    let hashed =
        |p: &&trainer::graph::Parameter| matches!(p.parametrization, Parametrization::Hashed(_));
    assert_eq!(graph.parameters.iter().filter(hashed).count(), 2);
    t.refuses(
        "compress --prune h.onnx",
        &["fc1", "hashed", "'prune' would undo"],
    );
    t.says("compress h.onnx -o again.pith --report again.json");
    assert_eq!(encodings(&t.json("again.json"))[..2], ["hashed+int8"; 2]);
}

#[test]
fn signs_learn_behind_their_weights() {
    let t = open();
    let image = |pass: &str, epochs: usize| {
        t.write(
            "c.toml",
            format!("[[stages]]\npass = '{pass}'\ntrain = {{ epochs = {epochs}, batch = 32 }}"),
        );
        t.says(&format!(
            "compress --config c.toml m.onnx --data {DATA} --report r.json"
        ));
        t.json("r.json")
    };
    for (pass, most) in [("binary", 24 * 32 / 8 + 12), ("ternary", 24 * 32 / 4 + 12)] {
        let report = image(pass, 20);
        assert!(error(&report) < LEARNED, "{pass}: {}", error(&report));
        assert!(bytes(&report, 1) <= most, "{pass}: {:?}", report["layers"]);
    }
    t.says(&format!(
        "compress --binary --epochs 1 m.onnx --data {DATA} --report r.json"
    ));
    assert!(bytes(&t.json("r.json"), 1) <= 24 * 32 / 8 + 12);
}

/// From the same network, that two bits' worth of integers spoil and as much training repairs.
#[test]
fn steps_of_few_bits_are_learned() {
    let t = open();
    t.says(&format!(
        "compress --prune=0.01 --epochs 15 m.onnx --data {DATA} --onnx f.onnx"
    ));
    t.says(&format!(
        "compress --grid=2 --epochs 0 f.onnx --data {DATA} --report before.json"
    ));
    t.says(&format!(
        "compress --grid=2 --epochs 15 f.onnx --data {DATA} --report after.json"
    ));
    let (before, after) = (error(&t.json("before.json")), error(&t.json("after.json")));
    assert!(after < 0.7 * before, "{before} {after}");
    let stages = t.json("after.json")["stages"].clone();
    assert_eq!(stages[0]["name"], "grid");
}

/// A trained network keeps most of what it knows in a fifth of its int8 bytes, and the vectors survive
/// the way through ONNX.
#[test]
fn vectors_take_the_bytes_of_codebooks_and_indices() {
    let t = open();
    t.says(&format!(
        "compress --prune=0.01 --prune-by adaptive --epochs 15 m.onnx --data {DATA} --onnx f.onnx --report f.json"
    ));
    let before = error(&t.json("f.json"));
    let starts = [
        "start = 'k-means'",
        "start = 'competitive'",
        "reassign = 0.5",
    ];
    for (place, start) in starts.into_iter().enumerate() {
        t.write(
            "c.toml",
            format!(
                "huffman = false\n[[stages]]\npass = 'vector'\ndimension = 4\nentries = 64\n\
                 skip = ['fc3']\nparts = 2\n{start}\ntrain = {{ epochs = 10, batch = 32 }}"
            ),
        );
        t.says(&format!(
            "compress --config c.toml f.onnx --data {DATA} --report r.json --onnx v{place}.onnx"
        ));
        let report = t.json("r.json");
        assert!(
            error(&report) < before + 5.0,
            "{start}: {before} {}",
            error(&report)
        );
        // Two codebooks of 64 · 4 bytes, an index of six bits for every fourth of 32 · 784 weights. In the
        // second layer 24 rows of four vectors a codebook allow no more than 24 entries.
        assert_eq!(encodings(&report)[0], "vector-4+int6");
        let (codebooks, indices) = (2 * 64 * 4, 32 * 784 / 4 * 6 / 8);
        assert!((codebooks + indices + 7..=codebooks + indices + 8).contains(&bytes(&report, 0)));
        let graph = onnx::read(&t.path(&format!("v{place}.onnx"))).expect("reads");
        let entries = graph
            .parameters
            .iter()
            .filter_map(|p| match &p.parametrization {
                Parametrization::Vectors(weights) => Some((weights.cut().span, weights.entries())),
                _ => None,
            });
        assert_eq!(entries.collect::<Vec<_>>(), [(98, 64), (4, 24)]);
    }
    t.refuses(
        "compress --prune v0.onnx",
        &["fc1", "vectors", "'prune' would undo"],
    );
    t.says("compress v0.onnx --no-huffman -o again.pith --report again.json");
    assert_eq!(encodings(&t.json("again.json"))[0], "vector-4+int6");
    // The flag, and what runs.
    t.says(&format!(
        "compress --vector=4x16 --epochs 2 f.onnx --data {DATA} -o four.pith --report four.json"
    ));
    assert!(encodings(&t.json("four.json"))[0].starts_with("vector-4+"));
    t.says(&format!("compress eval four.pith --data {DATA} --json"));
    assert!(t.says("compress inspect four.pith").contains("vector-4+"));
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let t = open();
    t.refuses(
        "compress --hash=0.5 m.onnx",
        &["--hash", "1 to 1000000", "0.5"],
    );
    t.refuses("compress --hash m.onnx", &["--data", "begin anew"]);
    let data = format!("m.onnx --data {DATA}");
    t.refuses(
        &format!("compress --hash --quantize {data}"),
        &["stage 2 (quantize)", "stage 1 (hash)"],
    );
    t.refuses(
        &format!("compress --prune --hash {data}"),
        &["stage 2 (hash)", "stage 1 (prune)", "lost"],
    );
    t.refuses(
        &format!("compress --prune --binary {data}"),
        &["stage 2 (binary)", "stage 1 (prune)", "lost"],
    );
    t.refuses(
        &format!("compress --prune --vector {data}"),
        &["stage 2 (vector)", "stage 1 (prune)", "lost"],
    );
    t.refuses("compress --vector=0 m.onnx", &["--vector", "1 to 64", "0"]);
    t.refuses("compress --vector=4by9 m.onnx", &["--vector", "4x64"]);
    t.refuses(
        "compress --vector=4x257 m.onnx",
        &["vector.entries", "2 to 256", "257"],
    );
    for (stage, words) in [
        ("pass = 'hash'\nskip = ['fc33']", ["fc33", "mean fc3"]),
        ("pass = 'hash'\nvalues = [1, 2]", ["2 entries", "3 layers"]),
        ("pass = 'vector'\nparts = 0", ["vector.parts", "at least 1"]),
        (
            "pass = 'vector'\nentries = 1",
            ["vector.entries", "2 to 256"],
        ),
        ("pass = 'vector'\nalpha = 2.0", ["vector.alpha", "0 to 1"]),
        (
            "pass = 'vector'\ngamma = -1.0",
            ["vector.gamma", "0 to 1000"],
        ),
        ("pass = 'vector'\nskip = ['fc33']", ["fc33", "mean fc3"]),
        (
            "pass = 'vector'\nstart = 'random'",
            ["random", "competitive"],
        ),
        (
            "pass = 'hash'\nvalues = [1, 2, 999]",
            ["240 weights", "999 values"],
        ),
        (
            "pass = 'hash'\ntrain = { epochs = 0 }",
            ["at least 1 epoch", "anew"],
        ),
        ("pass = 'binary'\nskip = ['x*']", ["x*", "no layer"]),
        ("pass = 'grid'\nbits = 1", ["2 to 8", "1"]),
        (
            "pass = 'ternary'\nper_chanel = true",
            ["per_chanel", "mean per_channel?"],
        ),
    ] {
        t.write("c.toml", format!("[[stages]]\n{stage}"));
        t.refuses(&format!("compress --config c.toml {data}"), &words);
    }
}
