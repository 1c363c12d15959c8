//! Integers for real numbers. A graph has them as real numbers; a file keeps them as integers from one
//! operator to the next where both agree on their kind.

use super::super::tensor::{float_tensor, raw_tensor};
use super::node::{batch_of, behind_batch, to};
use super::writer::Writer;
use crate::graph::{Affine, DynamicOutput, Node, Op, ValueId};
use tract_onnx::pb::tensor_proto::DataType;

/// The ONNX type of a grid's integers, if it has one.
fn kind(affine: &Affine) -> Option<DataType> {
    let [low, high] = affine.range;
    let fits = |zero: &f32| zero.fract() == 0.0 && (low..=high).contains(zero);
    let kind = match affine.range {
        [-128.0, 127.0] => DataType::Int8,
        [0.0, 255.0] => DataType::Uint8,
        _ => return None,
    };
    affine.zero_point.iter().all(fits).then_some(kind)
}

impl Writer<'_> {
    pub(super) fn quantize(&mut self, node: &Node, affine: &Affine) {
        let x = self.value(node.inputs[0]);
        let Some(kind) = kind(affine) else {
            return self.quantize_by_arithmetic(node, affine, x);
        };
        let (mut inputs, attributes) = (vec![x], self.grid_axis(affine));
        inputs.extend(self.grid(&node.name, affine, kind));
        let base = format!("{}_integers", node.name);
        let integers = self.helper(&base, "QuantizeLinear", inputs, attributes);
        self.integers.insert(node.output, (kind, integers.clone()));
        if self.read_as_reals(node.output, kind) {
            self.last(node, "Cast", vec![integers], to(DataType::Float));
        }
    }

    /// Whether a value of integers is read by anything but an operator that takes these integers.
    fn read_as_reals(&self, id: ValueId, of: DataType) -> bool {
        let takes = |node: &Node| match &node.op {
            Op::DequantizeLinear(affine) => kind(affine) == Some(of),
            _ => false,
        };
        let mut readers = self.graph.nodes.iter().filter(|n| n.inputs.contains(&id));
        self.graph.output == id || !readers.all(takes)
    }

    pub(super) fn dequantize(&mut self, node: &Node, affine: &Affine) {
        let x = node.inputs[0];
        let Some(kind) = kind(affine) else {
            return self.dequantize_by_arithmetic(node, affine);
        };
        let integers = match self.integers.get(&x) {
            Some((same, integers)) if *same == kind => integers.clone(),
            _ => {
                let base = format!("{}_integers", node.name);
                self.helper(&base, "Cast", vec![self.value(x)], to(kind))
            }
        };
        let (mut inputs, attributes) = (vec![integers], self.grid_axis(affine));
        inputs.extend(self.grid(&node.name, affine, kind));
        self.last(node, "DequantizeLinear", inputs, attributes);
    }

    fn grid_axis(&self, affine: &Affine) -> Vec<tract_onnx::pb::AttributeProto> {
        let several = affine.scale.len() > 1;
        several
            .then(|| behind_batch(affine.axis))
            .into_iter()
            .collect()
    }

    /// Scale and zero point.
    fn grid(&mut self, name: &str, affine: &Affine, kind: DataType) -> [String; 2] {
        let len = affine.scale.len();
        let shape: &[usize] = if len == 1 { &[] } else { &[len] };
        let scale = self.initializer(format!("{name}_scale"), |name| {
            float_tensor(name, shape, &affine.scale)
        });
        // The low byte is the integer's, with a sign or without.
        let byte = |&zero: &f32| (zero as i32) as u8;
        let zeros = affine.zero_point.iter().map(byte).collect();
        let zero = self.initializer(format!("{name}_zero_point"), |name| {
            raw_tensor(name, shape, kind, zeros)
        });
        [scale, zero]
    }

    /// Scale and zero point, to be broadcast along the axis they belong to.
    fn real_grid(&mut self, node: &Node, affine: &Affine) -> [String; 2] {
        let mut shape = vec![];
        if affine.scale.len() > 1 {
            let behind = self.shape(node.output).len() - affine.axis - 1;
            shape.push(affine.scale.len());
            shape.resize(behind + 1, 1);
        }
        let numbers = [("scale", &affine.scale), ("zero_point", &affine.zero_point)];
        numbers.map(|(role, values)| self.floats(format!("{}_{role}", node.name), &shape, values))
    }

    /// Of integers that ONNX has no type for.
    fn quantize_by_arithmetic(&mut self, node: &Node, affine: &Affine, x: String) {
        let [scale, zero] = self.real_grid(node, affine);
        let steps = self.step(node, "steps", "Div", &[&x, &scale]);
        let rounded = self.step(node, "rounded", "Round", &[&steps]);
        let moved = self.step(node, "moved", "Add", &[&rounded, &zero]);
        let [low, high] = affine.range;
        self.clip(node, moved, [low, high]);
    }

    fn dequantize_by_arithmetic(&mut self, node: &Node, affine: &Affine) {
        let [scale, zero] = self.real_grid(node, affine);
        let x = self.value(node.inputs[0]);
        let moved = self.step(node, "moved", "Sub", &[&x, &zero]);
        self.last(node, "Mul", vec![moved, scale], Vec::new());
    }

    /// A helper node of two tensors or one.
    fn step(&mut self, node: &Node, role: &str, op: &str, inputs: &[&str]) -> String {
        let inputs = inputs.iter().map(|&i| i.to_owned()).collect();
        self.helper(&format!("{}_{role}", node.name), op, inputs, Vec::new())
    }

    fn clip(&mut self, node: &Node, x: String, [low, high]: [f32; 2]) {
        let low = self.scalar(format!("{}_min", node.name), low);
        let high = self.scalar(format!("{}_max", node.name), high);
        self.last(node, "Clip", vec![x, low, high], Vec::new());
    }

    /// By the range of each example, which ONNX's own operator takes over the whole batch.
    pub(super) fn dynamic_quantize(&mut self, node: &Node, output: DynamicOutput) {
        let name = &node.name;
        let x = self.value(node.inputs[0]);
        let [nothing, levels, one] = [("nothing", 0.0), ("levels", 255.0), ("one", 1.0)]
            .map(|(role, value)| self.scalar(format!("{name}_{role}"), value));
        let [low, high] = [("low", "Min"), ("high", "Max")].map(|(role, op)| {
            let axes: Vec<i64> = (1..=self.shape(node.inputs[0]).len() as i64).collect();
            let base = format!("{name}_{role}_of_all");
            let (inputs, attributes) = self.over(&base, vec![x.clone()], &axes);
            let reduced = self.helper(&base, &format!("Reduce{op}"), inputs, attributes);
            self.step(node, role, op, &[&reduced, &nothing])
        });
        let range = self.step(node, "range", "Sub", &[&high, &low]);
        let step = self.step(node, "step", "Div", &[&range, &levels]);
        let empty = self.step(node, "empty", "Equal", &[&step, &nothing]);
        let scale = self.step(node, "scale", "Where", &[&empty, &one, &step]);
        if matches!(output, DynamicOutput::Scale) {
            return self.as_one_element(node, scale);
        }
        let negative = self.step(node, "negative", "Neg", &[&low]);
        let steps = self.step(node, "zero_steps", "Div", &[&negative, &scale]);
        let zero = self.step(node, "zero", "Round", &[&steps]);
        if matches!(output, DynamicOutput::ZeroPoint) {
            return self.as_one_element(node, zero);
        }
        let steps = self.step(node, "steps", "Div", &[&x, &scale]);
        let rounded = self.step(node, "rounded", "Round", &[&steps]);
        let moved = self.step(node, "moved", "Add", &[&rounded, &zero]);
        self.clip(node, moved, [0.0, 255.0]);
    }

    fn as_one_element(&mut self, node: &Node, x: String) {
        let shape = self.ints(format!("{}_shape", node.name), &batch_of(&[1]));
        self.last(node, "Reshape", vec![x, shape], Vec::new());
    }
}
