use super::OnnxError;
use super::metadata;
use super::tensor::{float_tensor, half_tensor, int_tensor};
use crate::files::write_atomically;
use crate::graph::{Graph, Node, Op, ParamId, Unary, ValueId, Window};
use half::f16;
use prost::Message;
use std::collections::HashSet;
use std::path::Path;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};

pub(super) const PRODUCER: &str = "pith";
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// The first operator set with Gelu.
const GELU_OPSET: i64 = 20;

/// How to write an ONNX file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Weights and biases as float16, each followed by a `Cast`: half the bytes, and 11 significant
    /// bits. Weights on an integer grid or beyond ±65,504 remain float32.
    pub f16: bool,
    /// A quantized graph in integers: int8 weights and activations between `QuantizeLinear` and
    /// `DequantizeLinear`. What has no scale or grid remains float.
    pub qdq: bool,
}

/// Writes an ONNX file, whole or not at all.
///
/// # Errors
/// When the folder is missing, the file cannot be written, or the graph has no ONNX form (two things
/// of one name, weights that are not finite).
pub fn write(graph: &Graph, path: &Path, options: WriteOptions) -> Result<(), OnnxError> {
    let bytes = write_bytes(graph, options)?;
    Ok(write_atomically(path, &bytes)?)
}

/// The bytes of an ONNX file; the same for the same graph.
///
/// # Errors
/// When the graph has no ONNX form.
pub fn write_bytes(graph: &Graph, options: WriteOptions) -> Result<Vec<u8>, OnnxError> {
    let model = model(graph, options).map_err(|reason| OnnxError::Unwritable {
        graph: graph.name.clone(),
        reason,
    })?;
    Ok(model.encode_to_vec())
}

fn model(graph: &Graph, options: WriteOptions) -> Result<ModelProto, String> {
    let graph = with_options(without_dropout(graph), options);
    check(&graph)?;
    let mut writer = Writer::new(&graph);
    writer.initializers(options);
    for node in &graph.nodes {
        writer.node(node);
    }
    writer.interface();
    let mut proto = writer.proto;
    let mut properties = metadata::properties(&graph).map_err(|e| e.to_string())?;
    if options.qdq {
        super::qdq::make_explicit(&mut proto, &graph);
        // The file itself says what they say.
        properties.retain(|p| !p.key.starts_with(metadata::PREFIX));
    }
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: PRODUCER.to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset(&graph),
        }],
        metadata_props: properties,
        graph: Some(proto),
        ..ModelProto::default()
    })
}

/// Dropout is the identity outside training: its readers read its input. A dropout at the end hands
/// its name to the value it passed on.
fn without_dropout(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let mut stands_for: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        node.inputs.iter_mut().for_each(|v| *v = stands_for[v.0]);
        if matches!(node.op, Op::Dropout { .. }) {
            stands_for[node.output.0] = node.inputs[0];
        } else {
            kept.push(node);
        }
    }
    graph.nodes = kept;
    let output = stands_for[graph.output.0];
    if output != graph.output && output != graph.input {
        let last = graph.values[graph.output.0].clone();
        let passed_on = &mut graph.values[output.0];
        passed_on.name = last.name;
        passed_on.quantization = last.quantization.or(passed_on.quantization);
    }
    graph.output = output;
    graph.remove_unused();
    graph
}

/// Rounds what is to be float16, so that the metadata describes the weights as written.
fn with_options(mut graph: Graph, options: WriteOptions) -> Graph {
    for id in halves(&graph, options) {
        for value in graph.parameters[id.0].free_mut() {
            *value = f16::from_f32(*value).to_f32();
        }
    }
    graph
}

/// The parameters to write as float16.
fn halves(graph: &Graph, options: WriteOptions) -> Vec<ParamId> {
    let linear = (graph.nodes.iter()).flat_map(|n| n.op.weight().into_iter().chain(n.op.bias()));
    let fits = |id: &ParamId| {
        let parameter = graph.parameter(*id);
        let finite = |v: &f32| f16::from_f32(*v).is_finite();
        options.f16
            && !options.qdq
            && parameter.grid.is_none()
            && parameter.free().iter().all(finite)
    };
    let mut ids: Vec<ParamId> = linear.filter(fits).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn check(graph: &Graph) -> Result<(), String> {
    let mut names = HashSet::new();
    let tensors = graph.values.iter().map(|v| &v.name);
    let tensors = tensors.chain(graph.parameters.iter().map(|p| &p.name));
    for name in tensors {
        if name.is_empty() || !names.insert(name) {
            return Err(format!(
                "the tensor name '{}' is empty or not unique; rename one",
                name.escape_debug()
            ));
        }
    }
    for parameter in &graph.parameters {
        if parameter.materialize().iter().any(|w| !w.is_finite()) {
            return Err(format!(
                "parameter '{}' holds NaN or infinity; train again with a lower learning rate",
                parameter.name.escape_debug()
            ));
        }
    }
    let ours = |key: &&String| key.starts_with(metadata::PREFIX);
    match graph.metadata.keys().find(ours) {
        Some(key) => Err(format!(
            "the metadata key '{}' is reserved; use another prefix",
            key.escape_debug()
        )),
        None => Ok(()),
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    proto: GraphProto,
    names: HashSet<String>,
    /// What nodes read for each parameter: the initializer, or what it is cast to.
    parameters: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let parameters: Vec<String> = graph.parameters.iter().map(|p| p.name.clone()).collect();
        let names = graph.values.iter().map(|v| v.name.clone());
        Self {
            graph,
            names: names.chain(parameters.iter().cloned()).collect(),
            parameters,
            proto: GraphProto {
                name: graph.name.clone(),
                ..GraphProto::default()
            },
        }
    }

    fn fresh(&mut self, base: String) -> String {
        let mut name = base.clone();
        let mut suffix = self.names.len();
        while !self.names.insert(name.clone()) {
            name = format!("{base}_{suffix}");
            suffix += 1;
        }
        name
    }

    fn initializers(&mut self, options: WriteOptions) {
        let halves = halves(self.graph, options);
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

    fn emit(
        &mut self,
        name: &str,
        op: &str,
        input: Vec<String>,
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        self.proto.node.push(NodeProto {
            name: name.to_owned(),
            op_type: op.to_owned(),
            input,
            output: vec![output.to_owned()],
            attribute,
            ..NodeProto::default()
        });
    }

    fn node(&mut self, node: &Node) {
        let value = |id: &ValueId| self.graph.value(*id).name.clone();
        let mut inputs: Vec<String> = node.inputs.iter().map(value).collect();
        let parameters = node.op.parameters();
        inputs.extend(parameters.iter().map(|p| self.parameters[p.0].clone()));
        let attributes = match &node.op {
            Op::Gemm { .. } => vec![int("transB", 1)],
            Op::Conv {
                window,
                dilation,
                groups,
                ..
            } => {
                let mut attributes = window_attributes(window);
                attributes.push(ints("dilations", dilation));
                attributes.push(int("group", *groups as i64));
                attributes
            }
            Op::MaxPool { window, .. } => pool_attributes(window),
            Op::AveragePool {
                window,
                dilation: _,
                count_include_pad,
            } => {
                let mut attributes = pool_attributes(window);
                attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
                attributes
            }
            Op::Flatten => vec![int("axis", 1)],
            Op::Softmax { .. } => vec![int("axis", -1)],
            Op::BatchNormalization { epsilon, .. } => vec![float("epsilon", *epsilon)],
            Op::Unary(function) => unary_attributes(*function),
            Op::Reshape { shape } => {
                let target = [-1].into_iter().chain(shape.iter().map(|&d| d as i64));
                let name = self.fresh(format!("{}_shape", node.name));
                let target: Vec<i64> = target.collect();
                self.proto.initializer.push(int_tensor(&name, &target));
                inputs.push(name);
                Vec::new()
            }
            Op::Clip { min, max } => {
                for (role, bound) in [("min", *min), ("max", *max)] {
                    let name = self.fresh(format!("{}_{role}", node.name));
                    let tensor = float_tensor(&name, &[], &[bound]);
                    self.proto.initializer.push(tensor);
                    inputs.push(name);
                }
                Vec::new()
            }
            Op::GlobalAveragePool | Op::Relu | Op::Add | Op::Dropout { .. } => Vec::new(),
            op => unimplemented!("{}", op.name()),
        };
        let output = &self.graph.value(node.output).name;
        self.emit(&node.name, node.op.name(), inputs, output, attributes);
    }

    fn interface(&mut self) {
        let input = self.graph.value(self.graph.input);
        let output = self.graph.value(self.graph.output);
        self.proto.input = vec![value_info(&input.name, &input.shape)];
        let mut name = output.name.clone();
        if self.graph.output == self.graph.input {
            // ONNX runtimes want an output that some node writes.
            name = self.fresh(format!("{name}_output"));
            let inputs = vec![output.name.clone()];
            self.emit(&name, "Identity", inputs, &name, Vec::new());
        }
        self.proto.output = vec![value_info(&name, &output.shape)];
    }
}

fn window_attributes(window: &Window) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &window.kernel),
        ints("pads", &window.padding),
        ints("strides", &window.stride),
    ]
}

/// The oldest set that has every operator: more programs read it.
fn opset(graph: &Graph) -> i64 {
    let gelu = |node: &Node| matches!(node.op, Op::Unary(Unary::Gelu { .. }));
    if graph.nodes.iter().any(gelu) {
        GELU_OPSET
    } else {
        OPSET
    }
}

fn unary_attributes(function: Unary) -> Vec<AttributeProto> {
    match function {
        Unary::HardSigmoid { alpha, beta } => vec![float("alpha", alpha), float("beta", beta)],
        Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![float("alpha", alpha)],
        Unary::Gelu { approximate } => {
            let how: &[u8] = if approximate { b"tanh" } else { b"none" };
            vec![AttributeProto {
                s: how.to_vec(),
                ..attribute("approximate", AttributeType::String)
            }]
        }
        _ => Vec::new(),
    }
}

fn pool_attributes(window: &Window) -> Vec<AttributeProto> {
    let mut attributes = window_attributes(window);
    attributes.push(int("ceil_mode", i64::from(window.ceil_mode)));
    attributes
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind as i32,
        ..AttributeProto::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        i,
        ..attribute(name, AttributeType::Int)
    }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f,
        ..attribute(name, AttributeType::Float)
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|&v| v as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

/// A float32 tensor with a symbolic batch axis.
fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let dimension = |value| Dimension {
        value: Some(value),
        ..Dimension::default()
    };
    let batch = dimension(dimension::Value::DimParam("N".to_owned()));
    let sizes = shape
        .iter()
        .map(|&d| dimension(dimension::Value::DimValue(d as i64)));
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto {
            dim: [batch].into_iter().chain(sizes).collect(),
        }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
