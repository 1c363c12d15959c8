//! The command line as a user meets it: what it prints, writes, refuses and leaves behind.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

#[path = "common/digits.rs"]
mod digits;

use digits::{DATA, network, open, write};
use serde_json::Value;
use terminal::{assert_same_measure, npy, patched};
use trainer::arch::Architecture;
use trainer::data::DataSpec;
use trainer::graph::{Graph, Op, Parameter, Window};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The sum of an object's numbers.
fn sum(object: &Value) -> u64 {
    let entries = object.as_object().expect("an object").values();
    entries.map(|v| v.as_u64().expect("a count")).sum()
}

#[test]
fn an_image_its_report_and_every_command_on_it_agree() {
    let t = open();
    let line = format!("compress --prune --quantize m.onnx --data {DATA} --epochs 6 -o m.pith");
    let said = t.says(&format!("{line} --report r.json --onnx q.onnx"));
    assert!(
        said.contains("ratio") && said.contains("wrote m.pith"),
        "{said}"
    );
    let names: Vec<String> = t.files().into_keys().collect();
    let expected = ["m.onnx", "m.pith", "q.onnx", "r.json"];
    assert_eq!(names, expected, "no checkpoint is left");

    let (report, bytes) = (t.json("r.json"), t.read("m.pith").len() as u64);
    let parameters = 784 * 32 + 32 + 32 * 10 + 10;
    assert_eq!(report["float"]["bytes"], 4 * parameters);
    assert_eq!(report["image"]["bytes"], bytes);
    assert_eq!(sum(&report["ledger"]), bytes);
    assert_eq!(report["macs"], 784 * 32 + 32 * 10);
    assert_eq!(report["seed"], 1);
    let ratio = (4 * parameters) as f64 / bytes as f64;
    let told = report["ratio"].as_f64().expect("a number");
    assert!(
        (told - ratio).abs() < 1e-9 && ratio > 20.0,
        "{told} {ratio}"
    );
    let stages: Vec<&Value> = report["stages"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(
        stages.iter().map(|s| &s["name"]).collect::<Vec<_>>(),
        ["prune", "quantize"]
    );

    let inspected = json(&t.says("compress inspect m.pith --json"));
    for field in ["ledger", "arena_bytes", "macs"] {
        assert_eq!(inspected[field], report[field], "{field}");
    }
    let layers = report["layers"].as_array().expect("a list");
    assert_eq!(layers.len(), 2);
    for (seen, told) in inspected["layers"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(layers)
    {
        for field in ["shape", "nonzero", "encoding", "bytes", "entropy_bits"] {
            assert_eq!(seen[field], told[field], "{field}");
        }
    }
    let text = t.says("compress inspect m.pith");
    for part in [
        bytes.to_string().as_str(),
        "Dense",
        "784",
        "arena",
        "weights.positions",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    for (model, told) in [("m.pith", &report["image"]), ("m.onnx", &report["float"])] {
        let measured = json(&t.says(&format!("compress eval {model} --data {DATA} --json")));
        assert_same_measure(&measured, told);
        let text = t.says(&format!(
            "compress eval {model} --data {DATA} --split train"
        ));
        assert!(text.contains("error on 500 train examples"), "{text}");
    }
}

#[test]
fn running_an_image_gives_its_integers_or_their_real_values() {
    let t = open();
    t.says(&format!("compress m.onnx --data {DATA} -o m.pith"));
    let data = DATA
        .parse::<DataSpec>()
        .expect("data")
        .load()
        .expect("data");
    let n = 20;
    let inputs = &data.test.inputs[..n * 784];
    t.write("x.npy", npy(&[n as u64, 1, 28, 28], inputs));
    t.write("one.npy", npy(&[28, 28], &inputs[..784]));
    t.says("compress run m.pith --input x.npy --output q.npy --raw");
    t.says("compress run m.pith --input x.npy --output y.npy");
    t.says("compress run m.onnx --input x.npy --output f.npy");
    t.says("compress run m.pith --input one.npy --output one_q.npy --raw");

    let (shape, integers) = read_npy::<i8>(&t.read("q.npy"));
    assert_eq!(shape, [n as u64, 10]);
    let (_, values) = read_npy::<f32>(&t.read("y.npy"));
    let (_, floats) = read_npy::<f32>(&t.read("f.npy"));
    let inspected = json(&t.says("compress inspect m.pith --json"));
    let output = inspected["tensors"]
        .as_array()
        .and_then(|t| t.last())
        .expect("an output");
    let scale = output["scale"].as_f64().expect("a number") as f32;
    let zero_point = output["zero_point"].as_i64().expect("an integer") as f32;
    for ((&q, &value), &float) in integers.iter().zip(&values).zip(&floats) {
        assert_eq!(value, (q as f32 - zero_point) * scale);
        // Eight bits of a network of two layers: a few steps beside the float model.
        assert!(
            (value - float).abs() < 8.0 * scale,
            "{value} {float} {scale}"
        );
    }
    assert_eq!(
        read_npy::<i8>(&t.read("one_q.npy")),
        (vec![1, 10], integers[..10].to_vec())
    );

    // The same errors as `eval` counts.
    let wrong = |row: &[f32], label: u32| {
        let best = (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
        best != Some(label as usize)
    };
    t.write(
        "all.npy",
        npy(&[data.test.len() as u64, 784], &data.test.inputs),
    );
    t.says("compress run m.pith --input all.npy --output all_y.npy");
    let (_, all) = read_npy::<f32>(&t.read("all_y.npy"));
    let rows = all.chunks(10).zip(&data.test.labels);
    let errors = rows.filter(|(row, label)| wrong(row, **label)).count();
    let measured = json(&t.says(&format!("compress eval m.pith --data {DATA} --json")));
    let percent = 100.0 * errors as f64 / data.test.len() as f64;
    assert!((measured["value"].as_f64().expect("a number") - percent).abs() < 1e-9);
}

fn read_npy<T: npyz::Deserialize>(bytes: &[u8]) -> (Vec<u64>, Vec<T>) {
    let array = npyz::NpyFile::new(bytes).expect("an array");
    (array.shape().to_vec(), array.into_vec().expect("elements"))
}

#[test]
fn a_seed_is_a_file() {
    let t = open();
    let line = format!("compress --prune --quantize m.onnx --data {DATA} --epochs 3");
    for (seed, file) in [(1, "a"), (1, "b"), (2, "c")] {
        t.says(&format!(
            "{line} --seed {seed} -o {file}.pith --onnx {file}.onnx"
        ));
    }
    for kind in ["pith", "onnx"] {
        let read = |name: &str| t.read(&format!("{name}.{kind}"));
        assert!(read("a") == read("b"), "same seed, {kind}");
        assert!(read("a") != read("c"), "another seed, {kind}");
    }
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let t = open();
    t.says("compress m.onnx");
    assert_eq!(t.unread("compress inspect m.pith"), "");
    assert_eq!(t.unread("compress inspect m.pith --json"), "");
}

#[test]
fn without_data_the_image_stands_beside_the_model() {
    let t = open();
    for line in ["compress m.onnx", "compress --prune --quantize m.onnx"] {
        let said = t.says(line);
        assert!(
            said.contains("wrote m.pith") && said.contains("not measured"),
            "{said}"
        );
        t.says("compress inspect m.pith");
        std::fs::remove_file(t.path("m.pith")).expect("was written");
    }
    t.says("compress m.onnx --input-range 0,1 -o a.pith --target m4");
    t.says("compress m.onnx --input-range 0,1 -o b.pith --target any");
    t.says("compress m.onnx --input-range 0,1 -o c.pith --seed 2");
    assert!(t.read("a.pith") == t.read("b.pith") && t.read("a.pith") != t.read("c.pith"));
}

#[test]
fn flags_change_what_is_written() {
    let t = open();
    let bytes = |flags: &str| {
        t.says(&format!(
            "compress {flags} m.onnx -o m.pith --report r.json"
        ));
        t.read("m.pith").len()
    };
    let int8 = bytes("");
    let (int4, int2) = (
        bytes("--grid=4 --no-huffman"),
        bytes("--grid=2 --no-huffman"),
    );
    assert!(
        int4 < int8 * 6 / 10 && int2 < int4 * 6 / 10,
        "{int8} {int4} {int2}"
    );
    assert!(bytes("--quantize=3") < bytes("--quantize=5"));
    assert!(bytes("--prune=0.95 --quantize") < bytes("--prune=0.5 --quantize"));
    assert!(bytes("--prune --quantize --huffman") < bytes("--prune --quantize --no-huffman"));
}

/// As many as asked for, also where nothing is trained, and where training is over before its optimizer
/// has said what the loss minds.
#[test]
fn the_share_asked_for_is_pruned() {
    let t = open();
    for training in [
        "",
        "--data glyphs:60 --epochs 0",
        "--data glyphs:60 --epochs 1",
    ] {
        t.says(&format!(
            "compress --prune=0.9 m.onnx {training} --no-fine-tune -o m.pith --report r.json"
        ));
        let report = t.json("r.json");
        let layers = report["layers"].as_array().expect("a list").iter();
        let nonzero: u64 = layers.filter_map(|l| l["nonzero"].as_u64()).sum();
        let left = nonzero as f64 / f64::from(784 * 32 + 32 * 10);
        // Weights of units without inputs go too.
        assert!((0.05..=0.1001).contains(&left), "{training}: {left}");
    }
}

#[test]
fn a_configuration_gives_what_flags_do_not() {
    let t = open();
    t.write(
        "c.toml",
        "seed = 7\n[[stages]]\npass = 'prune'\nlayers = [0.9, 0.5]\n[[stages]]\npass = 'quantize'\nbits = 3\n",
    );
    t.says("compress --config c.toml m.onnx --report r.json");
    let report = t.json("r.json");
    assert_eq!(report["seed"], 7);
    t.says("compress --prune=0.95 --config c.toml m.onnx --seed 8 -o s.pith --report s.json");
    assert_eq!(t.json("s.json")["seed"], 8);
    let nonzero = |report: &Value| report["layers"][1]["nonzero"].as_u64().expect("a count");
    assert_eq!(nonzero(&report), 160);
    assert_ne!(nonzero(&t.json("s.json")), 160);
}

#[test]
fn limits_refuse_an_image_before_it_is_written() {
    let t = open();
    let line = format!("compress --quantize=1 m.onnx --data {DATA} --epochs 0 -o m.pith");
    t.says(&format!(
        "{line} --report r.json --max-loss 100 --max-bytes 100000 --max-ram 9999"
    ));
    let report = t.json("r.json");
    let (bytes, arena) = (&report["image"]["bytes"], &report["arena_bytes"]);
    for (flag, value) in [("max-bytes", bytes), ("max-ram", arena)] {
        let value = value.as_u64().expect("a count");
        t.says(&format!("{line} --{flag} {value}"));
        t.refuses(
            &format!("{line} --{flag} {}", value - 1),
            &[flag, &value.to_string()],
        );
    }
    let error = |of: &str| report[of]["value"].as_f64().expect("a number");
    let loss = error("image") - error("float");
    t.says(&format!("{line} --max-loss={}", loss + 0.01));
    t.refuses(&format!("{line} --max-loss={}", loss - 0.01), &["max-loss"]);
    t.refuses("compress m.onnx --max-loss 1 -o n.pith", &["--data"]);
}

/// An image made from the same network but for its second layer's weights goes wrong just there.
#[test]
fn a_difference_names_the_layer() {
    let t = open();
    let mut other = network();
    let weights = other.parameters[2].free_mut();
    weights.reverse();
    write(&other, &t.path("other.onnx"));
    let line = format!("compress diff m.onnx m.pith --data {DATA} --json");
    t.says(&format!("compress m.onnx --data {DATA} -o m.pith"));
    let same = json(&t.says(&line));
    let ratio = |diff: &Value, layer: usize| {
        let error = &diff["layers"][layer]["error"];
        error["snr_db"].as_f64().expect("a ratio")
    };
    assert!(same["first_wrong"].is_null(), "{same}");
    assert!(ratio(&same, 0) > 30.0 && ratio(&same, 1) > 30.0, "{same}");
    t.says(&format!("compress other.onnx --data {DATA} -o m.pith"));
    let changed = json(&t.says(&line));
    assert_eq!(changed["first_wrong"], same["layers"][1]["name"]);
    assert!(ratio(&changed, 0) > 30.0, "{changed}");
    t.refuses(
        &format!("compress diff m.onnx m.onnx --data {DATA}"),
        &["m.onnx", "not a Pith image"],
    );
}

#[test]
fn methods_make_a_difference() {
    let t = open();
    let image = |flags: &str| {
        t.says(&format!(
            "compress {flags} m.onnx --data {DATA} --epochs 0 -o o.pith"
        ));
        t.read("o.pith")
    };
    let [all, most, best] =
        ["min-max", "percentile", "entropy"].map(|m| image(&format!("--calibrate {m}")));
    assert!(all != most && most != best && all != best);
    let by = |how: &str| image(&format!("--prune=0.8 --prune-by {how}"));
    assert!(by("global") != by("sensitivity"));
}

#[test]
fn bad_models_are_one_line() {
    let t = open();
    let model = t.read("m.onnx");
    t.write("none.txt", "plain text\n");
    t.write("cut.onnx", &model[..model.len() / 2]);
    t.write("operator.onnx", patched(&model, b"Relu", b"Tanx"));
    let graph = network();
    let weight = graph.parameters[0].materialize()[1234].to_le_bytes();
    t.write(
        "nan.onnx",
        patched(&model, &weight, &f32::NAN.to_le_bytes()),
    );
    t.write("m.pith", "an image of before");
    for flags in ["", "--quantize"] {
        let refuses = |file: &str, words: &[&str]| {
            t.refuses(&format!("compress {flags} {file} -o m.pith"), words);
        };
        refuses("gone.onnx", &["gone.onnx", "No such file"]);
        refuses("none.txt", &["none.txt", "not a complete ONNX file"]);
        refuses("cut.onnx", &["cut.onnx", "not a complete ONNX file"]);
        refuses(
            "operator.onnx",
            &["operator.onnx", "node 'relu1' (Tanx)", "("],
        );
        refuses("nan.onnx", &["nan.onnx", "fc1.weight", "NaN at 1234"]);
    }
    let text = "name = 'n'\nlayer = [{ op = 'softmax' }, { op = 'batch_norm' }, { op = 'relu' }, { op = 'dense', units = 2 }]";
    t.write("a.toml", text);
    let architecture = Architecture::resolve(&t.path("a.toml").display().to_string());
    let graph = architecture
        .expect("reads")
        .build(&[3], 2, 1)
        .expect("builds");
    write(&graph, &t.path("vector.onnx"));
    t.refuses(
        &format!("compress vector.onnx --data {DATA}"),
        &["[3]", "[1, 28, 28]"],
    );
    write(&windows_on_padding(), &t.path("padded.onnx"));
    t.refuses(
        "compress padded.onnx -o m.pith",
        &["'only' (Conv)", "pad less"],
    );
}

/// A node that no image holds.
fn windows_on_padding() -> Graph {
    let mut graph = Graph::new("padded", "x", &[1, 4, 4]);
    let parameter = Parameter::dense("weight", &[1, 1, 1, 1], vec![0.5]);
    let op = Op::Conv {
        weight: graph.add_parameter(parameter),
        bias: None,
        window: Window {
            padding: [1; 4],
            ..Window::square(1, 1)
        },
        dilation: [1, 1],
        groups: 1,
    };
    let x = graph.input;
    graph.push("only", op, &[x]).expect("fits");
    graph
}

#[test]
fn bad_data_is_one_line() {
    let t = open();
    t.write("t.csv", "1,2,0\n3,4,1\n5,6,0\n7,8,1\n");
    t.write("bad.csv", "1,2,0\n3,4,-1\n");
    let classes: String = (0..24)
        .map(|i| format!("{}{}\n", "0,".repeat(784), i % 12))
        .collect();
    t.write("twelve.csv", classes);
    t.says("compress m.onnx");
    for model in ["eval m.onnx", "eval m.pith", "--quantize m.onnx -o n.pith"] {
        let refuses = |data: &str, words: &[&str]| {
            t.refuses(&format!("compress {model} --data {data}"), words);
        };
        refuses("csv:gone.csv", &["gone.csv"]);
        refuses("csv:bad.csv", &["bad.csv", "label -1"]);
        refuses("csv:t.csv", &["[1, 28, 28]", "[2]"]);
        refuses("csv:twelve.csv", &["10 outputs", "12 classes"]);
        refuses("glyps", &["glyps", "mean glyphs?"]);
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let t = open();
    for (flags, words) in [
        ("--quantize=9", ["--quantize", "9"]),
        ("--quantize=four", ["--quantize", "four"]),
        ("--prune=1", ["--prune", "below 1"]),
        ("--prune=most", ["--prune", "most"]),
        ("--grid=5", ["--grid", "5"]),
        ("--target m5", ["m5", "m4"]),
        ("--calibrate minmax", ["minmax", "min-max?"]),
        ("--prune --prune-by globl", ["globl", "global?"]),
        ("--prune-by global", ["--prune-by", "--prune"]),
        ("--input-range 1,0", ["--input-range", "LO"]),
        ("--qantize", ["--qantize", "--quantize"]),
        ("--config gone.toml", ["gone.toml", "No such file"]),
        ("other.onnx", ["other.onnx", "one model"]),
    ] {
        t.refuses(&format!("compress m.onnx {flags}"), &words);
    }
    t.refuses("compress insepct m.pith", &["insepct", "mean inspect?"]);
    t.refuses("compress", &["MODEL"]);
}

#[test]
fn a_malformed_configuration_names_file_and_line() {
    let t = open();
    let cases: [(&str, &[&str]); 8] = [
        ("grid = 8\n[prune\n", &["line 2"]),
        (
            "\n[[stages]]\npass = 'prune'\nsparsty = 0.5\n",
            &["c.toml", "line 4", "sparsty", "mean sparsity?"],
        ),
        (
            "[[stages]]\npass = 'quantize'\nstart = 'liner'\n",
            &["line 3", "liner", "mean linear?"],
        ),
        ("[[stages]]\npass = 'quantize'\nbits = 'x'\n", &["line 3"]),
        (
            "[[stages]]\npass = 'prune'\nlayers = [0.5]\n",
            &["1 amounts", "2 layers"],
        ),
        (
            "[[stages]]\npass = 'prune'\nfrom = 0.9\nuntil = 0.1\n",
            &["prune.from"],
        ),
        (
            "[[stages]]\npass = 'quantize'\nentries = [16, 300]\n",
            &["quantize.entries", "300"],
        ),
        (
            "[[stages]]\npass = 'prune'\n[[stages]]\npass = 'quantize'\ntrain = { batch = 0 }\n",
            &["batch", "at least 1"],
        ),
    ];
    for (text, words) in cases {
        t.write("c.toml", text);
        t.refuses("compress --config c.toml m.onnx", words);
    }
    t.write("c.toml", "bits = 3");
    t.refuses("compress --config c.toml m.onnx", &["c.toml", "bits"]);
    t.write("c.toml", "hold_out = 1000\n[[stages]]\npass = 'prune'\n");
    let line = format!("compress --config c.toml m.onnx --data {DATA}");
    t.refuses(&line, &["hold out fewer"]);
}

#[test]
fn a_codebook_larger_than_its_layer_is_refused_before_training() {
    let t = open();
    let small = Architecture::resolve("mlp:2").expect("an architecture");
    write(
        &small.build(&[1, 28, 28], 10, 1).expect("builds"),
        &t.path("s.onnx"),
    );
    let words = ["codebook of 32", "'fc2.weight'", "20 weights", "fewer bits"];
    t.refuses("compress --quantize=5 s.onnx", &words);
    t.refuses(
        &format!("compress --prune --quantize=5 s.onnx --data {DATA}"),
        &words,
    );
}

#[test]
fn a_pruned_network_outlives_a_codebook_that_does_not_fit_it() {
    let t = open();
    // Of 784×32 weights no more than 25 are left.
    t.write(
        "c.toml",
        "[[stages]]\npass = 'prune'\nlayers = [0.999, 0.0]\n",
    );
    let line = format!("compress --config c.toml m.onnx --data {DATA} --epochs 3");
    let error = t.fails(&format!("{line} --quantize=6"));
    for part in [
        "codebook of 64",
        "weights left",
        "m.pith.prune.stage",
        "the next run",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    t.says(&format!("{line} --quantize=2"));
    t.says(&format!("{line} --quantize=2 -o anew.pith"));
    assert!(t.read("m.pith") == t.read("anew.pith"), "another image");
    let names: Vec<String> = t.files().into_keys().collect();
    assert_eq!(names, ["anew.pith", "c.toml", "m.onnx", "m.pith"]);
}

#[test]
fn damaged_images_are_one_line_to_every_command() {
    let t = open();
    t.says("compress --prune=0.97 --quantize m.onnx -o m.pith");
    let image = t.read("m.pith");
    t.write("x.npy", npy(&[784], &[0.5f32; 784]));
    t.write("y.npy", "an output of before");
    let commands = [
        "compress inspect bad.pith",
        "compress inspect bad.pith --json",
        "compress run bad.pith --input x.npy --output y.npy",
        "compress eval bad.pith --data glyphs:20",
    ];
    let mut commands = commands.iter().cycle();
    let mut refused = |bytes: &[u8]| {
        t.write("bad.pith", bytes);
        t.refuses(commands.next().expect("endless"), &["bad.pith"]);
    };
    for place in (0..image.len()).step_by(29) {
        refused(&image[..place]);
        let mut flipped = image.clone();
        flipped[place] ^= 0x40;
        refused(&flipped);
    }
    refused(&[&image[..], &[0]].concat());
    t.refuses("compress inspect gone.pith", &["gone.pith", "No such file"]);
    t.refuses("compress inspect m.onnx", &["m.onnx", "not a Pith image"]);
}

#[test]
fn inputs_that_do_not_fit_are_one_line() {
    let t = open();
    t.says("compress m.onnx");
    t.write("short.npy", &npy(&[784], &[0.5f32; 784])[..1000]);
    t.write("shape.npy", npy(&[2, 392], &[0.5f32; 784]));
    t.write("length.npy", npy(&[1, 28, 27], &[0.5f32; 756]));
    t.write("integers.npy", npy(&[784], &[1u8; 784]));
    t.write(
        "nan.npy",
        npy(&[2, 784], &[vec![0.5; 1000], vec![f32::NAN; 568]].concat()),
    );
    for model in ["m.pith", "m.onnx"] {
        let refuses = |file: &str, words: &[&str]| {
            t.refuses(
                &format!("compress run {model} --input {file} --output y.npy"),
                words,
            );
        };
        refuses("gone.npy", &["gone.npy", "No such file"]);
        refuses("m.onnx", &["m.onnx", "not a complete NumPy array"]);
        refuses("short.npy", &["short.npy", "truncated"]);
        refuses("shape.npy", &["shape.npy", "[2, 392]", "[1, 28, 28]"]);
        refuses("length.npy", &["length.npy", "[1, 28, 27]"]);
        refuses("integers.npy", &["integers.npy", "float32"]);
    }
    let run = "compress run m.pith --output y.npy --input";
    t.refuses(
        &format!("{run} nan.npy"),
        &["nan.npy", "input 1", "not a number"],
    );
    t.write("x.npy", npy(&[784], &[0.5f32; 784]));
    let raw = "compress run m.onnx --input x.npy --output y.npy --raw";
    t.refuses(raw, &["--raw", ".pith"]);
    let nowhere = "compress run m.pith --input x.npy --output no/y.npy";
    t.refuses(nowhere, &["no/y.npy", "folder 'no' does not exist"]);
}

#[test]
fn outputs_are_checked_before_training() {
    let t = open();
    let line = "compress --prune m.onnx";
    t.refuses(
        &format!("{line} -o no/m.pith"),
        &["no/m.pith", "folder 'no' does not exist"],
    );
    t.refuses(
        &format!("{line} --onnx no/q.onnx"),
        &["no/q.onnx", "does not exist"],
    );
    t.refuses(
        &format!("{line} --report no/r.json"),
        &["no/r.json", "does not exist"],
    );
    t.refuses(&format!("{line} -o ."), &["'.'", "is a folder"]);
    t.refuses(
        &format!("{line} -o m.onnx"),
        &["m.onnx", "replace an input"],
    );
    t.refuses(
        &format!("{line} --onnx ./m.onnx"),
        &["m.onnx", "replace an input"],
    );
    t.refuses(&format!("{line} -o r --report r"), &["'r'", "two things"]);
}

/// A network whose inputs are 0…255 has first weights 255 times smaller and gradients 255 times
/// larger: steps and thresholds that suit 0…1 would ruin it.
#[test]
fn a_network_that_reads_raw_pixels_survives_the_default_retraining() {
    let t = open();
    let mut graph = network();
    let first = &mut graph.parameters[0];
    assert_eq!(first.shape, [32, 784]);
    first.free_mut().iter_mut().for_each(|w| *w /= 255.0);
    write(&graph, &t.path("raw.onnx"));
    let data = "--data glyphs:2000,scale=255";
    let error = |file: &str| {
        let measure = json(&t.says(&format!("compress eval {file} {data} --json")));
        measure["value"].as_f64().expect("a number")
    };
    t.says(&format!(
        "compress --prune=0.8 --quantize raw.onnx {data} --epochs 6 -o raw.pith"
    ));
    let (float, image) = (error("raw.onnx"), error("raw.pith"));
    assert!(image <= float + 1.0, "{image} % error, {float} % before");
}

/// A model of other data than it is given learns them first, and then teaches what becomes of it.
#[test]
fn a_model_that_is_not_at_home_is_fine_tuned_first() {
    let t = open();
    let stranger = Architecture::resolve("mlp:32").expect("an architecture");
    let stranger = stranger.build(&[1, 28, 28], 10, 1).expect("builds");
    write(&stranger, &t.path("stranger.onnx"));
    let line = format!("--data {DATA} --epochs 6 --report r.json");
    let stages = || {
        let report = t.json("r.json");
        let stages = report["stages"].as_array().expect("a list").clone();
        let names: Vec<Value> = stages.into_iter().map(|s| s["name"].clone()).collect();
        (names, report)
    };
    t.says(&format!("compress --prune --quantize stranger.onnx {line}"));
    let (names, report) = stages();
    assert_eq!(names, ["fine-tune", "prune", "quantize"]);
    let error = |what: &str| report[what]["value"].as_f64().expect("a number");
    let (float, tuned, image) = (error("float"), error("fine_tuned"), error("image"));
    assert!(tuned < float - 10.0, "{tuned} %, {float} % before");
    assert!(image < float - 10.0, "{image} % of the image, {float} %");

    // Asked for, it is the same.
    let image = t.read("stranger.pith");
    t.says(&format!(
        "compress --prune --quantize --fine-tune stranger.onnx {line}"
    ));
    assert_eq!(t.read("stranger.pith"), image);
    // Labels count beside the teacher: with them left out it is another image.
    t.says(&format!(
        "compress --prune --quantize --fine-tune --soft 1 stranger.onnx {line}"
    ));
    assert_ne!(t.read("stranger.pith"), image);

    t.says(&format!(
        "compress --prune --no-fine-tune stranger.onnx {line}"
    ));
    let (names, report) = stages();
    assert_eq!(names, ["prune", "quantize"]);
    assert!(report.get("fine_tuned").is_none());
    t.says(&format!("compress --prune m.onnx {line}"));
    assert_eq!(stages().0, ["prune", "quantize"], "it is at home");
    t.says(&format!("compress --prune --fine-tune m.onnx {line}"));
    assert_eq!(stages().0, ["fine-tune", "prune", "quantize"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_retraining_goes_on_to_the_same_bytes() {
    let t = open();
    let line =
        format!("compress --prune --quantize m.onnx --data {DATA} --epochs 45 --augment default");
    let line = line.replace(DATA, "glyphs:1000");
    t.says(&format!("{line} -o whole.pith"));
    for stage in ["prune", "quantize"] {
        let error = t.interrupts(&format!("{line} -o m.pith"), &format!("{stage}: epoch 1,"));
        let checkpoint = format!("m.pith.{stage}.ckpt");
        assert!(
            error.contains("interrupted") && error.contains(&checkpoint),
            "{error}"
        );
        assert!(t.path(&checkpoint).exists() && !t.path("m.pith").exists());
        let resume = format!("{line} -o m.pith --resume");
        t.refuses(&format!("{resume} --seed 2"), &["ckpt", "other settings"]);
        let kept = t.read(&checkpoint);
        t.write(&checkpoint, &kept[..kept.len() / 2]);
        t.refuses(&resume, &[&checkpoint, "damaged"]);
        t.write(&checkpoint, kept);
        t.says(&resume);
        assert!(
            t.read("m.pith") == t.read("whole.pith"),
            "another image after {stage}"
        );
        std::fs::remove_file(t.path("m.pith")).expect("was written");
        let names: Vec<String> = t.files().into_keys().collect();
        assert_eq!(names, ["m.onnx", "whole.pith"]);
    }
}

#[test]
fn help_has_examples() {
    let t = open();
    for command in [
        "compress",
        "compress inspect",
        "compress run",
        "compress eval",
    ] {
        let help = t.says(&format!("{command} --help"));
        assert!(help.contains("Examples:\n  compress "), "{command}");
    }
}
