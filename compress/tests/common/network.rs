//! A small network whose weights take a form, to the image and through it.

use super::rng;
use compress::host;
use compress::pipeline::{Checkpoints, Compressed, Examples, compress};
use compress::settings::Settings;
use no_std_core::Model;
use rand::RngExt;
use trainer::graph::{Graph, Op, Parameter, Window, reference};

/// An image through a convolution, a pooling, a flattening and two dense layers, each re-parametrized.
pub fn graph(parametrize: impl Fn(usize, &mut Parameter)) -> Graph {
    let mut rng = rng(11);
    let mut graph = Graph::new("g", "x", &[2, 8, 8]);
    let mut add = |graph: &mut Graph, name: &str, shape: &[usize]| {
        let fan_in: usize = shape[1..].iter().product();
        let reach = (3.0 / fan_in.max(1) as f32).sqrt();
        let values = (0..shape.iter().product())
            .map(|_| rng.random_range(-reach..reach))
            .collect();
        let mut parameter = Parameter::dense(name, shape, values);
        if shape.len() > 1 {
            parametrize(graph.parameters.len(), &mut parameter);
        }
        graph.add_parameter(parameter)
    };
    let weight = add(&mut graph, "conv.weight", &[6, 2, 3, 3]);
    let bias = Some(add(&mut graph, "conv.bias", &[6]));
    let window = Window::square(3, 1);
    let dilation = [1, 1];
    let op = Op::Conv {
        weight,
        bias,
        window,
        dilation,
        groups: 1,
    };
    let x = graph.push("conv", op, &[graph.input]).unwrap();
    let x = graph.push("relu", Op::Relu, &[x]).unwrap();
    let x = graph.push("flatten", Op::Flatten, &[x]).unwrap();
    let weight = add(&mut graph, "hidden.weight", &[24, 216]);
    let x = graph
        .push("hidden", Op::Gemm { weight, bias: None }, &[x])
        .unwrap();
    let x = graph.push("relu2", Op::Relu, &[x]).unwrap();
    let weight = add(&mut graph, "out.weight", &[5, 24]);
    let bias = Some(add(&mut graph, "out.bias", &[5]));
    graph.push("out", Op::Gemm { weight, bias }, &[x]).unwrap();
    graph
}

pub fn image(graph: &Graph) -> Compressed {
    let range = Some((-1.0, 1.0));
    let examples = Examples::Synthetic { range, seed: 5 };
    let settings = Settings {
        huffman: Some(true),
        ..Settings::default()
    };
    compress(graph, &[], examples, &settings, &Checkpoints::default()).unwrap()
}

/// The image's outputs are those of the float graph of the same weights, up to the rounding of three
/// int8 activations: a hundredth or two of the outputs, where other weights would be off by all.
pub fn assert_runs_as(compressed: &Compressed) {
    let model = Model::parse(&compressed.encoded.bytes).unwrap();
    let mut rng = rng(3);
    let inputs: Vec<f32> = (0..20 * 128)
        .map(|_| rng.random_range(-0.95..0.95))
        .collect();
    let outputs = host::dequantize(&model.output(), &host::run(&model, &inputs).unwrap());
    let mut exact = compressed.graph.clone();
    exact.values.iter_mut().for_each(|v| v.quantization = None);
    let expected: Vec<f32> = inputs
        .chunks(128)
        .flat_map(|x| reference::run(&exact, x))
        .collect();
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let off = squares(&mut outputs.iter().zip(&expected).map(|(a, b)| a - b));
    let all = squares(&mut expected.iter().copied());
    assert!((off / all).sqrt() < 0.03, "{off} of {all}");
}
