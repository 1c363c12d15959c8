//! Real ONNX models, held to the outputs stored beside them and to tract.
#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_close, assert_onnx_runtime, models, npy, tract};
use std::path::Path;
use trainer::data::{DataSpec, Dataset};
use trainer::graph::reference;
use trainer::onnx::{WriteOptions, read, read_bytes, write_bytes};
use trainer::train::{DeviceChoice, error_percent};

const TOLERANCE: f32 = 1e-4;

/// Imports a model, and compares graph, stored output and the written file.
fn check(folder: &Path, model: &str, data: &str) -> trainer::graph::Graph {
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

#[test]
fn unsupported_operators_are_all_named() {
    let Some(models) = models("refused models") else {
        return;
    };
    for (file, expected) in [
        ("pytorch/lstm_mfcc13_h64.ts.onnx", "LSTM"),
        ("pytorch/gru_mfcc13_h64.ts.onnx", "GRU"),
        ("pytorch/conv1d_ecg.ts.onnx", "Conv"),
        ("mnist/lenet5_mnist.qdq.onnx", "QuantizeLinear"),
    ] {
        let error = read(&models.join(file)).unwrap_err().to_string();
        assert!(error.contains(&format!("({expected}):")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
