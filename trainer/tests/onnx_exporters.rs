//! What exporters write around the operators: batches, shapes computed at run time, operators spelled
//! out. The oracle is tract, which computes the file as it is.
#![allow(clippy::unwrap_used)]

mod common;

use common::build::{Build, float, int, ints, tensor, value};
use common::{assert_close, noise, tract};
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use trainer::graph::{Graph, Op, Unary, reference};
use trainer::onnx::{WriteOptions, import_file, read_bytes, write_bytes};

fn import(model: &Build) -> Graph {
    read_bytes("built.onnx", &model.bytes()).unwrap_or_else(|e| panic!("{e}"))
}

/// Imports, compares with tract, and again after writing.
#[track_caller]
fn check(what: &str, model: &Build) -> Vec<&'static str> {
    let graph = import(model);
    let shape = &graph.value(graph.input).shape;
    let x: Vec<f32> = noise(7, shape.iter().product())
        .iter()
        .map(|v| v * 4.0)
        .collect();
    let expected = tract(&model.bytes(), shape, &x).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    assert_close(&reference::run(&graph, &x), &expected, 1e-5, what);
    let bytes = write_bytes(&graph, WriteOptions::default()).unwrap();
    let again = read_bytes("built.onnx", &bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_close(&reference::run(&again, &x), &expected, 1e-5, what);
    graph.nodes.iter().map(|n| n.op.name()).collect()
}

#[test]
fn gelu_spelled_out() {
    let constants = |model: Build| {
        model
            .floats("root", &[], &[std::f32::consts::SQRT_2])
            .floats("one", &[], &[1.0])
            .floats("half", &[], &[0.5])
    };
    let behind = constants(Build::new(13, &[1, 3, 8]))
        .node("Div", &["x", "root"], "a", &[])
        .node("Erf", &["a"], "b", &[])
        .node("Add", &["b", "one"], "c", &[])
        .node("Mul", &["x", "c"], "d", &[])
        .node("Mul", &["d", "half"], "y", &[]);
    assert_eq!(check("Gelu", &behind), ["Gelu"]);
    let before = constants(Build::new(13, &[1, 8]))
        .node("Mul", &["x", "half"], "h", &[])
        .node("Div", &["x", "root"], "a", &[])
        .node("Erf", &["a"], "b", &[])
        .node("Add", &["b", "one"], "c", &[])
        .node("Mul", &["h", "c"], "y", &[]);
    assert_eq!(check("Gelu", &before), ["Gelu"]);
    // Another factor is another function.
    let other = constants(Build::new(13, &[1, 8]))
        .node("Mul", &["x", "root"], "a", &[])
        .node("Erf", &["a"], "b", &[])
        .node("Add", &["b", "one"], "c", &[])
        .node("Mul", &["x", "c"], "d", &[])
        .node("Mul", &["d", "half"], "y", &[]);
    assert!(!check("not Gelu", &other).contains(&"Gelu"));
    let tanh = constants(Build::new(13, &[1, 8]))
        .floats("three", &[], &[3.0])
        .floats("c3", &[], &[0.044_715])
        .floats("c1", &[], &[0.797_884_6])
        .node("Pow", &["x", "three"], "a", &[])
        .node("Mul", &["a", "c3"], "b", &[])
        .node("Add", &["x", "b"], "c", &[])
        .node("Mul", &["c", "c1"], "d", &[])
        .node("Tanh", &["d"], "e", &[])
        .node("Add", &["e", "one"], "f", &[])
        .node("Mul", &["x", "f"], "g", &[])
        .node("Mul", &["g", "half"], "y", &[]);
    let graph = import(&tanh);
    assert_eq!(
        graph.nodes[0].op,
        Op::Unary(Unary::Gelu { approximate: true })
    );
    assert_eq!(check("Gelu, approximate", &tanh), ["Gelu"]);
}

#[test]
fn hard_swish_spelled_out() {
    let gate = Build::new(13, &[1, 8])
        .node(
            "HardSigmoid",
            &["x"],
            "g",
            &[float("alpha", 1.0 / 6.0), float("beta", 0.5)],
        )
        .node("Mul", &["x", "g"], "y", &[]);
    assert_eq!(check("HardSwish", &gate), ["HardSwish"]);
    let relu6 = Build::new(13, &[1, 2, 3, 3])
        .floats("three", &[], &[3.0])
        .floats("zero", &[], &[0.0])
        .floats("six", &[], &[6.0])
        .node("Add", &["x", "three"], "a", &[])
        .node("Clip", &["a", "zero", "six"], "b", &[])
        .node("Mul", &["x", "b"], "c", &[])
        .node("Div", &["c", "six"], "y", &[]);
    assert_eq!(check("HardSwish by Relu6", &relu6), ["HardSwish"]);
}

#[test]
fn layer_normalization_spelled_out() {
    for (shape, axis) in [(&[1, 5, 6][..], 2), (&[1, 6], 1)] {
        let model = Build::new(13, shape)
            .floats("two", &[], &[2.0])
            .floats("epsilon", &[], &[1e-3])
            .floats("gamma", &[6], &noise(1, 6))
            .floats("beta", &[6], &noise(2, 6))
            .node("ReduceMean", &["x"], "m", &[ints("axes", &[axis])])
            .node("Sub", &["x", "m"], "d", &[])
            .node("Pow", &["d", "two"], "s", &[])
            .node("ReduceMean", &["s"], "v", &[ints("axes", &[-1])])
            .node("Add", &["v", "epsilon"], "e", &[])
            .node("Sqrt", &["e"], "r", &[])
            .node("Div", &["d", "r"], "n", &[])
            .node("Mul", &["n", "gamma"], "g", &[])
            .node("Add", &["g", "beta"], "y", &[]);
        assert_eq!(check("LayerNormalization", &model), ["LayerNormalization"]);
    }
}

/// Attention of two heads, with the shapes that PyTorch computes at run time.
#[test]
fn attention() {
    let mut model = Build::new(13, &[-1, 5, 8])
        .ints("zero", &[0])
        .ints("rest", &[5, 2, 4])
        .ints("flat", &[0, 5, 8])
        .floats("root", &[], &[2.0])
        .node("Shape", &["x"], "shape", &[])
        .node("Gather", &["shape", "zero"], "batch", &[int("axis", 0)])
        .node("Concat", &["batch", "rest"], "heads", &[int("axis", 0)]);
    for (i, name) in ["q", "k", "v"].into_iter().enumerate() {
        let perm = if name == "k" {
            [0, 2, 3, 1]
        } else {
            [0, 2, 1, 3]
        };
        let names = ["w", "b", "m", "s", "r", "t"].map(|part| format!("{name}{part}"));
        let [w, b, m, s, r, t] = names.each_ref().map(String::as_str);
        model = model
            .floats(w, &[8, 8], &noise(i as u64 + 1, 64))
            .floats(b, &[8], &noise(i as u64 + 4, 8))
            .node("MatMul", &["x", w], m, &[])
            .node("Add", &[b, m], s, &[])
            .node("Reshape", &[s, "heads"], r, &[])
            .node("Transpose", &[r], t, &[ints("perm", &perm)]);
    }
    let model = model
        .node("MatMul", &["qt", "kt"], "scores", &[])
        .node("Div", &["scores", "root"], "scaled", &[])
        .node("Softmax", &["scaled"], "weights", &[int("axis", -1)])
        .node("MatMul", &["weights", "vt"], "mixed", &[])
        .node(
            "Transpose",
            &["mixed"],
            "back",
            &[ints("perm", &[0, 2, 1, 3])],
        )
        .node("Reshape", &["back", "flat"], "y", &[]);
    let operators = check("attention", &model);
    let count = |name| operators.iter().filter(|o| **o == name).count();
    assert_eq!(
        (count("Gemm"), count("MatMul"), count("Transpose")),
        (3, 2, 4),
        "{operators:?}"
    );
}

/// A batch in the file is a batch of examples, unless an operator mixes them.
#[test]
fn batches() {
    let input = |model: &Build| {
        let graph = import(model);
        graph.value(graph.input).shape.clone()
    };
    let fixed = || {
        Build::new(13, &[4, 2, 3])
            .ints("flat", &[4, 6])
            .ints("mixed", &[8, 3])
    };
    assert_eq!(input(&fixed().node("Relu", &["x"], "y", &[])), [2, 3]);
    assert_eq!(
        input(&fixed().node("Reshape", &["x", "flat"], "y", &[])),
        [2, 3]
    );
    assert_eq!(
        input(&fixed().node("Softmax", &["x"], "y", &[int("axis", 1)])),
        [2, 3]
    );
    for mixing in [
        fixed().node("Reshape", &["x", "mixed"], "y", &[]),
        fixed().node("Transpose", &["x"], "y", &[]),
        fixed().node("Softmax", &["x"], "y", &[int("axis", 0)]),
        fixed().node("ReduceMean", &["x"], "y", &[ints("axes", &[0, 2])]),
        fixed()
            .floats("c", &[4, 1, 1], &[1.0, 2.0, 3.0, 4.0])
            .node("Mul", &["x", "c"], "y", &[]),
    ] {
        assert_eq!(input(&mixing), [4, 2, 3]);
    }
    // One convolution for each example, whose results are then mixed.
    let w = noise(1, 12);
    let model = Build::new(13, &[3, 2, 5]).floats("w", &[2, 2, 3], &w);
    let model = model.node("Conv", &["x", "w"], "c", &[]).node(
        "Transpose",
        &["c"],
        "y",
        &[ints("perm", &[1, 2, 0])],
    );
    let graph = import(&model);
    assert_eq!(graph.value(graph.output).shape, [2, 3, 3]);
    let x = noise(2, 30);
    let at = |n: usize, o: usize, p: usize| -> f32 {
        let tap = |i: usize| w[o * 6 + i] * x[n * 10 + i / 3 * 5 + p + i % 3];
        (0..6).map(tap).sum()
    };
    let places = (0..18).map(|i| at(i % 3, i / 9, i / 3 % 3));
    let expected: Vec<f32> = places.collect();
    assert_close(
        &reference::run(&graph, &x),
        &expected,
        1e-5,
        "a batch of convolutions",
    );
}

#[test]
fn a_dynamic_batch_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let notes = |shape: &[i64]| {
        let model = Build::new(13, shape).node("Relu", &["x"], "y", &[]);
        std::fs::write(&path, model.bytes()).unwrap();
        import_file(&path).unwrap().notes
    };
    assert!(notes(&[1, 6]).is_empty());
    let notes = notes(&[-1, 6]);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("('batch') is fixed to 1"), "{notes:?}");
    assert_eq!(notes[0].lines().count(), 1);
}

/// Rows of a table at computed places: of integers that are the input, or of an ArgMax.
#[test]
fn embedding() {
    let table = noise(1, 12);
    let mut model = Build::new(13, &[1, 3])
        .floats("table", &[4, 3], &table)
        .node("Gather", &["table", "x"], "y", &[]);
    let mut input = value("x", &[1, 3]);
    let tract_onnx::pb::type_proto::Value::TensorType(tensor) =
        input.r#type.as_mut().unwrap().value.as_mut().unwrap();
    tensor.elem_type = DataType::Int64 as i32;
    model.graph().input = vec![input];
    let graph = import(&model);
    let y = reference::run(&graph, &[2.0, 0.0, 3.0]);
    assert_eq!(y, [&table[6..9], &table[..3], &table[9..]].concat());
    assert_eq!(graph.value(graph.output).shape, [3, 3]);
}

/// Constants alone are computed by the graph they would become, whatever the operator.
#[test]
fn constants_are_folded() {
    let constant = TensorProto {
        dims: vec![6, 4],
        data_type: DataType::Float as i32,
        float_data: noise(1, 24),
        ..TensorProto::default()
    };
    let model = Build::new(13, &[1, 6])
        .floats("v", &[4, 4], &noise(2, 16))
        .ints("starts", &[3])
        .ints("ends", &[i64::MIN])
        .ints("axes", &[0])
        .ints("steps", &[-1])
        .node("Constant", &[], "c", &[tensor("value", constant)])
        .node("Tanh", &["c"], "t", &[])
        .node(
            "Slice",
            &["v", "starts", "ends", "axes", "steps"],
            "turned",
            &[],
        )
        .node("MatMul", &["t", "turned"], "w", &[])
        .node("Softmax", &["w"], "s", &[int("axis", 0)])
        .node("MatMul", &["x", "s"], "y", &[]);
    assert_eq!(check("folded", &model), ["Gemm"]);
}
