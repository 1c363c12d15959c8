//! What a run takes from another: only what would have become the same, and never without saying so.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

use terminal::Terminal;
use trainer::arch::Architecture;
use trainer::onnx::{self, WriteOptions};

const DATA: &str = "glyphs:500";

/// A folder with `m.onnx` and `other.onnx`, untrained networks of 784-32-10.
fn open() -> Terminal {
    let t = Terminal::new(env!("CARGO_BIN_EXE_compress"));
    let architecture = Architecture::resolve("mlp:32").expect("an architecture");
    for (name, seed) in [("m.onnx", 1), ("other.onnx", 2)] {
        let graph = architecture.build(&[1, 28, 28], 10, seed).expect("builds");
        onnx::write(&graph, &t.path(name), WriteOptions::default()).expect("writes");
    }
    t
}

/// A configuration of two prunings and codebooks.
fn three(t: &Terminal, first: f64, second: f64, bits: u8) {
    let prune = |share: f64| {
        format!("[[stages]]\npass = 'prune'\nsparsity = {share}\ntrain = {{ epochs = 1 }}\n")
    };
    let (first, second) = (prune(first), prune(second));
    let text = format!(
        "hold_out = 50\n{first}{second}[[stages]]\npass = 'quantize'\nbits = {bits}\ntrain = {{ epochs = 1 }}\n"
    );
    t.write("c.toml", text);
}

const LINE: &str = "compress --config c.toml m.onnx --data glyphs:500";

/// The stages that a run has taken from another.
fn taken(notes: &str) -> String {
    let lines: Vec<&str> = notes.lines().filter(|l| l.contains("taken from")).collect();
    assert!(lines.len() <= 1, "{notes}");
    let names = lines
        .first()
        .and_then(|line| line.split_once(": taken from"));
    names.map_or_else(String::new, |(names, _)| names.to_owned())
}

/// Runs with the cache; what was taken from it. The image must be the one that a run without it makes.
fn cached(t: &Terminal, line: &str) -> String {
    let notes = t.notes(&format!(
        "{line} --cache cache -o cached.pith --report cached.json"
    ));
    t.says(&format!("{line} -o fresh.pith --report fresh.json"));
    assert!(
        t.read("cached.pith") == t.read("fresh.pith"),
        "{line}: another image"
    );
    let (cached, fresh) = (t.json("cached.json"), t.json("fresh.json"));
    for place in 0..fresh["stages"].as_array().expect("a list").len() {
        for field in ["name", "bytes", "value"] {
            let of = |report: &serde_json::Value| report["stages"][place][field].clone();
            assert_eq!(of(&cached), of(&fresh), "{line}: {field} of stage {place}");
        }
    }
    taken(&notes)
}

#[test]
fn a_changed_stage_is_done_anew_with_those_behind_it_and_no_others() {
    let t = open();
    three(&t, 0.5, 0.8, 3);
    assert_eq!(cached(&t, LINE), "");
    assert_eq!(cached(&t, LINE), "prune, prune-2, quantize");
    three(&t, 0.5, 0.8, 2);
    assert_eq!(cached(&t, LINE), "prune, prune-2");
    three(&t, 0.5, 0.9, 2);
    assert_eq!(cached(&t, LINE), "prune");
    three(&t, 0.6, 0.9, 2);
    assert_eq!(cached(&t, LINE), "");
    // Back to what all three were once.
    three(&t, 0.5, 0.8, 3);
    assert_eq!(cached(&t, LINE), "prune, prune-2, quantize");
    // Codebooks alone know of the grid, and no stage of the coding.
    assert_eq!(cached(&t, &format!("{LINE} --grid 4")), "prune, prune-2");
    let coding = format!("{LINE} --no-huffman");
    assert_eq!(cached(&t, &coding), "prune, prune-2, quantize");
    // A change of epochs is one of settings.
    assert_eq!(cached(&t, &format!("{LINE} --epochs 10")), "");
}

#[test]
fn another_model_seed_hold_out_or_data_shares_nothing() {
    let t = open();
    three(&t, 0.5, 0.8, 3);
    assert_eq!(cached(&t, LINE), "");
    for line in [
        LINE.replace("m.onnx", "other.onnx"),
        LINE.replace(DATA, "glyphs:600"),
        format!("{LINE} --seed 2"),
    ] {
        assert_eq!(cached(&t, &line), "", "{line}");
    }
    let text = String::from_utf8(t.read("c.toml")).expect("text");
    t.write("c.toml", text.replace("hold_out = 50", "hold_out = 60"));
    assert_eq!(cached(&t, LINE), "");
    t.write("c.toml", text);
    assert_eq!(cached(&t, LINE), "prune, prune-2, quantize");
}

#[test]
fn a_result_that_cannot_be_used_is_said_so_and_replaced() {
    let t = open();
    three(&t, 0.5, 0.8, 3);
    t.says(&format!("{LINE} --cache cache"));
    let files = std::fs::read_dir(t.path("cache")).expect("a folder");
    let names = files.map(|f| {
        f.expect("an entry")
            .file_name()
            .into_string()
            .expect("text")
    });
    let mut names: Vec<String> = names.map(|name| format!("cache/{name}")).collect();
    names.sort();
    let endings: Vec<bool> = names.iter().map(|n| n.ends_with(".stage")).collect();
    assert_eq!(endings, [true; 3]);
    let second = names.iter().find(|n| n.contains("prune-2")).expect("kept");
    let whole = t.read(second);
    let line_end = whole.iter().position(|b| *b == b'\n').expect("a line");
    let version = [b"Pith stage 0 of 0.0.9".as_slice(), &whole[line_end..]].concat();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let cases = [
        (version, "another version ('Pith stage 0 of 0.0.9')"),
        (flipped, "damaged (its checksum is wrong)"),
        (whole[..whole.len() - 1].to_vec(), "damaged"),
        (whole[..line_end + 9].to_vec(), "cut off"),
        (whole[..line_end + 34].to_vec(), "damaged (it is cut off)"),
        (Vec::new(), "no result of a stage"),
        (b"\x1b[2Jwhat is this?".to_vec(), "no result of a stage"),
    ];
    for (bytes, reason) in cases {
        t.write(second, bytes);
        let notes = t.notes(&format!("{LINE} --cache cache -o again.pith"));
        let line = notes.lines().find(|l| l.contains(reason));
        let line = line.unwrap_or_else(|| panic!("no '{reason}' in {notes}"));
        assert!(
            line.starts_with(second.as_str()) && line.ends_with("is not used"),
            "{line}"
        );
        assert_eq!(taken(&notes), "prune", "{reason}");
        assert!(
            t.read("again.pith") == t.read("m.pith"),
            "{reason}: another image"
        );
        let notes = t.notes(&format!("{LINE} --cache cache -o again.pith"));
        assert_eq!(taken(&notes), "prune, prune-2, quantize", "{reason}");
    }
    // Of another key, under this one's name.
    t.write(second, t.read(&names[1]));
    let notes = t.notes(&format!("{LINE} --cache cache -o again.pith"));
    assert_eq!(taken(&notes), "prune");
    assert!(t.read("again.pith") == t.read("m.pith"), "another image");
}

#[test]
fn without_a_cache_results_stand_beside_the_image_until_it_is_there() {
    let t = open();
    three(&t, 0.5, 0.8, 3);
    t.says(&format!("{LINE} -o whole.pith"));
    // Every stage is done, but not the file.
    let error = t.fails(&format!("{LINE} --max-bytes 10"));
    assert!(error.contains("--max-bytes"), "{error}");
    for stage in ["prune", "prune-2", "quantize"] {
        assert!(t.path(&format!("m.pith.{stage}.stage")).exists(), "{stage}");
    }
    let notes = t.notes(LINE);
    assert_eq!(taken(&notes), "prune, prune-2, quantize");
    assert!(t.read("m.pith") == t.read("whole.pith"), "another image");
    let names: Vec<String> = t.files().into_keys().collect();
    let expected = ["c.toml", "m.onnx", "m.pith", "other.onnx", "whole.pith"];
    assert_eq!(names, expected);
}

/// Convolutions settle on their centroids with batch normalization first, which is gone in the end.
#[cfg(unix)]
#[test]
fn a_part_of_a_stage_is_taken_up_as_well() {
    let t = open();
    t.write(
        "cnn.toml",
        "name = 'cnn'\nlayer = [\n{ op = 'conv', channels = 6, kernel = 5, stride = 2 },\n{ op = 'relu' },\n{ op = 'dense', units = 'classes' },\n]\n",
    );
    let architecture = Architecture::resolve(&t.path("cnn.toml").to_string_lossy());
    let graph = architecture
        .expect("an architecture")
        .build(&[1, 28, 28], 10, 1);
    onnx::write(
        &graph.expect("builds"),
        &t.path("c.onnx"),
        WriteOptions::default(),
    )
    .expect("writes");
    let line = "compress c.onnx --quantize=2 --data glyphs:500 --augment none --epochs 60";
    t.says(&format!("{line} -o whole.pith"));
    t.interrupts(line, "quantize: epoch 1,");
    assert!(t.path("c.pith.quantize.weights.ckpt").exists());
    t.refuses(line, &["c.pith.quantize.weights.ckpt", "--resume"]);
    t.notes(&format!("{line} --resume"));
    assert!(t.read("c.pith") == t.read("whole.pith"), "another image");
    let left = t.files().into_keys().filter(|name| name.contains("ckpt"));
    assert_eq!(left.count(), 0);
    let image = t.read("c.pith");
    let model = no_std_core::Model::parse(&image).expect("an image");
    let linears = model
        .operators()
        .flat_map(|op| op.kind.linears().collect::<Vec<_>>());
    let gained: Vec<bool> = linears.map(|linear| linear.has_gains()).collect();
    assert_eq!(gained, [true, false], "a convolution and a dense layer");
}

#[cfg(unix)]
#[test]
fn an_interrupted_stage_leaves_those_before_it() {
    let t = open();
    three(&t, 0.5, 0.8, 3);
    let line = format!("{LINE} --epochs 60");
    t.says(&format!("{line} -o whole.pith"));
    t.interrupts(&line, "quantize: epoch 1,");
    // Without --resume the interrupted training is not begun anew over its state.
    t.refuses(&line, &["m.pith.quantize.ckpt", "--resume"]);
    let notes = t.notes(&format!("{line} --resume"));
    assert_eq!(taken(&notes), "prune, prune-2");
    assert!(t.read("m.pith") == t.read("whole.pith"), "another image");
    let names: Vec<String> = t.files().into_keys().collect();
    let expected = ["c.toml", "m.onnx", "m.pith", "other.onnx", "whole.pith"];
    assert_eq!(names, expected);
}

#[test]
fn a_cache_that_cannot_be_is_refused_before_training() {
    let t = open();
    three(&t, 0.5, 0.8, 3);
    t.refuses(
        &format!("{LINE} --cache m.onnx"),
        &["m.onnx", "cannot write"],
    );
    // Without training only a cache is worth a file.
    let line = "compress --config c.toml m.onnx --max-bytes 10";
    t.refuses(line, &["--max-bytes"]);
    t.says("compress --config c.toml m.onnx --cache cache");
    let notes = t.notes("compress --config c.toml m.onnx --cache cache");
    assert_eq!(taken(&notes), "prune, prune-2, quantize");
    assert!(notes.contains("stay in cache"), "{notes}");
}
