//! Real models, where they are.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use compress::host;
use compress::pipeline::{Checkpoints, Compressed, Examples, compress};
use compress::settings::Settings;
use no_std_core::Model;
use std::io::Write;
use std::path::{Path, PathBuf};
use trainer::graph::Graph;

/// The folder of real models; says what is skipped where it is missing, and fails under CI.
pub fn models(skipped: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let data = std::env::var_os("PITH_DATA").map_or_else(default, PathBuf::from);
    let models = data.join("models");
    if models.is_dir() {
        return Some(models);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "no models in {}",
        models.display()
    );
    note(&format!("skipped without {}: {skipped}", models.display()));
    None
}

/// Says what a test that passes must not keep to itself; `println!` and `eprintln!` are captured.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Plain int8.
pub fn converted(graph: &Graph, name: &str) -> Compressed {
    let examples = Examples::Synthetic {
        range: None,
        seed: 1,
    };
    let settings = Settings::default();
    compress(graph, &[], examples, &settings, &Checkpoints::default())
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What an image says of inputs, as real numbers.
pub fn outputs(model: &Model, inputs: &[f32]) -> Vec<f32> {
    let integers = host::run(model, inputs).unwrap();
    host::dequantize(&model.output(), &integers)
}

pub fn largest(values: &[f32]) -> usize {
    let at = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, at)
}
