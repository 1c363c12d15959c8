//! A network over whole sequences as one that takes a step at a time and carries its state.

use crate::program::{Kind, Program};
use trainer::graph::{Graph, Node, Op, ShapeError, ValueId};

/// Why a network cannot run step by step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum StreamError {
    #[error(
        "the input has shape {0:?}; streaming takes [time, features], compress without --stream"
    )]
    Input(Vec<usize>),
    #[error("node '{node}' ({op}) {reason}; compress without --stream")]
    Node {
        node: String,
        op: &'static str,
        reason: &'static str,
    },
    #[error("there is no recurrent layer whose state could be carried; compress without --stream")]
    Stateless,
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// The same operators on one step of time: `[1, features]`. The state of recurrent layers is to be
/// carried from step to step; the output at each step is what the whole network says of the sequence
/// up to there.
///
/// # Errors
/// When a node needs more than one step at once, or looks back from the end.
pub fn to_steps(graph: &Graph) -> Result<Graph, StreamError> {
    let shape = &graph.value(graph.input).shape;
    if shape.len() != 2 {
        return Err(StreamError::Input(shape.clone()));
    }
    if !graph.nodes.iter().any(|n| matches!(n.op, Op::Recurrent(_))) {
        return Err(StreamError::Stateless);
    }
    let mut time = vec![None; graph.values.len()];
    time[graph.input.0] = Some(0);
    let mut steps = graph.clone();
    for (node, step) in graph.nodes.iter().zip(&mut steps.nodes) {
        let after = follow(graph, node, &time).map_err(|reason| StreamError::Node {
            node: node.name.clone(),
            op: node.op.name(),
            reason,
        })?;
        time[node.output.0] = after;
        match &mut step.op {
            Op::Reshape { shape } => {
                if let Some(axis) = after {
                    shape[axis] = 1;
                }
            }
            Op::Select { axis, indices } if time[node.inputs[0].0] == Some(*axis) => {
                *indices = vec![0];
            }
            _ => {}
        }
    }
    steps.values[graph.input.0].shape[0] = 1;
    steps.infer_shapes()?;
    Ok(steps)
}

/// Marks the state of every recurrent layer as kept from one inference to the next.
pub fn carry(program: &mut Program) {
    for operator in &mut program.operators {
        if let Kind::Recurrent(layer) = &mut operator.kind {
            layer.carried = true;
        }
    }
}

/// Which axis of a node's output is time, if it still has one.
fn follow(
    graph: &Graph,
    node: &Node,
    time: &[Option<usize>],
) -> Result<Option<usize>, &'static str> {
    let of = |v: &ValueId| time[v.0];
    let Some(axis) = node.inputs.iter().find_map(of) else {
        return Ok(None);
    };
    let input = graph.value(node.inputs[0]);
    let from_end = |v: &ValueId| of(v).map(|axis| graph.value(*v).shape.len() - axis);
    match &node.op {
        Op::Relu
        | Op::Clip { .. }
        | Op::Unary(_)
        | Op::Dropout { .. }
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_) => Ok(Some(axis)),
        Op::Gemm { .. } | Op::Embedding { .. } if axis + 1 < input.shape.len().max(2) => {
            Ok(Some(axis))
        }
        Op::Softmax { axis: over } | Op::LogSoftmax { axis: over } if *over != axis => {
            Ok(Some(axis))
        }
        Op::LayerNormalization { axis: first, .. } if *first > axis => Ok(Some(axis)),
        Op::Add | Op::Sub | Op::Mul | Op::Div => {
            let mut places = node.inputs.iter().filter_map(from_end);
            let first = places.next();
            if places.any(|place| Some(place) != first) {
                return Err("combines different times");
            }
            let rank = graph.value(node.output).shape.len();
            Ok(first.map(|place| rank - place))
        }
        Op::Recurrent(layer) => Ok((!layer.cell_output).then_some(0)),
        Op::Transpose { perm } => Ok(perm.iter().position(|&from| from == axis)),
        Op::Select { axis: along, .. } if *along != axis => Ok(Some(axis)),
        Op::Select { indices, .. } => match indices[..] {
            [last] if last + 1 == input.shape[axis] => Ok(None),
            _ => Err("takes other times than the last"),
        },
        Op::Reshape { .. } | Op::Flatten => {
            reshaped(&input.shape, axis, &graph.value(node.output).shape)
        }
        _ => Err("needs more than one step at once"),
    }
}

/// Where an axis stands after a reshape that leaves it whole.
fn reshaped(from: &[usize], axis: usize, to: &[usize]) -> Result<Option<usize>, &'static str> {
    let before: usize = from[..axis].iter().product();
    let same =
        |&place: &usize| to[place] == from[axis] && to[..place].iter().product::<usize>() == before;
    let place = (0..to.len()).find(same);
    place.map(Some).ok_or("joins the steps of time")
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::graph::{Cell, Parameter, Recurrent};

    fn recurrent(graph: &mut Graph) -> Op {
        let mut add = |name: &str, shape: &[usize]| {
            let len = shape.iter().product();
            graph.add_parameter(Parameter::dense(name, shape, vec![0.5; len]))
        };
        Op::Recurrent(Recurrent {
            cell: Cell::Gru {
                linear_before_reset: true,
            },
            weight: add("w", &[12, 3]),
            recurrence: add("r", &[12, 4]),
            bias: None,
            initial_hidden: None,
            initial_cell: None,
            cell_output: false,
        })
    }

    #[test]
    fn the_last_step_becomes_the_only_one() {
        let mut graph = Graph::new("test", "x", &[9, 3]);
        let op = recurrent(&mut graph);
        let h = graph.push("gru", op, &[ValueId(0)]).expect("fits");
        let op = Op::Select {
            axis: 0,
            indices: vec![8],
        };
        let last = graph.push("last", op, &[h]).expect("fits");
        graph
            .push("flat", Op::Reshape { shape: vec![4] }, &[last])
            .expect("fits");
        let steps = to_steps(&graph).expect("fits");
        let shapes: Vec<&[usize]> = steps.values.iter().map(|v| v.shape.as_slice()).collect();
        assert_eq!(shapes, [&[1, 3][..], &[1, 4], &[1, 4], &[4]]);
    }

    #[test]
    fn what_needs_the_whole_sequence_is_refused() {
        for (op, word) in [
            (Op::Flatten, "joins"),
            (Op::ReduceMean { axes: vec![0] }, "more than one"),
            (
                Op::Select {
                    axis: 0,
                    indices: (0..9).rev().collect(),
                },
                "last",
            ),
        ] {
            let mut graph = Graph::new("test", "x", &[9, 3]);
            let layer = recurrent(&mut graph);
            let h = graph.push("gru", layer, &[ValueId(0)]).expect("fits");
            graph.push("node", op, &[h]).expect("fits");
            let error = to_steps(&graph).expect_err("refused").to_string();
            assert!(error.contains("'node'") && error.contains(word), "{error}");
        }
    }
}
