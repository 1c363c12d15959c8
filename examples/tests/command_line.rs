//! That a reader who has gone is no error.
#![allow(clippy::expect_used)]

use std::process::{Command, Stdio};

#[test]
fn a_list_that_nobody_reads_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce"));
    command.arg("--list");
    // A pipe whose reader is closed before anything is written, as `| head` may do.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).stderr(Stdio::piped()).output();
    let output = output.expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
