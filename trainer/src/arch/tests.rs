use super::*;

fn build(name: &str) -> crate::graph::Graph {
    Architecture::resolve(name)
        .expect(name)
        .build(&[1, 28, 28], 10, 1)
        .expect(name)
}

#[test]
fn published_counts_of_parameters_and_products() {
    let (mlp, cnn) = (build("lenet-300-100"), build("lenet-5-caffe"));
    assert_eq!((mlp.parameter_count(), mlp.macs()), (266_610, 266_200));
    assert_eq!((cnn.parameter_count(), cnn.macs()), (431_080, 2_293_000));
    assert_eq!(build("mlp:300-100").parameter_count(), 266_610);
    let speech = Architecture::resolve("speech-cnn").expect("built in");
    let speech = speech.build(&[1, 48, 32], 10, 1).expect("fits");
    let weights = 9 * (16 + 16 * 32 + 32 * 48 + 48 * 64) + 6 * 2 * 64 * 10 / 2 + 10;
    let normalization = 4 * (16 + 32 + 48 + 64);
    assert_eq!(speech.parameter_count(), weights + normalization);
}

#[test]
fn weights_begin_with_he_spread_and_the_same_seed_gives_the_same() {
    let graph = build("lenet-300-100");
    let values = graph.parameters[0].materialize();
    let variance = values.iter().map(|v| (v * v) as f64).sum::<f64>() / values.len() as f64;
    assert!((variance / (2.0 / 784.0) - 1.0).abs() < 0.02, "{variance}");
    assert!(graph.parameters[1].materialize().iter().all(|&b| b == 0.0));
    assert_eq!(graph, build("lenet-300-100"));
}

#[test]
fn mistakes_are_one_line_that_helps() {
    let error = |name: &str| Architecture::resolve(name).expect_err(name).to_string();
    assert!(error("lenet-5").contains("do you mean lenet-5-caffe?"));
    assert!(error("lenet").contains("lenet-300-100"));
    assert!(error("/nowhere/a.toml").contains("/nowhere/a.toml"));
    let misspelt =
        parse("f.toml", "name = 'x'\n[[layer]]\nop = 'dense'\nunit = 3\n").expect_err("misspelt");
    assert!(
        misspelt.to_string().contains("unit") && !misspelt.to_string().contains('\n'),
        "{misspelt}"
    );
    let unknown = parse("f.toml", "name = 'x'\n[[layer]]\nop = 'dens'\n")
        .expect_err("unknown")
        .to_string();
    assert!(
        unknown.contains("dens") && unknown.contains("dense"),
        "{unknown}"
    );
    let big = "name = 'x'\n[[layer]]\nop = 'conv'\nchannels = 2\nkernel = 40\n";
    let shape = parse("f.toml", big)
        .expect("reads")
        .build(&[1, 28, 28], 10, 1)
        .expect_err("too large");
    assert!(shape.to_string().contains("window of 40 on 28"), "{shape}");
}

fn describe(layers: &str) -> Architecture {
    parse("f.toml", &format!("name = 'x'\nlayer = [{layers}]")).expect(layers)
}

/// Operators and the shape of what they make.
fn made(layers: &str, input: &[usize]) -> (Vec<&'static str>, Vec<usize>) {
    let graph = describe(layers).build(input, 7, 1).expect(layers);
    let ops = graph.nodes.iter().map(|n| n.op.name()).collect();
    (ops, graph.value(graph.output).shape.clone())
}

/// Layers, the input's shape, the operators they become and the output's shape.
type Case<'a> = (&'a str, &'a [usize], &'a [&'a str], &'a [usize]);

#[test]
fn every_layer_builds() {
    let image: &[usize] = &[3, 16, 12];
    let cases: [Case; 30] = [
        (
            "{ op = 'conv', channels = 4, kernel = 3, padding = 'same', bias = false }",
            image,
            &["Conv"],
            &[4, 16, 12],
        ),
        (
            "{ op = 'conv', channels = 6, kernel = [5, 3], stride = [2, 1], padding = 1, groups = 3 }",
            image,
            &["Conv"],
            &[6, 7, 12],
        ),
        (
            "{ op = 'conv', channels = 6, kernel = [4, 2], stride = 2, padding = 'same', dilation = [1, 2] }",
            image,
            &["Conv"],
            &[6, 8, 6],
        ),
        (
            "{ op = 'depthwise', kernel = 3, stride = 2, padding = 'same' }",
            image,
            &["Conv"],
            &[3, 8, 6],
        ),
        (
            "{ op = 'conv1d', channels = 8, kernel = 3, padding = 'same' }",
            &[10, 5],
            &["Transpose", "Reshape", "Conv"],
            &[8, 1, 10],
        ),
        (
            "{ op = 'conv1d', channels = 8, kernel = 3, stride = 2, dilation = 2, padding = 1 }",
            &[5, 1, 10],
            &["Conv"],
            &[8, 1, 4],
        ),
        (
            "{ op = 'conv1d', channels = 8, kernel = 2 }",
            &[1, 10, 5],
            &["Transpose", "Reshape", "Conv"],
            &[8, 1, 9],
        ),
        (
            "{ op = 'dense', units = 'classes' }",
            image,
            &["Flatten", "Gemm"],
            &[7],
        ),
        (
            "{ op = 'dense', units = 4, each_step = true }",
            &[10, 5],
            &["Gemm"],
            &[10, 4],
        ),
        (
            "{ op = 'dense', units = 4, each_step = true }",
            &[1, 10, 5],
            &["Reshape", "Gemm"],
            &[10, 4],
        ),
        (
            "{ op = 'embedding', rows = 9, units = 4 }",
            &[6],
            &["Gather"],
            &[6, 4],
        ),
        (
            "{ op = 'rnn', units = 4, sequence = true }",
            &[10, 5],
            &["RNN"],
            &[10, 4],
        ),
        (
            "{ op = 'lstm', units = 4 }",
            &[1, 10, 5],
            &["Reshape", "LSTM", "Gather", "Flatten"],
            &[4],
        ),
        (
            "{ op = 'gru', units = 4, sequence = true }",
            &[2, 10, 5],
            &["Transpose", "Reshape", "GRU"],
            &[10, 4],
        ),
        (
            "{ op = 'gru', units = 4, sequence = true }",
            &[5, 1, 10],
            &["Transpose", "Reshape", "GRU"],
            &[10, 4],
        ),
        (
            "{ op = 'lstm', units = 4, bidirectional = true }",
            &[10, 5],
            &[
                "LSTM", "Gather", "Flatten", "Gather", "LSTM", "Gather", "Flatten", "Concat",
            ],
            &[8],
        ),
        (
            "{ op = 'gru', units = 4, bidirectional = true, sequence = true }",
            &[10, 5],
            &["GRU", "Gather", "GRU", "Gather", "Concat"],
            &[10, 8],
        ),
        (
            "{ op = 'clip', min = 0.0, max = 6.0 }",
            image,
            &["Clip"],
            image,
        ),
        (
            "{ op = 'sigmoid' }, { op = 'tanh' }, { op = 'softplus' }, { op = 'gelu' }",
            &[4],
            &["Sigmoid", "Tanh", "Softplus", "Gelu"],
            &[4],
        ),
        (
            "{ op = 'hard_sigmoid' }, { op = 'hard_swish' }, { op = 'relu' }",
            &[4],
            &["HardSigmoid", "HardSwish", "Relu"],
            &[4],
        ),
        (
            "{ op = 'leaky_relu' }, { op = 'leaky_relu', alpha = 0.2 }, { op = 'elu' }",
            &[4],
            &["LeakyRelu", "LeakyRelu", "Elu"],
            &[4],
        ),
        (
            "{ op = 'prelu' }, { op = 'layer_norm' }",
            image,
            &["PRelu", "LayerNormalization"],
            image,
        ),
        (
            "{ op = 'prelu' }, { op = 'layer_norm' }",
            &[10, 5],
            &["PRelu", "LayerNormalization"],
            &[10, 5],
        ),
        (
            "{ op = 'max_pool', kernel = 3, stride = 2, padding = 1 }",
            image,
            &["MaxPool"],
            &[3, 8, 6],
        ),
        (
            "{ op = 'average_pool', kernel = [4, 1] }",
            image,
            &["AveragePool"],
            &[3, 4, 12],
        ),
        (
            "{ op = 'global_average_pool' }",
            image,
            &["GlobalAveragePool"],
            &[3, 1, 1],
        ),
        (
            "{ op = 'global_average_pool' }",
            &[10, 5],
            &["ReduceMean", "Flatten"],
            &[5],
        ),
        (
            "{ op = 'batch_norm' }, { op = 'dropout', probability = 0.2 }, { op = 'flatten' }",
            &[2, 3, 4],
            &["BatchNormalization", "Dropout", "Flatten"],
            &[24],
        ),
        ("{ op = 'softmax' }", &[10, 5], &["Softmax"], &[10, 5]),
        (
            "{ op = 'mark', name = 'a' }, { op = 'tanh' }, { op = 'concat', with = 'a' }",
            &[10, 5],
            &["Tanh", "Concat"],
            &[10, 10],
        ),
    ];
    for (layers, input, ops, shape) in cases {
        let (built, output) = made(layers, input);
        assert_eq!(
            (&built[..], &output[..]),
            (ops, shape),
            "{layers} on {input:?}"
        );
    }
}

/// A block of a residual network, with a convolution in its shortcut.
#[test]
fn branches_meet_again() {
    let block = "
        { op = 'conv', channels = 4, kernel = 3 },
        { op = 'relu', name = 'in' },
        { op = 'conv', channels = 6, kernel = 3, stride = 2, padding = 'same' },
        { op = 'batch_norm' },
        { op = 'mark', name = 'long' },
        { op = 'from', name = 'in' },
        { op = 'conv', channels = 6, kernel = 1, stride = 2 },
        { op = 'add', with = 'long' },
        { op = 'mark', name = 'unused' }";
    let (ops, shape) = made(block, &[3, 12, 12]);
    assert_eq!(
        ops,
        ["Conv", "Relu", "Conv", "BatchNormalization", "Conv", "Add"]
    );
    assert_eq!(shape, [6, 5, 5]);
    let lost = describe("{ op = 'relu' }, { op = 'from', name = 'gone' }").build(&[4], 2, 1);
    let error = lost.expect_err("lost").to_string();
    assert_eq!(error, "layer 2 (from): no layer before is named 'gone'");
}

#[test]
fn recurrent_weights_begin_so_that_states_stay_as_they_are() {
    let graph = describe("{ op = 'lstm', units = 64 }")
        .build(&[5, 32], 2, 1)
        .expect("builds");
    let named = |end: &str| {
        let found = graph.parameters.iter().find(|p| p.name.ends_with(end));
        found.expect(end).materialize()
    };
    let variance = |values: &[f32]| {
        let squares: f32 = values.iter().map(|v| v * v).sum();
        squares / values.len() as f32
    };
    assert!((variance(&named(".weight")) * 96.0 / 2.0 - 1.0).abs() < 0.1);
    assert!((variance(&named(".recurrence")) * 64.0 - 1.0).abs() < 0.1);
    // Gates i, o, f, c: the third is open.
    let bias = named(".bias");
    let open = |(i, &b): (usize, &f32)| b == if (128..192).contains(&i) { 1.0 } else { 0.0 };
    assert!(bias.len() == 512 && bias.iter().enumerate().all(open));
}

/// The last state of the way back is the one at the first step.
#[test]
fn the_way_back_ends_at_the_start() {
    let both = |sequence: bool| {
        let layer =
            format!("{{ op = 'gru', units = 3, bidirectional = true, sequence = {sequence} }}");
        let graph = describe(&layer).build(&[4, 2], 2, 1).expect("builds");
        crate::graph::reference::run(&graph, &[0.1, 0.7, -0.3, 0.5, 0.2, -0.9, 0.4, 0.6])
    };
    let (all, last) = (both(true), both(false));
    assert_eq!(last, [&all[18..21], &all[3..6]].concat());
}

#[test]
fn layers_that_do_not_fit_say_why() {
    let cases: [(&str, &[usize], &str); 6] = [
        (
            "{ op = 'lstm', units = 4 }",
            &[9],
            "layer 1 (lstm): needs a sequence",
        ),
        (
            "{ op = 'conv1d', channels = 4, kernel = 3 }",
            &[9],
            "layer 1 (conv1d): needs a sequence",
        ),
        (
            "{ op = 'conv', channels = 4, kernel = 3 }",
            &[9, 3],
            "layer 1 (conv): needs an image",
        ),
        ("{ op = 'batch_norm' }", &[9, 3], "use layer_norm"),
        ("{ op = 'gru', units = 0 }", &[9, 3], "needs 1 to"),
        (
            "{ op = 'gru', units = 70000 }",
            &[9, 3],
            "above the largest size",
        ),
    ];
    for (layers, input, reason) in cases {
        let error = describe(layers)
            .build(input, 2, 1)
            .expect_err(layers)
            .to_string();
        assert!(error.contains(reason) && !error.contains('\n'), "{error}");
    }
    let wrong = parse(
        "f.toml",
        "name = 'x'\nlayer = [{ op = 'conv', channels = 2, kernel = 'a' }]",
    );
    let error = wrong.expect_err("wrong").to_string();
    assert!(error.contains("a number or [height, width]"), "{error}");
}

#[test]
fn dropout_follows_hidden_activations() {
    let layers = "{ op = 'lstm', units = 4 }, { op = 'dense', units = 3 }, { op = 'gelu' }, { op = 'dense', units = 2 }";
    let dropped = describe(layers).with_dropout(0.5);
    let ops: Vec<&str> = dropped.layers.iter().map(Layer::op).collect();
    assert_eq!(
        ops,
        ["lstm", "dropout", "dense", "gelu", "dropout", "dense"]
    );
}
