//! A graph as an ONNX model.

mod node;
mod proto;
mod quantization;
mod recurrent;
mod writer;

use super::OnnxError;
use super::metadata;
use crate::files::write_atomically;
use crate::graph::{Graph, Node, Op, ParamId, Parametrization, Unary, Value, ValueId};
use half::f16;
use prost::Message;
use std::collections::HashSet;
use std::path::Path;
use tract_onnx::pb::{ModelProto, OperatorSetIdProto};
use writer::Writer;

pub(super) const PRODUCER: &str = "pith";
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// The first operator set in which average pools dilate.
const DILATED_POOL_OPSET: i64 = 19;
/// The first operator set with Gelu.
const GELU_OPSET: i64 = 20;
/// The first operator set that quantizes to int16.
const INT16_OPSET: i64 = 21;

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
    let opset = opset(&graph, options);
    let mut proto = Writer::new(&graph, opset).write(&halves(&graph, options))?;
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
            version: opset,
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
    let linear = graph.nodes.iter().flat_map(|n| match &n.op {
        op @ (Op::Recurrent(_) | Op::Embedding { .. }) => op.parameters(),
        op => op.weight().into_iter().chain(op.bias()).collect(),
    });
    let fits = |id: &ParamId| {
        let parameter = graph.parameter(*id);
        let finite = |v: &f32| f16::from_f32(*v).is_finite();
        options.f16
            && !options.qdq
            && parameter.grid.is_none()
            && !matches!(parameter.parametrization, Parametrization::Signs(_))
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

/// The oldest set that has every operator: more programs read it.
fn opset(graph: &Graph, options: WriteOptions) -> i64 {
    let int16 = |value: &Value| value.int16 && value.quantization.is_some();
    if options.qdq && graph.values.iter().any(int16) {
        return INT16_OPSET;
    }
    let needed = |node: &Node| match node.op {
        Op::Unary(Unary::Gelu { .. }) => GELU_OPSET,
        Op::AveragePool { dilation, .. } if dilation != [1, 1] => DILATED_POOL_OPSET,
        _ => OPSET,
    };
    graph.nodes.iter().map(needed).fold(OPSET, i64::max)
}
