use super::error::{Fault, OnnxError, Place, Reason};
use super::import::{Batch, Importer, check_size};
use super::metadata;
use super::simplify::simplify;
use super::tensor::{Kind, shown};
use super::value::{Computed, Tensor, canonical};
use crate::graph::Graph;
use prost::Message;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, type_proto};

/// The oldest operator set whose operators mean what they mean today (broadcasting came with it).
const OLDEST_OPSET: i64 = 7;

/// Protocol buffers end there.
const MAX_BYTES: u64 = 1 << 31;

/// The newest operator set whose operators are known.
const NEWEST_OPSET: i64 = 28;

/// A model read, and what was decided that the file leaves open, each in one line.
pub struct Import {
    /// The model.
    pub graph: Graph,
    /// To be shown.
    pub notes: Vec<String>,
}

/// Reads an ONNX file. What the file leaves open and is decided here is said on standard error, in one
/// line each; [`import_file`] returns it instead.
///
/// # Errors
/// When the file cannot be read, is not ONNX, or holds something a [`Graph`] cannot: then with every
/// reason at once.
pub fn read(path: &Path) -> Result<Graph, OnnxError> {
    let Import { graph, notes } = import_file(path)?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    Ok(graph)
}

/// Reads ONNX files, in their order.
///
/// # Errors
/// As [`read`], of the first that fails.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Graph>, OnnxError> {
    paths.iter().map(|path| read(path)).collect()
}

/// Reads an ONNX file, with notes.
///
/// # Errors
/// As [`read`].
pub fn import_file(path: &Path) -> Result<Import, OnnxError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| OnnxError::Read {
            file: path.display().to_string(),
            source,
        })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    import_bytes(&path.display().to_string(), &bytes, Some(folder))
}

/// Reads an ONNX model from memory; `name` is the file's, for errors and for models without a name of
/// their own. Weights in other files are refused.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<Graph, OnnxError> {
    import_bytes(name, bytes, None).map(|import| import.graph)
}

fn import_bytes(name: &str, bytes: &[u8], folder: Option<&Path>) -> Result<Import, OnnxError> {
    let model = decode(bytes).map_err(|reason| OnnxError::NotOnnx {
        file: name.to_owned(),
        reason,
    })?;
    import(name, &model, folder).map_err(|reasons| OnnxError::Refused {
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

/// Once for every meaning the batch can have: kept apart where that is possible.
fn import(file: &str, model: &ModelProto, folder: Option<&Path>) -> Result<Import, Vec<Reason>> {
    let empty = GraphProto::default();
    let proto = model.graph.as_ref().unwrap_or(&empty);
    let first = inputs(proto).first().map(|i| input_shape(i));
    if let Some(Ok(input)) = first
        && let Some(&examples) = input.shape.first()
        && examples > 1
        && input.shape.len() > 1
    {
        let apart = import_as(file, model, folder, Batch::Apart(examples));
        if apart.is_ok() {
            return apart;
        }
    }
    import_as(file, model, folder, Batch::Whole)
}

fn import_as(
    file: &str,
    model: &ModelProto,
    folder: Option<&Path>,
    batch: Batch,
) -> Result<Import, Vec<Reason>> {
    let empty = GraphProto::default();
    let proto = model.graph.as_ref().unwrap_or(&empty);
    let mut reasons = Vec::new();
    let opset = opset(model).unwrap_or_else(|fault| {
        reasons.push(fault.at(Place::Model));
        OLDEST_OPSET
    });
    check_tables(proto, &mut reasons);
    let inputs = inputs(proto);
    let input = checked_input(&inputs, &mut reasons);

    // From here on even without an input shape, so that every reason comes out.
    let first = inputs.first().map_or("", |i| &i.name);
    let mut shape = input.as_ref().map(|i| i.shape.clone()).unwrap_or_default();
    if let (Batch::Apart(_), Some(first)) = (batch, shape.first_mut()) {
        *first = 1;
    }
    let graph = Graph::new(graph_name(file, model, proto), first, &canonical(&shape));
    let mut importer = Importer::new(proto, graph, opset, batch, folder);
    importer.reasons = reasons;
    for (i, fed) in inputs.iter().enumerate() {
        let tensor = match &input {
            Some(input) if i == 0 => Tensor::Value(Computed {
                id: importer.graph.input,
                shape: shape.clone(),
                kind: input.kind,
            }),
            _ => Tensor::Unknown,
        };
        importer.bind(&fed.name, tensor, || Place::Input(fed.name.clone()));
    }
    importer.body(proto);
    if importer.reasons.is_empty() {
        importer.graph.remove_unused();
        simplify(&mut importer.graph);
        let properties = &model.metadata_props;
        metadata::apply(&mut importer.graph, properties, &mut importer.reasons);
    }
    if !importer.reasons.is_empty() {
        return Err(importer.reasons);
    }
    importer.graph.remove_unused();
    let ours = model.producer_name == super::write::PRODUCER;
    let dynamic = input.and_then(|i| i.dynamic).filter(|_| !ours);
    let note = dynamic.map(|axis| {
        format!("{file}: the first axis of the input ({axis}) is fixed to 1, the batch")
    });
    Ok(Import {
        graph: importer.graph,
        notes: note.into_iter().collect(),
    })
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
        let way_out = "export the model with one output, leaving states that are not needed out";
        let fault = Fault::new(why, way_out);
        reasons.push(fault.at(Place::Model));
    }
}

/// What is fed from outside. Files of the first versions list initializers as inputs too, and some
/// list inputs that nothing reads.
fn inputs(proto: &GraphProto) -> Vec<&ValueInfoProto> {
    let initializers: HashSet<&str> = proto.initializer.iter().map(|t| t.name.as_str()).collect();
    let fed = |input: &&ValueInfoProto| !initializers.contains(input.name.as_str());
    let inputs: Vec<_> = proto.input.iter().filter(fed).collect();
    if inputs.len() < 2 {
        return inputs;
    }
    let read = proto.node.iter().flat_map(|n| &n.input);
    let read: HashSet<&String> = read.chain(proto.output.iter().map(|o| &o.name)).collect();
    inputs
        .into_iter()
        .filter(|i| read.contains(&i.name))
        .collect()
}

/// Checks every input; returns the only one.
fn checked_input(inputs: &[&ValueInfoProto], reasons: &mut Vec<Reason>) -> Option<Input> {
    if inputs.len() != 1 {
        let listed = listed(inputs.iter().copied());
        let why = format!("has {} inputs{listed}", inputs.len());
        let way_out = "export the model with one input, and all else as initializers";
        reasons.push(Fault::new(why, way_out).at(Place::Model));
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
        Some(version) if (OLDEST_OPSET..=NEWEST_OPSET).contains(&version) => Ok(version),
        Some(version) => Err(Fault::new(
            format!("uses operator set {version}"),
            format!("export with operator set {OLDEST_OPSET} to {NEWEST_OPSET}"),
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

/// An input of the file.
struct Input {
    /// With 1 for a first axis whose size is not fixed.
    shape: Vec<usize>,
    kind: Kind,
    /// The first axis, where its size is not fixed.
    dynamic: Option<String>,
}

fn input_shape(input: &ValueInfoProto) -> Result<Input, Fault> {
    let kind = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else {
        return Err(Fault::new(
            "is not a tensor",
            "export the model with one tensor input",
        ));
    };
    let kind = input_kind(tensor.elem_type)?;
    let dims = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim);
    let mut shape = Vec::with_capacity(dims.len());
    let mut dynamic = None;
    for (axis, dim) in dims.iter().enumerate() {
        let (size, name) = match &dim.value {
            Some(Dim::DimValue(v)) => (usize::try_from(*v).ok().filter(|&v| v > 0), None),
            Some(Dim::DimParam(name)) => (None, Some(format!("'{}'", name.escape_debug()))),
            None => (None, None),
        };
        let name = name.unwrap_or_else(|| "unnamed".to_owned());
        match size {
            Some(size) => shape.push(size),
            None if axis == 0 && !matches!(dim.value, Some(Dim::DimValue(_))) => {
                shape.push(1);
                dynamic = Some(name);
            }
            None if matches!(dim.value, Some(Dim::DimValue(_))) => {
                return Err(Fault::new(
                    format!("is empty: axis {axis} has a size of 0"),
                    "export the model with fixed sizes",
                ));
            }
            None => {
                return Err(Fault::new(
                    format!("has an unknown size: axis {axis} ({name}) is dynamic"),
                    "export the model with fixed sizes, only the batch can be dynamic",
                ));
            }
        }
    }
    check_size(&shape)?;
    Ok(Input {
        shape,
        kind,
        dynamic,
    })
}

fn input_kind(elem_type: i32) -> Result<Kind, Fault> {
    use DataType::{Float, Int8, Int32, Int64, Uint8};
    let known = [Float, Int8, Uint8, Int32, Int64].map(|k| k as i32);
    if known.contains(&elem_type) {
        return Kind::from_onnx(elem_type);
    }
    Err(Fault::new(
        format!("holds {} elements", shown(elem_type)),
        "export the model with a float32 input, or an integer one of 8, 32 or 64 bits",
    ))
}
