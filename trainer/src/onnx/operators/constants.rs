//! Nodes that compute with constants alone, or make one: evaluated while importing. Exporters write
//! a dynamic batch as such a chain (`Shape`, `Gather`, `Unsqueeze`, `Concat`) before a `Reshape`.

use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, Tensor};
use crate::onnx::tensor::{Constant, Data};
use half::f16;
use std::rc::Rc;
use tract_onnx::pb::tensor_proto::DataType;

/// More than any tensor has.
const MAX_AXES: usize = 16;

fn tensor(name: &str, shape: Vec<usize>, data: Data) -> Result<Tensor, Fault> {
    let name = name.to_owned();
    Ok(Tensor::Constant(Rc::new(Constant { name, shape, data })))
}

/// The name of what a node makes from nothing.
fn output_name<'n>(node: &'n NodeView) -> &'n str {
    node.proto.output.first().map_or("", String::as_str)
}

pub(super) fn constant(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let attributes = node.attributes;
    let name = output_name(node);
    if let Some(proto) = attributes.tensor("value")? {
        let constant = Constant::from_proto(proto)?;
        return tensor(name, constant.shape, constant.data);
    }
    if let Some(value) = attributes.float("value_float")? {
        return tensor(name, vec![], Data::Float(vec![value]));
    }
    if let Some(values) = attributes.floats("value_floats")? {
        return tensor(name, vec![values.len()], Data::Float(values.to_vec()));
    }
    if let Some(values) = attributes.ints("value_ints")? {
        return tensor(name, vec![values.len()], Data::Int(values.to_vec()));
    }
    tensor(
        name,
        vec![],
        Data::Int(vec![attributes.int("value_int", 0)?]),
    )
}

/// Every computed value is float32; constants are converted.
pub(super) fn cast(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let to = node.attributes.int("to", 0)?;
    let kind = i32::try_from(to)
        .ok()
        .and_then(|k| DataType::try_from(k).ok());
    let Some(Tensor::Constant(c)) = node.tensor(0) else {
        let x = node.value(0)?;
        return match kind {
            Some(DataType::Float) => Ok(Tensor::Value(x)),
            _ => Err(Fault::new(
                "changes the kind of a computed value",
                "export the model in float32 throughout",
            )),
        };
    };
    let data = match (kind, &c.data) {
        (Some(DataType::Float | DataType::Double), Data::Float(v)) => Data::Float(v.clone()),
        (Some(DataType::Float | DataType::Double), Data::Int(v)) => {
            Data::Float(v.iter().map(|&v| v as f32).collect())
        }
        (Some(DataType::Float16), Data::Float(v)) => {
            Data::Float(v.iter().map(|&v| f16::from_f32(v).to_f32()).collect())
        }
        (Some(DataType::Int32 | DataType::Int64), Data::Int(v)) => Data::Int(v.clone()),
        (Some(DataType::Int32 | DataType::Int64), Data::Float(v)) => {
            Data::Int(v.iter().map(|&v| v as i64).collect())
        }
        _ => {
            return Err(Fault::new(
                format!("casts a constant to ONNX kind {to}"),
                "export the model in float32",
            ));
        }
    };
    tensor(&c.name, c.shape.clone(), data)
}

/// The shape of a value, a dynamic batch counted as one example.
pub(super) fn shape(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let shape: Vec<i64> = match node.tensor(0) {
        Some(Tensor::Constant(c)) => c.shape.iter().map(|&d| d as i64).collect(),
        _ => {
            let x = node.value(0)?;
            let batch = importer.batch.unwrap_or(1);
            let axes = [batch]
                .into_iter()
                .chain(importer.graph.value(x).shape.clone());
            axes.map(|d| d as i64).collect()
        }
    };
    let rank = shape.len() as i64;
    let place = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let start = place(node.attributes.int("start", 0)?);
    let end = place(node.attributes.int("end", rank)?).max(start);
    let part = shape[start..end].to_vec();
    tensor(output_name(node), vec![part.len()], Data::Int(part))
}

/// Elements of a vector.
pub(super) fn gather(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let from = node.constant(0)?;
    let indices = node.constant(1)?;
    let values = from.ints()?;
    let picked = (indices.ints()?.iter())
        .map(|&i| {
            if i < 0 {
                i.saturating_add(values.len() as i64)
            } else {
                i
            }
        })
        .map(|i| usize::try_from(i).ok().and_then(|i| values.get(i)).copied())
        .collect::<Option<Vec<i64>>>();
    match picked {
        Some(picked) if from.shape.len() == 1 => {
            tensor(output_name(node), indices.shape.clone(), Data::Int(picked))
        }
        _ => Err(Fault::new(
            format!("gathers from a constant of shape {:?}", from.shape),
            "simplify the model first, so that constants are folded",
        )),
    }
}

/// Vectors one after the other.
pub(super) fn concat(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let mut joined = Vec::new();
    for i in 0..node.proto.input.len() {
        let part = node.constant(i)?;
        if part.shape.len() != 1 {
            return Err(Fault::new(
                format!("joins a constant of shape {:?}", part.shape),
                "simplify the model first, so that constants are folded",
            ));
        }
        joined.extend_from_slice(part.ints()?);
    }
    tensor(output_name(node), vec![joined.len()], Data::Int(joined))
}

/// Adds axes of one element to a constant.
pub(super) fn unsqueeze(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let c = node.constant(0)?;
    let axes = match node.optional(1)? {
        Some(axes) => axes.ints()?,
        None => node.attributes.ints("axes")?.unwrap_or_default(),
    };
    if axes.len() > MAX_AXES {
        let why = format!("adds {} axes", axes.len());
        return Err(Fault::new(why, format!("at most {MAX_AXES} are allowed")));
    }
    let rank = (c.shape.len() + axes.len()) as i64;
    let mut shape = c.shape.clone();
    let mut places: Vec<i64> = (axes.iter())
        .map(|&a| if a < 0 { a.saturating_add(rank) } else { a })
        .collect();
    places.sort_unstable();
    for place in places {
        let place = usize::try_from(place).ok().filter(|&p| p <= shape.len());
        let place = place.ok_or_else(|| {
            Fault::new(
                format!("adds axes {axes:?} to {:?}", c.shape),
                "the file is damaged, export the model again",
            )
        })?;
        shape.insert(place, 1);
    }
    tensor(&c.name, shape, c.data.clone())
}

/// A constant matrix turned over.
pub(super) fn transpose(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    if let Some(Tensor::Value(_)) = node.tensor(0) {
        return Err(Fault::new(
            "moves the axes of a computed value",
            "export the model with channels before height and width (NCHW) and without Transpose",
        ));
    }
    let c = node.constant(0)?;
    let perm = node.attributes.ints("perm")?.unwrap_or(&[1, 0]);
    match (c.shape.as_slice(), perm) {
        (&[rows, columns], [1, 0]) => {
            let values = c.floats()?;
            let column = |i: usize| values.iter().skip(i).step_by(columns.max(1)).copied();
            let turned = (0..columns).flat_map(column).collect();
            tensor(&c.name, vec![columns, rows], Data::Float(turned))
        }
        (shape, _) => Err(Fault::new(
            format!("permutes a constant of shape {shape:?} by {perm:?}"),
            "simplify the model first, so that constants are folded",
        )),
    }
}
