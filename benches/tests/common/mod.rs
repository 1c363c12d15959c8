//! What the tests of the emulator share.

use benches::mcu::McuError;
use std::io::Write;
use std::time::Duration;

/// Longest an emulation may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// The result, or nothing where the emulator or a compiler is missing and need not be there.
pub(crate) fn unless_missing<T>(test: &str, result: Result<T, McuError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_missing_tool() && std::env::var_os("CI").is_none() => {
            // `println!` and `eprintln!` of a test that passes are captured.
            let _ = writeln!(std::io::stderr().lock(), "skipped {test}: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
