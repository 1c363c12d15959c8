use crate::builder::Builder;
use crate::networks::{apart, outputs};
use compress::passes::low_rank::{Choice, Form, Layer, Svd, by_energy, by_rank, factored, search};
use compress::passes::weights;
use trainer::graph::{Graph, Op, ParamId, ShapeError, Window};

fn layers(graph: &Graph) -> Vec<Layer> {
    let ids = weights(graph).into_iter();
    ids.filter_map(|id| Layer::of(graph, id).ok()).collect()
}

fn whole(layers: &[Layer], rank: impl Fn(&Layer) -> usize) -> Vec<Choice> {
    layers.iter().map(|layer| Some((0, rank(layer)))).collect()
}

/// A convolution with everything that a window has, and a layer over several places.
fn network() -> Graph {
    let mut b = Builder::new(21, &[6, 9, 11]);
    let weight = b.parameter(&[8, 6, 3, 5], -0.3, 0.3);
    let bias = Some(b.parameter(&[8], -0.3, 0.3));
    let conv = Op::Conv {
        weight,
        bias,
        window: Window {
            kernel: [3, 5],
            stride: [2, 1],
            padding: [1, 2, 0, 3],
            ceil_mode: false,
        },
        dilation: [1, 2],
        groups: 1,
    };
    let input = b.input();
    let x = b.push(conv, &[input]);
    let x = b.relu(x);
    let x = b.gemm(x, 12);
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 9);
    b.graph
}

/// Of full rank both ways the product is the matrix, so that the network computes what it did; whether
/// parameters are saved is another matter.
#[test]
fn of_full_rank_nothing_changes() {
    let graph = network();
    let layers = layers(&graph);
    assert_eq!(layers.len(), 3);
    for way in 0..layers[0].ways.len() {
        let rank = |place: usize| layers[0].ways[place].svd.singular_values().len();
        let mut choices = whole(&layers, |l| l.ways[0].svd.singular_values().len());
        choices[0] = Some((way, rank(way)));
        let (apart_, _) = factored(&graph, &layers, &choices).unwrap();
        assert_eq!(apart_.nodes.len(), graph.nodes.len() + 3);
        let off = apart(&outputs(&graph), &outputs(&apart_));
        assert!(off < 1e-5, "{:?}: {off}", layers[0].ways[way].form);
    }
    let forms: Vec<Form> = layers[0].ways.iter().map(|way| way.form).collect();
    assert_eq!(forms, [Form::Whole, Form::Separable]);
}

/// What two layers multiply by in sequence is at the distance from the weights that the singular values
/// left out tell (Eckart & Young): asked of the network by unit vectors.
#[test]
fn a_factored_layer_is_as_far_off_as_the_tail() {
    let mut b = Builder::new(22, &[20]);
    b.gemm(b.graph.input, 15);
    let graph = b.graph;
    let layers = layers(&graph);
    let (factored, names) = factored(&graph, &layers, &[Some((0, 4))]).unwrap();
    assert_eq!(names, ["p0.u"]);
    assert_eq!(factored.parameter_count(), 4 * (20 + 15) + 15);
    let mut error = 0.0;
    for i in 0..20 {
        let unit: Vec<f32> = (0..20).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
        let [a, b] = [&graph, &factored].map(|g| trainer::graph::reference::run(g, &unit));
        error += a
            .iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>();
    }
    let values = graph.parameters[0].materialize();
    let tail: f64 = Svd::new(15, 20, &values).singular_values()[4..]
        .iter()
        .map(|s| s * s)
        .sum();
    assert!((error / tail - 1.0).abs() < 1e-4, "{error} {tail}");
}

/// Filters that are products of a column and a row come apart at rank 1 by rows and columns, and cost
/// less so than as a matrix of filters.
#[test]
fn the_cheaper_way_of_a_convolution_is_taken() {
    let mut graph = network();
    let wave = |place: usize, step: f32| ((place + 1) as f32 * step).sin() + 0.2;
    let value = |place: usize| {
        let (x, y, row) = (place % 5, place / 5 % 3, place / 15);
        let (channel, o) = (row % 6, row / 6);
        wave(o * 5 + x, 0.7) * wave(channel * 3 + y, 0.4)
    };
    *graph.parameters[0].free_mut() = (0..8 * 6 * 15).map(value).collect();
    let layers = layers(&graph);
    let choice = by_energy(&layers[0], 0.9999);
    assert_eq!(choice, Some((1, 1)));
    let (small, _) = factored(&graph, &layers, &[choice, None, None]).unwrap();
    assert_eq!(
        small.parameters[small.nodes[0].op.weight().unwrap().0].len(),
        6 * 3
    );
    assert!(apart(&outputs(&graph), &outputs(&small)) < 1e-5);
}

#[test]
fn a_rank_that_saves_nothing_is_not_taken() {
    let graph = network();
    let layers = layers(&graph);
    // 8×90: below 720/98 = 7.3.
    assert_eq!(by_rank(&layers[0], 7), Some((0, 7)));
    assert_eq!(by_rank(&layers[0], 8), None);
    // All the energy wants all ranks.
    assert_eq!(by_energy(&layers[2], 1.0), None);
}

#[test]
fn what_does_not_come_apart_says_why() {
    let mut b = Builder::new(23, &[4, 6, 6]);
    let x = b.conv(b.graph.input, 4, Window::square(3, 1), 4);
    let x = b.conv(x, 1, Window::square(1, 1), 1);
    b.push(Op::Flatten, &[x]);
    let why = |id: usize| Layer::of(&b.graph, ParamId(id)).unwrap_err().why;
    assert_eq!(why(0), "it belongs to a convolution in groups");
    assert_eq!(why(2), "no rank would have fewer parameters");
}

/// Two layers, of which one has rank 2 and a little noise: the search finds that it costs nothing there
/// and keeps off the other.
#[test]
fn the_search_takes_where_it_costs_least() {
    let mut b = Builder::new(24, &[16]);
    let x = b.gemm(b.graph.input, 16);
    b.gemm(x, 16);
    let mut graph = b.graph;
    let wave = |i: usize| (i as f32 * 1.3).sin();
    let value = |place: usize| {
        let (row, column) = (place / 16, place % 16);
        wave(row) * wave(column + 40) + wave(row * 3 + 7) * wave(column * 5 + 1)
    };
    *graph.parameters[0].free_mut() = (0..256).map(value).collect();
    let expected = outputs(&graph);
    let distance = |graph: &Graph| -> Result<f64, ShapeError> {
        Ok(f64::from(apart(&expected, &outputs(graph))))
    };
    let layers = layers(&graph);
    let choices = search(&graph, &layers, 1e-4, distance).unwrap();
    assert_eq!(choices, [Some((0, 2)), None]);
    let loose = search(&graph, &layers, 1e9, distance).unwrap();
    assert_eq!(loose, [Some((0, 1)), Some((0, 1))]);
}
