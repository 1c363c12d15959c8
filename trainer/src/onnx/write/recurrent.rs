//! Recurrent layers, which ONNX has over `[time, batch, features]`.

use super::proto::{floats, int, ints, strings};
use super::writer::Writer;
use crate::graph::{Cell, Node, ParamId, Recurrent, Unary};
use tract_onnx::pb::AttributeProto;

impl Writer<'_> {
    pub(super) fn recurrent(&mut self, node: &Node, layer: &Recurrent) -> Result<(), String> {
        let name = &node.name;
        let mut attributes = attributes(layer.cell).ok_or_else(|| {
            format!(
                "node '{}' is an RNN with an activation that ONNX has no name for there",
                name.escape_debug()
            )
        })?;
        let hidden = self.graph.parameter(layer.recurrence).shape[1];
        attributes.push(int("hidden_size", hidden as i64));
        let x = vec![self.value(node.inputs[0])];
        let time_first = vec![ints("perm", &[1, 0, 2])];
        let x = self.helper(&format!("{name}_steps"), "Transpose", x, time_first);
        let inputs = self.recurrent_inputs(name, layer, x);
        let output = self.fresh(format!("{name}_states"));
        // Outputs are all hidden states, the last hidden state, the last cell state.
        let outputs = if layer.cell_output {
            vec![String::new(), String::new(), output.clone()]
        } else {
            vec![output.clone()]
        };
        self.emit_outputs(&output, layer.cell.name(), inputs, outputs, attributes);
        // The axis of directions goes.
        let (states, axis) = if layer.cell_output {
            (output, 0)
        } else {
            let batch_first = vec![ints("perm", &[2, 0, 1, 3])];
            let base = format!("{name}_batch_first");
            (
                self.helper(&base, "Transpose", vec![output], batch_first),
                2,
            )
        };
        let axes = self.ints(format!("{name}_direction"), &[axis]);
        self.last(node, "Squeeze", vec![states, axes], Vec::new());
        Ok(())
    }

    /// Input, weights, biases, lengths (none: all steps count) and initial states.
    fn recurrent_inputs(&mut self, name: &str, layer: &Recurrent, x: String) -> Vec<String> {
        let mut inputs = vec![x.clone()];
        for id in [Some(layer.weight), Some(layer.recurrence), layer.bias] {
            inputs.push(id.map_or_else(String::new, |id| {
                let parameter = self.parameter(id);
                self.unsqueeze(&format!("{name}_{parameter}"), parameter, &[0])
            }));
        }
        inputs.push(String::new());
        for id in [layer.initial_hidden, layer.initial_cell] {
            inputs.push(id.map_or_else(String::new, |id| self.initial_state(name, id, &x)));
        }
        while inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        inputs
    }

    /// `[hidden]` as `[1, batch, hidden]`.
    fn initial_state(&mut self, name: &str, id: ParamId, x: &str) -> String {
        let hidden = self.graph.parameter(id).len() as i64;
        let parameter = self.parameter(id);
        let base = format!("{name}_{parameter}");
        self.expand(&base, parameter, [&[1], &[hidden]], (x.to_owned(), 1))
    }
}

/// None where ONNX cannot say it.
fn attributes(cell: Cell) -> Option<Vec<AttributeProto>> {
    match cell {
        Cell::Lstm => Some(Vec::new()),
        Cell::Gru {
            linear_before_reset,
        } => {
            let after = i64::from(linear_before_reset);
            Some(vec![int("linear_before_reset", after)])
        }
        Cell::Rnn { activation } => {
            let (alpha, beta) = match activation {
                Unary::LeakyRelu { alpha: 0.0 } => {
                    return Some(vec![strings("activations", &["Relu"])]);
                }
                Unary::Sigmoid | Unary::Tanh | Unary::Softplus => (None, None),
                Unary::HardSigmoid { alpha, beta } => (Some(alpha), Some(beta)),
                Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => (Some(alpha), None),
                _ => return None,
            };
            let mut attributes = vec![strings("activations", &[activation.name()])];
            let named = [("activation_alpha", alpha), ("activation_beta", beta)];
            for (name, value) in named {
                attributes.extend(value.map(|value| floats(name, &[value])));
            }
            Some(attributes)
        }
    }
}
