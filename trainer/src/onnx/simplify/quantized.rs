//! `QuantizeLinear` followed by `DequantizeLinear` of the same scale and zero point is what a value's
//! [`Quantization`] says.

use super::pattern::producer;
use crate::graph::{Affine, Graph, Node, Op, Quantization, ValueId};

/// Folds every pair whose value is read in no other way.
pub(super) fn fold(graph: &mut Graph) {
    let mut place = 0;
    while place < graph.nodes.len() {
        place += move_reals(graph, place) + 1;
    }
    let mut place = 0;
    // Nodes behind this one are dropped on the way.
    while let Some(node) = graph.nodes.get(place) {
        place += 1;
        if let Op::QuantizeLinear(affine) = &node.op
            && let Some(quantization) = per_tensor(affine)
        {
            let (value, quantized) = (node.inputs[0], node.output);
            fold_at(graph, value, quantized, quantization);
        }
    }
    graph.remove_unused();
    clip_what_saturates(graph);
}

/// A quantizer drops a Relu or a Clip in front of integers that begin at 0: saturating does the same.
/// The graph has it back, since it computes with real numbers.
fn clip_what_saturates(graph: &mut Graph) {
    let mut place = 0;
    while let Some(node) = graph.nodes.get(place) {
        place += 1;
        let value = node.output;
        let quantization = graph.value(value).quantization;
        let Some(Quantization {
            scale,
            zero_point: -128,
        }) = quantization
        else {
            continue;
        };
        let signed = node.op.weight().is_some()
            || matches!(
                node.op,
                Op::MatMul
                    | Op::Add
                    | Op::Sub
                    | Op::Mul
                    | Op::Div
                    | Op::BatchNormalization { .. }
                    | Op::LayerNormalization { .. }
            );
        if signed {
            let clip = Node {
                name: format!("{}_clip", node.name),
                op: Op::Clip {
                    min: 0.0,
                    max: 255.0 * scale,
                },
                inputs: Vec::new(),
                output: value,
            };
            let exact = copy_of(graph, value, "exact");
            graph.values[exact.0].quantization = None;
            graph.nodes[place - 1].output = exact;
            graph.nodes.insert(
                place,
                Node {
                    inputs: vec![exact],
                    ..clip
                },
            );
            place += 1;
        }
    }
}

/// What moves integers moves the real numbers that they stand for, between a pair on either side.
/// Returns how many nodes were added.
fn move_reals(graph: &mut Graph, place: usize) -> usize {
    let node = &graph.nodes[place];
    let moves = matches!(
        node.op,
        Op::Flatten
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Select { .. }
            | Op::Concat { .. }
            | Op::MaxPool { .. }
    );
    let affine = |v: &ValueId| match &producer(graph, *v)?.op {
        Op::QuantizeLinear(affine) if per_tensor(affine).is_some() => Some(affine.clone()),
        _ => None,
    };
    let affines: Option<Vec<Affine>> = node.inputs.iter().map(affine).collect();
    let Some(affines) = affines.filter(|a| moves && a.iter().all(|b| *b == a[0])) else {
        return 0;
    };
    let (Some(affine), inputs) = (affines.first().cloned(), node.inputs.clone()) else {
        return 0;
    };
    let (name, integers) = (node.name.clone(), node.output);
    let reals = copy_of(graph, integers, "reals");
    graph.nodes[place].output = reals;
    let quantize = Node {
        name: format!("{name}_quantize"),
        op: Op::QuantizeLinear(affine.clone()),
        inputs: vec![reals],
        output: integers,
    };
    graph.nodes.insert(place + 1, quantize);
    for (i, &input) in inputs.iter().enumerate() {
        let output = copy_of(graph, input, &format!("{name}_reals_{i}"));
        graph.nodes[place + i].inputs[i] = output;
        let dequantize = Node {
            name: format!("{name}_dequantize_{i}"),
            op: Op::DequantizeLinear(affine.clone()),
            inputs: vec![input],
            output,
        };
        graph.nodes.insert(place, dequantize);
    }
    inputs.len() + 1
}

/// A value of the same shape.
fn copy_of(graph: &mut Graph, value: ValueId, role: &str) -> ValueId {
    let mut copy = graph.value(value).clone();
    copy.name = format!("{}_{role}", copy.name);
    while graph.values.iter().any(|v| v.name == copy.name) {
        copy.name.push('_');
    }
    graph.values.push(copy);
    ValueId(graph.values.len() - 1)
}

fn per_tensor(affine: &Affine) -> Option<Quantization> {
    let (&[scale], &[zero_point]) = (affine.scale.as_slice(), affine.zero_point.as_slice()) else {
        return None;
    };
    // uint8 is int8 with 128 more.
    let [least, largest] = affine.range;
    let zero_point = (zero_point - least - 128.0) as i32;
    let eight_bits = largest - least == 255.0 && (-128..=127).contains(&zero_point);
    eight_bits.then_some(Quantization { scale, zero_point })
}

/// Gives `value` the quantization, if each of its readers sees it so, and has the readers of what was
/// dequantized from `quantized` read it.
fn fold_at(graph: &mut Graph, value: ValueId, quantized: ValueId, quantization: Quantization) {
    let same = |op: &Op| match op {
        Op::QuantizeLinear(a) | Op::DequantizeLinear(a) => per_tensor(a) == Some(quantization),
        _ => false,
    };
    let own = graph.value(value).quantization;
    let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(&value));
    // Once folded, others may read it.
    let unseen = own.is_none() && readers.all(|n| same(&n.op)) && graph.output != value;
    if !unseen && own != Some(quantization) {
        return;
    }
    let back = |graph: &Graph| {
        (graph.nodes.iter())
            .find(|n| n.inputs == [quantized] && same(&n.op))
            .map(|n| n.output)
    };
    while let Some(dequantized) = back(graph) {
        graph.values[value.0].quantization = Some(quantization);
        graph.nodes.retain(|n| n.output != dequantized);
        for node in &mut graph.nodes {
            let read = node.inputs.iter_mut().filter(|v| **v == dequantized);
            read.for_each(|v| *v = value);
        }
        if graph.output == dequantized {
            graph.output = value;
            if value != graph.input {
                let name = graph.values[dequantized.0].name.clone();
                graph.values[dequantized.0].name =
                    std::mem::replace(&mut graph.values[value.0].name, name);
            }
        }
    }
}
