//! What survives the way into a file and back.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_close, assert_onnx_runtime, noise, tract};
use half::f16;
use prost::Message;
use tract_onnx::pb::ModelProto;
use trainer::files::WriteError;
use trainer::graph::{
    Cut, Graph, Grid, HashedWeights, Op, Parameter, Parametrization, Quantization, SignWeights,
    ValueId, VectorWeights, Window, reference,
};
use trainer::onnx::{OnnxError, WriteOptions, read, read_bytes, write, write_bytes};

const PLAIN: WriteOptions = WriteOptions {
    f16: false,
    qdq: false,
};
const HALF: WriteOptions = WriteOptions {
    f16: true,
    qdq: false,
};

/// Masked convolution, shared and gridded dense layers, quantized values, user metadata.
fn graph() -> Graph {
    let mut graph = Graph::new("every parametrization", "pixels", &[1, 6, 6]);
    let mask: Vec<bool> = noise(1, 18).iter().map(|v| *v > 0.0).collect();
    let weights = noise(2, 18);
    let values = weights
        .iter()
        .zip(&mask)
        .map(|(&w, &keep)| if keep { w } else { 0.0 });
    let weight = graph.add_parameter(Parameter {
        name: "conv.weight".into(),
        shape: vec![2, 1, 3, 3],
        parametrization: Parametrization::Masked {
            values: values.collect(),
            mask,
        },
        gains: Vec::new(),
        grid: None,
    });
    let bias = Some(graph.add_parameter(Parameter::dense("conv.bias", &[2], noise(3, 2))));
    let op = Op::Conv {
        weight,
        bias,
        window: Window::square(3, 1),
        dilation: [1, 1],
        groups: 1,
    };
    let x = graph.push("conv", op, &[ValueId(0)]).unwrap();
    let x = graph
        .push("clip", Op::Clip { min: 0.0, max: 6.0 }, &[x])
        .unwrap();
    let window = Window::square(2, 2);
    let x = graph
        .push(
            "pool",
            Op::MaxPool {
                window,
                dilation: [1, 1],
            },
            &[x],
        )
        .unwrap();
    let x = graph.push("flatten", Op::Flatten, &[x]).unwrap();
    let weight = graph.add_parameter(Parameter {
        name: "hidden.weight".into(),
        shape: vec![5, 8],
        parametrization: Parametrization::Shared {
            codebook: vec![0.0, 0.1, -0.7],
            indices: (0..40).map(|i| i * 7 % 3).collect(),
            pinned_zero: true,
        },
        gains: vec![1.0, 0.5, 3.0, 1.0, 1e-3],
        grid: Some(Grid {
            scale: [1.0, 0.5, 3.0, 1.0, 1e-3].map(|gain| gain * 0.013).to_vec(),
            max: 127,
        }),
    });
    let x = graph
        .push("hidden", Op::Gemm { weight, bias: None }, &[x])
        .unwrap();
    let x = graph.push("relu", Op::Relu, &[x]).unwrap();
    let scale = vec![0.1, 0.37, 0.003];
    let on_grid = (0..15).map(|i| scale[i / 5] * (i as f32 - 7.0)).collect();
    let mut weight = Parameter::dense("output.weight", &[3, 5], on_grid);
    weight.grid = Some(Grid { scale, max: 7 });
    let weight = graph.add_parameter(weight);
    let bias = Some(graph.add_parameter(Parameter::dense("output.bias", &[3], noise(6, 3))));
    graph
        .push("output", Op::Gemm { weight, bias }, &[x])
        .unwrap();
    graph.values[0].quantization = Some(Quantization {
        scale: 1.0 / 255.0,
        zero_point: -128,
    });
    graph.values[3].quantization = Some(Quantization {
        scale: 0.1,
        zero_point: 3,
    });
    graph
        .metadata
        .insert("labels".into(), "zero\none \"two\"".into());
    graph
}

/// Bits, where equality would let −0 pass for 0.
fn bits(graph: &Graph) -> Vec<Vec<u32>> {
    let free = graph.parameters.iter().map(|p| p.free());
    free.map(|f| f.iter().map(|v| v.to_bits()).collect())
        .collect()
}

#[test]
fn everything_survives() {
    let graph = graph();
    let bytes = write_bytes(&graph, PLAIN).unwrap();
    let again = read_bytes("other name.onnx", &bytes).unwrap();
    assert_eq!(again, graph);
    assert_eq!(bits(&again), bits(&graph));
    assert_eq!(write_bytes(&again, PLAIN).unwrap(), bytes, "the same bytes");
    let input = noise(9, 36);
    let expected = reference::run(&graph, &input);
    assert_close(
        &tract(&bytes, &[1, 6, 6], &input).unwrap(),
        &expected,
        1e-5,
        "tract",
    );
}

#[test]
fn the_interface_is_as_documented() {
    let model = ModelProto::decode(&write_bytes(&graph(), PLAIN).unwrap()[..]).unwrap();
    assert_eq!(
        (model.ir_version, model.producer_name.as_str()),
        (8, "pith")
    );
    assert_eq!(model.opset_import[0].version, 17);
    let shown = format!("{:?}", model.graph.unwrap().input[0]);
    assert!(shown.contains("DimParam(\"N\")"), "{shown}");
}

#[test]
fn float16_halves_the_weights_and_rounds_them() {
    let mut graph = Graph::new("half", "x", &[40]);
    let values = noise(1, 4000);
    let weight = graph.add_parameter(Parameter::dense("w", &[100, 40], values.clone()));
    // Beyond float16: stays float32.
    let bias = Some(graph.add_parameter(Parameter::dense("b", &[100], vec![1e6; 100])));
    graph
        .push("gemm", Op::Gemm { weight, bias }, &[ValueId(0)])
        .unwrap();
    let bytes = write_bytes(&graph, HALF).unwrap();
    assert!(
        bytes.len() < 2 * 4000 + 4 * 100 + 400,
        "{} bytes",
        bytes.len()
    );
    let again = read_bytes("half.onnx", &bytes).unwrap();
    let rounded: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
    assert_eq!(again.parameters[0].materialize(), rounded);
    assert_eq!(again.parameters[1], graph.parameters[1]);
    let input = noise(9, 40);
    let expected = reference::run(&again, &input);
    assert_close(
        &tract(&bytes, &[40], &input).unwrap(),
        &expected,
        1e-5,
        "tract",
    );
}

#[test]
fn float16_keeps_parametrizations() {
    let graph = graph();
    let again = read_bytes("x.onnx", &write_bytes(&graph, HALF).unwrap()).unwrap();
    for (a, b) in again.parameters.iter().zip(&graph.parameters) {
        let kinds = [a, b].map(|p| std::mem::discriminant(&p.parametrization));
        assert_eq!((kinds[0], &a.grid), (kinds[1], &b.grid), "{}", a.name);
    }
    // On a grid nothing is rounded to float16.
    assert_eq!(again.parameters[2], graph.parameters[2]);
}

#[test]
fn onnx_runtime_agrees() {
    let graph = graph();
    let input = noise(9, 36);
    for (what, options) in [("plain", PLAIN), ("float16", HALF)] {
        let bytes = write_bytes(&graph, options).unwrap();
        let again = read_bytes("x.onnx", &bytes).unwrap();
        let expected = reference::run(&again, &input);
        assert_onnx_runtime(what, &bytes, (&[1, 6, 6], &input), &expected);
    }
}

#[test]
fn dropout_is_left_out() {
    let mut graph = Graph::new("dropout", "x", &[4]);
    let dropout = Op::Dropout { probability: 0.5 };
    let x = graph.push("drop1", dropout.clone(), &[ValueId(0)]).unwrap();
    let x = graph.push("relu", Op::Relu, &[x]).unwrap();
    graph.push("drop2", dropout, &[x]).unwrap();
    graph.values[3].name = "scores".into();
    let again = read_bytes("x.onnx", &write_bytes(&graph, PLAIN).unwrap()).unwrap();
    let names: Vec<&str> = again.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["relu"]);
    assert_eq!(again.value(again.output).name, "scores");
    let input = noise(1, 4);
    assert_eq!(
        reference::run(&again, &input),
        reference::run(&graph, &input)
    );
}

#[test]
fn a_graph_without_operators() {
    let graph = Graph::new("nothing", "x", &[4]);
    let bytes = write_bytes(&graph, PLAIN).unwrap();
    assert_eq!(read_bytes("x.onnx", &bytes).unwrap(), graph);
    assert_eq!(tract(&bytes, &[4], &[1.0; 4]).unwrap(), [1.0; 4]);
}

/// A layer of hashed, one of binary, one of ternary weights and one of vectors.
fn coded() -> Graph {
    let mut graph = Graph::new("coded", "x", &[8]);
    let forms = [
        Parametrization::Hashed(HashedWeights::new(noise(1, 9), 77, true, [6, 8]).unwrap()),
        Parametrization::Signs(SignWeights {
            values: noise(2, 30),
            ternary: false,
            channels: 5,
        }),
        Parametrization::Signs(SignWeights {
            values: noise(3, 20),
            ternary: true,
            channels: 1,
        }),
        Parametrization::Vectors(
            VectorWeights::new(noise(4, 18), vec![2, 0, 1, 1, 2, 0], CUT, [3, 4]).unwrap(),
        ),
    ];
    let mut x = graph.input;
    let shapes = [[6, 8], [5, 6], [4, 5], [3, 4]];
    for (i, (form, shape)) in forms.into_iter().zip(shapes).enumerate() {
        let weight = graph.add_parameter(Parameter {
            name: format!("w{i}"),
            shape: shape.to_vec(),
            parametrization: form,
            gains: Vec::new(),
            grid: None,
        });
        let op = Op::Gemm { weight, bias: None };
        x = graph.push(format!("fc{i}"), op, &[x]).unwrap();
    }
    graph
}

/// Three weights of two channels and one, from two codebooks.
const CUT: Cut = Cut {
    dimension: 3,
    span: 1,
    channels: 2,
};

#[test]
fn hashes_signs_and_vectors_survive() {
    let graph = coded();
    for options in [PLAIN, HALF] {
        let again = read_bytes("coded.onnx", &write_bytes(&graph, options).unwrap()).unwrap();
        let Parametrization::Hashed(hashed) = &again.parameters[0].parametrization else {
            panic!("the hash is lost");
        };
        assert_eq!(hashed.hash().seed, 77);
        if options == PLAIN {
            assert_eq!(again.parameters[0], graph.parameters[0]);
            assert_eq!(again.parameters[3], graph.parameters[3]);
        }
        let Parametrization::Vectors(vectors) = &again.parameters[3].parametrization else {
            panic!("the vectors are lost");
        };
        assert_eq!(
            (vectors.cut(), vectors.indices()),
            (CUT, &[2, 0, 1, 1, 2, 0][..])
        );
        for (read, written) in again
            .parameters
            .iter()
            .zip(&graph.parameters)
            .skip(1)
            .take(2)
        {
            let Parametrization::Signs(signs) = &read.parametrization else {
                panic!("the signs are lost");
            };
            let Parametrization::Signs(before) = &written.parametrization else {
                unreachable!();
            };
            assert_eq!(
                (signs.ternary, signs.channels),
                (before.ternary, before.channels)
            );
            assert_eq!(read.materialize(), written.materialize(), "to the bit");
        }
    }
}

#[test]
fn forms_at_odds_with_the_weights_are_errors() {
    let original = ModelProto::decode(&write_bytes(&coded(), PLAIN).unwrap()[..]).unwrap();
    for (weight, from, to) in [
        (0, "\"seed\":77", "\"seed\":78"),
        (0, "\"signed\":true", "\"signed\":false"),
        (0, "\"values\":\"", "\"values\":\"00000000"),
        (0, "\"values\":\"", "\"values\":\"0"),
        (0, "{", "{\"mask\":\"000000000000\","),
        (
            1,
            "{",
            "{\"gains\":\"0000803f0000803f0000803f0000803f0000803f\",",
        ),
        (3, "{", "{\"gains\":\"0000803f\","),
        (3, "{", "{\"gains\":\"0000803f0000803f000080bf\","),
        (1, "\"channels\":5", "\"channels\":4"),
        (1, "\"channels\":5", "\"channels\":1"),
        (2, "\"ternary\":true", "\"ternary\":false"),
        (3, "\"entries\":3", "\"entries\":2"),
        (3, "\"entries\":3", "\"entries\":4294967295"),
        (3, "\"indices\":\"", "\"indices\":\"00"),
        (3, "\"codebooks\":\"", "\"codebooks\":\"00000000"),
        (3, "\"dimension\":3", "\"dimension\":0"),
        (3, "\"dimension\":3", "\"dimension\":2"),
        (3, "\"span\":1", "\"span\":2"),
        (3, "\"channels\":2", "\"channels\":0"),
        (3, "\"channels\":2", "\"channels\":4"),
    ] {
        let (mut model, key) = (original.clone(), format!("pith.parameter.w{weight}"));
        let mut properties = model.metadata_props.iter_mut();
        let property = properties.find(|p| p.key == key).unwrap();
        assert!(property.value.contains(from), "{}", property.value);
        property.value = property.value.replacen(from, to, 1);
        let error = read_bytes("x.onnx", &model.encode_to_vec()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("'{key}'")),
            "{to}: {error}"
        );
    }
}

#[test]
fn metadata_at_odds_with_the_weights_is_an_error() {
    let original = ModelProto::decode(&write_bytes(&graph(), PLAIN).unwrap()[..]).unwrap();
    let damaged = |key: &str, change: &dyn Fn(&str) -> String| {
        let mut model = original.clone();
        let property = model
            .metadata_props
            .iter_mut()
            .find(|p| p.key == key)
            .unwrap();
        property.value = change(&property.value);
        let error = read_bytes("x.onnx", &model.encode_to_vec()).unwrap_err();
        assert!(error.to_string().contains(&format!("'{key}'")), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    };
    let replace = |from: &'static str, to: &'static str| {
        move |value: &str| {
            assert!(value.contains(from), "{value}");
            value.replacen(from, to, 1)
        }
    };
    let conv = "pith.parameter.conv.weight";
    let hidden = "pith.parameter.hidden.weight";
    damaged("pith.format", &|_| "2".into());
    damaged(conv, &|_| "{}}".into());
    damaged(conv, &|_| "{\"mask\":\"00\"}".into());
    damaged(conv, &|_| "{\"mask\":\"000000\"}".into());
    damaged(conv, &|_| "{\"mask\":\"é00000\"}".into());
    damaged(
        hidden,
        &replace("\"codebook\":\"00000000", "\"codebook\":\"0000c07f"),
    );
    damaged(
        hidden,
        &replace("\"codebook\":\"00000000", "\"codebook\":\"0000803f"),
    );
    damaged(hidden, &replace("\"indices\":\"", "\"indices\":\"00"));
    damaged(hidden, &replace("\"indices\":\"", "\"indices\":\"f"));
    damaged(hidden, &replace("\"max\":127", "\"max\":3"));
    damaged(hidden, &replace("\"max\":127", "\"max\":-1"));
    damaged("pith.value.pixels", &replace("-128", "-129"));
    damaged(
        "pith.value.pixels",
        &replace("\"scale\":\"", "\"scale\":\"ff"),
    );

    let mut model = original.clone();
    model.metadata_props[1].key = "pith.parameter.gone".into();
    assert!(read_bytes("x.onnx", &model.encode_to_vec()).is_err());
    // Without any of it, the weights alone are a model.
    model.metadata_props.clear();
    assert!(read_bytes("x.onnx", &model.encode_to_vec()).is_ok());
}

#[test]
fn graphs_without_an_onnx_form_are_refused() {
    let mut clash = graph();
    clash.parameters[1].name = "conv.weight".into();
    let mut diverged = graph();
    diverged.parameters[1].free_mut()[0] = f32::NAN;
    let mut reserved = graph();
    reserved.metadata.insert("pith.format".into(), "1".into());
    for (graph, expected) in [
        (clash, "conv.weight"),
        (diverged, "NaN"),
        (reserved, "reserved"),
    ] {
        let error = write_bytes(&graph, PLAIN).unwrap_err();
        assert!(matches!(error, OnnxError::Unwritable { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write(&graph(), &path, PLAIN).unwrap();
    assert_eq!(read(&path).unwrap(), graph());

    let missing = folder.path().join("missing").join("model.onnx");
    let error = write(&graph(), &missing, PLAIN).unwrap_err();
    assert!(matches!(
        error,
        OnnxError::Write(WriteError::NoFolder { .. })
    ));
    assert_eq!(error.to_string().lines().count(), 1);
    // A folder stands where the file should go.
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    assert!(write(&graph(), &folder.path().join("taken"), PLAIN).is_err());
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "nothing half-written is left");
}
