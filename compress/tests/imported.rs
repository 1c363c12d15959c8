//! Float models from PyTorch's exporters as plain int8 images: near the float outputs.
#![allow(clippy::unwrap_used)]

mod real;

use compress::diff::diff;
use no_std_core::Model;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use real::{converted, largest, models, note, outputs};
use trainer::graph::reference;
use trainer::onnx;

/// Signal-to-noise ratio asked for: noise of a tenth of the signal.
const LEAST_DB: f64 = 20.0;

const INPUTS: usize = 16;

fn check(name: &str) {
    let Some(models) = models("models of PyTorch") else {
        return;
    };
    let path = models.join("pytorch").join(format!("{name}.onnx"));
    let graph = onnx::read(&path).unwrap_or_else(|e| panic!("{e}"));
    let compressed = converted(&graph, name);
    let model = Model::parse(&compressed.encoded.bytes).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let length = graph.value(graph.input).len();
    let inputs: Vec<f32> = (0..INPUTS * length)
        .map(|_| rng.sample(StandardNormal))
        .map(|x: f32| x.clamp(-3.0, 3.0))
        .collect();
    let expected: Vec<f32> = inputs
        .chunks(length)
        .flat_map(|input| reference::run(&graph, input))
        .collect();
    let found = outputs(&model, &inputs);
    let classes = model.output_len();
    let power = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|v| f64::from(v).powi(2)).sum()
    };
    let noise = power(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
    let snr = 10.0 * (power(&mut expected.iter().copied()) / noise).log10();
    note(&format!("{name}: {snr:.1} dB"));
    assert!(snr >= LEAST_DB, "{name}: {snr} dB");
    for (ours, theirs) in found.chunks(classes).zip(expected.chunks(classes)) {
        let (a, b) = (largest(ours), largest(theirs));
        let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
        let margin = theirs[b] - theirs[a];
        assert!(
            a == b || margin <= 2.0 * apart.fold(0.0, f32::max),
            "{name}: {a}, not {b}"
        );
    }
    // The same, layer by layer.
    let diff = diff(&graph, &model, &inputs[..4 * length]).unwrap();
    assert_eq!(diff.first_wrong, None, "{diff}");
    assert!(diff.layers.iter().all(|layer| layer.error.is_some()));
}

#[test]
fn recurrent_networks() {
    check("lstm_mfcc13_h64.ts");
    check("lstm_mfcc13_h64.dynamo");
    check("lstm_mfcc13_h64.ts_dynbatch");
    check("gru_mfcc13_h64.ts");
}

#[test]
fn one_dimensional_convolutions() {
    check("conv1d_ecg.ts");
    check("conv1d_ecg.dynamo");
}

#[test]
fn convolutional_networks() {
    check("lenet5_caffe.ts");
    check("rescnn_bn.ts");
    check("rescnn_bn.dynamo");
    check("dscnn_hswish_relu6.ts");
    check("dscnn_hswish_relu6.dynamo");
}

#[test]
fn perceptrons() {
    check("mlp_784_300_100_10.ts");
    check("mlp_784_300_100_10.dynamo");
}
