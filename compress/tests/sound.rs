//! Models of sound: from clips to an image whose input is the front end's own integers.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

use compress::host::quantize;
use edge_runtime::frontend::{FrontEnd, Parameters};
use hound::{SampleFormat, WavSpec, WavWriter};
use no_std_core::Model;
use std::path::Path;
use terminal::Terminal;
use trainer::data::DataSpec;

const SPEC: WavSpec = WavSpec {
    channels: 1,
    sample_rate: 8000,
    bits_per_sample: 16,
    sample_format: SampleFormat::Int,
};

/// Noise that is softer for greater digits, nowhere near an end of int8's range.
fn clip(path: &Path, digit: u32, index: u32) {
    let mut writer = WavWriter::create(path, SPEC).expect("created");
    let mut noise = index + 1;
    for _ in 0..9000 {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        writer
            .write_sample((noise >> (18 + digit)) as i16)
            .expect("written");
    }
    writer.finalize().expect("finished");
}

/// Clips in `clips`, and a model of them in `m.onnx`.
fn open() -> Terminal {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    std::fs::create_dir(t.path("clips")).expect("a folder");
    for (digit, index) in (0..3).flat_map(|digit| (0..10).map(move |index| (digit, index))) {
        clip(
            &t.path(&format!("clips/{digit}_anna_{index}.wav")),
            digit,
            index,
        );
    }
    let architecture = trainer::arch::Architecture::resolve("mlp:8").expect("an architecture");
    let graph = architecture.build(&[1, 61, 32], 10, 1).expect("builds");
    trainer::onnx::write(&graph, &t.path("m.onnx"), Default::default()).expect("written");
    t
}

#[test]
fn the_images_input_is_what_the_front_end_makes() {
    let t = open();
    for features in ["log-mel", "mfcc,coefficients=32"] {
        let data = format!("wav:{},features={features}", t.path("clips").display());
        t.says(&format!("compress m.onnx --data {data} -o m.pith"));
        let bytes = t.read("m.pith");
        let model = Model::parse(&bytes).expect("valid");
        let p = Parameters::of(&model).expect("says so").expect("valid");
        let needed = p.workspace();
        let (mut words, mut halves) = (vec![0; needed.words], vec![0; needed.halves]);
        let mut front_end = FrontEnd::new(&p, &mut words, &mut halves).expect("just enough");
        let test = data
            .parse::<DataSpec>()
            .expect("data")
            .load()
            .expect("read")
            .test;
        // The first five of the first digit.
        for index in 0..5 {
            let path = t.path(&format!("clips/0_anna_{index}.wav"));
            let samples = trainer::data::clip(&path, p.rate()).expect("a clip");
            let mut device = vec![0; p.features()];
            front_end.clip(&samples, &mut device);
            assert_eq!(quantize(&model, test.input(index)), device, "{features}");
            assert!(device.iter().any(|q| q != &device[0]));
        }
    }
}

#[test]
fn features_made_otherwise_are_refused() {
    let t = open();
    t.says("compress m.onnx --data wav:clips -o m.pith");
    t.says("compress eval m.pith --data wav:clips");
    let error = t.fails("compress eval m.pith --data wav:clips,floor=8");
    assert!(
        error.contains("the model takes 'log-mel rate=8000") && error.contains("floor=8"),
        "{error}"
    );
    t.says("compress eval m.onnx --data wav:clips,floor=8");
}
