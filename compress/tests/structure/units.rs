use crate::networks::{all, outputs};
use crate::real::models;
use compress::passes::channels::{mask_units, shrink_units};
use compress::passes::units::{Coupling, FIXED};
use rand::RngExt;
use trainer::arch::Architecture;
use trainer::graph::Graph;

fn sizes(graph: &Graph) -> Vec<usize> {
    Coupling::of(graph).layers().iter().map(Vec::len).collect()
}

/// Takes half of the units at random, first by masks and then out.
fn halve(graph: &Graph, seed: u64) -> (Graph, Graph) {
    let mut graph = graph.clone();
    graph.unshare_parameters();
    let coupling = Coupling::of(&graph);
    let mut rng = crate::builder::rng(seed);
    let mut gone: Vec<bool> = (0..coupling.count())
        .map(|_| rng.random_bool(0.5))
        .collect();
    gone[FIXED as usize] = false;
    coupling.spare(&mut gone, |_| 0.0);
    let mut masked = graph;
    mask_units(&mut masked, &coupling, &gone);
    let mut shrunk = masked.clone();
    shrink_units(&mut shrunk, &coupling, &gone).unwrap();
    (masked, shrunk)
}

#[track_caller]
fn check(name: &str, graph: &Graph) {
    for seed in 0..4 {
        let (masked, shrunk) = halve(graph, seed);
        assert!(shrunk.parameter_count() < graph.parameter_count(), "{name}");
        assert!(shrunk.macs() < graph.macs(), "{name}");
        assert_ne!(outputs(graph), outputs(&masked), "{name}");
        assert_eq!(outputs(&masked), outputs(&shrunk), "{name}, seed {seed}");
    }
}

#[test]
fn a_shrunk_network_computes_what_the_masked_one_does() {
    for (name, graph, _) in all() {
        check(name, &graph);
    }
}

#[test]
fn units_are_those_that_can_go_alone() {
    for (name, graph, expected) in all() {
        assert_eq!(sizes(&graph), expected, "{name}");
    }
}

#[test]
fn lenet_5() {
    let architecture = Architecture::resolve("lenet-5-caffe").unwrap();
    let graph = architecture.build(&[1, 28, 28], 10, 1).unwrap();
    assert_eq!(sizes(&graph), [20, 50, 500]);
    check("lenet-5", &graph);
}

/// The channels of ResNet-8's stages hang together through the additions; those inside of its blocks
/// are free. Depthwise separable convolutions have one set of channels each.
#[test]
fn real_networks() {
    let Some(models) = models("real networks shrunk") else {
        return;
    };
    let read = |name: &str| trainer::onnx::read(&models.join("mlperf-tiny").join(name)).unwrap();
    let resnet = read("resnet8.onnx");
    assert_eq!(sizes(&resnet), [16, 16, 32, 32, 64, 64]);
    check("resnet8", &resnet);
    let keywords = read("kws_dscnn_tfl.onnx");
    assert_eq!(sizes(&keywords), [64; 5]);
    check("kws", &keywords);
    check("ad01", &read("ad01.onnx"));
}
