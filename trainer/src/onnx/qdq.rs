//! A quantized graph's ONNX file with the integers in it: each quantized value behind a
//! `QuantizeLinear` and a `DequantizeLinear`, each weight on a grid as int8, each bias as int32 at the
//! scale of its layer's sums. ONNX Runtime makes integer kernels of that.

use super::tensor::{float_tensor, raw_tensor};
use crate::graph::{Graph, Node, Op, ParamId, Parameter, Value, ValueId};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Rewrites the file of a graph, which must name values and parameters as the graph does.
pub(super) fn make_explicit(proto: &mut GraphProto, graph: &Graph) {
    let biases = bias_scales(graph);
    let mut writer = Writer {
        names: names(proto),
        nodes: Vec::new(),
        initializers: Vec::new(),
    };
    for tensor in std::mem::take(&mut proto.initializer) {
        writer.initializer(tensor, graph, &biases);
    }
    let quantized: HashMap<&str, Integers> = (graph.values.iter())
        .filter_map(|v| Some((v.name.as_str(), Integers::of(v)?)))
        .collect();
    for input in &proto.input {
        if let Some(q) = quantized.get(input.name.as_str()) {
            let read = writer.fresh(&format!("{}_dequantized", input.name));
            writer.quantize(&input.name, &read, q.clone());
            rename_readers(&mut proto.node, &input.name, &read);
        }
    }
    for mut node in std::mem::take(&mut proto.node) {
        let written = node.output.first().cloned().unwrap_or_default();
        let quantization = quantized.get(written.as_str());
        if quantization.is_some() {
            // Readers keep the name; what the node itself writes takes another.
            node.output[0] = writer.fresh(&format!("{written}_exact"));
        }
        let exact = node.output.first().cloned().unwrap_or_default();
        writer.nodes.push(node);
        if let Some(q) = quantization {
            writer.quantize(&exact, &written, q.clone());
        }
    }
    proto.node = writer.nodes;
    proto.initializer = writer.initializers;
}

fn names(proto: &GraphProto) -> HashSet<String> {
    let written = proto.node.iter().flat_map(|n| &n.output);
    let fed = proto.input.iter().map(|i| &i.name);
    let stored = proto.initializer.iter().map(|t| &t.name);
    written.chain(fed).chain(stored).cloned().collect()
}

fn rename_readers(nodes: &mut [NodeProto], from: &str, to: &str) {
    let read = nodes.iter_mut().flat_map(|n| &mut n.input);
    read.filter(|name| *name == from)
        .for_each(|name| *name = to.to_owned());
}

/// For each bias of a layer of integers, the scales of its sums: input scale times weight scales.
fn bias_scales(graph: &Graph) -> HashMap<ParamId, Vec<f32>> {
    let of = |node: &Node| {
        let (bias, weight) = (node.op.bias()?, node.op.weight()?);
        let grid = graph.parameter(weight).grid.as_ref()?;
        let input = scale_behind(graph, node.inputs[0])?;
        let scales = grid.scale.iter().map(|s| s * input).collect();
        Some((bias, scales))
    };
    graph.nodes.iter().filter_map(of).collect()
}

/// The scale of a value, or of the one before it where an operator keeps the integers.
fn scale_behind(graph: &Graph, value: ValueId) -> Option<f32> {
    if let Some(q) = graph.value(value).quantization {
        return Some(q.scale);
    }
    let node = graph.nodes.iter().find(|n| n.output == value)?;
    match node.op {
        Op::Flatten
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Select { .. }
        | Op::MaxPool { .. }
        | Op::Relu
        | Op::Clip { .. }
        | Op::Dropout { .. } => scale_behind(graph, node.inputs[0]),
        _ => None,
    }
}

/// How a value's integers are written.
#[derive(Clone)]
struct Integers {
    scale: f32,
    kind: DataType,
    /// Little-endian.
    zero_point: Vec<u8>,
}

impl Integers {
    fn of(value: &Value) -> Option<Self> {
        let q = value.quantization?;
        let (kind, zero_point) = if value.int16 {
            (DataType::Int16, vec![0; 2])
        } else {
            (DataType::Int8, vec![q.zero_point as i8 as u8])
        };
        Some(Self {
            scale: q.scale,
            kind,
            zero_point,
        })
    }
}

struct Writer {
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Writer {
    fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        while !self.names.insert(name.clone()) {
            name = format!("{base}_{}", self.names.len());
        }
        name
    }

    /// A parameter on a grid and a bias become integers, everything else stays.
    fn initializer(
        &mut self,
        tensor: TensorProto,
        graph: &Graph,
        biases: &HashMap<ParamId, Vec<f32>>,
    ) {
        let place = graph.parameters.iter().position(|p| p.name == tensor.name);
        let Some(place) = place else {
            return self.initializers.push(tensor);
        };
        let parameter = &graph.parameters[place];
        if let Some(grid) = &parameter.grid {
            let integers = quantized(parameter, |value, row| {
                grid.quantize(value, row) as i8 as u8
            });
            self.integers(parameter, DataType::Int8, integers, &grid.scale, 1);
        } else if let Some(scales) = biases.get(&ParamId(place)) {
            let of = |row: usize| scales[if scales.len() == 1 { 0 } else { row }];
            let integer = |(row, bias): (usize, &f32)| (bias / of(row)).round_ties_even() as i32;
            let values = parameter.materialize();
            let integers = values.iter().enumerate().map(integer);
            let bytes = integers.flat_map(i32::to_le_bytes).collect();
            self.integers(parameter, DataType::Int32, bytes, scales, 4);
        } else {
            self.initializers.push(tensor);
        }
    }

    /// Stores integers and a node that makes the parameter of them.
    fn integers(
        &mut self,
        parameter: &Parameter,
        kind: DataType,
        bytes: Vec<u8>,
        scales: &[f32],
        width: usize,
    ) {
        let stored = self.fresh(&format!("{}_quantized", parameter.name));
        let shape = &parameter.shape;
        self.initializers
            .push(raw_tensor(&stored, shape, kind, bytes));
        let of_scales: &[usize] = if scales.len() == 1 {
            &[]
        } else {
            &[scales.len()]
        };
        let scale = self.fresh(&format!("{}_scale", parameter.name));
        self.initializers
            .push(float_tensor(&scale, of_scales, scales));
        let zero = self.fresh(&format!("{}_zero_point", parameter.name));
        let zeros = vec![0; scales.len() * width];
        self.initializers
            .push(raw_tensor(&zero, of_scales, kind, zeros));
        let inputs = vec![stored, scale, zero];
        self.emit("DequantizeLinear", inputs, &parameter.name, vec![axis(0)]);
    }

    /// `from` rounded to its integers and back, as `to`.
    fn quantize(&mut self, from: &str, to: &str, q: Integers) {
        let scale = self.fresh(&format!("{to}_scale"));
        self.initializers
            .push(float_tensor(&scale, &[], &[q.scale]));
        let zero = self.fresh(&format!("{to}_zero_point"));
        self.initializers
            .push(raw_tensor(&zero, &[], q.kind, q.zero_point));
        let integers = self.fresh(&format!("{to}_integers"));
        let inputs = |x: &str| vec![x.to_owned(), scale.clone(), zero.clone()];
        self.emit("QuantizeLinear", inputs(from), &integers, Vec::new());
        self.emit("DequantizeLinear", inputs(&integers), to, Vec::new());
    }

    fn emit(&mut self, op: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            name: format!("{output}_{op}"),
            op_type: op.to_owned(),
            input,
            output: vec![output.to_owned()],
            attribute,
            ..NodeProto::default()
        });
    }
}

fn quantized(parameter: &Parameter, integer: impl Fn(f32, usize) -> u8) -> Vec<u8> {
    let values = parameter.materialize();
    let rows = parameter.shape.first().copied().unwrap_or(1).max(1);
    let columns = (values.len() / rows).max(1);
    let of = |(i, &value): (usize, &f32)| integer(value, i / columns);
    values.iter().enumerate().map(of).collect()
}

fn axis(i: i64) -> AttributeProto {
    AttributeProto {
        name: "axis".to_owned(),
        r#type: AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    }
}
