//! The pieces that nodes are written with: names, initializers, helper nodes.

use super::super::tensor::{float_tensor, half_tensor, int_tensor};
use super::proto::{int, value_info};
use crate::graph::{Graph, Node, Op, ParamId, ValueId};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

pub(super) struct Writer<'a> {
    pub(super) graph: &'a Graph,
    pub(super) opset: i64,
    proto: GraphProto,
    names: HashSet<String>,
    /// What nodes read for each parameter: the initializer, or what it is cast to.
    parameters: Vec<String>,
    /// Whether a value depends on the input. One that does not has a batch axis of one element.
    varies: Vec<bool>,
    /// The tensors of integers behind values that are integers as real numbers.
    pub(super) integers: HashMap<ValueId, (DataType, String)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(graph: &'a Graph, opset: i64) -> Self {
        let parameters: Vec<String> = graph.parameters.iter().map(|p| p.name.clone()).collect();
        let names = graph.values.iter().map(|v| v.name.clone());
        Self {
            graph,
            opset,
            names: names.chain(parameters.iter().cloned()).collect(),
            parameters,
            varies: varies(graph),
            integers: HashMap::new(),
            proto: GraphProto {
                name: graph.name.clone(),
                ..GraphProto::default()
            },
        }
    }

    /// The whole graph; `halves` are the parameters to be float16, ascending.
    pub(super) fn write(mut self, halves: &[ParamId]) -> Result<GraphProto, String> {
        self.parameters(halves);
        for node in &self.graph.nodes {
            self.node(node)?;
        }
        self.interface();
        Ok(self.proto)
    }

    pub(super) fn fresh(&mut self, base: String) -> String {
        let mut name = base.clone();
        let mut suffix = self.names.len();
        while !self.names.insert(name.clone()) {
            name = format!("{base}_{suffix}");
            suffix += 1;
        }
        name
    }

    fn parameters(&mut self, halves: &[ParamId]) {
        for (i, p) in self.graph.parameters.iter().enumerate() {
            let weights = p.materialize();
            if halves.binary_search(&ParamId(i)).is_err() {
                let tensor = float_tensor(&p.name, &p.shape, &weights);
                self.proto.initializer.push(tensor);
                continue;
            }
            let tensor = half_tensor(&p.name, &p.shape, &weights);
            self.proto.initializer.push(tensor);
            let float = self.fresh(format!("{}_float32", p.name));
            let to = int("to", DataType::Float as i64);
            self.emit(&float, "Cast", vec![p.name.clone()], &float, vec![to]);
            self.parameters[i] = float;
        }
    }

    fn interface(&mut self) {
        let input = self.graph.value(self.graph.input);
        let output = self.graph.value(self.graph.output);
        let kind = if self.reads_places() {
            DataType::Int64
        } else {
            DataType::Float
        };
        self.proto.input = vec![value_info(&input.name, kind, &input.shape)];
        let mut name = output.name.clone();
        if self.graph.output == self.graph.input {
            // ONNX runtimes want an output that some node writes.
            name = self.fresh(format!("{name}_output"));
            let inputs = vec![output.name.clone()];
            self.emit(&name, "Identity", inputs, &name, Vec::new());
        } else if !self.varies(self.graph.output) {
            let base = format!("{name}_output");
            let batched = self.for_each_example(&base, self.graph.output);
            name = batched;
        }
        self.proto.output = vec![value_info(&name, DataType::Float, &output.shape)];
    }

    pub(super) fn emit(
        &mut self,
        name: &str,
        op: &str,
        input: Vec<String>,
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        self.emit_outputs(name, op, input, vec![output.to_owned()], attribute);
    }

    pub(super) fn emit_outputs(
        &mut self,
        name: &str,
        op: &str,
        input: Vec<String>,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        self.proto.node.push(NodeProto {
            name: name.to_owned(),
            op_type: op.to_owned(),
            input,
            output,
            attribute,
            ..NodeProto::default()
        });
    }

    /// A node beside the one that writes a value; the name of its output.
    pub(super) fn helper(
        &mut self,
        base: &str,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.fresh(base.to_owned());
        self.emit(&name, op, inputs, &name, attributes);
        name
    }

    /// The node that writes the value of `node`.
    pub(super) fn last(
        &mut self,
        node: &Node,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) {
        let output = &self.graph.value(node.output).name;
        self.emit(&node.name, op, inputs, output, attributes);
    }

    pub(super) fn initializer(
        &mut self,
        base: String,
        tensor: impl FnOnce(&str) -> TensorProto,
    ) -> String {
        let name = self.fresh(base);
        self.proto.initializer.push(tensor(&name));
        name
    }

    /// A one-dimensional int64 initializer.
    pub(super) fn ints(&mut self, base: String, values: &[i64]) -> String {
        self.initializer(base, |name| int_tensor(name, values))
    }

    /// A float32 initializer.
    pub(super) fn floats(&mut self, base: String, shape: &[usize], values: &[f32]) -> String {
        self.initializer(base, |name| float_tensor(name, shape, values))
    }

    pub(super) fn scalar(&mut self, base: String, value: f32) -> String {
        self.floats(base, &[], &[value])
    }

    /// Whether the input is places in tables and nothing else: integers in the file.
    pub(super) fn reads_places(&self) -> bool {
        let input = self.graph.input;
        let nodes = self.graph.nodes.iter();
        let mut readers = nodes.filter(|n| n.inputs.contains(&input)).peekable();
        let read = self.graph.output != input && readers.peek().is_some();
        read && readers.all(|n| matches!(n.op, Op::Embedding { .. }))
    }

    pub(super) fn varies(&self, id: ValueId) -> bool {
        self.varies[id.0]
    }

    pub(super) fn shape(&self, id: ValueId) -> &'a [usize] {
        &self.graph.value(id).shape
    }

    pub(super) fn value(&self, id: ValueId) -> String {
        self.graph.value(id).name.clone()
    }

    pub(super) fn parameter(&self, id: ParamId) -> String {
        self.parameters[id.0].clone()
    }

    /// `tensor` with axes of one element at these places.
    pub(super) fn unsqueeze(&mut self, base: &str, tensor: String, axes: &[i64]) -> String {
        let axes = self.ints(format!("{base}_axes"), axes);
        self.helper(base, "Unsqueeze", vec![tensor, axes], Vec::new())
    }

    /// `tensor` broadcast to a shape that has a size known only at run time, `size_of` along `axis` of
    /// another tensor, between these.
    pub(super) fn expand(
        &mut self,
        base: &str,
        tensor: String,
        [before, after]: [&[i64]; 2],
        (size_of, axis): (String, i64),
    ) -> String {
        let range = vec![int("start", axis), int("end", axis + 1)];
        let size = self.helper(&format!("{base}_size"), "Shape", vec![size_of], range);
        let before = self.ints(format!("{base}_before"), before);
        let after = self.ints(format!("{base}_after"), after);
        let axis = vec![int("axis", 0)];
        let shape = vec![before, size, after];
        let shape = self.helper(&format!("{base}_shape"), "Concat", shape, axis);
        self.helper(base, "Expand", vec![tensor, shape], Vec::new())
    }

    /// A value with as many elements along the batch axis as the input has.
    pub(super) fn for_each_example(&mut self, base: &str, id: ValueId) -> String {
        let value = self.value(id);
        if self.varies(id) {
            return value;
        }
        let ones = vec![1; self.shape(id).len()];
        let input = (self.value(self.graph.input), 0);
        self.expand(base, value, [&[], &ones], input)
    }
}

/// Which values depend on the input.
fn varies(graph: &Graph) -> Vec<bool> {
    let mut varies = vec![false; graph.values.len()];
    varies[graph.input.0] = true;
    for node in &graph.nodes {
        varies[node.output.0] = node.inputs.iter().any(|v| varies[v.0]);
    }
    varies
}
