//! The measurement as a whole.

use crate::mcu::{
    Core, Cycles, Emulator, Firmware, Inference, Inputs, McuError, Memory, Run, Subject, twin,
};
use edge_runtime::frontend::{Parameters, Workspace};
use no_std_core::Model;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
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
    /// Instructions of reading and checking the image and of setting a session up, exactly.
    pub startup_instructions: u64,
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
    /// Of the second inference, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_cycles: Option<Cycles>,
    /// Where inputs are clips of sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_end: Option<FrontEndCost>,
}

impl Measurement {
    /// The image's name without folder and extension.
    pub fn short_name(&self) -> &str {
        let stem = Path::new(&self.model).file_stem().and_then(OsStr::to_str);
        stem.unwrap_or(&self.model)
    }
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
/// statics, the deepest stack and a guard of 32 bytes), which is what is measured and compared. One that
/// only starts up is built apart, so that measuring this changes nothing of the other's code.
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
    let case = Case {
        path,
        bytes: &bytes,
        name: &name,
        core,
        emulator: Emulator::find(options.timeout)?,
        prove_no_panic: options.prove_no_panic,
    };
    let (firmware, run) = case.run(&inputs)?;
    let outputs = twin::outputs(&model, &inputs);
    twin::compare(&run, &inputs, &outputs, &name, core.name())?;
    let startup_instructions = case.start_up(&model)?;
    let empty = case.empty_flash()?;

    let second = run.inferences.get(1);
    let front_end = FrontEndCost::of(&model, second);
    let workspace = front_end.as_ref().map_or(0, |f| f.workspace_bytes);
    Ok(Measurement {
        model: name,
        core,
        instructions: second.map_or(0, |inference| inference.instructions),
        startup_instructions,
        macs: model.macs(),
        code_bytes: (firmware.sizes.flash - bytes.len() as u64).saturating_sub(empty),
        image_bytes: bytes.len(),
        arena_bytes: model.arena_bytes(),
        stack_bytes: run.stack,
        static_bytes: firmware.sizes.statics - (model.arena_bytes() + workspace) as u64,
        output: second.map_or(Vec::new(), |inference| inference.output.clone()),
        matches_host: true,
        inputs_compared: inputs.count(),
        estimated_cycles: None,
        front_end,
    })
}

/// An image on a core.
struct Case<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    name: &'a str,
    core: Core,
    emulator: Emulator,
    prove_no_panic: bool,
}

impl Case<'_> {
    fn build(&self, subject: Subject, memory: Memory) -> Result<Firmware, McuError> {
        Firmware::build(self.core, subject, memory, self.prove_no_panic)
    }

    fn build_ample(&self, subject: Subject) -> Result<Firmware, McuError> {
        self.build(subject, Memory::ample(self.core))
    }

    /// The firmware with just the memory it needs, on all inputs.
    fn run(&self, inputs: &Inputs) -> Result<(Firmware, Run), McuError> {
        let subject = Subject::Model {
            path: self.path,
            bytes: self.bytes,
            audio: inputs.is_sound(),
        };
        let ample = self.build_ample(subject)?;
        let trial = self.emulator.run(&ample, &inputs.first(), self.name)?;
        let tight = Memory {
            stack: (trial.reach + GUARD).next_multiple_of(8),
            statics: ample.sizes.statics as u32,
        };
        let firmware = self.build(subject, tight)?;
        let run = self.emulator.run(&firmware, inputs, self.name)?;
        Ok((firmware, run))
    }

    /// Bytes of a firmware that runs nothing, built once for all images.
    fn empty_flash(&self) -> Result<u64, McuError> {
        static BUILT: Mutex<BTreeMap<(Core, bool), u64>> = Mutex::new(BTreeMap::new());
        let built = || BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.core, self.prove_no_panic);
        let known = built().get(&key).copied();
        if let Some(flash) = known {
            return Ok(flash);
        }
        let flash = self.build_ample(Subject::Empty)?.sizes.flash;
        built().insert(key, flash);
        Ok(flash)
    }

    /// Instructions of the second start.
    fn start_up(&self, model: &Model) -> Result<u64, McuError> {
        let subject = Subject::Startup {
            path: self.path,
            bytes: self.bytes,
        };
        let firmware = self.build_ample(subject)?;
        let nothing = Inputs::new(4, vec![0; 4]);
        let run = self.emulator.run(&firmware, &nothing, self.name)?;
        // A start that came to its end leaves the length of the session's input.
        let length = (model.input().bytes() as u32).to_le_bytes();
        let second = run.inferences.get(1);
        let started = second.filter(|start| start.output == length.map(|byte| byte as i8));
        started
            .map(|start| start.instructions)
            .ok_or_else(|| McuError::Stopped {
                name: self.name.to_owned(),
                core: self.core.to_string(),
                reason: "the device's reader refused the image".to_owned(),
            })
    }
}
