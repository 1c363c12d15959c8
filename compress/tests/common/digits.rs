//! A folder with a small trained network.
#![allow(dead_code)]

use super::terminal::Terminal;
use std::path::Path;
use trainer::arch::Architecture;
use trainer::data::DataSpec;
use trainer::graph::Graph;
use trainer::onnx::{self, WriteOptions};
use trainer::train::{NoHook, Progress, TrainConfig, fit};

pub(crate) const DATA: &str = "glyphs:500";

/// A folder with `m.onnx`, a network of 784-32-10 trained for a moment.
pub(crate) fn open() -> Terminal {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    write(&network(), &t.path("m.onnx"));
    t
}

pub(crate) fn network() -> Graph {
    let data = DATA
        .parse::<DataSpec>()
        .expect("data")
        .load()
        .expect("data");
    let architecture = Architecture::resolve("mlp:32").expect("an architecture");
    let shape = &data.train.input_shape;
    let mut graph = architecture.build(shape, 10, 1).expect("builds");
    let config = TrainConfig {
        epochs: 12,
        learning_rate: 0.005,
        ..TrainConfig::default()
    };
    let outcome = fit(
        &mut graph,
        &data.train,
        None,
        &config,
        &mut NoHook,
        Progress::Silent,
    );
    outcome.expect("trains");
    graph
}

pub(crate) fn write(graph: &Graph, path: &Path) {
    onnx::write(graph, path, WriteOptions::default()).expect("writes");
}
