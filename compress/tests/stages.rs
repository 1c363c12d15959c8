//! Stages in a configuration file: their order, their names, and what is refused of them.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

use serde_json::Value;
use terminal::Terminal;
use trainer::arch::Architecture;
use trainer::graph::Graph;
use trainer::onnx::{self, WriteOptions};

const DATA: &str = "glyphs:500";

/// A folder with `m.onnx`, an untrained network of 784-32-10.
fn open() -> Terminal {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    let architecture = Architecture::resolve("mlp:32").expect("an architecture");
    let graph = architecture.build(&[1, 28, 28], 10, 1).expect("builds");
    onnx::write(&graph, &t.path("m.onnx"), WriteOptions::default()).expect("writes");
    t
}

/// A file of stages, each a pass with a line of settings.
fn stages(list: &[(&str, &str)]) -> String {
    let stage = |(pass, rest): &(&str, &str)| format!("[[stages]]\npass = '{pass}'\n{rest}\n");
    list.iter().map(stage).collect()
}

fn names(report: &Value) -> Vec<&str> {
    let stages = report["stages"].as_array().expect("a list").iter();
    stages.map(|s| s["name"].as_str().expect("text")).collect()
}

fn nonzero(report: &Value) -> Vec<u64> {
    let layers = report["layers"].as_array().expect("a list").iter();
    let count = |layer: &Value| layer["nonzero"].as_u64().expect("a count");
    layers.map(count).collect()
}

/// Convolutions that come without normalization get one while they are fine-tuned, and only then.
#[test]
fn a_convolution_is_normalized_while_it_is_fine_tuned() {
    let t = open();
    let layers = "name = 'conv'\nlayer = [{ op = 'conv', channels = 4, kernel = 5 }, { op = 'relu' }, { op = 'max_pool', kernel = 4 }, { op = 'dense', units = 'classes' }]";
    t.write("conv.toml", layers);
    let file = t.path("conv.toml");
    let architecture = Architecture::resolve(file.to_str().expect("text")).expect("a file");
    let graph = architecture.build(&[1, 28, 28], 10, 1).expect("builds");
    onnx::write(&graph, &t.path("conv.onnx"), WriteOptions::default()).expect("writes");
    let tuned = |normalize: bool| {
        let rest = format!("teach = true\nnormalize = {normalize}\ntrain = {{ epochs = 3 }}");
        t.write("c.toml", stages(&[("fine-tune", &rest)]));
        t.says(&format!(
            "compress --config c.toml conv.onnx --data {DATA} --onnx tuned.onnx --report r.json"
        ));
        let report = t.json("r.json");
        let error = |what: &str| report[what]["value"].as_f64().expect("a number");
        assert!(error("fine_tuned") < error("float"));
        onnx::read(&t.path("tuned.onnx")).expect("reads")
    };
    let (with, without) = (tuned(true), tuned(false));
    let ops = |graph: &Graph| graph.nodes.iter().map(|n| n.op.name()).collect::<Vec<_>>();
    assert_eq!(ops(&with), ops(&without), "nothing is left of it");
    let weights = |graph: &Graph| graph.parameters[0].materialize();
    assert_ne!(weights(&with), weights(&without), "but what was learnt");
}

#[test]
fn every_stage_of_one_pass_does_its_part() {
    let t = open();
    let first = ("prune", "layers = [0.75, 0.0]\ntrain = { epochs = 1 }");
    let second = ("prune", "layers = [0.0, 0.5]\ntrain = { epochs = 1 }");
    for (list, left) in [
        (vec![first], [6272, 320]),
        (vec![first, second], [6272, 160]),
        (vec![second], [25088, 160]),
    ] {
        t.write("c.toml", stages(&list));
        t.says(&format!(
            "compress --config c.toml m.onnx --data {DATA} --report r.json"
        ));
        let report = t.json("r.json");
        let mut expected = vec!["prune", "prune-2"];
        expected.truncate(list.len());
        expected.push("quantize");
        assert_eq!(names(&report), expected);
        // Those left may round to zero.
        for (nonzero, left) in nonzero(&report).into_iter().zip(left) {
            assert!(
                nonzero <= left && nonzero * 10 > left * 9,
                "{nonzero} of {left}"
            );
        }
        let bytes = |place: usize| report["stages"][place]["bytes"].as_u64().expect("bytes");
        let image = report["image"]["bytes"].as_u64().expect("bytes");
        assert_eq!(bytes(list.len()), image);
        assert!(bytes(0) > image / 2 && bytes(0) < 4 * 25500, "{}", bytes(0));
    }
}

#[test]
fn the_order_of_the_file_is_that_of_the_run() {
    let t = open();
    let train = "train = { epochs = 1 }";
    let (few, most) = (
        format!("layers = [0.5, 0.5]\n{train}"),
        format!("layers = [0.9, 0.9]\n{train}"),
    );
    let image = |list: &[(&str, &str)]| {
        t.write("c.toml", stages(list));
        t.says(&format!("compress --config c.toml m.onnx --data {DATA}"));
        t.read("m.pith")
    };
    let rising = image(&[("prune", &few), ("prune", &most)]);
    let falling = image(&[("prune", &most), ("prune", &few)]);
    assert!(rising != falling, "the order made no difference");
}

#[test]
fn a_flag_puts_its_stage_where_it_belongs() {
    let t = open();
    t.write("c.toml", stages(&[("quantize", "bits = 2")]));
    t.says("compress --config c.toml --prune=0.5 m.onnx --report r.json");
    assert_eq!(names(&t.json("r.json")), ["prune", "quantize"]);
    t.says("compress --quantize=2 --prune=0.5 m.onnx -o f.pith --report f.json");
    assert_eq!(names(&t.json("f.json")), ["prune", "quantize"]);
    t.write("c.toml", stages(&[("prune", ""), ("prune", "")]));
    t.refuses(
        "compress --config c.toml --prune=0.5 m.onnx",
        &["--prune", "several", "in the file"],
    );
}

#[test]
fn the_readme_shows_a_file_that_works() {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    let architecture = Architecture::resolve("lenet-300-100").expect("an architecture");
    let graph = architecture.build(&[1, 28, 28], 10, 1).expect("builds");
    onnx::write(&graph, &t.path("m.onnx"), WriteOptions::default()).expect("writes");
    let readme = include_str!("../../README.md");
    let files = readme.split("```toml\n").skip(1);
    let file = files.map(|rest| rest.split("```").next().unwrap_or_default());
    let mut file = file.filter(|text| text.contains("[[stages]]"));
    t.write("c.toml", file.next().expect("is shown"));
    t.says("compress --config c.toml m.onnx --report r.json");
    assert_eq!(names(&t.json("r.json")), ["prune", "prune-2", "quantize"]);
}

#[test]
fn what_is_misspelt_is_named_with_its_line_and_what_was_meant() {
    let t = open();
    let fine = stages(&[("prune", "sparsity = 0.5")]);
    for (text, words) in [
        (
            format!("{fine}{}", stages(&[("prunne", "")])),
            ["c.toml, line 5", "prunne", "mean prune?"],
        ),
        (
            format!("{fine}{}", stages(&[("quantize", "\nbitts = 3")])),
            ["c.toml, line 7", "bitts", "mean bits?"],
        ),
        // A name that another stage may have, before it.
        (
            format!("{fine}{}", stages(&[("quantize", "sparsity = 0.5")])),
            ["c.toml, line 6", "unknown field `sparsity`", "`bits`"],
        ),
        (
            stages(&[("prune", "train = { epochs = 1, epoks = 3 }")]),
            ["c.toml, line 3", "epoks", "mean epochs?"],
        ),
        (
            format!("{fine}[stages.train]\nlearning_rates = 3"),
            ["c.toml, line 5", "learning_rates", "mean learning_rate?"],
        ),
        (
            "stagse = []".into(),
            ["c.toml, line 1", "stagse", "mean stages?"],
        ),
        (
            format!("{fine}[[stages]]\nbits = 3\n"),
            ["c.toml, line 4", "missing field", "pass"],
        ),
    ] {
        t.write("c.toml", text);
        t.refuses("compress --config c.toml m.onnx", &words);
    }
}

#[test]
fn stages_that_undo_each_other_are_refused_before_anything_is_read() {
    let t = open();
    for (list, words) in [
        (
            [("quantize", ""), ("prune", "")],
            ["stage 2 (prune)", "stage 1 (quantize)", "put it before"],
        ),
        (
            [("quantize", ""), ("quantize", "bits = 2")],
            ["stage 2 (quantize)", "stage 1 (quantize)", "leave one"],
        ),
    ] {
        t.write("c.toml", stages(&list));
        t.refuses("compress --config c.toml gone.onnx", &words);
    }
    t.write(
        "c.toml",
        stages(&[("prune", ""), ("prune", "sparsity = 1.5")]),
    );
    t.refuses("compress --config c.toml gone.onnx", &["1.5", "below 1"]);
    t.write(
        "c.toml",
        format!("int16 = ['auto']\n{}", stages(&[("quantize", "")])),
    );
    t.refuses(
        "compress --config c.toml gone.onnx",
        &["--int16", "auto", "names of layers"],
    );
}
