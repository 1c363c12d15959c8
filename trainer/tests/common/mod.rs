//! Shared by the tests: tract as an oracle, comparison, and where real models are.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod build;

use std::io::Write;
use std::path::{Path, PathBuf};
use tract_onnx::prelude::*;

/// What tract computes for one example of this shape (without the batch axis).
pub(crate) fn tract(bytes: &[u8], shape: &[usize], input: &[f32]) -> TractResult<Vec<f32>> {
    let batched: Vec<usize> = [1].into_iter().chain(shape.iter().copied()).collect();
    let mut model = tract_onnx::onnx().model_for_read(&mut &bytes[..])?;
    model.set_input_fact(0, f32::fact(&batched).into())?;
    let outputs = model
        .into_typed()?
        .into_runnable()?
        .run(tvec!(Tensor::from_shape(&batched, input)?.into()))?;
    Ok(outputs[0]
        .to_plain_array_view::<f32>()?
        .iter()
        .copied()
        .collect())
}

/// Panics when two outputs differ by more than `tolerance` of the largest magnitude expected.
pub(crate) fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    let largest = expected.iter().fold(0_f32, |m, v| m.max(v.abs())).max(1e-6);
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let close = (a - e).abs() <= tolerance * largest;
        assert!(close, "{what}: output {i} is {a}, not {e}");
    }
}

/// Numbers in −1…1 without a pattern.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The folder of real models; says what is skipped where it is missing, and fails under CI.
pub(crate) fn models(skipped: &str) -> Option<PathBuf> {
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
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A float32 array of a NumPy file.
pub(crate) fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
}

/// Writes a float32 array as a NumPy file.
pub(crate) fn write_npy(path: &Path, shape: &[usize], values: &[f32]) {
    let sizes: Vec<String> = shape.iter().map(|d| format!("{d},")).collect();
    let sizes = sizes.concat();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Magic, version and length take 10 bytes; all of it is a multiple of 64.
    header.push_str(&" ".repeat(64 - (10 + header.len() + 1) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

/// A model for ONNX Runtime and what it should compute for some examples.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) model: Vec<u8>,
    /// Shapes have the batch axis.
    pub(crate) x: (Vec<usize>, Vec<f32>),
    pub(crate) y: (Vec<usize>, Vec<f32>),
}

/// Compares with ONNX Runtime, where Python has it; says so where it has not.
pub(crate) fn assert_onnx_runtime(what: &str, model: &[u8], x: (&[usize], &[f32]), y: &[f32]) {
    let batched = [1].into_iter().chain(x.0.iter().copied()).collect();
    let case = Case {
        what: what.to_owned(),
        model: model.to_vec(),
        x: (batched, x.1.to_vec()),
        y: (vec![1, y.len()], y.to_vec()),
    };
    assert_onnx_runtime_all(&[case], 1e-4);
}

/// As [`assert_onnx_runtime`], of many models at once; `tolerance` is relative to the largest output.
pub(crate) fn assert_onnx_runtime_all(cases: &[Case], tolerance: f32) {
    let python = |arguments: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new("python3")
            .args(arguments)
            .output();
        output
            .ok()
            .filter(|o| o.status.success() || !arguments.contains(&"-c".as_ref()))
    };
    let names = cases.iter().map(|case| case.what.as_str());
    let names: Vec<&str> = names.collect();
    if python(&["-c".as_ref(), "import onnxruntime, numpy".as_ref()]).is_none() {
        let missing = format!(
            "skipped without onnxruntime for Python: {}",
            names.join(", ")
        );
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        note(&missing);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnxruntime_check.py");
    let mut arguments = vec![script, tolerance.to_string().into()];
    for (i, case) in cases.iter().enumerate() {
        let [model, x, y] =
            ["onnx", "x.npy", "y.npy"].map(|end| folder.path().join(format!("{i}.{end}")));
        std::fs::write(&model, &case.model).unwrap();
        write_npy(&x, &case.x.0, &case.x.1);
        write_npy(&y, &case.y.0, &case.y.1);
        arguments.extend([model, x, y]);
    }
    let arguments: Vec<_> = arguments.iter().map(|a| a.as_os_str()).collect();
    let output = python(&arguments).unwrap();
    let said = [output.stdout, output.stderr].map(|o| String::from_utf8_lossy(&o).into_owned());
    let numbered: Vec<_> = names.iter().enumerate().collect();
    assert!(
        output.status.success(),
        "{}\n{}\n{numbered:?}",
        said[0],
        said[1]
    );
}
