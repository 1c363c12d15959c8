use super::error::{Fault, OnnxError, Place, Reason};
use super::import::{Importer, Tensor, check_size};
use super::metadata;
use crate::graph::Graph;
use prost::Message;
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
    let mut note = |place: Place, fault: Fault| reasons.push(fault.at(place));

    let opset = opset(model).unwrap_or_else(|fault| {
        note(Place::Model, fault);
        OLDEST_OPSET
    });
    if !proto.sparse_initializer.is_empty() {
        let fault = Fault::new(
            "has sparse initializers",
            "store the weights as dense tensors",
        );
        note(Place::Model, fault);
    }
    if proto.output.len() != 1 {
        let why = format!(
            "has {} outputs{}",
            proto.output.len(),
            listed(&proto.output)
        );
        note(
            Place::Model,
            Fault::new(why, "export the model with one output"),
        );
    }
    // Files of the first versions list initializers as inputs too.
    let is_initializer =
        |input: &&ValueInfoProto| proto.initializer.iter().any(|t| t.name == input.name);
    let inputs: Vec<&ValueInfoProto> = proto.input.iter().filter(|i| !is_initializer(i)).collect();
    if inputs.len() != 1 {
        let why = format!(
            "has {} inputs{}",
            inputs.len(),
            listed(inputs.iter().copied())
        );
        note(
            Place::Model,
            Fault::new(why, "export the model with one input"),
        );
    }
    let mut shapes = Vec::new();
    for input in &inputs {
        shapes.push(input_shape(input).unwrap_or_else(|fault| {
            note(Place::Input(input.name.clone()), fault);
            None
        }));
    }

    // Nodes are looked at even then, so that every reason comes out.
    let name = graph_name(file, model, proto);
    let first = inputs.first().map_or("", |i| &i.name);
    let shape = shapes.first().cloned().flatten();
    let per_example = shape.as_ref().map_or(&[][..], |(_, shape)| shape);
    let graph = Graph::new(name, first, per_example);
    let batch = shape.as_ref().and_then(|(batch, _)| *batch);
    let mut importer = Importer::new(proto, graph, opset, batch);
    importer.reasons = reasons;
    for (i, input) in inputs.iter().enumerate() {
        let known = i == 0 && shape.is_some();
        let tensor = if known {
            Tensor::Value(importer.graph.input)
        } else {
            Tensor::Unknown
        };
        importer.bind(&input.name, tensor, || Place::Input(input.name.clone()));
    }
    importer.initializers(proto);
    for (i, node) in proto.node.iter().enumerate() {
        importer.node(i, node);
    }
    if let [output] = proto.output.as_slice() {
        importer.output(&output.name);
    }
    if importer.reasons.is_empty() {
        metadata::apply(
            &mut importer.graph,
            &model.metadata_props,
            &mut importer.reasons,
        );
    }
    if importer.reasons.is_empty() {
        Ok(importer.graph)
    } else {
        Err(importer.reasons)
    }
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
            "the file is damaged; export the model again",
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

fn input_shape(input: &ValueInfoProto) -> Result<Option<InputShape>, Fault> {
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
            "export the model with fixed sizes; only the batch can be dynamic",
        )
    })?;
    check_size(&shape)?;
    Ok(Some((batch, shape)))
}
