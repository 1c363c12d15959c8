//! Sums and products of two values, and with constants.

use super::builder::{Builder, ROUNDED, padded, within};
use trainer::graph::{Op, Unary, ValueId};

/// Two values of one shape with scales of their own.
fn two(b: &mut Builder) -> [ValueId; 2] {
    let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
    let y = b.conv(b.input(), 4, padded(1, 1, [0; 4]), 1);
    [x, y]
}

#[test]
fn sums_differences_and_products() {
    for op in [Op::Add, Op::Sub, Op::Mul] {
        let mut b = Builder::new(4, &[3, 6, 5]);
        let [x, y] = two(&mut b);
        let z = b.push(op.clone(), &[x, y]);
        b.relu(z);
        assert_eq!(within(&b.graph, 2.5).operators, 3, "{op:?}");
    }
}

#[test]
fn operands_are_broadcast() {
    for shape in [
        vec![4, 1, 1],
        vec![1, 6, 1],
        vec![6, 5],
        vec![5],
        vec![1, 6, 5],
    ] {
        for swapped in [false, true] {
            for op in [Op::Add, Op::Sub, Op::Mul] {
                let mut b = Builder::new(4, &[3, 6, 5]);
                let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
                // The same again, cut down to the shape.
                let mut y = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
                let rank = shape.len();
                for axis in 0..3 {
                    if axis + rank < 3 || shape[axis + rank - 3] == 1 {
                        y = b.select(y, axis, &[1]);
                    }
                }
                let y = b.reshape(y, &shape);
                let operands = if swapped { [y, x] } else { [x, y] };
                b.push(op.clone(), &operands);
                within(&b.graph, 2.5);
            }
        }
    }
}

/// `[4, 1, 1]` and `[6, 5]` fill `[4, 6, 5]` together.
#[test]
fn both_operands_are_broadcast() {
    let mut b = Builder::new(4, &[3, 6, 5]);
    let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
    let y = b.select(x, 0, &[2]);
    let y = b.reshape(y, &[6, 5]);
    let x = b.push(Op::GlobalAveragePool, &[x]);
    b.push(Op::Add, &[x, y]);
    within(&b.graph, 2.5);
}

/// Squeeze and excitation (Hu et al. 2018): an image times a factor of each channel.
#[test]
fn channels_are_scaled_by_a_gate() {
    let mut b = Builder::new(5, &[3, 6, 5]);
    let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
    let g = b.push(Op::GlobalAveragePool, &[x]);
    let g = b.conv(g, 4, padded(1, 1, [0; 4]), 1);
    let g = b.push(Op::Unary(Unary::Sigmoid), &[g]);
    b.push(Op::Mul, &[x, g]);
    assert_eq!(within(&b.graph, 3.0).operators, 5);
}

/// What is added to a layer's output or multiplied with it is part of the layer.
#[test]
fn constants_per_channel_are_folded() {
    for shape in [vec![4, 1, 1], vec![1], vec![]] {
        let mut b = Builder::new(4, &[3, 6, 5]);
        let x = b.conv(b.input(), 4, padded(3, 1, [1; 4]), 1);
        let c = b.constant(&shape, 0.5, 1.5);
        let x = b.push(Op::Mul, &[x, c]);
        let c = b.constant(&shape, -0.5, 0.5);
        let x = b.push(Op::Sub, &[x, c]);
        b.relu(x);
        assert_eq!(within(&b.graph, ROUNDED).operators, 1);
    }
}

#[test]
fn inputs_are_normalized() {
    let mut b = Builder::new(4, &[3, 6, 5]);
    let c = b.constant(&[1], 1.9, 2.1);
    let x = b.push(Op::Div, &[b.input(), c]);
    let c = b.constant(&[3, 1, 1], -0.2, 0.2);
    let x = b.push(Op::Sub, &[x, c]);
    let c = b.constant(&[3, 1, 1], 0.4, 0.6);
    let x = b.push(Op::Div, &[x, c]);
    b.conv(x, 4, padded(3, 1, [0; 4]), 1);
    assert_eq!(within(&b.graph, ROUNDED).operators, 1);
}

/// Constants that no layer takes: of one element in a table, of many as a tensor.
#[test]
fn constants_stand_for_themselves() {
    for op in [Op::Add, Op::Sub, Op::Mul, Op::Div] {
        for swapped in [false, true] {
            let mut b = Builder::new(4, &[7, 6]);
            let x = b.push(Op::Unary(Unary::Exp), &[b.input()]);
            let c = b.constant(&[1], 0.5, 1.5);
            let operands = if swapped { [c, x] } else { [x, c] };
            b.push(op.clone(), &operands);
            assert_eq!(within(&b.graph, 3.5).operators, 2, "{op:?}");
        }
        for shape in [vec![6], vec![7, 1], vec![7, 6]] {
            let mut b = Builder::new(4, &[7, 6]);
            let x = b.push(Op::Unary(Unary::Tanh), &[b.input()]);
            let c = b.constant(&shape, 0.5, 1.5);
            if matches!(op, Op::Div) && shape.len() == 2 && shape[1] == 6 {
                continue;
            }
            b.push(op.clone(), &[x, c]);
            within(&b.graph, 2.5);
        }
    }
}
