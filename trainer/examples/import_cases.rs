//! Imports many ONNX models and computes each with the reference executor: what
//! `trainer/tests/backend_node_tests.py` runs.
//!
//!     cargo run --release -p trainer --example import_cases -- FOLDER
//!
//! Each folder in FOLDER holds `model.onnx` and `x.f32`, examples as little-endian float32 one after
//! the other. Beside them is written `y.f32`, or `refused.txt` with the reason.

use std::error::Error;
use std::path::Path;
use trainer::graph::{Graph, reference};
use trainer::onnx;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder of cases")?;
    for case in std::fs::read_dir(folder)? {
        let case = case?.path();
        if !case.join("model.onnx").is_file() {
            continue;
        }
        match onnx::import_file(&case.join("model.onnx")) {
            Ok(import) => std::fs::write(case.join("y.f32"), run(&import.graph, &case)?)?,
            Err(refused) => std::fs::write(case.join("refused.txt"), refused.to_string())?,
        }
    }
    Ok(())
}

fn run(graph: &Graph, case: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = std::fs::read(case.join("x.f32"))?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let x: Vec<f32> = numbers.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let examples = x.chunks_exact(graph.value(graph.input).len());
    let y = examples.flat_map(|example| reference::run(graph, example));
    Ok(y.flat_map(f32::to_le_bytes).collect())
}
