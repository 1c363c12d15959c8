//! The passes as stages of a run, with training.

use compress::pipeline::{Checkpoints, Compressed, Examples, compress};
use compress::settings::Settings;
use rand::RngExt;
use trainer::arch::Architecture;
use trainer::data::{DataSpec, Dataset};
use trainer::graph::{Graph, Op, Parameter};
use trainer::train::{NoHook, Progress, TrainConfig, fit};

fn glyphs(count: usize) -> Dataset {
    let data: DataSpec = format!("glyphs:{count}").parse().unwrap();
    data.load().unwrap().train
}

/// Trained for an epoch.
fn network(name: &str, data: &Dataset) -> Graph {
    let architecture = Architecture::resolve(name).unwrap();
    let mut graph = architecture.build(&data.input_shape, 10, 1).unwrap();
    let config = TrainConfig {
        epochs: 1,
        ..TrainConfig::default()
    };
    fit(
        &mut graph,
        data,
        None,
        &config,
        &mut NoHook,
        Progress::new("train", 1, 1),
    )
    .unwrap();
    graph
}

fn settings(text: &str) -> Settings {
    toml::from_str(text).unwrap_or_else(|e| panic!("{e}"))
}

fn run(graph: &Graph, data: &Dataset, text: &str) -> Compressed {
    let examples = Examples::Data(data);
    compress(
        graph,
        &[],
        examples,
        &settings(text),
        &Checkpoints::default(),
    )
    .unwrap()
}

fn shapes(graph: &Graph) -> Vec<Vec<usize>> {
    let ids = graph.nodes.iter().filter_map(|n| n.op.weight());
    ids.map(|id| graph.parameter(id).shape.clone()).collect()
}

#[test]
fn units_go_while_the_network_learns() {
    let data = glyphs(300);
    let graph = network("lenet-5-caffe", &data);
    for importance in ["l1", "l2", "taylor"] {
        let stage = "[[stages]]\npass = 'channels'\nshare = 0.9\nexamples = 128\nevery = 2";
        let train = "[stages.train]\nepochs = 1\nbatch = 30";
        let text = format!("{stage}\nimportance = '{importance}'\n{train}");
        let small = run(&graph, &data, &text);
        let expected = [
            vec![2, 1, 5, 5],
            vec![5, 2, 5, 5],
            vec![50, 80],
            vec![10, 50],
        ];
        assert_eq!(shapes(&small.graph), expected, "{importance}");
        // Less than a fiftieth of 431,080 bytes is left.
        assert!(small.encoded.bytes.len() < 8000, "{importance}");
    }
    let text = "[[stages]]\npass = 'channels'\nlayers = [0.5, 0.0, 0.9]\ntrain = { epochs = 0 }";
    let small = run(&graph, &data, text);
    assert_eq!(
        shapes(&small.graph)[..2],
        [vec![10, 1, 5, 5], vec![50, 10, 5, 5]]
    );
}

#[test]
fn a_pattern_holds_while_the_network_learns() {
    let data = glyphs(300);
    let graph = network("mlp:32", &data);
    let text = "[[stages]]\npass = 'prune'\npattern = '2:4'\nevery = 1\ntrain = { epochs = 2, batch = 50 }";
    let pruned = run(&graph, &data, text).graph;
    let values = pruned.parameters[0].latent();
    let living: Vec<usize> = values
        .chunks(4)
        .map(|group| group.iter().filter(|w| **w != 0.0).count())
        .collect();
    assert!(living.iter().all(|&n| n <= 2));
    let full = living.iter().filter(|&&n| n == 2).count();
    assert!(full * 100 > living.len() * 99, "{full} of {}", living.len());
    let before = graph.parameters[0].latent();
    let moved = values
        .iter()
        .zip(&before)
        .filter(|(a, b)| **a != 0.0 && a != b);
    assert!(moved.count() * 10 > values.len(), "they learnt");
}

#[test]
fn what_is_pruned_stays_so_through_every_step() {
    let data = glyphs(300);
    let graph = network("mlp:32", &data);
    let text =
        "[[stages]]\npass = 'prune'\nsparsity = 0.8\nsteps = 3\nevery = 1\ntrain = { epochs = 2 }";
    let pruned = run(&graph, &data, text).graph;
    let zeros: usize = [0, 2]
        .map(|i| pruned.parameters[i].latent())
        .iter()
        .flatten()
        .filter(|w| **w == 0.0)
        .count();
    let all = 784 * 32 + 320;
    // Dead units take zeros with them.
    assert!(zeros * 100 <= 80 * all && zeros * 100 > 70 * all, "{zeros}");
}

/// Of eight inputs the first alone tells the class, and begins with the smallest weights.
fn hidden_truth() -> (Graph, Dataset) {
    let mut rng = crate::builder::rng(5);
    let labels: Vec<u32> = (0..400).map(|i| i % 2).collect();
    let example = |&label: &u32| {
        let mut x: Vec<f32> = (0..8).map(|_| rng.random_range(-1.0..1.0)).collect();
        x[0] = 2.0 * label as f32 - 1.0;
        x
    };
    let data = Dataset {
        input_shape: vec![8],
        inputs: labels.iter().flat_map(example).collect(),
        labels,
        classes: 2,
        ..Dataset::default()
    };
    let weights = (0..16).map(|i| {
        if i % 8 == 0 {
            0.001
        } else {
            0.1 + 0.01 * i as f32
        }
    });
    let mut graph = Graph::new("g", "x", &[8]);
    let weight = graph.add_parameter(Parameter::dense("w", &[2, 8], weights.collect()));
    let op = Op::Gemm { weight, bias: None };
    graph.push("fc", op, &[graph.input]).unwrap();
    (graph, data)
}

#[test]
fn weights_return_where_the_loss_wants_them() {
    let (graph, data) = hidden_truth();
    let stage = "[[stages]]\npass = 'prune'\nsparsity = 0.75\nsteps = 1\nevery = 4";
    let train = "train = { epochs = 10, batch = 40, learning_rate = 0.02 }";
    let first = |regrow: &str| {
        let pruned = run(&graph, &data, &format!("{stage}\n{regrow}\n{train}")).graph;
        let values = pruned.parameters[0].latent();
        assert_eq!(values.iter().filter(|w| **w != 0.0).count(), 4);
        [values[0], values[8]]
    };
    // Pruned at once, they are gone for good.
    assert_eq!(first(""), [0.0, 0.0]);
    let [other, truth] = first("regrow = 0.5");
    assert!(other < 0.0 && truth > 0.0, "{other} {truth}");
}

/// With `fix_u` only V learns: U is still that of the decomposition.
#[test]
fn a_factored_network_learns_on() {
    let data = glyphs(400);
    let graph = network("mlp:32", &data);
    let ids = compress::passes::weights(&graph);
    let layer = compress::passes::low_rank::Layer::of(&graph, ids[0]).unwrap();
    let [u, v] = layer.ways[0].svd.factors(6);
    let learnt = |fix: bool| {
        let text = format!(
            "[[stages]]\npass = 'low-rank'\nlayers = [6, 0]\nfix_u = {fix}\ntrain = {{ epochs = 2 }}"
        );
        let small = run(&graph, &data, &text).graph;
        assert_eq!(shapes(&small), [vec![6, 784], vec![32, 6], vec![10, 32]]);
        let ids: Vec<_> = small.nodes.iter().filter_map(|n| n.op.weight()).collect();
        [ids[1], ids[0]].map(|id| small.parameter(id).latent())
    };
    let [fixed, free] = learnt(true);
    assert_eq!(fixed, u);
    assert_ne!(free, v);
    let [moved, free] = learnt(false);
    assert_ne!(moved, u);
    assert_ne!(free, v);
}

#[test]
fn a_search_keeps_the_error_on_what_is_held_out() {
    let data = glyphs(800);
    let graph = network("mlp:32", &data);
    let text =
        "hold_out = 200\n[[stages]]\npass = 'low-rank'\nmax_loss = 1.0\ntrain = { epochs = 0 }";
    let small = run(&graph, &data, text);
    let (_, held_out) = data.hold_out(200, 1);
    let error = |graph: &Graph| {
        let mut graph = graph.clone();
        graph.values.iter_mut().for_each(|v| v.quantization = None);
        graph.parameters.iter_mut().for_each(|p| p.grid = None);
        trainer::train::error_percent(&graph, &held_out, trainer::train::DeviceChoice::Cpu).unwrap()
    };
    assert!(error(&small.graph) <= error(&graph) + 1.0);
    assert!(small.graph.parameter_count() < graph.parameter_count() / 2);
}

#[test]
fn what_is_frozen_must_be_there() {
    let (mut graph, data) = hidden_truth();
    let before = graph.clone();
    let mut train = |name: &str| {
        let config = TrainConfig {
            frozen: vec![name.into()],
            epochs: 1,
            ..TrainConfig::default()
        };
        let progress = Progress::new("train", 1, 1);
        fit(&mut graph, &data, None, &config, &mut NoHook, progress)
    };
    train("w").unwrap();
    let error = train("v").unwrap_err().to_string();
    assert_eq!(
        error,
        "frozen must be names of the model's parameters, not v"
    );
    assert_eq!(graph, before);
}

/// Each in one line that names the setting.
#[test]
fn what_cannot_be_is_refused() {
    for (stage, words) in [
        (
            "pass = 'channels'\nshare = 1.0",
            "--channels must be a share",
        ),
        (
            "pass = 'channels'\nfrom = 0.7\nuntil = 0.2",
            "channels.from and channels.until must be",
        ),
        (
            "pass = 'low-rank'\nrank = 0",
            "--low-rank must be a rank of at least 1, not 0",
        ),
        (
            "pass = 'low-rank'\nenergy = 1.5",
            "--low-rank must be a rank, or an energy",
        ),
        (
            "pass = 'low-rank'\nrank = 3\nenergy = 0.5",
            "not rank and energy",
        ),
        (
            "pass = 'low-rank'\nmax_loss = -1.0",
            "low-rank.max_loss must be at least 0",
        ),
        ("pass = 'prune'\nblock = [0, 4]", "prune.block must be"),
        (
            "pass = 'prune'\nregrow = 2.0",
            "prune.regrow must be a share",
        ),
        (
            "pass = 'prune'\npattern = '2:4'\nblock = [4, 1]",
            "not pattern and block",
        ),
        (
            "pass = 'prune'\npattern = '2:4'\nlayers = [0.5]",
            "prune.layers must be",
        ),
    ] {
        let error = settings(&format!("[[stages]]\n{stage}"))
            .check()
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{error}");
    }
    let error = toml::from_str::<Settings>("[[stages]]\npass = 'prune'\npattern = '4:2'");
    assert!(error.unwrap_err().to_string().contains("not '4:2'"));
    let (graph, _) = hidden_truth();
    let bare = |stage: &str| {
        let range = Some((-1.0, 1.0));
        let examples = Examples::Synthetic { range, seed: 1 };
        let settings = settings(&format!("[[stages]]\n{stage}"));
        compress(&graph, &[], examples, &settings, &Checkpoints::default())
            .unwrap_err()
            .to_string()
    };
    let taylor = bare("pass = 'channels'\nimportance = 'taylor'");
    assert_eq!(
        taylor,
        "channels.importance must be l1 or l2 without --data, not taylor"
    );
    let search = bare("pass = 'low-rank'\nmax_loss = 1.0");
    assert_eq!(
        search,
        "low-rank.max_loss must be left out without --data, not 1"
    );
    let layers = bare("pass = 'channels'\nlayers = [0.5, 0.5]");
    assert_eq!(
        layers,
        "channels.layers: 2 shares are given for the 0 layers whose units can go"
    );
    let ranks = bare("pass = 'low-rank'\nlayers = [1, 2]");
    assert_eq!(ranks, "2 amounts are given for the 1 layers with weights");
}
