//! Beyond plain int8: int16 where asked, and the integers as ONNX.
#![allow(clippy::unwrap_used)]

use compress::host;
use compress::pipeline::{Checkpoints, CompressError, Compressed, Examples, compress};
use compress::settings::Settings;
use no_std_core::Model;
use npyz::WriterBuilder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::process::Command;
use trainer::graph::{Graph, Op, ParamId, Parameter, Window, reference};
use trainer::onnx::{WriteOptions, write};

fn parameter(graph: &mut Graph, rng: &mut ChaCha8Rng, shape: &[usize], reach: f32) -> ParamId {
    let name = format!("p{}", graph.parameters.len());
    let count = shape.iter().product();
    let values = (0..count)
        .map(|_| rng.random_range(-reach..reach))
        .collect();
    graph.add_parameter(Parameter::dense(name, shape, values))
}

/// Convolution, ReLU, pooling, a residual sum and a dense layer.
fn network() -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut graph = Graph::new("net", "x", &[2, 8, 8]);
    let conv = |graph: &mut Graph, rng: &mut ChaCha8Rng, channels: usize| {
        let mut window = Window::square(3, 1);
        window.padding = [1; 4];
        Op::Conv {
            weight: parameter(graph, rng, &[6, channels, 3, 3], 0.4),
            bias: Some(parameter(graph, rng, &[6], 0.2)),
            window,
            dilation: [1, 1],
            groups: 1,
        }
    };
    let op = conv(&mut graph, &mut rng, 2);
    let x = graph.push("conv1", op, &[graph.input]).unwrap();
    let x = graph.push("relu", Op::Relu, &[x]).unwrap();
    let op = conv(&mut graph, &mut rng, 6);
    let y = graph.push("conv2", op, &[x]).unwrap();
    let x = graph.push("sum", Op::Add, &[x, y]).unwrap();
    let pool = Op::MaxPool {
        window: Window::square(2, 2),
        dilation: [1, 1],
    };
    let x = graph.push("pool", pool, &[x]).unwrap();
    let x = graph.push("flat", Op::Flatten, &[x]).unwrap();
    let op = Op::Gemm {
        weight: parameter(&mut graph, &mut rng, &[10, 96], 0.2),
        bias: Some(parameter(&mut graph, &mut rng, &[10], 0.2)),
    };
    graph.push("dense", op, &[x]).unwrap();
    graph
}

fn compressed(int16: &[&str]) -> Result<Compressed, CompressError> {
    let settings = Settings {
        int16: int16.iter().map(|name| (*name).to_owned()).collect(),
        ..Settings::default()
    };
    let range = Some((-1.0, 1.0));
    let examples = Examples::Synthetic { range, seed: 5 };
    compress(
        &network(),
        &[],
        examples,
        &settings,
        &Checkpoints::default(),
    )
}

fn inputs(count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    (0..count * 128)
        .map(|_| rng.random_range(-0.95..0.95))
        .collect()
}

/// Root of the mean square of what the image's outputs are off those of its own weights.
fn off(compressed: &Compressed) -> f32 {
    let model = Model::parse(&compressed.encoded.bytes).unwrap();
    let inputs = inputs(20);
    let outputs = host::dequantize(&model.output(), &host::run(&model, &inputs).unwrap());
    let mut exact = compressed.graph.clone();
    exact.values.iter_mut().for_each(|v| v.quantization = None);
    let expected = inputs.chunks(128).flat_map(|x| reference::run(&exact, x));
    let squares = outputs.iter().zip(expected).map(|(a, b)| (a - b).powi(2));
    (squares.sum::<f32>() / outputs.len() as f32).sqrt()
}

#[test]
fn int16_takes_away_the_rounding_it_is_asked_to() {
    let int8 = off(&compressed(&[]).unwrap());
    let output = off(&compressed(&["dense"]).unwrap());
    let sums = off(&compressed(&["x", "conv1", "conv2"]).unwrap_or_else(|e| panic!("{e}")));
    assert!(output < 0.9 * int8, "{int8} {output}");
    assert!(sums < int8, "{int8} {sums}");
}

#[test]
fn a_search_finds_what_is_worth_int16() {
    let found = compressed(&["auto"]).unwrap();
    assert!(found.graph.values.iter().any(|v| v.int16));
    assert!(off(&found) < 0.9 * off(&compressed(&[]).unwrap()));
}

#[test]
fn a_misspelt_name_gets_the_nearest() {
    let error = compressed(&["dens"]).unwrap_err().to_string();
    assert!(
        error.contains("dens") && error.contains("do you mean dense?"),
        "{error}"
    );
}

fn write_npy(path: &Path, shape: &[u64], values: &[f32]) {
    let file = std::fs::File::create(path).unwrap();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(file).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
}

/// ONNX Runtime computes from the QDQ file what the image computes, but for ties of roundings: within a
/// hundredth of the largest output, which is three steps.
#[test]
fn integers_survive_as_onnx() {
    let version = Command::new("python3")
        .args(["-c", "import onnxruntime, numpy"])
        .output();
    if !version.is_ok_and(|o| o.status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "no onnxruntime for Python"
        );
        return eprintln!("skipped without onnxruntime for Python: integers_survive_as_onnx");
    }
    let compressed = compressed(&[]).unwrap();
    let model = Model::parse(&compressed.encoded.bytes).unwrap();
    let inputs = inputs(20);
    let outputs = host::dequantize(&model.output(), &host::run(&model, &inputs).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let [onnx, x, y] = ["m.onnx", "x.npy", "y.npy"].map(|name| folder.path().join(name));
    let options = WriteOptions {
        qdq: true,
        ..WriteOptions::default()
    };
    write(&compressed.graph, &onnx, options).unwrap();
    write_npy(&x, &[20, 2, 8, 8], &inputs);
    write_npy(&y, &[20, 10], &outputs);
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/tests/onnxruntime_check.py");
    let check = Command::new("python3")
        .arg(script)
        .arg("0.01")
        .args([&onnx, &x, &y])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        check.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&check.stderr)
    );
    // The weights are there as int8, not as floats: a quarter of them.
    let floats = 4 * compressed.graph.parameter_count() as u64;
    assert!(std::fs::metadata(&onnx).unwrap().len() < floats);
    // What was written comes back as the same integers.
    let again = trainer::onnx::read(&onnx).unwrap();
    let examples = Examples::Synthetic {
        range: Some((-1.0, 1.0)),
        seed: 5,
    };
    let again = compress(
        &again,
        &[],
        examples,
        &Settings::default(),
        &Checkpoints::default(),
    )
    .unwrap();
    let model = Model::parse(&again.encoded.bytes).unwrap();
    let same = host::dequantize(&model.output(), &host::run(&model, &inputs).unwrap());
    let step = f32::from_bits(model.output().scale_bits);
    let apart = same
        .iter()
        .zip(&outputs)
        .filter(|(a, b)| (*a - *b).abs() > 1.5 * step)
        .count();
    assert_eq!(apart, 0);
}
