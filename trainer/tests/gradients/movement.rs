//! What moves elements, and arithmetic that broadcasts.

use super::*;

/// An operator between dense layers, on values of this shape.
fn between(name: &str, shape: &[usize], push: impl FnOnce(&mut Graph)) {
    let mut graph = Graph::new(name, "x", &[5]);
    gemm(&mut graph, shape.iter().product());
    let shape = shape.to_vec();
    add(&mut graph, "shape", Op::Reshape { shape });
    push(&mut graph);
    gemm(&mut graph, 3);
    check(&graph, SMOOTH, reference_loss);
}

#[test]
fn elements_moved() {
    let ops = [
        Op::Select {
            axis: 0,
            indices: vec![1, 1, 0],
        },
        Op::Select {
            axis: 1,
            indices: vec![2, 0],
        },
        Op::Select {
            axis: 2,
            indices: vec![3, 2, 1, 0, 0],
        },
        Op::Pad {
            before: vec![1, 0, 2],
            after: vec![0, 2, 1],
            value: 0.7,
        },
        Op::Transpose {
            perm: vec![2, 0, 1],
        },
        Op::Transpose {
            perm: vec![1, 0, 2],
        },
    ];
    for op in ops {
        between(&format!("{op:?}"), &[2, 3, 4], |graph| {
            add(graph, "move", op);
        });
    }
}

#[test]
fn values_joined() {
    for (axis, own, other) in [(0, [2, 3], [1, 3]), (1, [2, 3], [2, 4])] {
        between(&format!("concat along {axis}"), &own, |graph| {
            let value = dense(graph, "constant", &other, 0.5);
            let x = graph.output;
            let constant = graph.push("constant", Op::Constant { value }, &[]).unwrap();
            let inputs = [x, constant, x];
            graph.push("concat", Op::Concat { axis }, &inputs).unwrap();
        });
    }
}

#[test]
fn arithmetic_broadcasts() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 3], &[2, 3]),
        (&[2, 3], &[3]),
        (&[2, 3, 4], &[2, 1, 1]),
        (&[2, 1, 4], &[1, 3, 1]),
        (&[3], &[2, 3]),
        (&[2, 3], &[1]),
    ];
    for (own, other) in shapes {
        for op in [Op::Add, Op::Sub, Op::Mul, Op::Div] {
            for swapped in [false, true] {
                // A divisor far from 0.
                let away = matches!(op, Op::Div);
                between(
                    &format!("{op:?} {own:?} {other:?} {swapped}"),
                    own,
                    |graph| {
                        let value = dense(graph, "constant", other, 0.5);
                        if away {
                            add(graph, "exp", Op::Unary(trainer::graph::Unary::Exp));
                            let values = graph.parameters[value.0].free_mut();
                            values.iter_mut().for_each(|v| *v += 2.0);
                        }
                        let x = graph.output;
                        let constant = graph.push("constant", Op::Constant { value }, &[]).unwrap();
                        let inputs = if swapped {
                            [constant, x]
                        } else {
                            [x, constant]
                        };
                        graph.push("pair", op.clone(), &inputs).unwrap();
                    },
                );
            }
        }
    }
}

#[test]
fn products_of_two_values() {
    let shapes: [(&[usize], &[usize]); 5] = [
        (&[2, 3], &[3, 4]),
        (&[2, 2, 3], &[2, 3, 2]),
        (&[2, 2, 3], &[3, 2]),
        (&[1, 2, 3], &[4, 3, 1]),
        (&[2, 1, 2, 2], &[3, 2, 1]),
    ];
    for (own, other) in shapes {
        between(&format!("{own:?} times {other:?}"), own, |graph| {
            let value = dense(graph, "constant", other, 0.5);
            let x = graph.output;
            let constant = graph.push("constant", Op::Constant { value }, &[]).unwrap();
            graph.push("product", Op::MatMul, &[x, constant]).unwrap();
        });
    }
}

/// Attention by the operators it is made of.
#[test]
fn attention() {
    let mut graph = Graph::new("attention", "x", &[4, 3]);
    let rows = |graph: &mut Graph, name: &str| {
        let weight = dense(graph, &format!("{name}.w"), &[2, 3], 0.8);
        let x = graph.input;
        graph
            .push(name, Op::Gemm { weight, bias: None }, &[x])
            .unwrap()
    };
    let [query, key, value] = ["query", "key", "value"].map(|name| rows(&mut graph, name));
    let perm = vec![1, 0];
    let key = graph
        .push("turned", Op::Transpose { perm }, &[key])
        .unwrap();
    graph.push("scores", Op::MatMul, &[query, key]).unwrap();
    add(&mut graph, "weights", Op::Softmax { axis: 1 });
    let weights = graph.output;
    graph
        .push("attended", Op::MatMul, &[weights, value])
        .unwrap();
    gemm(&mut graph, 3);
    check(&graph, SMOOTH, reference_loss);
}
