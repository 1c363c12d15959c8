//! Runs a firmware in QEMU and reads what it reports.

use crate::mcu::{Firmware, Inputs, McuError, Timer};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-arm";

/// What the firmware reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first input twice, then each other input.
    pub inferences: Vec<Inference>,
    /// Deepest stack of setting up and of any inference, in bytes.
    pub stack: u32,
    /// Deepest stack there was, the harness's own frames with it.
    pub reach: u32,
}

/// One inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inference {
    /// Instructions, less those of measuring.
    pub instructions: u64,
    /// The integers.
    pub output: Vec<i8>,
    /// How its input came about, where it is sound.
    pub heard: Option<Heard>,
}

/// What the front end made of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Instructions, less those of measuring.
    pub instructions: u64,
    /// The integers.
    pub features: Vec<i8>,
}

/// The emulator, with a bound on its time.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    timeout: Duration,
}

impl Emulator {
    /// Makes sure that QEMU is there.
    ///
    /// # Errors
    /// When it is not.
    pub fn find(timeout: Duration) -> Result<Self, McuError> {
        Command::new(QEMU)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|_| McuError::NoEmulator { program: QEMU })?;
        Ok(Self { timeout })
    }

    /// Runs the firmware on the inputs; `name` is for errors.
    ///
    /// # Errors
    /// When it faults, panics, refuses the image, runs too long, or says something unexpected.
    pub fn run(&self, firmware: &Firmware, inputs: &Inputs, name: &str) -> Result<Run, McuError> {
        let folder = tempfile::tempdir().map_err(McuError::file(std::env::temp_dir()))?;
        self.run_in(folder.path(), firmware, inputs, name, &[])
    }

    /// As [`run`](Self::run), in a folder and with more arguments for QEMU.
    pub(super) fn run_in(
        &self,
        folder: &Path,
        firmware: &Firmware,
        inputs: &Inputs,
        name: &str,
        arguments: &[String],
    ) -> Result<Run, McuError> {
        let stopped = |reason: String| McuError::Stopped {
            name: name.to_owned(),
            core: firmware.core.to_string(),
            reason,
        };
        let board = firmware.core.board();
        let blob = inputs.blob();
        if blob.len() > board.inputs.length as usize {
            return Err(stopped(format!(
                "{} bytes of inputs do not fit into the {} the board has for them; give fewer",
                blob.len(),
                board.inputs.length
            )));
        }
        write(&folder.join(ELF), &firmware.elf)?;
        write(&folder.join(INPUTS), &blob)?;
        let mut command = command(firmware, folder)?;
        command.args(arguments);
        let status = self.emulate(command)?;
        // An emulator that did not come to start leaves none.
        let report = read(&folder.join(REPORT)).unwrap_or_default();
        parse(&report, &board.timer).map_err(|reason| {
            let messages = read(&folder.join(MESSAGES)).unwrap_or_default();
            stopped(reason.unwrap_or_else(|| self.unfinished(status, &messages)))
        })
    }

    /// Waits for the emulator's end, at most the time allowed.
    fn emulate(&self, mut command: Command) -> Result<Option<ExitStatus>, McuError> {
        let start_error = |source| McuError::Start {
            program: QEMU.to_owned(),
            source,
        };
        let mut child = Emulation(command.spawn().map_err(start_error)?);
        let begin = Instant::now();
        while begin.elapsed() < self.timeout {
            if let Some(status) = child.0.try_wait().map_err(start_error)? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }

    fn unfinished(&self, status: Option<ExitStatus>, messages: &str) -> String {
        match (status, messages.lines().find(|line| !line.is_empty())) {
            (None, _) => format!(
                "not done after {} s; allow more with --timeout",
                self.timeout.as_secs()
            ),
            (_, Some(line)) if line.contains("Lockup") => {
                "a fault within a fault: the stack ran over".to_owned()
            }
            (_, Some(line)) => line.to_owned(),
            (Some(status), None) => format!("the emulator ended ({status}) without a report"),
        }
    }
}

/// Ends with its handle, whatever happens.
struct Emulation(Child);

impl Drop for Emulation {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ELF: &str = "firmware.elf";
const INPUTS: &str = "inputs.bin";
const REPORT: &str = "report.txt";
const MESSAGES: &str = "messages.txt";

fn command(firmware: &Firmware, folder: &Path) -> Result<Command, McuError> {
    let board = firmware.core.board();
    let messages = folder.join(MESSAGES);
    let mut command = Command::new(QEMU);
    command
        .current_dir(folder)
        .args(["-machine", board.machine])
        .args(["-display", "none", "-monitor", "none", "-serial", "none"])
        .args(["-icount", "shift=7"])
        .args(["-chardev", &format!("file,id=report,path={REPORT}")])
        .args([
            "-semihosting-config",
            "enable=on,target=native,chardev=report",
        ])
        .args(["-kernel", ELF])
        .args([
            "-device",
            &format!(
                "loader,file={INPUTS},addr={:#x},force-raw=on",
                board.inputs.origin
            ),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&messages).map_err(McuError::file(&messages))?);
    Ok(command)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), McuError> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(McuError::file(path))
}

pub(super) fn read(path: &Path) -> Result<String, McuError> {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(McuError::file(path))
}

/// Reads a report; an error without words means that it has no end.
fn parse(report: &str, timer: &Timer) -> Result<Run, Option<String>> {
    let mut overhead = 0;
    let (mut listened, mut heard, mut counted) = (0, None, 0);
    let mut inferences = Vec::new();
    let (mut stack, mut reach) = (None, None);
    for line in report.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let number = || u32::from_str_radix(value, 16).map_err(|_| None::<String>);
        let count =
            |overhead| number().map(|ticks| timer.instructions(ticks).saturating_sub(overhead));
        match key {
            "empty" => overhead = count(0)?,
            "listen" => listened = count(overhead)?,
            "features" => {
                heard = Some(Heard {
                    instructions: listened,
                    features: bytes(value).ok_or(None)?,
                });
            }
            "run" => counted = count(overhead)?,
            "output" => inferences.push(Inference {
                instructions: counted,
                output: bytes(value).ok_or(None)?,
                heard: heard.take(),
            }),
            "stack" => stack = Some(number()?),
            "reach" => reach = Some(number()?),
            "done" => {}
            "refused" => return Err(Some("the device's reader refused the image".into())),
            "panic" => return Err(Some("panicked".into())),
            "fault" => return Err(Some(format!("hard fault at 0x{value}"))),
            "wrapped" => {
                return Err(Some(
                    "more instructions than the timer holds (1.3·10⁹)".into(),
                ));
            }
            _ => return Err(Some(format!("an unexpected report: {line}"))),
        }
    }
    Ok(Run {
        inferences,
        stack: stack.ok_or(None)?,
        reach: reach.ok_or(None)?,
    })
}

fn bytes(hex: &str) -> Option<Vec<i8>> {
    let digits = hex.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok().map(|byte| byte as i8)
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcu::Core;

    const TIMER: Timer = Core::M4.board().timer;

    #[test]
    fn a_report_is_read_and_measuring_taken_off() {
        let report =
            "empty 0000000a\nrun 00000013\noutput 01ff80\nstack 00000010\nreach 00000048\ndone\n";
        let run = parse(report, &TIMER).expect("whole");
        assert_eq!((run.stack, run.reach), (16, 72));
        assert_eq!(
            run.inferences,
            [Inference {
                instructions: 3,
                output: vec![1, -1, -128],
                heard: None
            }]
        );
    }

    #[test]
    fn what_was_heard_belongs_to_the_inference_after_it() {
        let clip = "listen 00000013\nfeatures 80ff\nrun 00000016\noutput 01\n";
        let report = format!("empty 0000000a\n{clip}{clip}stack 00000000\nreach 00000000\n");
        let run = parse(&report, &TIMER).expect("whole");
        let inference = Inference {
            instructions: 4,
            output: vec![1],
            heard: Some(Heard {
                instructions: 3,
                features: vec![-128, -1],
            }),
        };
        assert_eq!(run.inferences, [inference.clone(), inference]);
    }

    #[test]
    fn what_went_wrong_is_said() {
        let fault = parse("empty 0000000a\nfault 00000123\n", &TIMER);
        assert_eq!(fault, Err(Some("hard fault at 0x00000123".into())));
        assert_eq!(parse("empty 0000000a\nrun 00000013\n", &TIMER), Err(None));
        assert_eq!(parse("empty 0000000a\nrun 00", &TIMER), Err(None));
    }
}
