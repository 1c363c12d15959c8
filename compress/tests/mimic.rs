//! Students and teachers on the command line: whose answers are learnt, and what is refused.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

use terminal::Terminal;
use trainer::arch::Architecture;
use trainer::onnx::{self, WriteOptions};

/// A folder with untrained networks `m.onnx` of 6-16-3 and `other.onnx` of 6-8-4, and data of 6 numbers
/// in 3 classes: `x.npy` with `y.npy` or the labels `z.npy`, all of them others.
fn open() -> Terminal {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    for (name, hidden, classes) in [("m", "mlp:16", 3), ("other", "mlp:8", 4)] {
        let architecture = Architecture::resolve(hidden).expect("an architecture");
        let graph = architecture.build(&[6], classes, 1).expect("builds");
        let file = t.path(&format!("{name}.onnx"));
        onnx::write(&graph, &file, WriteOptions::default()).expect("writes");
    }
    let value = |i: usize| ((i * 7919 + 13) % 1000) as f32 / 500.0 - 1.0;
    write(
        &t,
        "x.npy",
        &[240, 6],
        &(0..1440).map(value).collect::<Vec<_>>(),
    );
    write(
        &t,
        "more.npy",
        &[240, 6],
        &(0..1440).map(|i| value(i + 5000)).collect::<Vec<_>>(),
    );
    write(
        &t,
        "wide.npy",
        &[240, 7],
        &(0..1680).map(value).collect::<Vec<_>>(),
    );
    for (name, shift) in [("y.npy", 0), ("z.npy", 1)] {
        let labels = (0..240).map(|i| (i + shift) as i64 % 3);
        write(&t, name, &[240], &labels.collect::<Vec<_>>());
    }
    t
}

fn write<T: npyz::AutoSerialize + Copy>(t: &Terminal, name: &str, shape: &[u64], values: &[T]) {
    use npyz::WriterBuilder;
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(&mut bytes).begin_nd().expect("a header");
    writer.extend(values.iter().copied()).expect("values");
    writer.finish().expect("an end");
    t.write(name, bytes);
}

fn image(t: &Terminal, rest: &str) -> Vec<u8> {
    t.says(&format!(
        "compress {rest} --augment none --epochs 3 -o out.pith"
    ));
    std::fs::read(t.path("out.pith")).expect("an image")
}

#[test]
fn a_student_learns_what_its_teacher_says_whatever_the_labels() {
    let t = open();
    let student = "m.onnx --mimic=mlp:4";
    let image_of = |rest: &str| image(&t, &format!("{student} {rest}"));
    let taught = image_of("--data npy:x.npy,y.npy");
    assert_eq!(taught, image_of("--data npy:x.npy,z.npy"));
    assert_ne!(taught, image_of("--data npy:x.npy,y.npy --soft 0.5"));
    assert_ne!(taught, image_of("--data npy:x.npy,y.npy --temperature 3"));
    // Its layers are its own: 4 hidden units in place of 16.
    t.says("compress m.onnx --mimic=mlp:4 --data npy:x.npy,y.npy --epochs 1 --report r.json");
    let report = t.json("r.json");
    assert_eq!(report["layers"][0]["shape"], serde_json::json!([4, 6]));
}

#[test]
fn pruning_too_may_learn_from_a_teacher() {
    let t = open();
    let image_of = |rest: &str| image(&t, &format!("m.onnx --prune=0.5 {rest}"));
    let labelled = image_of("--data npy:x.npy,y.npy");
    let taught = image_of("--data npy:x.npy,y.npy --teacher m.onnx");
    assert_ne!(labelled, taught);
    assert_eq!(taught, image_of("--data npy:x.npy,z.npy --teacher m.onnx"));
    assert_eq!(taught, image_of("--data npy:x.npy --teacher m.onnx"));
}

#[test]
fn unlabelled_examples_are_learnt_from_beside_the_others() {
    let t = open();
    let image_of = |unlabelled: &str| {
        let stage = "[[stages]]\npass = 'mimic'\nstudent = 'mlp:4'\n";
        t.write("c.toml", format!("{stage}{unlabelled}"));
        image(&t, "--config c.toml m.onnx --data npy:x.npy,y.npy")
    };
    let more = format!("unlabelled = 'npy:{}'", t.path("more.npy").display());
    assert_ne!(image_of(""), image_of(&more));
    let wide = format!("unlabelled = 'npy:{}'", t.path("wide.npy").display());
    t.write(
        "c.toml",
        format!("[[stages]]\npass = 'mimic'\nstudent = 'mlp:4'\n{wide}"),
    );
    t.refuses(
        "compress --config c.toml m.onnx --data npy:x.npy,y.npy",
        &["mimic", "[7]", "[6]"],
    );
}

#[test]
fn what_cannot_be_taught_is_refused_in_one_line() {
    let t = open();
    let data = "--data npy:x.npy,y.npy";
    for (command, reasons) in [
        (
            format!("m.onnx {data} --mimic=lenet-300-10"),
            &["mimic", "mean lenet-300-100"][..],
        ),
        (
            format!("m.onnx {data} --prune --teacher other.onnx"),
            &["4 outputs", "student 3"],
        ),
        (
            format!("m.onnx {data} --prune --soft 0.5"),
            &["--teacher", "--mimic"],
        ),
        (
            format!("m.onnx {data} --mimic=mlp:4 --soft 1.5"),
            &["soft", "0 to 1"],
        ),
        ("m.onnx --mimic=mlp:4".into(), &["--data"]),
        ("m.onnx --prune --data npy:x.npy".into(), &["no labels"]),
    ] {
        t.refuses(&format!("compress {command}"), reasons);
    }
    let late = "[[stages]]\npass = 'prune'\n[[stages]]\npass = 'mimic'\nstudent = 'mlp:4'";
    t.write("c.toml", late);
    t.refuses(
        &format!("compress --config c.toml m.onnx {data}"),
        &["stage 2 (mimic)", "stage 1 (prune)", "put it before"],
    );
    let tuned = "[[stages]]\npass = 'fine-tune'\n[[stages]]\npass = 'mimic'\nstudent = 'mlp:4'";
    t.write("c.toml", tuned);
    t.says(&format!(
        "compress --config c.toml m.onnx {data} --epochs 3"
    ));
}
