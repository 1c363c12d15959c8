use super::error::{Fault, OnnxError, Place, Reason};
use super::import::{Importer, Tensor, check_size};
use super::metadata;
use crate::graph::Graph;
use prost::Message;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, type_proto};

/// The oldest operator set whose operators mean what they mean today (broadcasting came with it).
const OLDEST_OPSET: i64 = 7;

/// Protocol buffers end there.
const MAX_BYTES: u64 = 1 << 31;

/// Reads an ONNX file.
///
/// # Errors
/// When the file cannot be read, is not ONNX, or holds something a [`Graph`] cannot: then with every
/// reason at once.
pub fn read(path: &Path) -> Result<Graph, OnnxError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| OnnxError::Read {
            file: path.display().to_string(),
            source,
        })?;
    read_bytes(&path.display().to_string(), &bytes)
}

/// Reads an ONNX model from memory; `name` is the file's, for errors and for models without a name of
/// their own.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<Graph, OnnxError> {
    let model = decode(bytes).map_err(|reason| OnnxError::NotOnnx {
        file: name.to_owned(),
        reason,
    })?;
    import(name, &model).map_err(|reasons| OnnxError::Refused {
        file: name.to_owned(),
        reasons,
    })
}

fn decode(bytes: &[u8]) -> Result<ModelProto, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    let model = ModelProto::decode(bytes)
        .map_err(|e| format!("it is damaged, cut short or of another format ({e})"))?;
    match model.graph {
        Some(_) => Ok(model),
        None => Err("it holds no graph".to_owned()),
    }
}

fn import(file: &str, model: &ModelProto) -> Result<Graph, Vec<Reason>> {
    let empty = GraphProto::default();
    let proto = model.graph.as_ref().unwrap_or(&empty);
    let mut reasons = Vec::new();
    let opset = opset(model).unwrap_or_else(|fault| {
        reasons.push(fault.at(Place::Model));
        OLDEST_OPSET
    });
    check_tables(proto, &mut reasons);
    let inputs = inputs(proto);
    let shape = input_shapes(&inputs, &mut reasons);

    // From here on even without an input shape, so that every reason comes out.
    let first = inputs.first().map_or("", |i| &i.name);
    let (batch, per_example) = shape.clone().unwrap_or_default();
    let graph = Graph::new(graph_name(file, model, proto), first, &per_example);
    let mut importer = Importer::new(proto, graph, opset, batch);
    importer.reasons = reasons;
    for (i, input) in inputs.iter().enumerate() {
        let tensor = match &shape {
            Some(_) if i == 0 => Tensor::Value(importer.graph.input),
            _ => Tensor::Unknown,
        };
        importer.bind(&input.name, tensor, || Place::Input(input.name.clone()));
    }
    importer.body(proto);
    if importer.reasons.is_empty() {
        let properties = &model.metadata_props;
        metadata::apply(&mut importer.graph, properties, &mut importer.reasons);
    }
    if importer.reasons.is_empty() {
        importer.graph.remove_unused();
        Ok(importer.graph)
    } else {
        Err(importer.reasons)
    }
}

fn check_tables(proto: &GraphProto, reasons: &mut Vec<Reason>) {
    if !proto.sparse_initializer.is_empty() {
        let way_out = "store the weights as dense tensors";
        let fault = Fault::new("has sparse initializers", way_out);
        reasons.push(fault.at(Place::Model));
    }
    if proto.output.len() != 1 {
        let why = format!(
            "has {} outputs{}",
            proto.output.len(),
            listed(&proto.output)
        );
        let fault = Fault::new(why, "export the model with one output");
        reasons.push(fault.at(Place::Model));
    }
}

/// What is fed from outside. Files of the first versions list initializers as inputs too.
fn inputs(proto: &GraphProto) -> Vec<&ValueInfoProto> {
    let initializers: HashSet<&str> = proto.initializer.iter().map(|t| t.name.as_str()).collect();
    let fed = |input: &&ValueInfoProto| !initializers.contains(input.name.as_str());
    proto.input.iter().filter(fed).collect()
}

/// Checks every input; returns the shape of the only one.
fn input_shapes(inputs: &[&ValueInfoProto], reasons: &mut Vec<Reason>) -> Option<InputShape> {
    if inputs.len() != 1 {
        let listed = listed(inputs.iter().copied());
        let why = format!("has {} inputs{listed}", inputs.len());
        let fault = Fault::new(why, "export the model with one input");
        reasons.push(fault.at(Place::Model));
    }
    let mut first = None;
    for (i, input) in inputs.iter().enumerate() {
        match input_shape(input) {
            Ok(shape) if i == 0 => first = Some(shape),
            Ok(_) => {}
            Err(fault) => reasons.push(fault.at(Place::Input(input.name.clone()))),
        }
    }
    first
}

fn listed<'a>(values: impl IntoIterator<Item = &'a ValueInfoProto>) -> String {
    let names: Vec<String> = (values.into_iter())
        .map(|v| format!("'{}'", v.name.escape_debug()))
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(": {}", names.join(", "))
    }
}

fn opset(model: &ModelProto) -> Result<i64, Fault> {
    let standard = |d: &str| d.is_empty() || d == "ai.onnx";
    let import = model.opset_import.iter().find(|o| standard(&o.domain));
    match import.map(|o| o.version) {
        Some(version) if version >= OLDEST_OPSET => Ok(version),
        Some(version) => Err(Fault::new(
            format!("uses operator set {version}"),
            format!("export with operator set {OLDEST_OPSET} or later"),
        )),
        None => Err(Fault::new(
            "names no standard operator set",
            "the file is damaged, export the model again",
        )),
    }
}

/// The model's own name where it means something: exporters call every graph alike.
fn graph_name(file: &str, model: &ModelProto, proto: &GraphProto) -> String {
    let stem = Path::new(file).file_stem();
    match stem {
        Some(stem) if model.producer_name != super::write::PRODUCER || proto.name.is_empty() => {
            stem.to_string_lossy().into_owned()
        }
        _ => proto.name.clone(),
    }
}

/// The batch, where fixed, and the shape of one example.
type InputShape = (Option<usize>, Vec<usize>);

fn input_shape(input: &ValueInfoProto) -> Result<InputShape, Fault> {
    let kind = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else {
        return Err(Fault::new(
            "is not a tensor",
            "export the model with one tensor input",
        ));
    };
    if tensor.elem_type != DataType::Float as i32 {
        let kind = DataType::try_from(tensor.elem_type).map_or("UNKNOWN", |k| k.as_str_name());
        return Err(Fault::new(
            format!("holds {kind} elements"),
            "export the model with a float32 input",
        ));
    }
    let dims = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim);
    let sizes: Vec<Option<usize>> = (dims.iter())
        .map(|d| match d.value {
            Some(Dim::DimValue(v)) => usize::try_from(v).ok().filter(|&v| v > 0),
            _ => None,
        })
        .collect();
    let Some((&batch, rest)) = sizes.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(Fault::new(
            format!("has rank {}", sizes.len()),
            "the first axis must be the batch, and features must follow",
        ));
    };
    let shape: Option<Vec<usize>> = rest.iter().copied().collect();
    let shape = shape.ok_or_else(|| {
        Fault::new(
            "has an unknown size after the batch axis",
            "export the model with fixed sizes, only the batch can be dynamic",
        )
    })?;
    check_size(&shape)?;
    Ok((batch, shape))
}
