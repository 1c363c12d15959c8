//! Quantized models: both ways of writing them become the same integers, and what is not quantized
//! like a value stays an operator.
#![allow(clippy::unwrap_used)]

mod common;

use common::build::{Build, int, ints};
use common::{assert_close, noise};
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use trainer::graph::{Graph, Op, Quantization, reference};
use trainer::onnx::read_bytes;

fn bytes(name: &str, kind: DataType, dims: &[i64], values: &[i32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: kind as i32,
        int32_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// int8 without a pattern, the least among them.
fn integers(seed: u64, len: usize) -> Vec<i32> {
    let mut q: Vec<i32> = noise(seed, len)
        .iter()
        .map(|v| (v * 127.0) as i32)
        .collect();
    q[0] = -128;
    q
}

/// The parameters of a convolution of an image and a dense layer, in uint8 activations or int8.
fn parameters(kind: DataType) -> Build {
    let shift = if kind == DataType::Uint8 { 128 } else { 0 };
    Build::new(13, &[1, 2, 5, 5])
        .floats("x_scale", &[], &[0.02])
        .tensor(bytes("x_zero", kind, &[], &[shift + 3]))
        .floats("y_scale", &[], &[0.05])
        .tensor(bytes("y_zero", kind, &[], &[shift - 10]))
        .floats("z_scale", &[], &[0.09])
        .tensor(bytes("z_zero", kind, &[], &[shift]))
        .tensor(bytes("w", DataType::Int8, &[3, 2, 3, 3], &integers(1, 54)))
        .floats("w_scale", &[3], &[0.01, 0.003, 0.02])
        .tensor(bytes("w_zero", DataType::Int8, &[3], &[0, 0, 0]))
        .tensor(bytes("b", DataType::Int32, &[3], &[700, -40, 12]))
        .tensor(bytes("v", DataType::Int8, &[27, 4], &integers(2, 108)))
        .floats("v_scale", &[], &[0.004])
        .tensor(bytes("v_zero", DataType::Int8, &[], &[0]))
        .ints("flat", &[1, 27])
}

fn qlinear(kind: DataType) -> Build {
    parameters(kind)
        .node("QuantizeLinear", &["x", "x_scale", "x_zero"], "xq", &[])
        .node(
            "QLinearConv",
            &[
                "xq", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "b",
            ],
            "yq",
            &[],
        )
        .node("Reshape", &["yq", "flat"], "fq", &[])
        .node(
            "QLinearMatMul",
            &[
                "fq", "y_scale", "y_zero", "v", "v_scale", "v_zero", "z_scale", "z_zero",
            ],
            "zq",
            &[],
        )
        .node("DequantizeLinear", &["zq", "z_scale", "z_zero"], "y", &[])
}

fn qdq(kind: DataType) -> Build {
    parameters(kind)
        .floats("b_scale", &[3], &[0.02 * 0.01, 0.02 * 0.003, 0.02 * 0.02])
        .node("QuantizeLinear", &["x", "x_scale", "x_zero"], "xq", &[])
        .node("DequantizeLinear", &["xq", "x_scale", "x_zero"], "xd", &[])
        .node(
            "DequantizeLinear",
            &["w", "w_scale", "w_zero"],
            "wd",
            &[int("axis", 0)],
        )
        .node(
            "DequantizeLinear",
            &["b", "b_scale"],
            "bd",
            &[int("axis", 0)],
        )
        .node("Conv", &["xd", "wd", "bd"], "c", &[])
        .node("QuantizeLinear", &["c", "y_scale", "y_zero"], "cq", &[])
        .node("DequantizeLinear", &["cq", "y_scale", "y_zero"], "cd", &[])
        .node("Reshape", &["cd", "flat"], "f", &[])
        .node("QuantizeLinear", &["f", "y_scale", "y_zero"], "fq", &[])
        .node("DequantizeLinear", &["fq", "y_scale", "y_zero"], "fd", &[])
        .node("DequantizeLinear", &["v", "v_scale", "v_zero"], "vd", &[])
        .node("MatMul", &["fd", "vd"], "m", &[])
        .node("QuantizeLinear", &["m", "z_scale", "z_zero"], "mq", &[])
        .node("DequantizeLinear", &["mq", "z_scale", "z_zero"], "y", &[])
}

fn import(model: &Build) -> Graph {
    read_bytes("built.onnx", &model.bytes()).unwrap_or_else(|e| panic!("{e}"))
}

/// All that integers depend on: operators, weights, grids, biases, scales and zero points.
fn meaning(graph: &Graph) -> Vec<String> {
    let operators = graph.nodes.iter().map(|n| n.op.name().to_owned());
    let parameters = graph.parameters.iter();
    let parameters =
        parameters.map(|p| format!("{:?} {:?} {:?}", p.shape, p.materialize(), p.grid));
    let quantized = graph
        .nodes
        .iter()
        .filter(|n| n.op != Op::Flatten)
        .map(|n| n.output);
    let values = [graph.input].into_iter().chain(quantized);
    let values = values.map(|v| format!("{:?}", graph.value(v).quantization));
    operators.chain(parameters).chain(values).collect()
}

#[test]
fn qdq_and_qlinear_import_to_the_same_integers() {
    let graph = import(&qdq(DataType::Int8));
    let expected = Quantization {
        scale: 0.02,
        zero_point: 3,
    };
    assert_eq!(graph.value(graph.input).quantization, Some(expected));
    let w = graph.parameter(graph.nodes[0].op.weight().unwrap());
    let grid = w.grid.as_ref().unwrap();
    let q: Vec<i32> = (w.free().iter().enumerate())
        .map(|(i, &v)| grid.quantize(v, i / 18))
        .collect();
    assert_eq!(q, integers(1, 54));
    for kind in [DataType::Int8, DataType::Uint8] {
        assert_eq!(
            meaning(&import(&qdq(kind))),
            meaning(&graph),
            "QDQ {kind:?}"
        );
        assert_eq!(
            meaning(&import(&qlinear(kind))),
            meaning(&graph),
            "QLinear {kind:?}"
        );
    }
}

/// Where another reader sees the value unrounded, or rounded differently, the operators stay.
#[test]
fn pairs_that_are_no_quantization_stay() {
    let pair = |model: Build, x: &str, scale: &str, y: &str| {
        let q = format!("{y}_q");
        model
            .node("QuantizeLinear", &[x, scale, "zero"], &q, &[])
            .node("DequantizeLinear", &[&q, scale, "zero"], y, &[])
    };
    let model = Build::new(13, &[1, 6])
        .floats("s", &[], &[0.1])
        .floats("t", &[], &[0.3])
        .tensor(bytes("zero", DataType::Int8, &[], &[0]))
        .node("Relu", &["x"], "r", &[]);
    let half = pair(model.clone(), "r", "s", "d").node("Add", &["r", "d"], "y", &[]);
    let other = pair(pair(model, "r", "s", "d"), "r", "t", "e").node("Add", &["d", "e"], "y", &[]);
    let x = [0.07, -1.0, 0.33, 0.5, 2.0, 0.14];
    for (model, expected) in [
        (half, [0.17, 0.0, 0.63, 1.0, 4.0, 0.24]),
        (other, [0.1, 0.0, 0.6, 1.1, 4.1, 0.1]),
    ] {
        let graph = import(&model);
        assert!(graph.values.iter().all(|v| v.quantization.is_none()));
        assert_close(
            &reference::run(&graph, &x),
            &expected,
            1e-5,
            "rounded by hand",
        );
    }
}

/// ONNX Runtime's dynamic quantizer: the float layer is left.
#[test]
fn dynamically_quantized_layers_are_float_layers() {
    let w = integers(3, 24);
    let model = |scale_dims: &[i64], scales: &[f32]| {
        Build::new(13, &[1, 6])
            .tensor(bytes("w", DataType::Int8, &[6, 4], &w))
            .floats("w_scale", scale_dims, scales)
            .tensor(bytes("w_zero", DataType::Int8, &[], &[0]))
            .node("DynamicQuantizeLinear", &["x"], "xq", &[])
            .node("MatMulInteger", &["xq", "w", "x_zero", "w_zero"], "m", &[])
            .node("Cast", &["m"], "f", &[int("to", DataType::Float as i64)])
            .node("Mul", &["x_scale", "w_scale"], "scale", &[])
            .node("Mul", &["f", "scale"], "y", &[])
    };
    for (dims, scales) in [(&[1][..], &[0.01][..]), (&[4], &[0.01, 0.02, 0.003, 0.5])] {
        let mut model = model(dims, scales);
        let outputs = &mut model.graph().node[0].output;
        outputs.extend(["x_scale".to_owned(), "x_zero".to_owned()]);
        let graph = import(&model);
        let operators: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
        assert_eq!(operators, ["Gemm"]);
        let weight = graph.parameter(graph.nodes[0].op.weight().unwrap());
        assert_eq!(weight.grid.as_ref().unwrap().scale, scales);
        let x = noise(4, 6);
        let dot = |c: usize| -> f32 { (0..6).map(|r| x[r] * w[r * 4 + c] as f32).sum() };
        let expected: Vec<f32> = (0..4).map(|c| dot(c) * scales[c % scales.len()]).collect();
        assert_close(
            &reference::run(&graph, &x),
            &expected,
            1e-5,
            "the float layer",
        );
    }
}

/// An interface of integers keeps the operator at its end.
#[test]
fn integers_in_and_out() {
    let mut model = Build::new(13, &[1, 4])
        .floats("s", &[], &[0.5])
        .tensor(bytes("z", DataType::Uint8, &[], &[10]))
        .node("DequantizeLinear", &["x", "s", "z"], "d", &[])
        .node("Relu", &["d"], "r", &[])
        .node("QuantizeLinear", &["r", "s", "z"], "y", &[]);
    let tract_onnx::pb::type_proto::Value::TensorType(tensor) = model.graph().input[0]
        .r#type
        .as_mut()
        .unwrap()
        .value
        .as_mut()
        .unwrap();
    tensor.elem_type = DataType::Uint8 as i32;
    let graph = import(&model);
    let operators: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(operators, ["DequantizeLinear", "Relu", "QuantizeLinear"]);
    assert_eq!(
        reference::run(&graph, &[0.0, 9.0, 13.0, 255.0]),
        [10.0, 10.0, 13.0, 255.0]
    );
}

/// Integer operators with zero points of their own, by hand.
#[test]
fn integer_products() {
    let mut model = Build::new(10, &[1, 1, 2, 2])
        .tensor(bytes(
            "w",
            DataType::Uint8,
            &[1, 1, 2, 2],
            &[129, 130, 127, 128],
        ))
        .tensor(bytes("x_zero", DataType::Uint8, &[], &[1]))
        .tensor(bytes("w_zero", DataType::Uint8, &[1], &[128]))
        .node(
            "ConvInteger",
            &["x", "w", "x_zero", "w_zero"],
            "y",
            &[ints("pads", &[0, 0, 0, 1])],
        );
    let tract_onnx::pb::type_proto::Value::TensorType(tensor) = model.graph().input[0]
        .r#type
        .as_mut()
        .unwrap()
        .value
        .as_mut()
        .unwrap();
    tensor.elem_type = DataType::Uint8 as i32;
    // Less their zero points, x is 4 2 / 9 0 and w is 1 2 / −1 0; padding is a real 0.
    let y = reference::run(&import(&model), &[5.0, 3.0, 10.0, 1.0]);
    assert_eq!(y, [4.0 + 4.0 - 9.0, 2.0]);
}
