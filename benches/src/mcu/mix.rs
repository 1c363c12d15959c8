//! Which blocks of code an inference executed, from a plugin of QEMU, and the cycles that these are good for.

use crate::mcu::cycles::{self, Cycles};
use crate::mcu::emulator::read;
use crate::mcu::{
    Core, Emulator, Firmware, Inputs, McuError, Memory, Options, Subject, target_folder,
};
use no_std_core::Model;
use object::read::elf::ElfFile32;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Cycles of a Cortex-M4 for the second inference on the first input, by the timings that [`Cycles`]' module
/// states. The blocks must hold as many instructions as the timer counted.
///
/// # Errors
/// As of [`measure`](crate::mcu::measure), when the plugin does not build or QEMU does not take it, or when
/// the two counts differ.
pub fn estimate(
    path: &Path,
    inputs: impl FnOnce(&Model) -> Result<Inputs, McuError>,
    options: Options,
) -> Result<Cycles, McuError> {
    let core = Core::M4;
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(McuError::file(path))?;
    let model = Model::parse(&bytes).map_err(|source| McuError::Image {
        name: name.clone(),
        source,
    })?;
    let inputs = inputs(&model)?.first();
    let subject = Subject::Model {
        path,
        bytes: &bytes,
        audio: inputs.is_sound(),
    };
    let firmware = Firmware::build(core, subject, Memory::ample(core), options.prove_no_panic)?;
    let program = Program::of(&firmware)?;
    // Calls between two reads of the timer: nothing; hearing and running; hearing and running again.
    let nth = if inputs.is_sound() { 4 } else { 2 };
    let arguments = [
        "-plugin".to_owned(),
        program.plugin_argument(&plugin()?, nth),
    ];
    let folder = tempfile::tempdir().map_err(McuError::file(std::env::temp_dir()))?;
    let emulator = Emulator::find(options.timeout)?;
    let run = emulator.run_in(folder.path(), &firmware, &inputs, &name, &arguments)?;
    let blocks = read(&folder.path().join("blocks.txt"))?;
    let (executed, cycles) = program.sum(&blocks).ok_or(McuError::Plugin {
        reason: "it reported something unexpected".to_owned(),
    })?;
    // The timer's count leaves out the return, which a call that does nothing has as well.
    let counted = run.inferences.get(1).map_or(0, |i| i.instructions + 1);
    if executed != counted {
        let reason = format!("it saw {executed} instructions where the timer counted {counted}");
        return Err(McuError::Plugin { reason });
    }
    Ok(cycles)
}

/// A firmware's code and where the measured call stands in it.
struct Program<'a> {
    text: Vec<(u64, &'a [u8])>,
    call: u64,
    end: u64,
}

impl<'a> Program<'a> {
    fn of(firmware: &'a Firmware) -> Result<Self, McuError> {
        let unreadable = |source| McuError::Elf {
            core: firmware.core.to_string(),
            source,
        };
        let file: ElfFile32 = ElfFile32::parse(&firmware.elf[..]).map_err(unreadable)?;
        let code = file.sections().filter(|s| s.kind() == SectionKind::Text);
        let text = code.map(|section| Ok((section.address(), section.data()?)));
        let address = |name: &str| {
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
            // Bit 0 of a function's says that it is Thumb code.
            symbol.map_or(0, |symbol| symbol.address() & !1)
        };
        Ok(Self {
            text: text.collect::<Result<_, _>>().map_err(unreadable)?,
            call: address("pith_call"),
            end: address("pith_call_end"),
        })
    }

    fn plugin_argument(&self, plugin: &Path, nth: u64) -> String {
        // A comma in a value is doubled.
        let plugin = plugin.display().to_string().replace(',', ",,");
        format!(
            "file={plugin},call={},end={},nth={nth}",
            self.call, self.end
        )
    }

    /// Instructions and cycles of a report: addresses of a block's first and last instruction, of the block
    /// that came after it, and how often.
    fn sum(&self, blocks: &str) -> Option<(u64, Cycles)> {
        let (mut instructions, mut cycles) = (0, Cycles::default());
        for line in blocks.lines() {
            let numbers = line.split(' ').map(|word| u64::from_str_radix(word, 16));
            let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
            let [first, last, next, times] = numbers[..] else {
                return None;
            };
            let end = last + cycles::bytes(self.code(last, 2)?)?;
            let (count, straight) = cycles::straight(self.code(first, end - first)?)?;
            instructions += count * times;
            cycles += straight.times(times);
            if next != end {
                cycles += Cycles::REFILL.times(times);
            }
        }
        Some((instructions, cycles))
    }

    fn code(&self, from: u64, bytes: u64) -> Option<&'a [u8]> {
        self.text.iter().find_map(|(address, text)| {
            let start = usize::try_from(from.checked_sub(*address)?).ok()?;
            text.get(start..start + bytes as usize)
        })
    }
}

/// Builds the plugin, for the host.
fn plugin() -> Result<PathBuf, McuError> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin/Cargo.toml");
    let target = target_folder().join("plugin");
    let mut command = Command::new("cargo");
    for name in ["RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(source)
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null());
    let output = command.output().map_err(|source| McuError::Start {
        program: "cargo".to_owned(),
        source,
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let reason = text.lines().next().unwrap_or("it does not build");
        return Err(McuError::Plugin {
            reason: reason.to_owned(),
        });
    }
    let library = target.join("release/libmcu_plugin.so");
    library.canonicalize().map_err(McuError::file(library))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loop of three turns that the counting is checked with, by its listing.
    #[test]
    fn a_loop_takes_what_its_listing_says() {
        // ldr r0, [r0]; subs r0, #1; bne to the subs; bx lr
        let code: Vec<u8> = [0x6800u16, 0x3801, 0xd1fd, 0x4770]
            .iter()
            .flat_map(|half| half.to_le_bytes())
            .collect();
        let program = Program {
            text: vec![(0x400, &code)],
            call: 0,
            end: 0,
        };
        let blocks = "400 404 402 1\n402 404 402 1\n402 404 406 1\n406 406 800 1\n";
        // Two turns back and the return refill the pipeline.
        let straight = 2 + 3 * 2 + 1;
        let cycles = Cycles {
            low: straight + 3,
            high: straight + 3 * 3,
        };
        assert_eq!(program.sum(blocks), Some((2 + 2 * 3, cycles)));
        for wrong in [
            "",
            "400 404 402\n",
            "400 404 402 x\n",
            "3fe 404 402 1\n",
            "404 408 402 1\n",
        ] {
            let expected = wrong.is_empty().then(|| (0, Cycles::default()));
            assert_eq!(program.sum(wrong), expected, "{wrong}");
        }
    }
}
