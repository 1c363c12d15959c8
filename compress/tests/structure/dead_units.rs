use crate::builder::{Builder, padded};
use crate::networks::{apart, outputs, residual};
use compress::passes::remove_dead_units;
use trainer::graph::{Graph, Op, ParamId, Unary, Window};

/// Zeroes a row of a weight.
fn silence(graph: &mut Graph, parameter: ParamId, row: usize) {
    let parameter = &mut graph.parameters[parameter.0];
    let len = parameter.len() / parameter.shape[0];
    parameter.free_mut()[row * len..(row + 1) * len].fill(0.0);
}

/// Zeroes what reads a channel.
fn ignore(graph: &mut Graph, parameter: ParamId, channel: usize) {
    let parameter = &mut graph.parameters[parameter.0];
    let (columns, taps) = (
        parameter.shape[1],
        parameter.shape[2..].iter().product::<usize>(),
    );
    for row in parameter.free_mut().chunks_mut(columns * taps) {
        row[channel * taps..(channel + 1) * taps].fill(0.0);
    }
}

fn weight(graph: &Graph, node: usize) -> ParamId {
    graph.nodes[node].op.weight().unwrap()
}

/// Removes dead units, expecting this many and the same function.
#[track_caller]
fn removes(graph: &Graph, expected: usize) -> Graph {
    let mut small = graph.clone();
    assert_eq!(remove_dead_units(&mut small), expected);
    let off = apart(&outputs(graph), &outputs(&small));
    assert!(off < 1e-5, "{off}");
    assert_eq!(remove_dead_units(&mut small), 0, "nothing is left");
    small
}

/// conv 0, batch norm 1, sigmoid 2, average pool 3, conv 4, flatten 5, gemm 6, relu 7, gemm 8.
fn chain(padding: usize) -> Graph {
    let mut b = Builder::new(11, &[2, 10, 10]);
    let x = b.conv(b.input(), 6, padded(3, 1, [1; 4]), 1);
    let x = b.normalize(x);
    let x = b.push(Op::Unary(Unary::Sigmoid), &[x]);
    let pool = Op::AveragePool {
        window: Window::square(2, 2),
        dilation: [1, 1],
        count_include_pad: false,
    };
    let x = b.push(pool, &[x]);
    let x = b.conv(x, 5, padded(3, 1, [padding; 4]), 1);
    let x = b.push(Op::Flatten, &[x]);
    let x = b.gemm(x, 7);
    let x = b.relu(x);
    b.gemm(x, 3);
    b.graph
}

#[test]
fn a_constant_goes_through_normalization_function_and_pool_into_the_next_bias() {
    let mut graph = chain(0);
    let (first, second, third) = (weight(&graph, 0), weight(&graph, 4), weight(&graph, 6));
    silence(&mut graph, first, 2);
    silence(&mut graph, second, 4);
    silence(&mut graph, third, 0);
    let small = removes(&graph, 3);
    assert_eq!(small.parameter(weight(&small, 4)).shape, [4, 5, 3, 3]);
    assert_eq!(small.parameter(weight(&small, 6)).shape, [6, 4 * 9]);
    assert_eq!(small.parameter(weight(&small, 8)).shape, [3, 6]);
}

/// At the border a convolution reads zeros beside the constant, so that no bias says the same.
#[test]
fn padding_keeps_a_constant_that_is_not_zero() {
    let mut graph = chain(1);
    let first = weight(&graph, 0);
    silence(&mut graph, first, 2);
    removes(&graph, 0);
    // Never read, it goes.
    let second = weight(&graph, 4);
    ignore(&mut graph, second, 2);
    removes(&graph, 1);
}

#[test]
fn what_only_dead_units_read_is_dead() {
    let mut graph = chain(1);
    let third = weight(&graph, 6);
    // A 5×5 image of each channel: places 0…24 are the first one's.
    (0..25).for_each(|place| ignore(&mut graph, third, place));
    let small = removes(&graph, 1);
    assert_eq!(small.parameter(weight(&small, 4)).shape, [4, 6, 3, 3]);
    // Of all seven the last layer reads none but one.
    let last = weight(&graph, 8);
    (0..6).for_each(|unit| ignore(&mut graph, last, unit));
    let rest = weight(&graph, 6);
    silence(&mut graph, rest, 5);
    removes(&graph, 7);
}

/// A channel around which the signal goes is dead when nobody reads it behind the addition either; one
/// that both sides leave constant is folded where no padding stands in the way.
#[test]
fn a_channel_of_a_residual_block_dies_as_a_whole() {
    let mut graph = residual();
    // Readers of the stem: the first block's convolution, the second block's, the way around.
    for node in [2, 8] {
        let id = weight(&graph, node);
        ignore(&mut graph, id, 3);
    }
    removes(&graph, 0);
    let around = weight(&graph, 9);
    ignore(&mut graph, around, 3);
    let small = removes(&graph, 1);
    assert_eq!(small.parameter(weight(&small, 0)).shape[0], 7);
    assert_eq!(small.parameter(weight(&small, 5)).shape[0], 7);
}

#[test]
fn a_network_stays_one_when_all_is_dead() {
    let mut graph = chain(0);
    let last = weight(&graph, 8);
    graph.parameters[last.0].free_mut().fill(0.0);
    let small = removes(&graph, 5 + 4 + 6);
    assert_eq!(small.parameter(weight(&small, 8)).shape, [3, 1]);
}

#[test]
fn biases_are_added_where_there_are_none() {
    let mut graph = chain(0);
    let Op::Gemm { bias, .. } = &mut graph.nodes[8].op else {
        panic!("a Gemm");
    };
    *bias = None;
    let third = weight(&graph, 6);
    silence(&mut graph, third, 1);
    let bias = graph.nodes[6].op.bias().unwrap();
    graph.parameters[bias.0].free_mut()[1] = 0.8;
    let small = removes(&graph, 1);
    assert!(small.nodes[8].op.bias().is_some());
}
