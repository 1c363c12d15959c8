//! Nodes that compute with constants alone, or make one: evaluated while importing. Exporters write
//! shapes and initial states as chains of such nodes.

use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::movement::check_constant;
use crate::onnx::tensor::{Constant, Data, Kind};
use crate::onnx::value::{Computed, Tensor, broadcast};
use half::f16;
use tract_onnx::pb::tensor_proto::DataType;

pub(super) fn constant(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let attributes = node.attributes;
    let name = node.output_name(0);
    let floats = |shape, values| Constant::of_floats(name, shape, values);
    let ints = |shape, values| Constant::of_ints(name, shape, values);
    Ok(Tensor::constant(
        if let Some(proto) = attributes.tensor("value")? {
            let constant = Constant::from_proto(proto, importer.folder)?;
            Constant {
                name: name.to_owned(),
                ..constant
            }
        } else if let Some(value) = attributes.float("value_float")? {
            floats(vec![], vec![value])
        } else if let Some(values) = attributes.floats("value_floats")? {
            floats(vec![values.len()], values.to_vec())
        } else if let Some(values) = attributes.ints("value_ints")? {
            ints(vec![values.len()], values.to_vec())
        } else {
            ints(vec![], vec![attributes.int("value_int", 0)?])
        },
    ))
}

pub(super) fn constant_of_shape(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let sizes = node.constant(0)?.ints()?;
    let shape: Option<Vec<usize>> = sizes.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| {
        Fault::new(
            format!("makes a constant of shape {sizes:?}"),
            "export the model again",
        )
    })?;
    check_constant(&shape)?;
    let one = match node.attributes.tensor("value")? {
        Some(proto) => Constant::from_proto(proto, None)?,
        None => Constant::of_floats("", vec![1], vec![0.0]),
    };
    one.real()?;
    let one = Constant {
        shape: vec![],
        name: node.output_name(0).to_owned(),
        ..one
    };
    let data = one.stretched(&shape);
    Ok(Tensor::constant(Constant { shape, data, ..one }))
}

/// Computed values are real numbers of whatever kind; constants are converted.
pub(super) fn cast(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let to = node.attributes.int("to", 0)?;
    let to = i32::try_from(to).unwrap_or(0);
    let kind = Kind::from_onnx(to)?;
    let half = to == DataType::Float16 as i32 || to == DataType::Bfloat16 as i32;
    let c = match node.required(0)? {
        Tensor::Constant(c) => c,
        Tensor::Unknown => return Ok(Tensor::Unknown),
        Tensor::Value(x) => {
            // Integers of 8 bits are integers of 32 bits, and all are real numbers.
            let wider = match (x.kind, kind) {
                (_, Kind::Float) => true,
                (Kind::Float, _) => false,
                (from, to) => from == to || matches!(to, Kind::Int32 | Kind::Int64),
            };
            if !wider || half {
                return Err(Fault::new(
                    "rounds a computed value to another kind",
                    "export the model in float32 throughout",
                ));
            }
            return Ok(Tensor::Value(Computed { kind, ..x.clone() }));
        }
    };
    let data = match (kind, &c.data) {
        (Kind::Float, Data::Float(v)) if to == DataType::Float16 as i32 => {
            Data::Float(v.iter().map(|&v| f16::from_f32(v).to_f32()).collect())
        }
        (Kind::Float, _) => Data::Float(c.reals()),
        (Kind::Bool, _) => Data::Int(c.reals().iter().map(|&v| i64::from(v != 0.0)).collect()),
        (_, Data::Int(v)) => Data::Int(v.clone()),
        (_, Data::Float(v)) => Data::Int(v.iter().map(|&v| v as i64).collect()),
    };
    Ok(Tensor::constant(Constant {
        kind,
        data,
        steps: None,
        ..(**c).clone()
    }))
}

/// The shape of a tensor, a dynamic batch counted as one example.
pub(super) fn shape(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let shape = sizes(importer, node)?;
    let rank = shape.len() as i64;
    let place = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let start = place(node.attributes.int("start", 0)?);
    let end = place(node.attributes.int("end", rank)?).max(start);
    let part = shape[start..end].to_vec();
    Ok(Tensor::constant(Constant::of_ints(
        node.output_name(0),
        vec![part.len()],
        part,
    )))
}

fn sizes(importer: &Importer, node: &NodeView) -> Result<Vec<i64>, Fault> {
    let x = node.required(0)?;
    let mut shape: Vec<i64> = x.shape().iter().map(|&d| d as i64).collect();
    if let (Some(first), Tensor::Value(_)) = (shape.first_mut(), x) {
        *first *= importer.batch_size() as i64;
    }
    Ok(shape)
}

pub(super) fn size(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let size = sizes(importer, node)?.iter().product();
    Ok(Tensor::constant(Constant::of_ints(
        node.output_name(0),
        vec![],
        vec![size],
    )))
}

pub(super) fn range(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let bounds = [node.constant(0)?, node.constant(1)?, node.constant(2)?];
    let [start, end, step] = [bounds[0].real()?, bounds[1].real()?, bounds[2].real()?];
    let count = ((end - start) / step).ceil().max(0.0);
    let count = if count.is_finite() {
        count as usize
    } else {
        usize::MAX
    };
    check_constant(&[count])?;
    let at = |i: usize| start + i as f32 * step;
    let (shape, name) = (vec![count], node.output_name(0));
    Ok(Tensor::constant(match bounds[0].data {
        Data::Float(_) => Constant::of_floats(name, shape, (0..count).map(at).collect()),
        Data::Int(_) => {
            let values = (0..count).map(|i| at(i) as i64).collect();
            Constant {
                kind: bounds[0].kind,
                ..Constant::of_ints(name, shape, values)
            }
        }
    }))
}

/// A function of two numbers.
pub(super) struct Function {
    pub(super) ints: fn(i64, i64) -> i64,
    pub(super) reals: fn(f64, f64) -> f64,
    /// Whether the result is a truth value.
    pub(super) truth: bool,
}

/// Of two constants, broadcast.
pub(super) fn zip(
    name: &str,
    a: &Constant,
    b: &Constant,
    function: &Function,
) -> Result<Tensor, Fault> {
    let shape = broadcast(&a.shape, &b.shape)?;
    check_constant(&shape)?;
    let kind = if function.truth { Kind::Bool } else { a.kind };
    let data = match (a.stretched(&shape), b.stretched(&shape)) {
        (Data::Int(a), Data::Int(b)) => Data::Int(
            a.iter()
                .zip(&b)
                .map(|(&a, &b)| (function.ints)(a, b))
                .collect(),
        ),
        (a, b) => {
            let values = reals(a).into_iter().zip(reals(b));
            let values = values.map(|(a, b)| (function.reals)(f64::from(a), f64::from(b)));
            match kind {
                Kind::Float => Data::Float(values.map(|v| v as f32).collect()),
                _ => Data::Int(values.map(|v| v as i64).collect()),
            }
        }
    };
    let (name, steps) = (name.to_owned(), None);
    Ok(Tensor::constant(Constant {
        name,
        shape,
        kind,
        data,
        steps,
    }))
}

fn reals(data: Data) -> Vec<f32> {
    match data {
        Data::Float(values) => values,
        Data::Int(values) => values.into_iter().map(|v| v as f32).collect(),
    }
}

macro_rules! comparisons {
    ($($name:ident $comparison:tt),* $(,)?) => {$(
        pub(super) fn $name(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
            let function = Function {
                ints: |a, b| i64::from(a $comparison b),
                reals: |a, b| f64::from(u8::from(a $comparison b)),
                truth: true,
            };
            zip(node.output_name(0), node.constant(0)?, node.constant(1)?, &function)
        }
    )*};
}

comparisons! { equal ==, less <, less_or_equal <=, greater >, greater_or_equal >= }

fn logic(node: &NodeView, ints: fn(i64, i64) -> i64) -> Result<Tensor, Fault> {
    let function = Function {
        ints,
        reals: |_, _| 0.0,
        truth: true,
    };
    zip(
        node.output_name(0),
        node.constant(0)?,
        node.constant(1)?,
        &function,
    )
}

pub(super) fn and(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    logic(node, |a, b| a & b)
}

pub(super) fn or(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    logic(node, |a, b| a | b)
}

pub(super) fn modulo(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    // The sign is the divisor's, as in Python, unless the node says C.
    let function = if node.attributes.int("fmod", 0)? != 0 {
        Function {
            ints: |a, b| a.checked_rem(b).unwrap_or(0),
            reals: |a, b| a % b,
            truth: false,
        }
    } else {
        Function {
            ints: |a, b| {
                a.checked_rem(b).map_or(0, |r| {
                    if r != 0 && (r < 0) != (b < 0) {
                        r + b
                    } else {
                        r
                    }
                })
            },
            reals: |a, b| a - (a / b).floor() * b,
            truth: false,
        }
    };
    zip(
        node.output_name(0),
        node.constant(0)?,
        node.constant(1)?,
        &function,
    )
}

/// A constant with each element mapped.
fn map(node: &NodeView, ints: fn(i64) -> i64, reals: fn(f32) -> f32) -> Result<Tensor, Fault> {
    let c = node.constant(0)?;
    let data = match &c.data {
        Data::Int(values) => Data::Int(values.iter().map(|&v| ints(v)).collect()),
        Data::Float(values) => Data::Float(values.iter().map(|&v| reals(v)).collect()),
    };
    Ok(Tensor::constant(Constant {
        data,
        steps: None,
        ..(**c).clone()
    }))
}

pub(super) fn not(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    map(node, |v| i64::from(v == 0), |v| v)
}

pub(super) fn abs(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    map(node, i64::wrapping_abs, f32::abs)
}

pub(super) fn floor(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    map(node, |v| v, f32::floor)
}

pub(super) fn ceil(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    map(node, |v| v, f32::ceil)
}

/// The product of all elements.
pub(super) fn reduce_prod(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let c = node.constant(0)?;
    let axes = node.ints("axes", 1)?.unwrap_or_default();
    if !axes.is_empty() && axes.len() != c.shape.len() {
        return Err(Fault::new(
            format!("multiplies {:?} along axes {axes:?}", c.shape),
            "only the product of all elements is supported",
        ));
    }
    let shape = if node.attributes.int("keepdims", 1)? != 0 {
        vec![1; c.shape.len()]
    } else {
        vec![]
    };
    let data = match &c.data {
        Data::Int(v) => Data::Int(vec![v.iter().fold(1, |n, &d| n.wrapping_mul(d))]),
        Data::Float(v) => Data::Float(vec![v.iter().product()]),
    };
    Ok(Tensor::constant(Constant {
        shape,
        data,
        steps: None,
        ..(**c).clone()
    }))
}

/// Elements of one constant or another. A condition that is the same everywhere chooses between
/// computed tensors too.
pub(super) fn choose(_: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let condition = node.constant(0)?;
    let (a, b) = (node.required(1)?, node.required(2)?);
    let shape = broadcast(&condition.shape, &broadcast(a.shape(), b.shape())?)?;
    check_constant(&shape)?;
    let truth = condition.ints()?;
    if let Some(chosen) = [(1, a), (0, b)]
        .iter()
        .find(|(t, _)| truth.iter().all(|v| v == t))
        && chosen.1.shape() == shape
    {
        return Ok(chosen.1.clone());
    }
    let (Tensor::Constant(a), Tensor::Constant(b)) = (a, b) else {
        return Err(Fault::new(
            "chooses between computed values",
            "only between constants, and by a condition that is the same everywhere",
        ));
    };
    let Data::Int(truth) = condition.stretched(&shape) else {
        return Err(Fault::new("has no truth values", "export the model again"));
    };
    let choice = |i: usize| if truth[i] != 0 { 0 } else { 1 };
    let data = match (a.stretched(&shape), b.stretched(&shape)) {
        (Data::Float(a), Data::Float(b)) => {
            Data::Float((0..truth.len()).map(|i| [a[i], b[i]][choice(i)]).collect())
        }
        (Data::Int(a), Data::Int(b)) => {
            Data::Int((0..truth.len()).map(|i| [a[i], b[i]][choice(i)]).collect())
        }
        _ => {
            return Err(Fault::new(
                "joins integers and real numbers",
                "export the model again",
            ));
        }
    };
    let name = node.output_name(0).to_owned();
    let (kind, steps) = (a.kind, None);
    Ok(Tensor::constant(Constant {
        name,
        shape,
        kind,
        data,
        steps,
    }))
}
