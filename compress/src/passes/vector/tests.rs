use super::codebook::squared;
use super::*;
use trainer::arch::Architecture;

fn graph(name: &str, shape: &[usize]) -> Graph {
    let architecture = Architecture::resolve(name).expect("built in");
    architecture.build(shape, 10, 1).expect("fits")
}

fn vectors(graph: &Graph, id: ParamId) -> &VectorWeights {
    match &graph.parameter(id).parametrization {
        Parametrization::Vectors(weights) => weights,
        _ => panic!("no vectors"),
    }
}

/// Squared error of a layer's vectors over the squares of its weights.
fn error(settings: &Vector, graph: &Graph, id: ParamId) -> f64 {
    let (mut cut, before) = (graph.clone(), graph.parameter(id).latent());
    settings.quantize(&mut cut, id, 1).expect("finite");
    let after = cut.parameter(id).latent();
    squared(&before, &after) / squared(&before, &vec![0.0; before.len()])
}

/// Normal weights in pairs. For b bits a weight the rate-distortion function allows no less than 4^−b of
/// their squares, and the best scalar quantizer (Max 1960) leaves 0.1175 at two bits and 0.00950 at four:
/// pairs lie between. Codebooks for parts of the inputs leave less.
#[test]
fn pairs_are_better_than_scalars_and_parts_better_still() {
    let graph = graph("mlp:100", &[1, 28, 28]);
    let id = weights(&graph)[0];
    for start in [VectorStart::KMeans, VectorStart::Competitive] {
        let left = |entries, parts| {
            let settings = Vector {
                dimension: 2,
                entries,
                parts,
                start,
                ..Vector::default()
            };
            error(&settings, &graph, id)
        };
        let [few, many, parts] = [left(16, 1), left(256, 1), left(16, 49)];
        assert!(1.0 / 16.0 < few && few < 0.1175, "{start:?}: {few}");
        assert!(1.0 / 256.0 < many && many < 0.0095, "{start:?}: {many}");
        assert!(parts < few, "{start:?}: {parts} {few}");
    }
}

/// Filters are cut along their input channels; what was an image along that image's.
#[test]
fn rows_are_cut_as_devices_read_them() {
    let mut graph = graph("lenet-5-caffe", &[1, 28, 28]);
    let ids = weights(&graph);
    let channels = ids.iter().map(|&id| channels(&graph, id));
    assert_eq!(channels.collect::<Vec<_>>(), [1, 20, 50, 1]);
    let settings = Vector::default();
    for &id in &ids {
        settings.quantize(&mut graph, id, 1).expect("finite");
    }
    // 25 weights are seven vectors; 20 filters of them allow 35 entries, all 64 the next.
    let first = vectors(&graph, ids[0]);
    assert_eq!((first.cut().span, first.entries()), (7, 35));
    assert_eq!(vectors(&graph, ids[1]).entries(), 64);
}

#[test]
fn loose_weights_change_their_entries_until_they_are_fixed() {
    let mut graph = Graph::new("g", "x", &[4]);
    let values = vec![1.0, 1.0, -1.0, -1.0, 1.2, 1.2, -0.8, -0.8];
    let parameter = trainer::graph::Parameter::dense("w", &[2, 4], values);
    let weight = graph.add_parameter(parameter);
    let op = Op::Gemm { weight, bias: None };
    graph.push("fc", op, &[graph.input]).expect("fits");
    let settings = Vector {
        dimension: 2,
        entries: 2,
        reassign: 0.5,
        ..Vector::default()
    };
    // Four vectors would allow one entry: two, for a test.
    let cut = Cut {
        dimension: 2,
        span: 2,
        channels: 1,
    };
    let values = graph.parameter(weight).latent();
    let books = vec![1.0, 1.0, -1.0, -1.0];
    let fixed = VectorWeights::new(books, vec![0, 1, 0, 1], cut, [2, 4]).expect("fits");
    graph.parameters[0].parametrization = Parametrization::Vectors(fixed.loosened(values));
    let mut hook = Follow {
        max: 127,
        reassign: settings.reassign,
    };
    hook.update(0.0, &mut graph, &[]).expect("fits");
    let close = |graph: &Graph, expected: [f32; 8]| {
        let off = squared(&graph.parameter(weight).latent(), &expected);
        assert!(off < 1e-9, "{:?}", graph.parameter(weight).latent());
    };
    close(&graph, [1.1, 1.1, -0.9, -0.9, 1.1, 1.1, -0.9, -0.9]);
    // Training carries the last vector over to the first entry's side.
    graph.parameters[0].free_mut()[6..].fill(0.6);
    hook.update(0.4, &mut graph, &[]).expect("fits");
    let mean = 2.8 / 3.0;
    close(&graph, [mean, mean, -1.0, -1.0, mean, mean, mean, mean]);
    hook.update(0.6, &mut graph, &[]).expect("fits");
    assert_eq!(graph.parameter(weight).free().len(), 4);
    let gradient = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    assert_eq!(
        graph.parameter(weight).pull_back(&gradient),
        [13.0, 16.0, 3.0, 4.0]
    );
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let mut graph = graph("mlp:8", &[1, 4, 4]);
    let id = weights(&graph)[0];
    graph.parameters[id.0].free_mut()[3] = f32::NAN;
    let error = Vector::default()
        .quantize(&mut graph, id, 1)
        .expect_err("not finite");
    assert!(error.to_string().contains("fc1"), "{error}");
}
