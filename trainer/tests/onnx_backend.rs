//! The ONNX project's own backend node tests, through `backend_node_tests.py`.
#![allow(clippy::unwrap_used)]

mod common;

use common::note;
use std::path::Path;
use std::process::Command;

/// Says what is skipped, which must be nothing under CI.
fn skip(missing: &str) {
    let line = format!("skipped without {missing}: the ONNX project's node tests");
    assert!(std::env::var_os("CI").is_none(), "{line}");
    note(&line);
}

#[test]
fn no_node_test_fails() {
    let python = Command::new("python3")
        .args(["-c", "import onnx, numpy"])
        .output();
    if !python.is_ok_and(|o| o.status.success()) {
        return skip("onnx for Python");
    }
    // Beside the tests, where `cargo test` builds it.
    let tests = std::env::current_exe().unwrap();
    let program = tests
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/import_cases");
    if !program.exists() {
        return skip(&program.display().to_string());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backend_node_tests.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(program)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{errors}");
    // Of the package's version 1.23: 401 passed, 79 refused.
    let total = said.lines().last().unwrap_or_default();
    let passed = total.split(' ').next().and_then(|n| n.parse::<u32>().ok());
    assert!(passed.is_some_and(|n| n >= 250), "{total}");
    assert!(total.ends_with(", 0 failed"), "{total}");
}
