//! The emulator harness itself: that it counts exactly, that a device's integers are the host's,
//! that nothing in the runtime can panic, and that too little memory shows.
#![allow(clippy::expect_used)]

use benches::mcu::{Core, Emulator, Firmware, Inputs, McuError, Memory, Options, Subject, measure};
use benches::networks;
use compress::encode::{Coding, encode};
use std::io::Write;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(120);
const CORES: [Core; 4] = [Core::M0, Core::M3, Core::M4, Core::M33];

/// The result, or nothing where the emulator or a compiler is missing and need not be there.
fn unless_missing<T>(test: &str, result: Result<T, McuError>) -> Option<T> {
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
        assert!(measured.code_bytes > 0, "{measured:?}");
        assert!(measured.code_bytes <= 2 * most_code(core), "{measured:?}");
    }
}

/// Bytes of code without the families of operators that the image does not hold; ARMv6-M reads unaligned words byte by byte.
fn most_code(core: Core) -> u64 {
    if core == Core::M0 { 17_000 } else { 16_000 }
}

/// LeNet-300-100 with three in a hundred weights left, and LeNet-5 with two: fewer instructions than
/// the dense networks take in CMSIS-NN, in little memory.
#[test]
fn sparse_networks_fit_and_need_fewer_instructions_than_dense_ones() {
    let sparse = networks::NETWORKS
        .iter()
        .filter(|n| n.name.ends_with("-sparse"));
    for (network, core) in sparse.flat_map(|n| CORES.map(|core| (n, core))) {
        let image = network
            .image()
            .expect("a network within the format's limits");
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&image).expect("written");
        let options = Options {
            timeout: TIMEOUT,
            prove_no_panic: true,
        };
        let inputs = |model: &no_std_core::Model| Ok(Inputs::random(model, 2, 7));
        let result = measure(file.path(), core, inputs, options);
        let Some(measured) = unless_missing("sparse_networks_fit", result) else {
            return;
        };
        println!("{}: {measured:?}", network.name);
        assert!(measured.matches_host);
        assert!(measured.code_bytes <= most_code(core), "{measured:?}");
        assert!(measured.stack_bytes <= 1_200, "{measured:?}");
        if network.name.starts_with("lenet-300-100") {
            assert!(measured.arena_bytes <= 1_500, "{measured:?}");
        }
        if let Some(dense) = network.cmsis_nn_on(core) {
            assert!(measured.instructions < dense, "{measured:?}");
        }
    }
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
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&image()).expect("written");
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
