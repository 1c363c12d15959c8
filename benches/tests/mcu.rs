//! The emulator harness itself: that it counts exactly, that a device's integers are the host's,
//! that nothing in the runtime can panic, and that too little memory shows.
#![allow(clippy::expect_used)]

mod common;

use benches::mcu::{
    Core, Emulator, Firmware, Inputs, McuError, Memory, Options, Subject, estimate, measure,
};
use benches::networks;
use common::{TIMEOUT, unless_missing};
use compress::encode::{Coding, encode};
use compress::program::Program;
use edge_runtime::frontend::Parameters;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CORES: [Core; 4] = [Core::M0, Core::M3, Core::M4, Core::M33];

/// A loop of n takes 1 + 2n instructions by its listing, whatever the core.
#[test]
fn counts_are_exact() {
    let loops = [1u32, 2, 10, 1_000, 65_537, 1_000_003];
    let bytes = loops.iter().flat_map(|n| n.to_le_bytes());
    let inputs = Inputs::new(4, bytes.map(|byte| byte as i8).collect());
    for core in CORES {
        let run = Emulator::find(TIMEOUT).and_then(|emulator| {
            let firmware = Firmware::build(core, Subject::Known, Memory::ample(core), false)?;
            emulator.run(&firmware, &inputs, "loop")
        });
        let Some(run) = unless_missing("counts_are_exact", run) else {
            return;
        };
        let counted: Vec<u64> = run.inferences.iter().map(|i| i.instructions).collect();
        let expected = [1].iter().chain(&loops).map(|&n| 1 + 2 * u64::from(n));
        assert_eq!(counted, expected.collect::<Vec<_>>(), "{core}");
    }
}

#[test]
fn integers_are_the_hosts_on_every_core() {
    let file = image_file();
    for core in CORES {
        let options = Options {
            timeout: TIMEOUT,
            prove_no_panic: true,
        };
        let inputs = |model: &no_std_core::Model| Ok(Inputs::random(model, 20, 7));
        let result = measure(file.path(), core, inputs, options);
        let Some(measured) = unless_missing("integers_are_the_hosts_on_every_core", result) else {
            return;
        };
        assert!(measured.matches_host);
        assert_eq!(measured.inputs_compared, 20);
        assert_eq!(measured.output.len(), networks::CLASSES);
        assert_eq!(measured.macs, networks::MACS);
        assert!(measured.instructions > 0, "{measured:?}");
        assert_eq!(measured.static_bytes, 0, "the runtime owns no memory");
        assert!((1..=1_500).contains(&measured.stack_bytes), "{measured:?}");
        // Every operator, every form of weights with its coder, and panels.
        assert!(measured.code_bytes <= 42_500, "{measured:?}");
    }
}

/// What was executed is known to the instruction: otherwise there is no estimate.
#[test]
fn cycles_are_of_the_instructions_that_the_timer_counts() {
    let file = image_file();
    let options = Options {
        timeout: TIMEOUT,
        prove_no_panic: true,
    };
    let inputs = |model: &no_std_core::Model| Ok(Inputs::random(model, 1, 7));
    let result = measure(file.path(), Core::M4, inputs, options)
        .and_then(|measured| Ok((measured, estimate(file.path(), inputs, options)?)));
    let Some((measured, cycles)) = unless_missing("cycles", result) else {
        return;
    };
    // Every instruction takes a cycle, and a division, the longest, twelve.
    assert!(measured.instructions < cycles.low && cycles.low < cycles.high);
    assert!(cycles.high < 12 * measured.instructions);
}

/// With the forms of weights that an image holds and no family of operators, where a compiler inlines other
/// functions.
#[test]
fn nothing_can_panic_in_a_build_of_a_few_features() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../no_std-core/golden");
    let images = ["v1-coded.pith", "v1-panels.pith"].map(|name| folder.join(name));
    for (image, core) in images.iter().flat_map(|i| Core::ALL.map(|core| (i, core))) {
        let options = Options {
            timeout: TIMEOUT,
            prove_no_panic: true,
        };
        let inputs = |model: &no_std_core::Model| Ok(Inputs::random(model, 20, 7));
        let result = measure(image, core, inputs, options);
        let Some(measured) = unless_missing("nothing_can_panic", result) else {
            return;
        };
        assert!(measured.matches_host, "{measured:?}");
    }
}

/// The device makes its input of samples: features and outputs are the host's, to the unit, for clips
/// too short, too long, silent and as loud as can be.
#[test]
fn sound_is_heard_as_on_the_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let clips = [
        clip(folder.path(), "short", |i| ((i * i) % 3001) as i16 * 9, 700),
        clip(
            folder.path(),
            "long",
            |i| (i as i16).wrapping_mul(i as i16) >> 3,
            5001,
        ),
        clip(folder.path(), "silent", |_| 0, 999),
        clip(
            folder.path(),
            "loud",
            |i| if i / 7 % 2 == 0 { i16::MIN } else { i16::MAX },
            3000,
        ),
    ];
    let log_mel = "log-mel rate=8000 window=256 hop=128 fft=256 mels=32 low=60 high=3800 floor=11 steps=8 frames=20";
    let mfcc = "mfcc rate=8000 window=200 hop=80 fft=256 mels=24 low=60 high=3800 floor=8 steps=8 frames=9 coefficients=13";
    let mut runs = CORES.map(|core| (log_mel, core)).to_vec();
    runs.push((mfcc, Core::M4));
    for (text, core) in runs {
        let features = Parameters::parse(text).expect("valid");
        let image = encode(&networks::listener(&features), Coding::Huffman).expect("small");
        let file = file_of(&image.bytes);
        let options = Options {
            timeout: TIMEOUT,
            prove_no_panic: true,
        };
        let inputs = |model: &no_std_core::Model| Inputs::listen(&clips, model);
        let result = measure(file.path(), core, inputs, options);
        let Some(measured) = unless_missing("sound_is_heard_as_on_the_host", result) else {
            return;
        };
        let heard = measured.front_end.as_ref().expect("there was a clip");
        println!(
            "{core} {text}: {} instructions, {} of stack, {} of code",
            heard.instructions, measured.stack_bytes, measured.code_bytes
        );
        assert_eq!(measured.inputs_compared, clips.len());
        if core == Core::M4 {
            let cycles = estimate(file.path(), inputs, options).expect("as many instructions");
            assert!(measured.instructions < cycles.low, "{cycles:?}");
        }
        // Of the arena and of the workspace, to eight bytes each.
        assert!(measured.static_bytes < 16, "alignment alone: {measured:?}");
        assert!(
            heard.features.iter().any(|&q| q > heard.features[0]),
            "{measured:?}"
        );
        assert!(measured.stack_bytes <= 1_300, "{measured:?}");
    }
}

/// A WAV file of 8,000 samples a second.
fn clip(folder: &Path, name: &str, sample: impl Fn(u32) -> i16, length: u32) -> PathBuf {
    let path = folder.join(name).with_extension("wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).expect("created");
    for i in 0..length {
        writer.write_sample(sample(i)).expect("written");
    }
    writer.finalize().expect("finished");
    path
}

/// An image says how its input is made; where it does not, or not of such a clip, nothing is guessed.
#[test]
fn what_cannot_be_heard_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = clip(folder.path(), "clip", |_| 1, 100);
    let bytes = image();
    let model = no_std_core::Model::parse(&bytes).expect("valid");
    let error = Inputs::listen(std::slice::from_ref(&path), &model).expect_err("no features");
    assert!(
        error.to_string().contains("takes no audio features"),
        "{error}"
    );
    let text = "log-mel rate=16000 window=512 hop=256 fft=512 mels=20 low=60 high=7600 floor=8 steps=8 frames=3";
    let mut program = networks::listener(&Parameters::parse(text).expect("valid"));
    let listen = |program: &Program| {
        let bytes = encode(program, Coding::Smallest).expect("small").bytes;
        let model = no_std_core::Model::parse(&bytes).expect("valid");
        let error = Inputs::listen(std::slice::from_ref(&path), &model).expect_err("refused");
        error.to_string()
    };
    let error = listen(&program);
    assert!(
        error.contains("clip.wav: has 8000 samples a second, not 16000"),
        "{error}"
    );
    program.tensors[program.input].zero_point = 0;
    let error = listen(&program);
    assert!(
        error.contains("is not what its audio features are"),
        "{error}"
    );
}

#[test]
fn an_emulation_has_a_bound() {
    let endless = Inputs::new(4, vec![0; 4]); // counts down from zero, through all of 32 bits
    let run = Emulator::find(Duration::from_millis(300)).and_then(|emulator| {
        let firmware = Firmware::build(Core::M4, Subject::Known, Memory::ample(Core::M4), false)?;
        Ok(emulator.run(&firmware, &endless, "loop"))
    });
    let Some(run) = unless_missing("an_emulation_has_a_bound", run) else {
        return;
    };
    let error = run.expect_err("2³³ instructions take longer");
    assert!(error.to_string().contains("--timeout"), "{error}");
}

/// A firmware linked with a stack that is too small must not run as if nothing were wrong.
#[test]
fn too_little_stack_is_a_fault() {
    let file = image_file();
    let bytes = std::fs::read(file.path()).expect("just written");
    let model = no_std_core::Model::parse(&bytes).expect("valid");
    let memory = Memory {
        stack: 64,
        statics: 1 << 16,
    };
    let subject = Subject::Model {
        path: file.path(),
        bytes: &bytes,
        audio: false,
    };
    let run = Emulator::find(TIMEOUT).and_then(|emulator| {
        let firmware = Firmware::build(Core::M4, subject, memory, false)?;
        Ok(emulator.run(&firmware, &Inputs::random(&model, 1, 1), "tiny"))
    });
    let Some(run) = unless_missing("too_little_stack_is_a_fault", run) else {
        return;
    };
    let error = run.expect_err("64 bytes of stack do not hold a session");
    assert!(error.to_string().contains("fault"), "{error}");
}

/// Arena and statics that do not fit are found by the linker.
#[test]
fn too_little_memory_does_not_link() {
    let file = image_file();
    let bytes = std::fs::read(file.path()).expect("just written");
    let memory = Memory {
        stack: 1024,
        statics: 8,
    };
    let subject = Subject::Model {
        path: file.path(),
        bytes: &bytes,
        audio: false,
    };
    let error = match Firmware::build(Core::M4, subject, memory, false) {
        Err(error @ McuError::NoTarget { .. }) => {
            unless_missing::<()>("too_little_memory_does_not_link", Err(error));
            return;
        }
        other => other.expect_err("8 bytes do not hold the arena"),
    };
    assert!(error.to_string().contains("'RAM'"), "{error}");
}

fn image_file() -> tempfile::NamedTempFile {
    file_of(&image())
}

fn file_of(image: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(image).expect("written");
    file
}

fn image() -> Vec<u8> {
    let encoded = encode(&networks::every_operator(), Coding::Smallest).expect("a small network");
    let mut forms: Vec<&str> = encoded.layers.iter().map(|l| l.encoding.as_str()).collect();
    forms.sort_unstable();
    forms.dedup();
    assert!(
        forms.len() >= 4,
        "the network should use many forms: {forms:?}"
    );
    encoded.bytes
}
