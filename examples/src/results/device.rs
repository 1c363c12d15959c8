//! Images on emulated cores.

use crate::recipe::Failure;
use benches::mcu::{Core, Inputs, Measurement, Options, measure};
use compress::host::quantize;
use no_std_core::Model;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use trainer::data::Dataset;

/// Test examples compared on each core.
const EXAMPLES: usize = 100;

/// What an image costs on the Cortex-M4. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Of an inference.
    pub instructions: u64,
    /// Without the image.
    pub code_bytes: u64,
    /// Activations and scratch.
    pub arena_bytes: u64,
    /// The deepest.
    pub stack_bytes: u64,
    /// Test examples of which the integers are the host's.
    pub examples: usize,
}

impl Cost {
    /// Measures it, and compares the integers of the first test examples with the host's.
    ///
    /// # Errors
    /// When a single integer differs, or a tool is missing.
    pub fn on_m4(image: &Path, test: &Dataset) -> Result<Self, Failure> {
        let measured = emulate(image, Core::M4, test)?;
        Ok(Self {
            instructions: measured.instructions,
            code_bytes: measured.code_bytes,
            arena_bytes: measured.arena_bytes as u64,
            stack_bytes: u64::from(measured.stack_bytes),
            examples: measured.inputs_compared,
        })
    }
}

/// Compares the integers of the first test examples with the host's on a core.
///
/// # Errors
/// When a single one differs, or a tool is missing.
pub fn emulate(image: &Path, core: Core, test: &Dataset) -> Result<Measurement, Failure> {
    let options = Options {
        timeout: Duration::from_secs(600),
        prove_no_panic: true,
    };
    let images = |model: &Model| {
        let quantized = (0..EXAMPLES.min(test.len())).flat_map(|i| quantize(model, test.input(i)));
        Ok(Inputs::new(model.input().bytes(), quantized.collect()))
    };
    Ok(measure(image, core, images, options)?)
}
