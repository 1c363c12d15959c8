//! Each ONNX operator, in the spellings exporters use: what is imported computes what tract does.
#![allow(clippy::unwrap_used)]

mod common;

use common::build::{Build, float, int, ints, string, tensor};
use common::{assert_close, noise, tract};
use half::f16;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use trainer::graph::{Graph, Op, reference};
use trainer::onnx::{WriteOptions, read_bytes, write_bytes};

/// Imports, compares with tract, and again after writing.
fn check(what: &str, model: &Build) -> Graph {
    let bytes = model.bytes();
    let graph = read_bytes("built.onnx", &bytes).unwrap_or_else(|e| panic!("{what}: {e}"));
    let input = noise(7, graph.value(graph.input).len());
    let shape = &graph.value(graph.input).shape;
    let expected = tract(&bytes, shape, &input).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    assert_close(&reference::run(&graph, &input), &expected, 1e-5, what);
    let written = write_bytes(&graph, WriteOptions::default()).unwrap();
    let again = tract(&written, shape, &input).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    assert_close(&again, &expected, 1e-5, what);
    assert_eq!(read_bytes("built.onnx", &written).unwrap(), graph, "{what}");
    graph
}

/// What a graph is made of.
fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|n| n.op.name()).collect()
}

fn vector(opset: i64) -> Build {
    Build::new(opset, &[1, 6])
}

fn image(opset: i64) -> Build {
    Build::new(opset, &[-1, 2, 7, 6])
}

#[test]
fn gemm() {
    for trans_b in [0, 1] {
        let dims = if trans_b == 1 { [4, 6] } else { [6, 4] };
        for (c_dims, c_len) in [(vec![4], 4), (vec![1, 4], 4), (vec![1], 1), (vec![], 1)] {
            let attributes = [
                int("transB", trans_b),
                float("alpha", 0.5),
                float("beta", 2.0),
            ];
            let model = vector(13)
                .floats("w", &dims, &noise(1, 24))
                .floats("c", &c_dims, &noise(2, c_len))
                .node("Gemm", &["x", "w", "c"], "y", &attributes);
            check(&format!("Gemm transB={trans_b} C={c_dims:?}"), &model);
        }
    }
    let model = vector(13)
        .floats("w", &[6, 4], &noise(1, 24))
        .node("Gemm", &["x", "w"], "y", &[]);
    check("Gemm without C", &model);
}

#[test]
fn a_constant_sum_becomes_the_bias() {
    let model = vector(13)
        .floats("w", &[6, 4], &noise(1, 24))
        .floats("b", &[4], &noise(2, 4))
        .node("MatMul", &["x", "w"], "m", &[])
        .node("Add", &["b", "m"], "y", &[]);
    assert_eq!(ops(&check("MatMul, Add", &model)), ["Gemm"]);

    let model = image(13)
        .floats("w", &[3, 2, 3, 3], &noise(1, 54))
        .floats("b", &[1, 3, 1, 1], &noise(2, 3))
        .node("Conv", &["x", "w"], "m", &[])
        .node("Add", &["m", "b"], "y", &[]);
    assert_eq!(ops(&check("Conv, Add", &model)), ["Conv"]);

    // The product is read twice: only one reader wants the bias.
    let model = vector(13)
        .floats("w", &[6, 4], &noise(1, 24))
        .floats("b", &[4], &noise(2, 4))
        .node("MatMul", &["x", "w"], "m", &[])
        .node("Add", &["m", "b"], "s", &[])
        .node("Add", &["m", "s"], "y", &[]);
    let graph = check("MatMul read twice", &model);
    assert_eq!(ops(&graph), ["Gemm", "BatchNormalization", "Add"]);
}

#[test]
fn conv() {
    let w = noise(1, 3 * 2 * 3 * 3);
    let cases = [
        ("plain", vec![]),
        ("pads", vec![ints("pads", &[2, 0, 1, 1])]),
        (
            "strides",
            vec![ints("strides", &[2, 3]), ints("kernel_shape", &[3, 3])],
        ),
        (
            "dilations",
            vec![ints("dilations", &[2, 1]), ints("pads", &[1, 1, 1, 1])],
        ),
        ("VALID", vec![string("auto_pad", "VALID")]),
        (
            "SAME_UPPER",
            vec![string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])],
        ),
        (
            "SAME_LOWER",
            vec![string("auto_pad", "SAME_LOWER"), ints("strides", &[2, 2])],
        ),
    ];
    for (what, attributes) in cases {
        let model = image(13)
            .floats("w", &[3, 2, 3, 3], &w)
            .floats("b", &[3], &noise(2, 3))
            .node("Conv", &["x", "w", "b"], "y", &attributes);
        check(&format!("Conv {what}"), &model);
    }
    let model = image(13).floats("w", &[4, 1, 3, 2], &noise(3, 24)).node(
        "Conv",
        &["x", "w"],
        "y",
        &[int("group", 2)],
    );
    check("Conv in groups", &model);
}

#[test]
fn pools() {
    for op in ["MaxPool", "AveragePool"] {
        let kernel = ints("kernel_shape", &[3, 2]);
        let mut cases = vec![
            ("plain", vec![]),
            ("strides", vec![ints("strides", &[2, 2])]),
            (
                "pads",
                vec![ints("strides", &[2, 1]), ints("pads", &[1, 0, 2, 1])],
            ),
            ("ceil", vec![ints("strides", &[3, 4]), int("ceil_mode", 1)]),
            (
                "SAME_UPPER",
                vec![string("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])],
            ),
        ];
        if op == "AveragePool" {
            let counted = vec![ints("pads", &[1, 1, 1, 1]), int("count_include_pad", 1)];
            cases.push(("count_include_pad", counted));
        }
        for (what, mut attributes) in cases {
            attributes.push(kernel.clone());
            let model = image(13).node(op, &["x"], "y", &attributes);
            check(&format!("{op} {what}"), &model);
        }
    }
}

#[test]
fn means_over_the_image() {
    let model = image(13).node("GlobalAveragePool", &["x"], "y", &[]);
    check("GlobalAveragePool", &model);
    let model = image(13).node("ReduceMean", &["x"], "y", &[ints("axes", &[-1, 2])]);
    assert_eq!(ops(&check("ReduceMean 13", &model)), ["GlobalAveragePool"]);
    let model = image(18).ints("axes", &[2, 3]).node(
        "ReduceMean",
        &["x", "axes"],
        "y",
        &[int("keepdims", 0)],
    );
    let graph = check("ReduceMean 18", &model);
    assert_eq!(ops(&graph), ["GlobalAveragePool", "Flatten"]);
}

#[test]
fn activations() {
    check("Relu", &vector(13).node("Relu", &["x"], "y", &[]));
    let bounds = [float("min", -0.25), float("max", 0.5)];
    check("Clip 6", &vector(7).node("Clip", &["x"], "y", &bounds));
    let model = vector(13).floats("max", &[], &[0.5]);
    check(
        "Clip above",
        &model.node("Clip", &["x", "", "max"], "y", &[]),
    );
    let model = vector(13)
        .floats("min", &[], &[0.0])
        .floats("max", &[], &[f32::INFINITY]);
    check(
        "Clip below",
        &model.node("Clip", &["x", "min", "max"], "y", &[]),
    );
    let model = vector(13)
        .floats("min", &[], &[0.5])
        .floats("max", &[], &[-0.25]);
    let model = model.node("Clip", &["x", "min", "max"], "y", &[]);
    // ONNX has the upper bound win; executors are promised a range in order.
    let (min, max) = (-0.25, -0.25);
    let graph = check("Clip of crossed bounds", &model);
    assert_eq!(graph.nodes[0].op, Op::Clip { min, max });
    check("Softmax 7", &vector(7).node("Softmax", &["x"], "y", &[]));
    check(
        "Softmax 13",
        &vector(13).node("Softmax", &["x"], "y", &[int("axis", 1)]),
    );
}

#[test]
fn functions_of_one_element() {
    let slope = [float("alpha", 0.3)];
    let line = [float("alpha", 0.3), float("beta", 0.4)];
    let functions: [(&str, &[_]); 11] = [
        ("Sigmoid", &[]),
        ("Tanh", &[]),
        ("HardSigmoid", &[]),
        ("HardSigmoid", &line),
        ("HardSwish", &[]),
        ("LeakyRelu", &[]),
        ("LeakyRelu", &slope),
        ("Elu", &[]),
        ("Elu", &slope),
        ("Softplus", &[]),
        ("Exp", &[]),
    ];
    // Past the bends of all of them.
    let scaled = || vector(17).floats("five", &[], &[5.0]);
    for (name, attributes) in functions {
        let model =
            scaled()
                .node("Mul", &["x", "five"], "v", &[])
                .node(name, &["v"], "y", attributes);
        let graph = check(name, &model);
        assert_eq!(ops(&graph), ["BatchNormalization", name]);
    }
    let model = vector(17)
        .node("Exp", &["x"], "e", &[])
        .node("Sqrt", &["e"], "y", &[]);
    check("Sqrt", &model);
    for approximate in ["none", "tanh"] {
        let model = vector(20).node("Gelu", &["x"], "y", &[string("approximate", approximate)]);
        check(&format!("Gelu {approximate}"), &model);
    }
}

#[test]
fn shapes() {
    check("Flatten", &image(13).node("Flatten", &["x"], "y", &[]));
    for target in [
        &[-1, 84][..],
        &[1, -1],
        &[0, -1],
        &[0, 2, 42],
        &[0, 0, -1, 2, 3],
    ] {
        let model = Build::new(13, &[1, 2, 7, 6]).ints("shape", target).node(
            "Reshape",
            &["x", "shape"],
            "y",
            &[],
        );
        check(&format!("Reshape {target:?}"), &model);
    }
}

/// `x.view(x.size(0), -1)`, as exported with a dynamic batch.
#[test]
fn a_shape_computed_from_the_batch() {
    let model = Build::new(13, &[-1, 2, 7, 6])
        .ints("rest", &[-1])
        .ints("axes", &[0])
        .tensor(TensorProto {
            name: "zero".into(),
            data_type: DataType::Int64 as i32,
            int64_data: vec![0],
            ..TensorProto::default()
        })
        .node("Shape", &["x"], "s", &[])
        .node("Gather", &["s", "zero"], "b", &[int("axis", 0)])
        .node("Unsqueeze", &["b", "axes"], "bs", &[])
        .node("Concat", &["bs", "rest"], "shape", &[int("axis", 0)])
        .node("Reshape", &["x", "shape"], "y", &[]);
    let graph = check("computed shape", &model);
    assert_eq!(graph.value(graph.output).shape, [84]);
}

#[test]
fn a_transposed_constant_is_a_weight() {
    let model = vector(13)
        .floats("w", &[4, 6], &noise(1, 24))
        .node("Transpose", &["w"], "wt", &[ints("perm", &[1, 0])])
        .node("MatMul", &["x", "wt"], "y", &[]);
    assert_eq!(ops(&check("Transpose", &model)), ["Gemm"]);
}

#[test]
fn batch_normalization() {
    let positive: Vec<f32> = noise(4, 2).iter().map(|v| v + 1.5).collect();
    let model = image(13)
        .floats("scale", &[2], &noise(1, 2))
        .floats("bias", &[2], &noise(2, 2))
        .floats("mean", &[2], &noise(3, 2))
        .floats("variance", &[2], &positive)
        .node(
            "BatchNormalization",
            &["x", "scale", "bias", "mean", "variance"],
            "y",
            &[float("epsilon", 0.01)],
        );
    check("BatchNormalization", &model);
}

#[test]
fn arithmetic_with_constants() {
    for op in ["Add", "Sub", "Mul", "Div"] {
        for (dims, values) in [
            (vec![], vec![0.75]),
            (vec![1], vec![-3.0]),
            (vec![2, 1, 1], vec![0.5, 4.0]),
            (vec![1, 2, 1, 1], vec![-0.5, 2.0]),
        ] {
            let model = image(13).floats("c", &dims, &values);
            check(op, &model.clone().node(op, &["x", "c"], "y", &[]));
            if op != "Div" {
                check(op, &model.node(op, &["c", "x"], "y", &[]));
            }
        }
    }
    let model = image(13)
        .floats("mean", &[2, 1, 1], &[0.25, -0.5])
        .floats("deviation", &[2, 1, 1], &[0.5, 0.3])
        .node("Sub", &["x", "mean"], "centred", &[])
        .node("Div", &["centred", "deviation"], "y", &[]);
    check("input normalization", &model);
}

#[test]
fn two_values_are_added() {
    let model = vector(13)
        .node("Relu", &["x"], "r", &[])
        .node("Add", &["x", "r"], "y", &[]);
    assert_eq!(ops(&check("Add", &model)), ["Relu", "Add"]);
}

#[test]
fn identities_disappear() {
    let model = vector(13)
        .floats("ratio", &[], &[0.5])
        .node("Identity", &["x"], "a", &[])
        .node("Relu", &["a"], "b", &[])
        .node("Dropout", &["b", "ratio"], "c", &[])
        .node("Identity", &["c"], "y", &[]);
    let graph = check("Identity", &model);
    assert_eq!(ops(&graph), ["Relu"]);
    assert_eq!(graph.value(graph.output).name, "y");
}

#[test]
fn constants_of_every_kind() {
    let values = [0.5, -2.0, 1.0, 0.25, -1.0, 3.0];
    let halves: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
    let kind = |data_type: DataType| TensorProto {
        name: "w".into(),
        dims: vec![6, 1],
        data_type: data_type as i32,
        ..TensorProto::default()
    };
    let raw = |bytes: Vec<u8>, data_type| TensorProto {
        raw_data: bytes,
        ..kind(data_type)
    };
    let tensors = [
        raw(
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DataType::Float,
        ),
        raw(
            halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DataType::Float16,
        ),
        raw(
            values
                .iter()
                .flat_map(|&v| f64::from(v).to_le_bytes())
                .collect(),
            DataType::Double,
        ),
        TensorProto {
            int32_data: halves.iter().map(|&h| i32::from(h)).collect(),
            ..kind(DataType::Float16)
        },
        TensorProto {
            double_data: values.iter().map(|&v| f64::from(v)).collect(),
            ..kind(DataType::Double)
        },
    ];
    for tensor in tensors {
        let what = format!(
            "{:?}, raw {}",
            tensor.data_type,
            !tensor.raw_data.is_empty()
        );
        let model = vector(13)
            .tensor(tensor)
            .node("Cast", &["w"], "f", &[int("to", DataType::Float as i64)])
            .node("MatMul", &["x", "f"], "y", &[]);
        let graph = read_bytes("built.onnx", &model.bytes()).unwrap();
        assert_eq!(graph.parameters[0].name, "w", "{what}");
        assert_eq!(graph.parameters[0].materialize(), values, "{what}");
    }
    let constant = TensorProto {
        float_data: values.to_vec(),
        ..kind(DataType::Float)
    };
    let model = vector(13)
        .node("Constant", &[], "w", &[tensor("value", constant)])
        .node("MatMul", &["x", "w"], "y", &[]);
    check("Constant", &model);
    for data in [true, false] {
        let shape = TensorProto {
            name: "shape".into(),
            dims: vec![3],
            data_type: DataType::Int32 as i32,
            int32_data: if data { vec![-1, 3, 2] } else { vec![] },
            raw_data: if data {
                vec![]
            } else {
                [-1_i32, 3, 2]
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect()
            },
            ..TensorProto::default()
        };
        let model = vector(13)
            .tensor(shape)
            .node("Reshape", &["x", "shape"], "y", &[]);
        let graph = read_bytes("built.onnx", &model.bytes()).unwrap();
        assert_eq!(graph.value(graph.output).shape, [3, 2]);
    }
}

#[test]
fn one_initializer_is_one_parameter() {
    let model = vector(13)
        .floats("w", &[6, 6], &noise(1, 36))
        .node("MatMul", &["x", "w"], "a", &[])
        .node("MatMul", &["a", "w"], "b", &[])
        .node("Gemm", &["b", "w"], "y", &[int("transB", 1)]);
    let graph = check("tied weights", &model);
    // The third reads it transposed, which is another matrix.
    assert_eq!(graph.parameter_count(), 72);
}

/// Versions before 4 of the format list initializers among the inputs.
#[test]
fn initializers_among_the_inputs() {
    let mut model =
        vector(13)
            .floats("w", &[6, 4], &noise(1, 24))
            .node("MatMul", &["x", "w"], "y", &[]);
    let input = common::build::value("w", &[6, 4]);
    model.graph().input.insert(0, input);
    let graph = read_bytes("built.onnx", &model.bytes()).unwrap();
    assert_eq!(graph.value(graph.input).name, "x");
}
