//! The measurement as a whole.

use crate::mcu::{Core, Emulator, Firmware, Inference, Inputs, McuError, Memory, Subject, twin};
use edge_runtime::frontend::{Parameters, Workspace};
use no_std_core::Model;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest an emulation may take.
    pub timeout: Duration,
    /// Whether the link must fail if a panic can be reached.
    pub prove_no_panic: bool,
}

/// What an image costs on a core. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measurement {
    /// The image's name.
    pub model: String,
    /// The core.
    pub core: Core,
    /// Instructions of the second inference, exactly.
    pub instructions: u64,
    /// Multiply-accumulates of the dense network.
    pub macs: u32,
    /// Linked code and constants, less the image and less a firmware with the same start-up and
    /// harness that runs nothing.
    pub code_bytes: u64,
    /// The image.
    pub image_bytes: usize,
    /// All activations and scratch.
    pub arena_bytes: usize,
    /// Deepest stack of parsing, setting up and running.
    pub stack_bytes: u32,
    /// Statics other than the arena and the front end's workspace.
    pub static_bytes: u64,
    /// The integers for the first input.
    pub output: Vec<i8>,
    /// Always: a measurement of anything else is an error.
    pub matches_host: bool,
    /// Inputs for which the integers are those of the host.
    pub inputs_compared: usize,
    /// Where inputs are clips of sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_end: Option<FrontEndCost>,
}

/// What making the input of sound costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrontEndCost {
    /// Instructions for the first clip, exactly; the inference's are apart.
    pub instructions: u64,
    /// Frames of a clip.
    pub frames: usize,
    /// Its tables and buffers, in bytes.
    pub workspace_bytes: usize,
    /// The integers for the first clip.
    pub features: Vec<i8>,
}

impl FrontEndCost {
    fn of(model: &Model, second: Option<&Inference>) -> Option<Self> {
        let heard = second?.heard.as_ref()?;
        let parameters = Parameters::of(model)?.ok()?;
        let Workspace { words, halves } = parameters.workspace();
        Some(Self {
            instructions: heard.instructions,
            frames: parameters.frames(),
            workspace_bytes: 4 * words + 2 * halves,
            features: heard.features.clone(),
        })
    }
}

/// Left free below the deepest stack seen, in bytes.
const GUARD: u32 = 32;

/// Builds the firmware twice: with ample memory to learn what it needs, then with just that (its
/// statics, the deepest stack and a guard of 32 bytes), which is what is measured and compared.
///
/// # Errors
/// When a tool is missing, the firmware does not build or run, or an output differs from the
/// host's by a single unit.
pub fn measure(
    path: &Path,
    core: Core,
    inputs: impl FnOnce(&Model) -> Result<Inputs, McuError>,
    options: Options,
) -> Result<Measurement, McuError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(McuError::file(path))?;
    let model = Model::parse(&bytes).map_err(|source| McuError::Image {
        name: name.clone(),
        source,
    })?;
    let inputs = inputs(&model)?;
    let emulator = Emulator::find(options.timeout)?;
    let build = |subject, memory| Firmware::build(core, subject, memory, options.prove_no_panic);
    let subject = Subject::Model {
        path,
        bytes: &bytes,
        audio: inputs.is_sound(),
    };

    let ample = build(subject, Memory::ample(core))?;
    let trial = emulator.run(&ample, &inputs.first(), &name)?;
    let tight = Memory {
        stack: (trial.reach + GUARD).next_multiple_of(8),
        statics: ample.sizes.statics as u32,
    };
    let firmware = build(subject, tight)?;
    let run = emulator.run(&firmware, &inputs, &name)?;
    let outputs = twin::outputs(&model, &inputs);
    twin::compare(&run, &inputs, &outputs, &name, core.name())?;

    let empty = build(Subject::Empty, Memory::ample(core))?;
    let second = run.inferences.get(1);
    let front_end = FrontEndCost::of(&model, second);
    let workspace = front_end.as_ref().map_or(0, |f| f.workspace_bytes);
    Ok(Measurement {
        model: name,
        core,
        instructions: second.map_or(0, |inference| inference.instructions),
        macs: model.macs(),
        code_bytes: (firmware.sizes.flash - bytes.len() as u64).saturating_sub(empty.sizes.flash),
        image_bytes: bytes.len(),
        arena_bytes: model.arena_bytes(),
        stack_bytes: run.stack,
        static_bytes: firmware.sizes.statics - (model.arena_bytes() + workspace) as u64,
        output: second.map_or(Vec::new(), |inference| inference.output.clone()),
        matches_host: true,
        inputs_compared: inputs.count(),
        front_end,
    })
}
