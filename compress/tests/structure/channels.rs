use crate::networks::{lenet, residual};
use compress::passes::channels::{Importance, UnitAmounts, choose, norms, taylor};
use compress::passes::units::{Coupling, Unit};
use trainer::data::Dataset;
use trainer::graph::{Graph, Op, Parameter};
use trainer::train::{DeviceChoice, gradients};

fn gone(coupling: &Coupling, gone: &[bool]) -> Vec<Vec<usize>> {
    let of = |units: Vec<Unit>| {
        let places = units.iter().enumerate();
        let gone = places.filter(|(_, unit)| gone[**unit as usize]);
        gone.map(|(place, _)| place).collect()
    };
    coupling.layers().into_iter().map(of).collect()
}

#[test]
fn the_weakest_go_layer_by_layer_or_all_together() {
    let mut graph = lenet();
    // Filters of 9 weights each: the norms are 1, 6, 3, 4, 2, 5 times something.
    let filters = graph.parameters[0].free_mut();
    for (filter, norm) in filters.chunks_mut(9).zip([1.0, 6.0, 3.0, 4.0, 2.0, 5.0]) {
        filter
            .iter_mut()
            .enumerate()
            .for_each(|(i, w)| *w = if i % 2 == 0 { norm } else { -norm });
    }
    let coupling = Coupling::of(&graph);
    for importance in [Importance::L1, Importance::L2] {
        let scores = norms(&graph, &coupling, importance);
        let mut marks = vec![false; coupling.count()];
        let amounts = UnitAmounts::PerLayer(vec![0.5, 0.0]);
        choose(&coupling, &scores, &amounts, 0.4, &mut marks);
        assert_eq!(gone(&coupling, &marks), [vec![0], vec![]]);
        choose(&coupling, &scores, &amounts, 1.0, &mut marks);
        assert_eq!(gone(&coupling, &marks), [vec![0, 2, 4], vec![]]);
    }
    // Relative to a mean of 3.5, filter 0 has 0.29 and filter 4 0.57; the second layer's units are all
    // of about one norm.
    let scores = norms(&graph, &coupling, Importance::L2);
    let mut marks = vec![false; coupling.count()];
    choose(
        &coupling,
        &scores,
        &UnitAmounts::Global(2.0 / 18.0),
        1.0,
        &mut marks,
    );
    assert_eq!(gone(&coupling, &marks), [vec![0, 4], vec![]]);
}

/// What has gone stays gone, whatever became of its norm; and a layer keeps one unit.
#[test]
fn what_went_stays_and_a_layer_keeps_one() {
    let graph = residual();
    let coupling = Coupling::of(&graph);
    let mut marks = vec![false; coupling.count()];
    let last = coupling.layers()[1][5];
    marks[last as usize] = true;
    let mut scores = vec![1.0; coupling.count()];
    scores[last as usize] = 9.0;
    choose(
        &coupling,
        &scores,
        &UnitAmounts::Each(1.0 / 6.0),
        1.0,
        &mut marks,
    );
    assert_eq!(gone(&coupling, &marks)[1], [5]);
    choose(
        &coupling,
        &scores,
        &UnitAmounts::Each(0.999),
        1.0,
        &mut marks,
    );
    let kept: Vec<usize> = gone(&coupling, &marks)
        .iter()
        .zip([8, 6, 10])
        .map(|(g, n)| n - g.len())
        .collect();
    assert_eq!(kept, [1, 1, 1]);
}

/// The first unit says what decides the class, the second nothing that is heeded, however large.
fn decided() -> (Graph, Dataset) {
    let mut graph = Graph::new("g", "x", &[2]);
    let mut gemm = |name: &str, values: Vec<f32>| {
        let weight = graph.add_parameter(Parameter::dense(name, &[2, 2], values));
        let input = graph.output;
        let op = Op::Gemm { weight, bias: None };
        graph.push(format!("{name}_fc"), op, &[input]).unwrap();
    };
    gemm("a", vec![1.0, 0.0, 0.0, 50.0]);
    gemm("b", vec![1.0, 0.3, -1.0, 0.3]);
    let inputs = vec![0.5, 1.0, 0.8, -1.0, -0.7, 1.0, -0.4, -1.0];
    let data = Dataset {
        input_shape: vec![2],
        inputs,
        labels: vec![0, 0, 1, 1],
        classes: 2,
        ..Dataset::default()
    };
    (graph, data)
}

#[test]
fn taylor_asks_the_loss_and_not_the_weights() {
    let (graph, data) = decided();
    let coupling = Coupling::of(&graph);
    let batch = gradients(&graph, &data, DeviceChoice::Cpu).unwrap();
    let scores = taylor(&graph, &coupling, &[batch]);
    assert!(scores[1] > 100.0 * scores[2], "{scores:?}");
    let norms = norms(&graph, &coupling, Importance::L2);
    assert!(norms[2] > norms[1], "{norms:?}");
    // By definition: the square of dL/dg at g = 1, were the unit scaled by g.
    let loss = |g: f32| -> f64 {
        let of = |(x, &label): (&[f32], &u32)| {
            let y: Vec<f64> = [[1.0, 0.3], [-1.0, 0.3]]
                .iter()
                .map(|w: &[f32; 2]| f64::from(w[0] * g * x[0] + w[1] * 50.0 * x[1]))
                .collect();
            let sum: f64 = y.iter().map(|v| v.exp()).sum();
            sum.ln() - y[label as usize]
        };
        data.inputs.chunks(2).zip(&data.labels).map(of).sum::<f64>() / 4.0
    };
    let slope = (loss(1.001) - loss(0.999)) / 0.002;
    assert!(
        (scores[1] / (slope * slope) - 1.0).abs() < 1e-2,
        "{scores:?} {slope}"
    );
}
