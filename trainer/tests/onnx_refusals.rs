//! Files that must be refused, with the reason and without a panic or a large allocation.
#![allow(clippy::unwrap_used)]

mod common;

use common::build::{Build, float, int, ints, string, strings, value};
use common::noise;
use std::path::Path;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{SparseTensorProto, StringStringEntryProto, TensorProto};
use trainer::onnx::{OnnxError, Reason, read, read_bytes};

fn reasons(model: &Build) -> Vec<Reason> {
    match read_bytes("built.onnx", &model.bytes()) {
        Err(OnnxError::Refused { reasons, .. }) => reasons,
        other => panic!("not refused: {other:?}"),
    }
}

/// Refused for one reason that contains each of these.
#[track_caller]
fn refused(model: &Build, expected: &[&str]) {
    let reasons = reasons(model);
    let [reason] = reasons.as_slice() else {
        panic!("{reasons:?}");
    };
    let shown = reason.to_string();
    for part in expected {
        assert!(shown.contains(part), "'{part}' is not in: {shown}");
    }
    assert!(!reason.way_out.is_empty());
}

fn vector() -> Build {
    Build::new(13, &[1, 6])
}

fn image() -> Build {
    Build::new(13, &[1, 2, 7, 6])
}

#[test]
fn every_reason_comes_out_at_once() {
    let model = vector()
        .floats("w", &[6, 4], &[f32::NAN; 24])
        .floats("v", &[5, 4], &noise(1, 20))
        .node("Sinh", &["x"], "a", &[])
        .node("Relu", &["a"], "b", &[])
        .node("Scan", &["b"], "c", &[])
        .node("MatMul", &["x", "w"], "d", &[])
        .node("MatMul", &["x", "v"], "e", &[])
        .node("Relu", &["c"], "y", &[]);
    let reasons = reasons(&model);
    let operators: Vec<String> = reasons.iter().map(|r| r.place.to_string()).collect();
    // The Relus only read what was refused already.
    let expected = [
        "node 'a_node' (Sinh)",
        "node 'c_node' (Scan)",
        "node 'd_node' (MatMul)",
        "node 'e_node' (MatMul)",
    ];
    assert_eq!(operators, expected);
    let error = read_bytes("built.onnx", &model.bytes()).unwrap_err();
    assert_eq!(error.to_string().matches("; ").count(), 3);
    assert!(error.to_string().contains("'w' holds NaN at 0"));
    assert!(error.to_string().contains("expects 5 inputs, gets 6"));
}

#[test]
fn bytes_that_are_no_model() {
    let random: Vec<u8> = noise(3, 4096)
        .iter()
        .map(|v| (v * 128.0) as i8 as u8)
        .collect();
    for bytes in [
        &b""[..],
        b"label,pixel\n5,0\n",
        b"\x89PNG\r\n\x1a\n",
        &[0; 64],
        &random,
    ] {
        let error = read_bytes("file.onnx", bytes).unwrap_err();
        assert!(matches!(error, OnnxError::NotOnnx { .. }), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    let error = read(Path::new("no/such/model.onnx"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no/such/model.onnx"), "{error}");
    assert!(read(Path::new(".")).is_err());
}

#[test]
fn weights_that_are_not_constant() {
    let model = image()
        .node("Relu", &["x"], "w", &[])
        .node("Conv", &["x", "w"], "y", &[]);
    refused(&model, &["y_node", "Conv", "'w'", "not constant"]);
    let model =
        image()
            .floats("w", &[1, 2, 3, 3], &noise(1, 18))
            .node("PRelu", &["w", "x"], "y", &[]);
    refused(&model, &["'x'", "not constant"]);
    let model = vector()
        .node("Relu", &["x"], "r", &[])
        .node("Where", &["x", "x", "r"], "y", &[]);
    refused(&model, &["Where", "not constant"]);
}

/// One line for what the reference would need: a loop, a wider window, another type.
#[test]
fn what_the_operators_cannot_do() {
    let lstm = |attributes: &[_]| {
        Build::new(14, &[5, 1, 3])
            .floats("w", &[1, 8, 3], &noise(1, 24))
            .floats("r", &[1, 8, 2], &noise(2, 16))
            .node("LSTM", &["x", "w", "r"], "y", attributes)
    };
    refused(&lstm(&[float("clip", 3.0)]), &["clip"]);
    refused(&lstm(&[int("input_forget", 1)]), &["input_forget"]);
    refused(&lstm(&[string("direction", "sideways")]), &["sideways"]);
    let odd = strings("activations", &["Sigmoid", "Tanh", "Affine"]);
    refused(&lstm(&[odd]), &["Affine"]);
    let volume = Build::new(13, &[1, 2, 4, 4, 4]);
    let kernel = [ints("kernel_shape", &[2, 2, 2])];
    refused(
        &volume.node("MaxPool", &["x"], "y", &kernel),
        &["1-D and 2-D"],
    );
    let resize = |mode| {
        image().floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]).node(
            "Resize",
            &["x", "", "s"],
            "y",
            &[string("mode", mode)],
        )
    };
    refused(&resize("linear"), &["linear", "nearest"]);
    let indices = image().node("MaxPool", &["x"], "p", &[ints("kernel_shape", &[2, 2])]);
    let mut indices = indices.node("Relu", &["i"], "y", &[]);
    indices.graph().node[0].output.push("i".into());
    refused(&indices, &["output 2 is used"]);
    let half = vector().node("Cast", &["x"], "y", &[int("to", DataType::Float16 as i64)]);
    refused(&half, &["rounds a computed value"]);
}

/// Sequence lengths and sizes that would allocate far more than the file holds.
#[test]
fn enormous_claims() {
    for node in [
        vector()
            .ints("n", &[1 << 40])
            .node("ConstantOfShape", &["n"], "c", &[]),
        vector()
            .ints("n", &[1 << 40, 1])
            .floats("o", &[1], &[1.0])
            .node("Expand", &["o", "n"], "c", &[]),
        vector()
            .ints("n", &[1 << 40])
            .floats("o", &[1], &[1.0])
            .node("Tile", &["o", "n"], "c", &[]),
        vector()
            .floats("a", &[], &[0.0])
            .floats("b", &[], &[1e30])
            .floats("s", &[], &[1.0])
            .node("Range", &["a", "b", "s"], "c", &[]),
        vector()
            .ints("n", &[1 << 30, 0, 0, 0])
            .node("Pad", &["x", "n"], "c", &[]),
        vector()
            .floats("o", &[2], &[1.0, 1e12])
            .node("Resize", &["x", "", "o"], "c", &[]),
    ] {
        let reasons = reasons(&node.node("Relu", &["c"], "y", &[]));
        assert_eq!(reasons.len(), 1, "{reasons:?}");
    }
}

#[test]
fn shapes_that_do_not_fit() {
    let conv = |dims: &[i64], attributes: &[_]| {
        let len = dims.iter().product::<i64>() as usize;
        image()
            .floats("w", dims, &noise(1, len))
            .node("Conv", &["x", "w"], "y", attributes)
    };
    refused(&conv(&[3, 4, 3, 3], &[]), &["2 input channels"]);
    refused(&conv(&[3, 2, 9, 9], &[]), &["window of 9"]);
    refused(&conv(&[3, 2, 3], &[]), &["2-D"]);
    refused(&conv(&[3, 2, 3, 3, 3], &[]), &["2-D"]);
    refused(
        &conv(&[3, 2, 3, 3], &[ints("strides", &[0, 1])]),
        &["none can be 0"],
    );
    refused(
        &conv(&[3, 2, 3, 3], &[ints("pads", &[0, -1, 0, 0])]),
        &["-1"],
    );
    refused(
        &conv(&[3, 2, 3, 3], &[ints("pads", &[1 << 40, 0, 0, 0])]),
        &["pads"],
    );
    refused(&conv(&[3, 2, 3, 3], &[int("group", -2)]), &["groups"]);
    refused(
        &conv(&[3, 2, 3, 3], &[ints("kernel_shape", &[2, 2])]),
        &["kernel_shape"],
    );

    let wide = image()
        .floats("c", &[5], &noise(1, 5))
        .node("Mul", &["x", "c"], "y", &[]);
    refused(&wide, &["do not broadcast"]);
    for target in [
        &[-1_i64, 5][..],
        &[3, 27],
        &[-1, -1],
        &[],
        &[0, 0, 0, 0, 0],
        &[1, 1 << 62, 4],
    ] {
        let model = image()
            .ints("shape", target)
            .node("Reshape", &["x", "shape"], "y", &[]);
        refused(&model, &["reshapes"]);
    }
    refused(
        &image().node("Flatten", &["x"], "y", &[int("axis", 5)]),
        &["axis 5"],
    );
    refused(
        &image().node("Softmax", &["x"], "y", &[int("axis", 4)]),
        &["axis 4"],
    );
    refused(
        &image().node("ReduceMean", &["x"], "y", &[ints("axes", &[-5])]),
        &["axis -5"],
    );
    let pool = [ints("kernel_shape", &[2, 2]), ints("pads", &[2, 0, 0, 0])];
    refused(&image().node("MaxPool", &["x"], "y", &pool), &["padding"]);
}

#[test]
fn attributes_without_a_meaning() {
    let model = vector().node("Relu", &["x"], "y", &[float("slope", 0.1)]);
    refused(&model, &["unknown attribute 'slope'"]);
    let model = image().node("Flatten", &["x"], "y", &[float("axis", 1.0)]);
    refused(&model, &["not of kind INT"]);
    let blocks = vector().floats("s", &[], &[0.1]).node(
        "QuantizeLinear",
        &["x", "s"],
        "y",
        &[int("block_size", 2)],
    );
    refused(&blocks, &["block_size"]);
}

#[test]
fn initializers_that_lie() {
    let model = |tensor: TensorProto| {
        let named = TensorProto {
            name: "w".into(),
            ..tensor
        };
        vector().tensor(named).node("MatMul", &["x", "w"], "y", &[])
    };
    let float = |dims: &[i64]| TensorProto {
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: noise(1, 10),
        ..TensorProto::default()
    };
    refused(&model(float(&[6, 4])), &["initializer 'w'", "10 elements"]);
    refused(&model(float(&[1 << 40, 1 << 40])), &["10 elements"]);
    refused(&model(float(&[-6, 4])), &["dimension of -6"]);
    let ragged = TensorProto {
        raw_data: vec![0; 27],
        float_data: vec![],
        ..float(&[6, 1])
    };
    refused(&model(ragged), &["27 bytes"]);
    let external = TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![StringStringEntryProto {
            key: "location".into(),
            value: "/etc/passwd".into(),
        }],
        ..float(&[6, 4])
    };
    refused(&model(external), &["another file", "/etc/passwd"]);
    let quantized = TensorProto {
        data_type: DataType::Int16 as i32,
        ..float(&[6, 4])
    };
    refused(&model(quantized), &["INT16"]);
    let overflowing = TensorProto {
        data_type: DataType::Double as i32,
        double_data: vec![1e300; 6],
        ..float(&[6, 1])
    };
    refused(&model(overflowing), &["inf at 0"]);
    let integers = TensorProto {
        data_type: DataType::Int64 as i32,
        int64_data: vec![1; 6],
        ..float(&[6, 1])
    };
    refused(&model(integers), &["real numbers"]);
}

#[test]
fn interfaces_other_than_one_to_one() {
    let relu = || vector().node("Relu", &["x"], "y", &[]);
    let mut model = vector().node("Add", &["x", "x2"], "y", &[]);
    model.graph().input.push(value("x2", &[1, 6]));
    refused(&model, &["2 inputs: 'x', 'x2'"]);
    let mut unread = relu();
    unread.graph().input.push(value("x2", &[1, 3]));
    assert!(read_bytes("built.onnx", &unread.bytes()).is_ok());
    let mut model = relu();
    model.graph().output.push(value("x", &[1, 6]));
    refused(&model, &["2 outputs"]);
    let mut model = relu();
    model.graph().output.clear();
    refused(&model, &["0 outputs"]);
    let mut model = relu();
    model.graph().output[0].name = "nowhere".into();
    refused(&model, &["'nowhere'"]);
    for (shape, expected) in [
        (&[1, -1][..], "axis 1 ('batch') is dynamic"),
        (&[1, 0], "size of 0"),
        (&[1, 1 << 40, 1 << 40], "elements"),
        (&[1, 1 << 40], "elements"),
    ] {
        let model = Build::new(13, shape).node("Relu", &["x"], "y", &[]);
        refused(&model, &["input 'x'", expected]);
    }
    for version in [6, 29] {
        refused(
            &Build::new(version, &[1, 6]).node("Relu", &["x"], "y", &[]),
            &[&format!("operator set {version}"), "7 to 28"],
        );
    }
    let mut model = relu();
    model.0.opset_import.clear();
    refused(&model, &["operator set"]);
    let mut model = relu();
    model
        .graph()
        .sparse_initializer
        .push(SparseTensorProto::default());
    refused(&model, &["sparse"]);
}

#[test]
fn names_that_clash_or_lead_nowhere() {
    let model = vector()
        .node("Relu", &["x"], "y", &[])
        .node("Relu", &["x"], "y", &[]);
    refused(&model, &["'y', which exists already"]);
    let model = vector()
        .floats("x", &[1], &[1.0])
        .floats("w", &[1], &[1.0])
        .floats("w", &[1], &[1.0])
        .node("Relu", &["x"], "y", &[]);
    assert!(
        reasons(&model)
            .iter()
            .any(|r| r.why.contains("'w', which exists"))
    );
    let model = vector().node("Relu", &["gone"], "y", &[]);
    refused(&model, &["'gone', which nothing writes"]);
    let model = vector()
        .node("Relu", &["late"], "y", &[])
        .node("Relu", &["x"], "late", &[]);
    refused(&model, &["'late' before it is written"]);
    let cycle = vector()
        .node("Add", &["x", "b"], "a", &[])
        .node("Relu", &["a"], "b", &[])
        .node("Relu", &["b"], "y", &[]);
    refused(&cycle, &["cycles"]);
    let mut model = vector().node("Relu", &["x"], "y", &[]);
    model.graph().node[0].domain = "com.example".into();
    refused(&model, &["not supported", "standard operators"]);
    let hostile = vector().node("Evil\nOp", &["x"], "y", &[]);
    assert_eq!(reasons(&hostile)[0].to_string().lines().count(), 1);
}

#[test]
fn operators_in_training_mode() {
    let model = image()
        .floats("one", &[2], &[1.0, 1.0])
        .floats("negative", &[2], &[1.0, -1.0]);
    let inputs = ["x", "one", "one", "one", "one"];
    let training = model.clone().node(
        "BatchNormalization",
        &inputs,
        "y",
        &[int("training_mode", 1)],
    );
    refused(&training, &["training mode"]);
    let inputs = ["x", "one", "one", "one", "negative"];
    refused(
        &model.node("BatchNormalization", &inputs, "y", &[]),
        &["variance"],
    );
}

/// A small model that has a bit of everything.
fn small() -> Vec<u8> {
    Build::new(17, &[-1, 1, 4, 4])
        .floats("w", &[2, 1, 3, 3], &noise(1, 18))
        .floats("max", &[], &[0.5])
        .ints("shape", &[-1, 8])
        .floats("v", &[8, 3], &noise(2, 24))
        .floats("b", &[3], &noise(3, 3))
        .node("Conv", &["x", "w"], "c", &[ints("pads", &[1, 1, 1, 1])])
        .node("Clip", &["c", "", "max"], "r", &[])
        .node(
            "MaxPool",
            &["r"],
            "p",
            &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])],
        )
        .node("Reshape", &["p", "shape"], "f", &[])
        .node("MatMul", &["f", "v"], "m", &[])
        .node("Add", &["m", "b"], "s", &[])
        .node("Softmax", &["s"], "y", &[])
        .bytes()
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = small();
    assert!(read_bytes("whole.onnx", &bytes).is_ok());
    for end in 0..bytes.len() {
        let error = read_bytes("cut.onnx", &bytes[..end]).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

/// An error or a graph whose weights are finite; never a panic.
#[test]
fn every_flipped_byte_is_survived() {
    let bytes = small();
    for i in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[i] ^= flip;
            if let Ok(graph) = read_bytes("flipped.onnx", &damaged) {
                let input = noise(1, graph.value(graph.input).len());
                let _ = trainer::graph::reference::run(&graph, &input);
                let mut weights = graph.parameters.iter().flat_map(|p| p.materialize());
                assert!(weights.all(f32::is_finite), "byte {i}");
            }
        }
    }
}

/// Weights in a file beside the model are read from there, and from nowhere else.
#[test]
fn external_data() {
    let folder = tempfile::tempdir().unwrap();
    let values = noise(1, 24);
    let bytes: Vec<u8> = [0_u8; 16]
        .into_iter()
        .chain(values.iter().flat_map(|v| v.to_le_bytes()))
        .collect();
    std::fs::write(folder.path().join("weights.bin"), &bytes).unwrap();
    let model = |entries: &[(&str, &str)]| {
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        };
        vector()
            .tensor(TensorProto {
                name: "w".into(),
                dims: vec![6, 4],
                data_type: DataType::Float as i32,
                data_location: Some(DataLocation::External as i32),
                external_data: entries.iter().map(entry).collect(),
                ..TensorProto::default()
            })
            .node("MatMul", &["x", "w"], "y", &[])
    };
    let path = folder.path().join("model.onnx");
    let import = |entries: &[(&str, &str)]| {
        std::fs::write(&path, model(entries).bytes()).unwrap();
        read(&path)
    };
    let graph = import(&[
        ("location", "weights.bin"),
        ("offset", "16"),
        ("length", "96"),
    ])
    .unwrap();
    let mut columns = values.clone();
    for (i, v) in columns.iter_mut().enumerate() {
        *v = values[i % 6 * 4 + i / 6];
    }
    assert_eq!(graph.parameters[0].materialize(), columns);
    for (entries, expected) in [
        (&[("location", "gone.bin")][..], "gone.bin"),
        (&[("location", "../weights.bin")], "not to be read"),
        (&[("location", "/etc/passwd")], "not to be read"),
        (&[], "not to be read"),
        (
            &[("location", "weights.bin"), ("length", "99999999999999")],
            "too few",
        ),
        (&[("location", "weights.bin"), ("offset", "113")], "too few"),
        (
            &[("location", "weights.bin"), ("offset", "-1")],
            "no number",
        ),
        (
            &[("location", "weights.bin"), ("length", "92")],
            "23 elements",
        ),
    ] {
        let error = import(entries).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
