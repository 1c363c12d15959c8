//! A quantized model as a float one.

use trainer::graph::{Graph, Node, Op, Quantization, Value, ValueId};

/// Takes all scales and grids off a graph. Quantizers leave out a ReLU where the integers end at zero
/// and clamp just so: where a layer's integers do, a Clip says it from then on.
pub fn unquantize(graph: &mut Graph) {
    let mut place = 0;
    while place < graph.nodes.len() {
        if let Some(clip) = clamped(graph, &graph.nodes[place]) {
            clamp_behind(graph, place, clip);
        }
        place += 1;
    }
    graph.values.iter_mut().for_each(|v| v.quantization = None);
    graph.parameters.iter_mut().for_each(|p| p.grid = None);
}

/// The bounds of integers that end at zero.
fn clamped(graph: &Graph, node: &Node) -> Option<Op> {
    let computes = node.op.weight().is_some() || matches!(node.op, Op::Add | Op::Sub | Op::Mul);
    let q = graph.value(node.output).quantization.filter(|_| computes)?;
    let Quantization { scale, zero_point } = q;
    let max = scale * (127 - zero_point) as f32;
    (zero_point == -128).then_some(Op::Clip { min: 0.0, max })
}

fn clamp_behind(graph: &mut Graph, place: usize, op: Op) {
    let (name, output) = (graph.nodes[place].name.clone(), graph.nodes[place].output);
    let before = Value {
        name: format!("{name}.unclamped"),
        quantization: None,
        ..graph.value(output).clone()
    };
    graph.values.push(before);
    let before = ValueId(graph.values.len() - 1);
    graph.nodes[place].output = before;
    let clip = Node {
        name: format!("{name}.clip"),
        op,
        inputs: vec![before],
        output,
    };
    graph.nodes.insert(place + 1, clip);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use trainer::graph::{Parameter, reference};

    /// `−x`, of which a quantizer kept what is above zero.
    #[test]
    fn a_relu_that_the_integers_were_is_one_again() {
        let mut graph = Graph::new("g", "x", &[1]);
        let weight = graph.add_parameter(Parameter::dense("w", &[1, 1], vec![-1.0]));
        let op = Op::Gemm { weight, bias: None };
        let y = graph.push("dense", op, &[ValueId(0)]).unwrap();
        let quantized = |zero_point| {
            let mut graph = graph.clone();
            graph.values[y.0].quantization = Some(Quantization {
                scale: 0.01,
                zero_point,
            });
            unquantize(&mut graph);
            assert!(graph.values.iter().all(|v| v.quantization.is_none()));
            [-9.0, -2.0, 0.5].map(|x| reference::run(&graph, &[x])[0])
        };
        let [high, inside, low] = quantized(-128);
        assert!((high - 2.55).abs() < 1e-6 && inside == 2.0 && low == 0.0);
        assert_eq!(quantized(0), [9.0, 2.0, -0.5]);
    }
}
