//! `QuantizeLinear` followed by `DequantizeLinear` of the same scale and zero point is what a value's
//! [`Quantization`] says.

use crate::graph::{Affine, Graph, Op, Quantization, ValueId};

/// Folds every pair whose value is read in no other way.
pub(super) fn fold(graph: &mut Graph) {
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
