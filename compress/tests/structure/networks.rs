//! Networks whose units hang together in every way there is.

use crate::builder::{Builder, padded};
use trainer::graph::{Cell, Graph, Op, Recurrent, Unary, Window, reference};

/// What the outputs of a graph are for a few inputs.
pub(crate) fn outputs(graph: &Graph) -> Vec<Vec<f32>> {
    let len = graph.value(graph.input).len();
    let mut rng = crate::builder::rng(99);
    let mut input = || {
        use rand::RngExt;
        (0..len)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect::<Vec<f32>>()
    };
    (0..3).map(|_| reference::run(graph, &input())).collect()
}

/// Largest difference over largest output.
pub(crate) fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let largest = a.iter().flatten().fold(0.0f32, |m, v| m.max(v.abs()));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// Convolution, pooling, flattening, two layers.
pub(crate) fn lenet() -> Graph {
    let mut b = Builder::new(1, &[1, 10, 10]);
    let x = b.conv(b.input(), 6, Window::square(3, 1), 1);
    let x = b.normalize(x);
    let x = b.relu(x);
    let window = Window::square(2, 2);
    let dilation = [1, 1];
    let x = b.push(Op::MaxPool { window, dilation }, &[x]);
    let x = b.push(Op::Flatten, &[x]);
    let x = b.gemm(x, 12);
    let x = b.push(Op::Unary(Unary::Sigmoid), &[x]);
    b.gemm(x, 4);
    b.graph
}

/// A stem, a block around which the signal goes, and another whose way around is a convolution.
pub(crate) fn residual() -> Graph {
    let mut b = Builder::new(2, &[3, 8, 8]);
    let window = padded(3, 1, [1; 4]);
    let x = b.conv(b.input(), 8, window, 1);
    let stem = b.relu(x);
    let x = b.conv(stem, 6, window, 1);
    let x = b.normalize(x);
    let x = b.relu(x);
    let x = b.conv(x, 8, window, 1);
    let x = b.push(Op::Add, &[stem, x]);
    let block = b.relu(x);
    let x = b.conv(block, 10, padded(3, 2, [1; 4]), 1);
    let around = b.conv(block, 10, Window::square(1, 2), 1);
    let x = b.push(Op::Add, &[around, x]);
    let x = b.push(Op::GlobalAveragePool, &[x]);
    let x = b.push(Op::Flatten, &[x]);
    let x = b.gemm(x, 5);
    b.push(Op::Softmax { axis: 0 }, &[x]);
    b.graph
}

/// Two branches and the input side by side.
pub(crate) fn concatenated() -> Graph {
    let mut b = Builder::new(3, &[2, 6, 6]);
    let input = b.input();
    let left = b.conv(input, 5, padded(3, 1, [1; 4]), 1);
    let right = b.conv(input, 4, Window::square(1, 1), 1);
    let right = b.relu(right);
    let x = b.push(Op::Concat { axis: 0 }, &[left, input, right]);
    let x = b.conv(x, 7, Window::square(3, 1), 1);
    let x = b.push(Op::ReduceMean { axes: vec![1, 2] }, &[x]);
    let x = b.reshape(x, &[7]);
    b.gemm(x, 3);
    b.graph
}

/// A depthwise convolution that doubles the channels, and a grouped one.
pub(crate) fn grouped() -> Graph {
    let mut b = Builder::new(4, &[2, 8, 8]);
    let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
    let x = b.relu(x);
    let x = b.conv(x, 8, padded(3, 1, [1; 4]), 4);
    let x = b.conv(x, 12, Window::square(1, 1), 1);
    let x = b.relu(x);
    let x = b.conv(x, 6, Window::square(3, 1), 3);
    let x = b.conv(x, 4, Window::square(3, 2), 1);
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 3);
    b.graph
}

/// Channels weighted by what is in them (squeeze and excitation), and scaled by constants.
pub(crate) fn excited() -> Graph {
    let mut b = Builder::new(5, &[2, 6, 6]);
    let x = b.conv(b.input(), 6, padded(3, 1, [1; 4]), 1);
    let s = b.push(Op::GlobalAveragePool, &[x]);
    let s = b.push(Op::Flatten, &[s]);
    let s = b.gemm(s, 3);
    let s = b.relu(s);
    let s = b.gemm(s, 6);
    let s = b.push(Op::Unary(Unary::Sigmoid), &[s]);
    let s = b.reshape(s, &[6, 1, 1]);
    let x = b.push(Op::Mul, &[x, s]);
    let scalar = b.constant(&[1], 0.5, 0.6);
    let x = b.push(Op::Mul, &[x, scalar]);
    let each = b.constant(&[6, 1, 1], 0.5, 1.5);
    let x = b.push(Op::Add, &[each, x]);
    let whole = b.constant(&[6, 6, 6], -0.5, 0.5);
    let x = b.push(Op::Sub, &[x, whole]);
    let plane = b.constant(&[6, 6], -0.5, 0.5);
    let x = b.push(Op::Add, &[x, plane]);
    let slope = b.parameter(&[6, 1, 1], 0.1, 0.3);
    let x = b.push(Op::PRelu { slope }, &[x]);
    let x = b.conv(x, 4, Window::square(3, 1), 1);
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 3);
    b.graph
}

/// Channels picked, padded, moved to the end, and a shuffle that tears them apart.
pub(crate) fn moved() -> Graph {
    let mut b = Builder::new(6, &[2, 5, 5]);
    let x = b.conv(b.input(), 6, Window::square(1, 1), 1);
    let low = b.select(x, 0, &[0, 1, 4]);
    let high = b.select(x, 0, &[5, 2, 3]);
    let x = b.push(Op::Concat { axis: 0 }, &[high, low]);
    let pad = |before: [usize; 3], after: [usize; 3], value| Op::Pad {
        before: before.to_vec(),
        after: after.to_vec(),
        value,
    };
    let x = b.push(pad([0, 1, 0], [0, 0, 1], 0.7), &[x]);
    let x = b.push(pad([1, 0, 0], [2, 0, 0], 0.2), &[x]);
    let x = b.transpose(x, &[1, 2, 0]);
    let x = b.gemm(x, 8);
    let x = b.relu(x);
    let x = b.transpose(x, &[2, 0, 1]);
    let x = b.conv(x, 6, Window::square(3, 1), 1);
    let x = b.reshape(x, &[2, 3, 16]);
    let x = b.transpose(x, &[1, 0, 2]);
    let x = b.reshape(x, &[6, 4, 4]);
    let x = b.conv(x, 3, Window::square(3, 1), 1);
    let weight = b.parameter(&[3, 4, 2, 2], -0.5, 0.5);
    let bias = Some(b.parameter(&[4], -0.5, 0.5));
    let up = Op::ConvTranspose {
        weight,
        bias,
        window: Window::square(2, 2),
        dilation: [1, 1],
        groups: 1,
        output_padding: [0, 0],
    };
    let x = b.push(up, &[x]);
    b.conv(x, 2, Window::square(1, 1), 1);
    b.graph
}

/// Recurrent layers, one after the other.
pub(crate) fn recurrent(cell: Cell) -> Graph {
    let mut b = Builder::new(7, &[5, 3]);
    let mut x = b.input();
    x = b.gemm(x, 6);
    for hidden in [5, 4] {
        let (features, gates) = (*b.shape(x).last().unwrap(), cell.gates());
        let layer = Recurrent {
            cell,
            weight: b.parameter(&[gates * hidden, features], -0.6, 0.6),
            recurrence: b.parameter(&[gates * hidden, hidden], -0.6, 0.6),
            bias: Some(b.parameter(&[2 * gates * hidden], -0.3, 0.3)),
            initial_hidden: Some(b.parameter(&[hidden], -0.3, 0.3)),
            initial_cell: matches!(cell, Cell::Lstm).then(|| b.parameter(&[hidden], -0.3, 0.3)),
            cell_output: false,
        };
        x = b.push(Op::Recurrent(layer), &[x]);
    }
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 3);
    b.graph
}

/// All of them, with how many units each of their layers has.
pub(crate) fn all() -> Vec<(&'static str, Graph, Vec<usize>)> {
    let gru = Cell::Gru {
        linear_before_reset: true,
    };
    vec![
        ("lenet", lenet(), vec![6, 12]),
        ("residual", residual(), vec![8, 6, 10]),
        // What stands side by side is one layer.
        ("concatenated", concatenated(), vec![9, 7]),
        // Doubled channels hang on the first four; those of three groups of four on each other.
        ("grouped", grouped(), vec![4, 4, 2, 4]),
        ("excited", excited(), vec![6, 3, 4]),
        // The shuffled six stay.
        ("moved", moved(), vec![6, 8, 3, 4]),
        ("lstm", recurrent(Cell::Lstm), vec![6, 5, 4]),
        ("gru", recurrent(gru), vec![6, 5, 4]),
    ]
}
