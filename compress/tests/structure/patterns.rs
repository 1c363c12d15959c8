use crate::builder::Builder;
use compress::passes::prune::{Amounts, prune_blocks, prune_pattern};
use compress::passes::{sparsity, weights};
use trainer::graph::{Graph, Op, Window};

fn network() -> Graph {
    let mut b = Builder::new(31, &[8, 6, 6]);
    let x = b.conv(b.graph.input, 12, Window::square(3, 1), 1);
    let x = b.push(Op::Flatten, &[x]);
    b.gemm(x, 10);
    b.graph
}

/// Non-zero weights of an output at a tap, of the convolution, or in a row, by groups of M inputs.
fn groups(graph: &Graph, of: usize) -> Vec<usize> {
    let mut counts = Vec::new();
    for id in weights(graph) {
        let parameter = graph.parameter(id);
        let values = parameter.materialize();
        let (inputs, taps) = (
            parameter.shape[1],
            parameter.shape[2..].iter().product::<usize>(),
        );
        for row in values.chunks(inputs * taps) {
            for tap in 0..taps {
                let inputs: Vec<f32> = row.iter().copied().skip(tap).step_by(taps).collect();
                let living = |group: &[f32]| group.iter().filter(|w| **w != 0.0).count();
                counts.extend(inputs.chunks(of).map(living));
            }
        }
    }
    counts
}

#[test]
fn two_of_every_four_inputs_stay_and_they_are_the_largest() {
    let before = network();
    let mut graph = before.clone();
    prune_pattern(&mut graph, 2, 4);
    assert!(groups(&graph, 4).iter().all(|&n| n == 2));
    assert_eq!(sparsity(&graph), 0.5);
    for id in weights(&graph) {
        let (was, is) = (before.parameter(id), graph.parameter(id).materialize());
        let taps = was.shape[2..].iter().product::<usize>();
        let was = was.materialize();
        // Of inputs 0…3 of the first output at the last tap.
        let places: Vec<usize> = (0..4).map(|i| i * taps + taps - 1).collect();
        let least = places
            .iter()
            .filter(|&&p| is[p] != 0.0)
            .map(|&p| was[p].abs());
        let least = least.fold(f32::INFINITY, f32::min);
        assert!(
            places
                .iter()
                .all(|&p| is[p] != 0.0 || was[p].abs() <= least)
        );
    }
}

#[test]
fn the_last_group_of_a_row_may_be_shorter() {
    let mut b = Builder::new(33, &[7]);
    b.gemm(b.graph.input, 5);
    let mut graph = b.graph;
    prune_pattern(&mut graph, 2, 3);
    assert_eq!(groups(&graph, 3), [2, 2, 1].repeat(5));
}

/// Four outputs by one input, and one output by four inputs: all or nothing, and the strongest stay.
#[test]
fn blocks_stay_or_go_as_one() {
    for block in [[4, 1], [1, 4], [2, 2]] {
        for amounts in [
            Amounts::Global(0.75),
            Amounts::Adaptive(0.75),
            Amounts::PerLayer(vec![0.75; 2]),
        ] {
            let mut graph = network();
            prune_blocks(&mut graph, &amounts, block, 0.0, |share| share);
            let off = sparsity(&graph) - 0.75;
            assert!(off.abs() < 0.01, "{block:?}, {amounts:?}: {off}");
            for id in weights(&graph) {
                check_blocks(
                    graph.parameter(id).shape.clone(),
                    &graph.parameter(id).materialize(),
                    block,
                );
            }
        }
    }
}

#[track_caller]
fn check_blocks(shape: Vec<usize>, values: &[f32], [height, width]: [usize; 2]) {
    let taps = shape[2..].iter().product::<usize>();
    let inputs = shape[1];
    let at = |row: usize, tap: usize, input: usize| values[(row * inputs + input) * taps + tap];
    for row in (0..shape[0]).step_by(height) {
        for tap in 0..taps {
            for input in (0..inputs).step_by(width) {
                let rows = row..(row + height).min(shape[0]);
                let inputs = input..(input + width).min(inputs);
                let cells = rows.flat_map(|r| inputs.clone().map(move |i| (r, i)));
                let living: Vec<bool> = cells.map(|(r, i)| at(r, tap, i) != 0.0).collect();
                assert!(living.iter().all(|l| *l == living[0]), "{living:?}");
            }
        }
    }
}

/// By hand: means of |w| over blocks of two outputs are 2, 3 / 4, 1; half goes.
#[test]
fn the_weakest_blocks_go() {
    let mut b = Builder::new(32, &[2]);
    b.gemm(b.graph.input, 4);
    let mut graph = b.graph;
    *graph.parameters[0].free_mut() = vec![1.0, -6.0, 3.0, 0.1, 5.0, 1.5, -3.0, 0.5];
    prune_blocks(&mut graph, &Amounts::Global(0.5), [2, 1], 0.0, |share| {
        share
    });
    let expected = [0.0, -6.0, 0.0, 0.1, 5.0, 0.0, -3.0, 0.0];
    assert_eq!(graph.parameters[0].materialize(), expected);
}
