//! What only moves elements is exact, and what only names them otherwise costs no operator.

use super::builder::{Builder, EXACT, ROUNDED, padded, within};
use rand::RngExt;
use trainer::graph::{Op, Quantization, ValueId, Window};

/// A function that changes nothing in steps, so that a graph of moves has an operator.
fn clip(b: &mut Builder, x: ValueId) -> ValueId {
    let (min, max) = (-0.99, 0.95);
    b.push(Op::Clip { min, max }, &[x])
}

#[test]
fn slices_reversals_and_repetitions() {
    for (axis, indices) in [
        (0, vec![1, 2]),
        (1, vec![4, 3, 2, 1, 0]),
        (2, vec![0, 0, 1, 1, 2, 2, 3, 3]),
        (2, vec![0, 2]),
        (1, vec![0, 1, 2, 0, 1, 2]),
        // Edges: no pattern.
        (1, vec![0, 0, 1, 2, 3, 4, 4]),
        (2, vec![2, 1, 0, 1, 2, 3, 2]),
    ] {
        let mut b = Builder::new(1, &[3, 5, 4]);
        let x = b.select(b.input(), axis, &indices);
        clip(&mut b, x);
        within(&b.graph, 1.0 + EXACT);
        // As the output itself.
        let mut b = Builder::new(1, &[3, 5, 4]);
        let input = b.input();
        let x = clip(&mut b, input);
        b.select(x, axis, &indices);
        within(&b.graph, 1.0 + EXACT);
    }
}

#[test]
fn transpositions_of_every_kind() {
    for perm in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut b = Builder::new(1, &[3, 5, 4]);
        b.transpose(b.input(), &perm);
        let x = b.transpose(b.graph.output, &[2, 0, 1]);
        let x = b.select(x, 1, &[2, 0, 1]);
        b.push(Op::Flatten, &[x]);
        within(&b.graph, EXACT);
    }
}

/// A reshape that cuts through the channels of an image.
#[test]
fn reshapes_across_axes() {
    let mut b = Builder::new(1, &[4, 3, 6]);
    let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
    let x = b.reshape(x, &[6, 12]);
    let x = b.transpose(x, &[1, 0]);
    let x = b.reshape(x, &[8, 9]);
    b.select(x, 0, &[7, 3, 1]);
    within(&b.graph, ROUNDED);
}

#[test]
fn padding_with_a_constant() {
    for value in [0.0, 0.5, -2.0] {
        let mut b = Builder::new(1, &[3, 5, 4]);
        let (before, after) = (vec![1, 0, 2], vec![0, 3, 1]);
        b.push(
            Op::Pad {
                before,
                after,
                value,
            },
            &[b.input()],
        );
        within(&b.graph, ROUNDED);
    }
}

/// Zeros around a convolution or a pool are its own padding.
#[test]
fn padding_of_a_window_costs_nothing() {
    for stride in [1, 2] {
        let mut b = Builder::new(1, &[3, 8, 7]);
        let (before, after) = (vec![0, 1, 0], vec![0, 1, 2]);
        let pad = Op::Pad {
            before,
            after,
            value: 0.0,
        };
        let x = b.push(pad, &[b.input()]);
        b.conv(x, 4, Window::square(3, stride), 1);
        assert_eq!(within(&b.graph, ROUNDED).operators, 1);
    }
}

/// Inputs that nothing else reads get the scale of the whole; another one is scaled on the way.
#[test]
fn concatenation_along_every_axis() {
    for axis in 0..3 {
        let mut b = Builder::new(2, &[4, 6, 6]);
        let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
        let y = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 2);
        b.push(Op::Concat { axis }, &[x, y]);
        let pair = within(&b.graph, ROUNDED);
        assert_eq!(pair.operators, 4, "two layers, two copies");

        let mut b = Builder::new(2, &[4, 6, 6]);
        let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
        b.push(Op::Concat { axis }, &[x, b.input(), x]);
        within(&b.graph, 2.0 * ROUNDED);
    }
}

/// TensorFlow's layout behind a Transpose, before and after.
#[test]
fn wrappers_of_another_layout_vanish() {
    let mut b = Builder::new(2, &[6, 5, 3]);
    let x = b.transpose(b.input(), &[2, 0, 1]);
    let x = b.conv(x, 4, padded(3, 1, [1; 4]), 1);
    let x = b.transpose(x, &[1, 2, 0]);
    b.relu(x);
    assert_eq!(within(&b.graph, ROUNDED).operators, 1);

    // One dimension as two.
    let mut b = Builder::new(2, &[3, 20]);
    let x = b.reshape(b.input(), &[3, 1, 20]);
    let window = Window {
        kernel: [1, 5],
        ..Window::square(1, 1)
    };
    let x = b.conv(x, 4, window, 1);
    b.reshape(x, &[4, 16]);
    assert_eq!(within(&b.graph, ROUNDED).operators, 1);

    // A vector that is an image.
    let mut b = Builder::new(2, &[48]);
    let x = b.reshape(b.input(), &[1, 8, 6]);
    b.conv(x, 4, Window::square(3, 1), 1);
    assert_eq!(within(&b.graph, ROUNDED).operators, 1);
}

#[test]
fn splits_and_joins_meet_again() {
    let mut b = Builder::new(3, &[6, 4, 4]);
    let x = b.conv(b.input(), 6, padded(3, 1, [1; 4]), 1);
    let first = b.select(x, 0, &[0, 1, 2]);
    let second = b.select(x, 0, &[3, 4, 5]);
    let first = b.conv(first, 3, padded(3, 1, [1; 4]), 3);
    let joined = b.push(Op::Concat { axis: 0 }, &[first, second]);
    // Channels shuffled, as in ShuffleNet.
    let x = b.reshape(joined, &[2, 3, 4, 4]);
    let x = b.transpose(x, &[1, 0, 2, 3]);
    let x = b.reshape(x, &[6, 4, 4]);
    b.conv(x, 5, Window::square(1, 1), 1);
    within(&b.graph, 4.0);
}

/// An operator that moves elements, on a value of this shape, by dice.
fn any_move(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let axis = b.rng.random_range(0..shape.len());
    let size = shape[axis];
    match b.rng.random_range(0..6) {
        0 => {
            let mut perm: Vec<usize> = (0..shape.len()).collect();
            (1..perm.len()).for_each(|i| perm.swap(i, b.rng.random_range(0..=i)));
            b.transpose(x, &perm)
        }
        1 if axis > 0 => {
            let mut joined = shape;
            let before = joined.remove(axis - 1);
            joined[axis - 1] *= before;
            b.reshape(x, &joined)
        }
        2 => {
            let divisors: Vec<usize> = (1..=size).filter(|d| size.is_multiple_of(*d)).collect();
            let divisor = divisors[b.rng.random_range(0..divisors.len())];
            let mut cut = shape;
            cut[axis] /= divisor;
            cut.insert(axis + 1, divisor);
            b.reshape(x, &cut)
        }
        3 => {
            let count = b.rng.random_range(1..=size);
            let any = (0..count).map(|_| b.rng.random_range(0..size));
            let places: Vec<usize> = any.collect();
            b.select(x, axis, &places)
        }
        4 => {
            let (step, start) = (b.rng.random_range(1..3), b.rng.random_range(0..size));
            let mut places: Vec<usize> = (start..size).step_by(step).collect();
            if b.rng.random() {
                places.reverse();
            }
            b.select(x, axis, &places)
        }
        _ if shape.iter().product::<usize>() < 200 => b.push(Op::Concat { axis }, &[x, x]),
        _ => x,
    }
}

/// Whatever is moved however often, no element is lost or changed.
#[test]
fn any_moves_after_one_another() {
    for seed in 0..150 {
        let mut b = Builder::new(seed, [&[4, 3, 5][..], &[6, 8], &[24]][seed as usize % 3]);
        let mut x = b.input();
        for _ in 0..7 {
            x = any_move(&mut b, x);
        }
        let (min, max) = (-5.0, 5.0);
        b.push(Op::Clip { min, max }, &[x]);
        // One scale for all, so that nothing is rounded on the way.
        for value in &mut b.graph.values {
            let (scale, zero_point) = (1.0 / 127.0, 0);
            value.quantization = Some(Quantization { scale, zero_point });
        }
        let off = super::builder::Pair::of(&b.graph).steps_off();
        assert!(off <= EXACT, "{off} steps off: {:?}", b.graph.nodes);
    }
}
