//! Real ONNX models, held to the outputs stored beside them and to tract.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_close, assert_onnx_runtime, models, npy, tract};
use std::path::Path;
use trainer::data::{DataSpec, Dataset};
use trainer::graph::{Graph, reference};
use trainer::onnx::{WriteOptions, import_file, read, read_bytes, write_bytes};
use trainer::train::{DeviceChoice, error_percent};

const TOLERANCE: f32 = 1e-4;

/// Imports a model, and compares graph, stored output and the written file.
fn check(folder: &Path, model: &str, data: &str) -> Graph {
    let graph = read(&folder.join(format!("{model}.onnx"))).unwrap_or_else(|e| panic!("{e}"));
    let input = npy(&folder.join(format!("{data}.in.npy")));
    let expected = npy(&folder.join(format!("{data}.out.npy")));
    assert_close(&reference::run(&graph, &input), &expected, TOLERANCE, model);

    let bytes = write_bytes(&graph, WriteOptions::default()).unwrap();
    let shape = &graph.value(graph.input).shape;
    let again = tract(&bytes, shape, &input).unwrap_or_else(|e| panic!("{model}: {e:?}"));
    assert_close(&again, &expected, TOLERANCE, model);
    let name = format!("{}.onnx", graph.name);
    // Not `assert_eq`, which would print every weight.
    let same = read_bytes(&name, &bytes).unwrap() == graph;
    assert!(same, "{model}: the written file is another graph");
    graph
}

#[test]
fn lenets_of_mnist() {
    let Some(models) = models("MNIST models") else {
        return;
    };
    let folder = models.join("mnist");
    // Parameter counts of Han et al. 2016 (267 K and 431 K).
    let lenet300 = check(&folder, "lenet300_mnist", "lenet300_mnist");
    assert_eq!(lenet300.parameter_count(), 266_610);
    let lenet5 = check(&folder, "lenet5_mnist", "lenet5_mnist");
    assert_eq!(lenet5.parameter_count(), 431_080);
    assert_eq!(lenet5.macs(), 288_000 + 1_600_000 + 400_000 + 5_000);
}

#[test]
fn onnx_runtime_agrees_about_lenets() {
    let Some(models) = models("MNIST models") else {
        return;
    };
    for model in ["lenet300_mnist", "lenet5_mnist"] {
        let path = |suffix| models.join("mnist").join(format!("{model}.{suffix}"));
        let bytes = write_bytes(&read(&path("onnx")).unwrap(), WriteOptions::default()).unwrap();
        let x = npy(&path("in.npy"));
        assert_onnx_runtime(model, &bytes, (&[1, 28, 28], &x), &npy(&path("out.npy")));
    }
}

#[test]
fn every_pytorch_exporter() {
    let Some(models) = models("models exported by PyTorch") else {
        return;
    };
    let folder = models.join("pytorch");
    for exporter in ["ts", "dynamo", "ts_dynbatch"] {
        for model in [
            "mlp_784_300_100_10",
            "lenet5_caffe",
            "rescnn_bn",
            "dscnn_hswish_relu6",
            "conv1d_ecg",
            "lstm_mfcc13_h64",
            "gru_mfcc13_h64",
        ] {
            if folder.join(format!("{model}.{exporter}.onnx")).exists() {
                check(&folder, &format!("{model}.{exporter}"), model);
            }
        }
    }
}

#[test]
fn models_of_mlperf_tiny() {
    let Some(models) = models("models of MLPerf Tiny") else {
        return;
    };
    let folder = models.join("mlperf-tiny");
    for model in ["ad01", "resnet8", "kws_dscnn_tfl", "vww_mbv1"] {
        check(&folder, model, model);
    }
}

/// Accuracies stated beside the models, each measured by the framework it came from.
#[test]
fn accuracies_are_those_of_the_models_own_framework() {
    let Some(models) = models("accuracy on MNIST and CIFAR-10") else {
        return;
    };
    let data = models.join("../data");
    let test = |spec: String| spec.parse::<DataSpec>().unwrap().load().unwrap().test;
    let check = |model: &str, test: &Dataset, accuracy: f64| {
        let graph = read(&models.join(model)).unwrap();
        let error = error_percent(&graph, test, DeviceChoice::Cpu).unwrap();
        assert!((100.0 - error - accuracy).abs() < 0.06, "{model}: {error}");
    };
    let mnist = test(format!("mnist:{}", data.join("mnist").display()));
    check("mnist/lenet300_mnist.onnx", &mnist, 98.41);
    check("mnist/lenet5_mnist.onnx", &mnist, 99.29);
    let cifar10 = data.join("cifar10");
    let cifar10 = test(format!("cifar10:{},scale=255", cifar10.display()));
    check("mlperf-tiny/resnet8.onnx", &cifar10, 75.5);
}

/// TensorFlow's layout stays that of the input; the operators are those of the other model.
#[test]
fn channels_last_behind_a_transpose() {
    let Some(models) = models("channels-last models") else {
        return;
    };
    let folder = models.join("mlperf-tiny");
    for (model, transposes) in [("resnet8", 1), ("kws_dscnn_tfl", 0)] {
        let graph = read(&folder.join(format!("{model}_nhwc.onnx"))).unwrap();
        let input = npy(&folder.join(format!("{model}_nhwc.in.npy")));
        let expected = npy(&folder.join(format!("{model}.out.npy")));
        assert_close(&reference::run(&graph, &input), &expected, TOLERANCE, model);
        let moved = graph.nodes.iter().filter(|n| n.op.name() == "Transpose");
        assert_eq!(moved.count(), transposes, "{model}");
    }
}

/// Integers become grids of weights and quantizations of values; what is left is the float model,
/// which computes about what the integers do.
#[test]
fn quantized_models_become_the_float_model() {
    let Some(models) = models("quantized models") else {
        return;
    };
    for (name, variants) in [
        ("mnist/lenet300_mnist", &["qdq", "qdq_u8s8"][..]),
        ("mnist/lenet5_mnist", &["qdq", "qdq_u8s8"]),
        ("mlperf-tiny/ad01", &["qdq", "qdq_u8s8"]),
        ("mlperf-tiny/resnet8", &["qdq", "qdq_u8s8"]),
        ("mlperf-tiny/kws_dscnn_tfl", &["qdq"]),
    ] {
        let path = |suffix: String| models.join(format!("{name}.{suffix}"));
        let operators = |graph: &Graph| -> Vec<&'static str> {
            let all = graph.nodes.iter().map(|n| n.op.name());
            all.filter(|op| !["Relu", "BatchNormalization"].contains(op))
                .collect()
        };
        let dense = read(&path("onnx".into())).unwrap();
        for variant in variants {
            let graph = read(&path(format!("{variant}.onnx"))).unwrap();
            assert_eq!(operators(&graph), operators(&dense), "{name}.{variant}");
            let quantized = graph.values.iter().filter(|v| v.quantization.is_some());
            assert_eq!(quantized.count(), graph.values.len(), "{name}.{variant}");
            let weights = graph.nodes.iter().filter_map(|n| n.op.weight());
            for weight in weights.map(|id| graph.parameter(id)) {
                let channels = weight.shape[0];
                let grid = weight
                    .grid
                    .as_ref()
                    .unwrap_or_else(|| panic!("{}", weight.name));
                assert_eq!(
                    grid.scale.len(),
                    channels,
                    "{name}.{variant}: {}",
                    weight.name
                );
                assert_eq!(weight.free(), weight.materialize(), "{name}.{variant}");
            }
            let y = reference::run(&graph, &npy(&path("in.npy".into())));
            let expected = npy(&path(format!("{variant}.out.npy")));
            assert_close(&y, &expected, 0.1, &format!("{name}.{variant}"));
        }
    }
}

/// Whatever lies in the folder.
#[test]
fn every_model_imports() {
    let Some(models) = models("all models") else {
        return;
    };
    let mut count = 0;
    for folder in std::fs::read_dir(models).unwrap() {
        let Ok(files) = std::fs::read_dir(folder.unwrap().path()) else {
            continue;
        };
        let files = files.map(|f| f.unwrap().path());
        for file in files.filter(|f| f.extension().is_some_and(|e| e == "onnx")) {
            let import = import_file(&file).unwrap_or_else(|e| panic!("{e}"));
            let dynamic = file.to_string_lossy().contains("dynbatch");
            assert_eq!(
                import.notes.len(),
                usize::from(dynamic),
                "{}",
                file.display()
            );
            count += 1;
        }
    }
    assert!(count >= 26, "{count} models");
}
