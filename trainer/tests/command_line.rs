//! The command line as a user meets it: what it prints, writes, refuses and leaves behind.

#[path = "common/terminal.rs"]
mod terminal;

use std::io::Write;
use terminal::{Terminal, assert_same_measure, npy, patched};
use trainer::data::DataSpec;

fn open() -> Terminal {
    Terminal::new(env!("CARGO_BIN_EXE_trainer"))
}

/// Six 2×2 images of three classes as a pair of IDX files.
fn idx() -> (Vec<u8>, Vec<u8>) {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect();
    let (mut images, mut labels): (Vec<u8>, Vec<u8>) =
        (words(&[0x0803, 6, 2, 2]), words(&[0x0801, 6]));
    images.extend((0..24).map(|p| p * 10));
    labels.extend([0, 1, 2, 0, 1, 2]);
    (images, labels)
}

const TABLE: &str = "a,b,kind\n1,0,0\n0,1,1\n2,0.5,0\n0,2,1\n1,0,0\n0,1,1\n1.5,0,0\n";

#[test]
fn training_writes_a_model_and_a_report_that_agree_with_eval() {
    let t = open();
    let fit = "trainer fit --arch mlp:32 --data glyphs:500 --epochs 12 --lr 0.005 --hold-out 50";
    let said = t.says(&format!("{fit} -o m.onnx --report r.json"));
    assert!(
        said.contains("error on") && said.contains("wrote m.onnx"),
        "{said}"
    );
    let names: Vec<String> = t.files().into_keys().collect();
    assert_eq!(names, ["m.onnx", "r.json"], "no checkpoint is left");

    let report = t.json("r.json");
    let json = t.says("trainer eval m.onnx --data glyphs:500 --json");
    let measured: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_same_measure(&measured, &report);
    assert_eq!(measured["metric"], "error_percent");
    assert_eq!(measured["split"], "test");
    let error = measured["value"].as_f64().expect("a number");
    assert!(error < 45.0, "half a guess would be 45 %, not {error}");
    assert_eq!(report["parameters"], 784 * 32 + 32 + 32 * 10 + 10);
    let epochs = report["outcome"]["history"].as_array().expect("a list");
    assert!(epochs.len() == 12 && epochs[0]["held_out_error"].is_number());

    let text = t.says("trainer eval m.onnx --data glyphs:500 --split train");
    assert!(text.contains("error on 500 train examples"), "{text}");
}

#[test]
fn a_seed_is_a_file() {
    let t = open();
    let fit =
        "trainer fit --arch mlp:8 --data glyphs:200 --epochs 2 --dropout 0.1 --augment default";
    for (seed, file) in [(1, "a.onnx"), (1, "b.onnx"), (2, "c.onnx")] {
        t.says(&format!("{fit} --seed {seed} -o {file}"));
    }
    assert!(t.read("a.onnx") == t.read("b.onnx"), "same seed");
    assert!(t.read("a.onnx") != t.read("c.onnx"), "another seed");
}

#[test]
fn every_kind_of_data_trains() {
    let t = open();
    let (images, labels) = idx();
    t.write("x", &images);
    t.write("y", &labels);
    t.write("t.csv", TABLE);
    for name in ["train", "t10k"] {
        t.write(&format!("{name}-images-idx3-ubyte"), &images);
        t.write(&format!("{name}-labels-idx1-ubyte"), &labels);
    }
    let x: Vec<f32> = (0..18).map(|i| i as f32).collect();
    let y: Vec<i64> = vec![0, 1, 0, 1, 0, 1, 0, 1, 0];
    t.write("x.npy", npy(&[9, 2], &x));
    t.write("y.npy", npy(&[9], &y));
    let mut archive = npyz::npz::NpzWriter::create(t.path("d.npz")).expect("creates");
    for (name, bytes) in [("x", npy(&[9, 2], &x)), ("y", npy(&[9], &y))] {
        let entry = archive.zip_writer();
        let options = npyz::zip::write::FileOptions::default();
        entry
            .start_file(format!("{name}.npy"), options)
            .expect("starts");
        entry.write_all(&bytes).expect("writes");
    }
    drop(archive);
    for data in [
        "glyphs:20",
        "idx:x,y",
        "mnist:.",
        "csv:t.csv",
        "csv:t.csv,label=kind",
        "npy:x.npy,y.npy",
        "npz:d.npz",
        "idx:x,y,scale=255",
    ] {
        t.says(&format!(
            "trainer fit --arch mlp:4 --data {data} --epochs 1 -o m.onnx"
        ));
    }
}

#[test]
fn bad_data_is_one_line() {
    let t = open();
    let (images, labels) = idx();
    t.write("x", &images);
    t.write("y", &labels);
    t.write("short", &images[..20]);
    t.write("header", &images[..6]);
    let wrong: Vec<u8> = labels
        .iter()
        .map(|&b| if b == 2 { 200 } else { b })
        .collect();
    t.write("wrong", wrong);
    for name in ["train", "t10k"] {
        t.write(&format!("{name}-images-idx3-ubyte"), &images);
        let last = if name == "t10k" { 10 } else { 9 };
        let labels = [&labels[..labels.len() - 1], &[last]].concat();
        t.write(&format!("{name}-labels-idx1-ubyte"), labels);
    }
    t.write("one.csv", "1,0,0\n");
    t.write("t.csv", TABLE.replace("0.5", "zero"));
    let array = npy(&[9, 2], &[0.5f32; 18]);
    t.write("x100.npy", &array[..100]);
    t.write("x140.npy", &array[..140]);
    t.write("y.npy", npy(&[9], &[0i64, 1, 0, 1, 0, 1, 0, 1, 70_000]));
    t.write("x18.npy", array);
    t.write("nan.npy", npy(&[9, 2], &[f32::NAN; 18]));
    t.write("m.onnx", "a model of before");
    let cases: [(&str, &[&str]); 18] = [
        ("idx:none,y", &["none", "No such file"]),
        ("idx:short,y", &["short", "truncated: 4 of 24"]),
        ("idx:header,y", &["header", "truncated"]),
        ("idx:x,wrong", &["wrong", "label 200 of example 2"]),
        ("idx:y,x", &["y", "not an IDX file of images"]),
        (
            "mnist:.",
            &["t10k-labels-idx1-ubyte", "label 10 of example 5", "0…9"],
        ),
        ("mnist:nowhere", &["nowhere", "no such file"]),
        ("csv:none.csv", &["none.csv"]),
        ("csv:one.csv", &["one.csv", "one example", "to test"]),
        ("csv:t.csv", &["t.csv", "line 4", "'zero'"]),
        ("csv:t.csv,label=sort", &["t.csv", "no column 'sort'"]),
        ("npy:x100.npy,y.npy", &["x100.npy", "not a complete"]),
        ("npy:x140.npy,y.npy", &["x140.npy", "truncated"]),
        ("npy:t.csv,y.npy", &["t.csv", "not a complete NumPy array"]),
        ("npy:x18.npy,y.npy", &["y.npy", "label 70000 of example 8"]),
        ("npy:nan.npy,y.npy", &["not finite"]),
        ("npz:x18.npy", &["x18.npy"]),
        ("npz:none.npz", &["none.npz"]),
    ];
    for (data, words) in cases {
        let fit = format!("trainer fit --arch mlp:4 --data {data} --epochs 1 -o m.onnx");
        t.refuses(&fit, words);
    }
}

#[test]
fn misspellings_name_the_nearest() {
    let t = open();
    let fit = |rest: &str| format!("trainer fit --data glyphs:20 --arch mlp:4 -o m.onnx {rest}");
    t.refuses(
        "trainer fit --arch mlp:4 -o m.onnx --data glyps:20",
        &["glyps:20", "mean glyphs?"],
    );
    t.refuses(
        "trainer fit --arch mlp:4 -o m.onnx --data glyphs:few",
        &["glyphs:few", "glyphs:N"],
    );
    let arch = "trainer fit --data glyphs:20 -o m.onnx --arch";
    t.refuses(
        &format!("{arch} lenet-300-10"),
        &["lenet-300-10'", "mean lenet-300-100?"],
    );
    t.refuses(&format!("{arch} mlp:4-x"), &["mlp:4-x", "UNITS"]);
    t.refuses(
        &fit("--optimizer nestorev"),
        &["nestorev", "mean nesterov?"],
    );
    t.refuses(&fit("--schedule cosin"), &["cosin", "mean cosine?"]);
    t.refuses(&fit("--device cpuu"), &["cpuu", "mean cpu?"]);
    t.refuses(&fit("--augment shft=2"), &["shft", "mean shift?"]);
    t.refuses(&fit("--epoch 3"), &["--epoch'", "'--epochs'"]);
    t.refuses(
        "trainer eval m.onnx --data glyphs:20 --split tset",
        &["tset", "'test'"],
    );
    t.refuses("trainer evl m.onnx", &["evl", "eval"]);
}

#[test]
fn settings_out_of_range_are_named() {
    let t = open();
    for (setting, words) in [
        ("--epochs 0", ["epochs", "at least 1"]),
        ("--batch 0", ["batch", "at least 1"]),
        ("--batch many", ["--batch", "many"]),
        ("--lr=-1", ["--lr", "'-1'"]),
        ("--lr nan", ["--lr", "'nan'"]),
        ("--lr 0", ["--lr", "above 0"]),
        ("--l2 inf", ["l2", "inf"]),
        ("--dropout 1", ["--dropout", "below 1"]),
        ("--hold-out 99", ["--hold-out 99", "20"]),
        ("--patience 2", ["--patience", "--hold-out"]),
        ("--lr 1e30 --optimizer sgd", ["loss", "lower learning rate"]),
    ] {
        let fit = "trainer fit --data glyphs:20 --arch mlp:4 -o m.onnx";
        t.refuses(&format!("{fit} {setting}"), &words);
    }
    t.write("t.csv", TABLE);
    t.refuses(
        "trainer fit --data csv:t.csv --arch mlp:4 --augment default -o m.onnx",
        &["augment", "[2]", "images"],
    );
}

#[test]
fn a_resumption_of_nothing_says_that_it_starts_anew() {
    let t = open();
    let fit = "trainer fit --data glyphs:20 --arch mlp:4 --epochs 1 -o m.onnx";
    let said = t.unread(&format!("{fit} --resume"));
    assert!(said.contains("no m.onnx.ckpt to resume from"), "{said}");
    assert!(!t.unread(fit).contains("resume"));
}

#[test]
fn a_malformed_architecture_names_file_and_place() {
    let t = open();
    let cases: [(&str, &[&str]); 12] = [
        ("name = 'x'\nlayer = [\n", &["line"]),
        ("name = 'x'\n[[layer]]\nop = 'dens'\n", &["dens", "`dense`"]),
        ("name = 'x'\n[[layer]]\nop = 'dense'\nunit = 3\n", &["unit"]),
        ("layer = []\n", &["name"]),
        ("name = 'x'\nlayer = []\n", &["'x'", "nothing to train"]),
        (
            "name = 'x'\n[[layer]]\nop = 'max_pool'\nkernel = 2\n",
            &["'x'", "nothing to train"],
        ),
        (
            "name = 'x'\n[[layer]]\nop = 'average_pool'\nkernel = 2\npadding = 2\n",
            &["pool1", "padding [2, 2, 2, 2]", "must be smaller"],
        ),
        (
            "name = 'x'\n[[layer]]\nop = 'clip'\nmin = 1.0\nmax = 0.5\n",
            &["layer 1", "1 to 0.5"],
        ),
        (
            "name = 'x'\n[[layer]]\nop = 'clip'\nmin = nan\nmax = 0.5\n",
            &["layer 1", "NaN"],
        ),
        (
            "name = 'x'\n[[layer]]\nop = 'conv'\nchannels = 2\nkernel = 40\n",
            &["40", "28"],
        ),
        (
            "name = 'x'\n[[layer]]\nop = 'dense'\nunits = 99999999999\n",
            &["layer 1", "99999999999"],
        ),
        (
            "name = 'x'\n[[layer]]\nop = 'dense'\nunits = 3\n",
            &["3 outputs", "10 classes"],
        ),
    ];
    for (text, words) in cases {
        t.write("a.toml", text);
        let fit = "trainer fit --data glyphs:20 --arch a.toml -o m.onnx";
        t.refuses(fit, words);
    }
    t.write("a.toml", "name = 'x'\nlayer = [");
    t.refuses(
        "trainer fit --data glyphs:20 --arch a.toml -o m.onnx",
        &["a.toml", "line 2"],
    );
    t.refuses(
        "trainer fit --data glyphs:20 --arch b.toml -o m.onnx",
        &["b.toml", "No such file"],
    );
}

#[test]
fn outputs_are_checked_before_training() {
    let t = open();
    let fit = "trainer fit --data glyphs:20 --arch mlp:4 --epochs 1";
    t.refuses(
        &format!("{fit} -o no/m.onnx"),
        &["no/m.onnx", "folder 'no' does not exist"],
    );
    t.refuses(
        &format!("{fit} -o m.onnx --report no/r.json"),
        &["no/r.json", "does not exist"],
    );
    t.refuses(&format!("{fit} -o ."), &["'.'", "is a folder"]);
    t.refuses(
        &format!("{fit} -o m.onnx --report ./m.onnx"),
        &["m.onnx", "two things"],
    );
    t.write("t.csv", TABLE);
    let csv = "trainer fit --data csv:t.csv --arch mlp:4 -o t.csv";
    t.refuses(csv, &["t.csv", "replace an input"]);
}

#[test]
fn bad_models_are_one_line() {
    let t = open();
    t.says("trainer fit --arch mlp:4 --data glyphs:20 --epochs 1 -o m.onnx");
    let model = t.read("m.onnx");
    t.write("none.txt", "plain text\n");
    t.write("cut.onnx", &model[..model.len() / 2]);
    t.write("tanh.onnx", patched(&model, b"Relu", b"Tanx"));
    let eval = |file: &str, words: &[&str]| {
        t.refuses(&format!("trainer eval {file} --data glyphs:20"), words);
    };
    let graph = trainer::onnx::read(&t.path("m.onnx")).expect("a model");
    let weight = graph.parameters[0].materialize()[1234].to_le_bytes();
    let nan = patched(&model, &weight, &f32::NAN.to_le_bytes());
    t.write("nan.onnx", nan);
    eval("nan.onnx", &["nan.onnx", "fc1.weight", "NaN at 1234"]);
    eval("gone.onnx", &["gone.onnx", "No such file"]);
    eval("none.txt", &["none.txt", "not a complete ONNX file"]);
    eval("cut.onnx", &["cut.onnx", "not a complete ONNX file"]);
    eval("tanh.onnx", &["tanh.onnx", "node 'relu1' (Tanx)"]);
    t.write("t.csv", TABLE);
    t.refuses(
        "trainer eval m.onnx --data csv:t.csv",
        &["[1, 28, 28]", "[2]"],
    );
}

/// Long enough to be interrupted, short enough for a test.
#[cfg(unix)]
const LONG: &str =
    "trainer fit --arch mlp:64 --data glyphs:1500 --epochs 20 --augment default --hold-out 100";

#[cfg(unix)]
#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let t = open();
    t.says(&format!("{LONG} -o whole.onnx"));
    let error = t.interrupts(&format!("{LONG} -o m.onnx"), "training: epoch 1,");
    assert!(
        error.contains("interrupted") && error.contains("m.onnx.ckpt"),
        "{error}"
    );
    assert!(error.contains("--resume"), "{error}");
    let names: Vec<String> = t.files().into_keys().collect();
    assert_eq!(names, ["m.onnx.ckpt", "whole.onnx"]);
    t.refuses(
        &format!("{LONG} -o m.onnx"),
        &["m.onnx.ckpt", "of 20 epochs", "--resume", "delete it"],
    );
    t.says(&format!("{LONG} -o m.onnx --resume"));
    assert!(t.read("m.onnx") == t.read("whole.onnx"), "another file");
    assert!(!t.path("m.onnx.ckpt").exists());
}

#[cfg(unix)]
#[test]
fn a_checkpoint_of_another_run_or_a_damaged_one_is_refused_and_kept() {
    let t = open();
    t.interrupts(&format!("{LONG} -o m.onnx"), "training: epoch 1,");
    let resume = format!("{LONG} -o m.onnx --resume");
    t.refuses(
        &format!("{resume} --l2 0.1"),
        &["m.onnx.ckpt", "other settings"],
    );
    t.refuses(
        &format!("{resume} --seed 2"),
        &["m.onnx.ckpt", "other settings"],
    );
    t.refuses(
        &resume.replace("--hold-out 100", "--hold-out 120"),
        &["m.onnx.ckpt", "another hold-out"],
    );
    t.refuses(
        &resume.replace("glyphs:1500", "glyphs:1400"),
        &["m.onnx.ckpt", "other data"],
    );
    let other = resume.replace("mlp:64", "mlp:32");
    t.refuses(&other, &["m.onnx.ckpt", "another model"]);
    let checkpoint = t.read("m.onnx.ckpt");
    t.write("m.onnx.ckpt", &checkpoint[..checkpoint.len() - 9]);
    t.refuses(&resume, &["m.onnx.ckpt", "damaged"]);
    let mut flipped = checkpoint.clone();
    flipped[checkpoint.len() / 2] ^= 1;
    t.write("m.onnx.ckpt", flipped);
    t.refuses(&resume, &["m.onnx.ckpt", "damaged"]);
    t.write("m.onnx.ckpt", "something else");
    t.refuses(&resume, &["m.onnx.ckpt", "not a checkpoint"]);
}

/// Rows of pictures as steps of time, in one file of its own and out of it.
#[test]
fn a_recurrent_description_trains() {
    let t = open();
    let layers = "name = 'rows'\nlayer = [
        { op = 'conv1d', channels = 12, kernel = 3, padding = 'same' },
        { op = 'layer_norm' },
        { op = 'hard_swish' },
        { op = 'lstm', units = 12, bidirectional = true, sequence = true },
        { op = 'gru', units = 16 },
        { op = 'dense', units = 'classes' },
    ]";
    t.write("rows.toml", layers);
    let fit = "trainer fit --arch rows.toml --data glyphs:500 --epochs 12 --lr 0.01 --batch 25";
    t.says(&format!("{fit} -o m.onnx --report r.json"));
    let report = t.json("r.json");
    let json = t.says("trainer eval m.onnx --data glyphs:500 --json");
    let measured: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_same_measure(&measured, &report);
    let error = measured["value"].as_f64().expect("a number");
    assert!(error < 45.0, "half a guess would be 45 %, not {error}");
}

#[test]
fn help_names_every_layer() {
    let t = open();
    t.write("a.toml", "name = 'x'\nlayer = [{ op = 'none' }]");
    let error = t.fails("trainer fit --data glyphs:20 --arch a.toml -o m.onnx");
    let help = t.says("trainer fit --help");
    let words: Vec<&str> = help.split([' ', ',', '\n']).collect();
    let layers: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(layers.len() > 20, "{error}");
    for layer in layers {
        assert!(words.contains(&layer), "{layer}");
    }
}

#[test]
fn a_model_from_elsewhere_is_trained_further() {
    let t = open();
    let error = |t: &Terminal, file: &str| t.json(file)["value"].as_f64().expect("a number");
    let data = "--data glyphs:2000";
    t.says(&format!(
        "trainer fit --arch mlp:32 {data} --epochs 3 -o a.onnx --report a.json"
    ));
    let further = format!("trainer fit --from a.onnx {data} --epochs 6");
    t.says(&format!("{further} -o b.onnx --report b.json"));
    let (before, after) = (error(&t, "a.json"), error(&t, "b.json"));
    assert!(after < 0.8 * before, "{before} % before, {after} % after");
    assert_eq!(t.json("b.json")["settings"]["optimizer"], "lamb");
    let words = ["a.onnx", "replace an input"];
    t.refuses(&format!("{further} -o a.onnx"), &words);
    let both = format!("{further} --arch mlp:32 -o c.onnx");
    t.refuses(&both, &["--from", "--arch"]);
    t.refuses(&format!("trainer fit {data} -o c.onnx"), &["--arch"]);
}

/// The student sees images and no labels: what it knows of them, its teachers said.
#[test]
fn teachers_stand_in_for_labels() {
    let t = open();
    let spec: DataSpec = "glyphs:2000".parse().expect("data");
    let images = spec.load().expect("built in").train;
    let shape = [images.len() as u64, 1, 28, 28];
    t.write("x.npy", npy(&shape, &images.inputs));
    for seed in [1, 2] {
        t.says(&format!(
            "trainer fit --arch mlp:32 --data glyphs:2000 --epochs 8 --lr 0.005 --seed {seed} -o {seed}.onnx"
        ));
    }
    let student = "trainer fit --arch mlp:16 --data npy:x.npy --epochs 8 --lr 0.005";
    t.says(&format!(
        "{student} --teacher 1.onnx --teacher 2.onnx --temperature 2 -o s.onnx"
    ));
    let error = |model: &str| {
        let json = t.says(&format!("trainer eval {model} --data glyphs:2000 --json"));
        let measured: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        measured["value"].as_f64().expect("a number")
    };
    let (teacher, taught) = (error("1.onnx"), error("s.onnx"));
    assert!(
        teacher < 30.0 && taught < teacher + 15.0,
        "{teacher} {taught}"
    );

    t.refuses(&format!("{student} -o u.onnx"), &["no labels", "teacher"]);
    t.write("t.csv", TABLE);
    let other = "trainer fit --arch mlp:4 --data csv:t.csv --teacher 1.onnx -o u.onnx";
    t.refuses(other, &["inputs of [1, 28, 28]", "[2]"]);
}

#[test]
fn help_has_examples() {
    let t = open();
    for command in ["trainer", "trainer fit", "trainer eval"] {
        let help = t.says(&format!("{command} --help"));
        assert!(help.contains("Examples:\n  trainer "), "{command}");
    }
}
