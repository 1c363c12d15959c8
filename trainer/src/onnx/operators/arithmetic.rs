//! Arithmetic of two tensors. With a constant that is one number, or one per channel, it is a batch
//! normalization or a bias, which are folded into weights later.

use super::constants::{Function, zip};
use super::elementwise::clamp;
use crate::graph::{Op, Unary, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::{Constant, Kind};
use crate::onnx::value::{Computed, Tensor, broadcast};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

impl Binary {
    fn op(self) -> Op {
        match self {
            Binary::Add => Op::Add,
            Binary::Sub => Op::Sub,
            Binary::Mul => Op::Mul,
            Binary::Div => Op::Div,
        }
    }

    /// Of two constants; integers are divided as in C.
    fn function(self) -> Function {
        let ints: fn(i64, i64) -> i64 = match self {
            Binary::Add => i64::wrapping_add,
            Binary::Sub => i64::wrapping_sub,
            Binary::Mul => i64::wrapping_mul,
            Binary::Div => |a, b| a.checked_div(b).unwrap_or(0),
        };
        let reals: fn(f64, f64) -> f64 = match self {
            Binary::Add => |a, b| a + b,
            Binary::Sub => |a, b| a - b,
            Binary::Mul => |a, b| a * b,
            Binary::Div => |a, b| a / b,
        };
        Function {
            ints,
            reals,
            truth: false,
        }
    }
}

pub(super) fn add(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let (a, b) = (node.required(0)?, node.required(1)?);
    let (input, value, constant) = match (a, b) {
        (Tensor::Value(v), Tensor::Constant(c)) => (0, v, c),
        (Tensor::Constant(c), Tensor::Value(v)) => (1, v, c),
        _ => return combine(importer, &node.name, Binary::Add, a, b),
    };
    if importer.reads_alone(node, input, value.id)
        && let Some(tensor) = fold_bias(importer, node, value, constant)?
    {
        return Ok(tensor);
    }
    combine(importer, &node.name, Binary::Add, a, b)
}

pub(super) fn sub(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    combine(
        importer,
        &node.name,
        Binary::Sub,
        node.required(0)?,
        node.required(1)?,
    )
}

pub(super) fn mul(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    combine(
        importer,
        &node.name,
        Binary::Mul,
        node.required(0)?,
        node.required(1)?,
    )
}

pub(super) fn div(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    combine(
        importer,
        &node.name,
        Binary::Div,
        node.required(0)?,
        node.required(1)?,
    )
}

/// Makes the sum the bias of the linear operator before it, if that has none.
fn fold_bias(
    importer: &mut Importer,
    node: &NodeView,
    value: &Computed,
    constant: &Constant,
) -> Result<Option<Tensor>, Fault> {
    let producer = importer
        .graph
        .nodes
        .iter()
        .rposition(|n| n.output == value.id);
    let Some(producer) = producer else {
        return Ok(None);
    };
    let op = &importer.graph.nodes[producer].op;
    let own = &importer.graph.value(value.id).shape;
    let values = match op {
        Op::Gemm { bias: None, .. } => per_feature(constant, value, own),
        Op::Conv { bias: None, .. } | Op::ConvTranspose { bias: None, .. } => {
            per_channel(constant, value, own)
        }
        _ => None,
    };
    let Some(values) = values else {
        return Ok(None);
    };
    let added = importer.parameter(&constant.name, &[values.len()], values)?;
    if let Op::Gemm { bias, .. } | Op::Conv { bias, .. } | Op::ConvTranspose { bias, .. } =
        &mut importer.graph.nodes[producer].op
    {
        *bias = Some(added);
    }
    importer.graph.values[value.id.0].name = node.output_name(0).to_owned();
    Ok(Some(Tensor::Value(value.clone())))
}

/// A constant's element for each place of the value's last axis, if it differs along no other.
fn per_feature(constant: &Constant, x: &Computed, own: &[usize]) -> Option<Vec<f32>> {
    let values = constant.reals();
    let features = *own.last()?;
    let last = constant.shape.last().copied().unwrap_or(1);
    let fits = constant.shape.len() <= x.shape.len() && x.shape.last() == Some(&features);
    match values.as_slice() {
        &[value] if fits => Some(vec![value; features]),
        _ if fits && last == features && values.len() == features => Some(values),
        _ => None,
    }
}

/// A constant's element for each place of the graph's first axis, if it differs along no other.
fn per_channel(constant: &Constant, x: &Computed, own: &[usize]) -> Option<Vec<f32>> {
    let values = constant.reals();
    let missing = x.shape.len().checked_sub(constant.shape.len())?;
    let channels = *own.first()?;
    if let &[value] = values.as_slice() {
        return Some(vec![value; channels]);
    }
    let mut proper = (0..constant.shape.len()).filter(|&a| constant.shape[a] != 1);
    let axis = proper.next().filter(|_| proper.next().is_none())?;
    let size = constant.shape[axis];
    let first = x.shape[..axis + missing].iter().all(|&d| d == 1);
    (first && size == channels && x.shape[axis + missing] == size).then_some(values)
}

/// `a ∘ b`, broadcast; parameters made up are named after `base`.
pub(super) fn combine(
    importer: &mut Importer,
    base: &str,
    op: Binary,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor, Fault> {
    let whole = |kind: Kind| kind == Kind::Float || op != Binary::Div;
    match (a, b) {
        (Tensor::Constant(a), Tensor::Constant(b)) => zip(base, a, b, &op.function()),
        (Tensor::Value(x), Tensor::Constant(c)) | (Tensor::Constant(c), Tensor::Value(x)) => {
            let first = matches!(a, Tensor::Constant(_));
            if !whole(x.kind) {
                return Err(integer_division());
            }
            if let Some(tensor) = affine(importer, base, op, x, c, first)? {
                return Ok(tensor);
            }
            if c.shape.len() > x.shape.len()
                || c.shape.len() == x.shape.len() && c.shape.first().is_some_and(|&d| d != 1)
            {
                importer.keep_apart()?;
            }
            let c = importer.lift(c)?;
            let (a, b) = if first { (&c, x) } else { (x, &c) };
            push(importer, op.op(), a, b, x.kind)
        }
        (Tensor::Value(a), Tensor::Value(b)) => {
            if !whole(a.kind) {
                return Err(integer_division());
            }
            if a.shape.len() != b.shape.len() {
                importer.keep_apart()?;
            }
            push(importer, op.op(), a, b, a.kind)
        }
        _ => Ok(Tensor::Unknown),
    }
}

fn integer_division() -> Fault {
    Fault::new("divides integers, which rounds", "divide real numbers")
}

fn push(
    importer: &mut Importer,
    op: Op,
    a: &Computed,
    b: &Computed,
    kind: Kind,
) -> Result<Tensor, Fault> {
    let shape = broadcast(&a.shape, &b.shape)?;
    let own = |importer: &Importer, v: &Computed| importer.graph.value(v.id).shape.clone();
    let ids: [ValueId; 2] = if a.shape == b.shape && own(importer, a) == own(importer, b) {
        [a.id, b.id]
    } else {
        [importer.plain(a)?, importer.plain(b)?]
    };
    let id = importer.push(op, &ids)?;
    Ok(Tensor::Value(Computed { id, shape, kind }))
}

/// With a constant per tensor or per channel: a batch normalization.
fn affine(
    importer: &mut Importer,
    base: &str,
    op: Binary,
    x: &Computed,
    constant: &Constant,
    constant_first: bool,
) -> Result<Option<Tensor>, Fault> {
    let own = &importer.graph.value(x.id).shape;
    let Some(values) = per_channel(constant, x, own) else {
        return Ok(None);
    };
    let negative = |values: &[f32]| values.iter().map(|v| -v).collect::<Vec<f32>>();
    let (scale, bias) = match (op, constant_first) {
        (Binary::Add, _) => (None, Some(values)),
        (Binary::Sub, false) => (None, Some(negative(&values))),
        (Binary::Sub, true) => (Some(vec![-1.0; values.len()]), Some(values)),
        (Binary::Mul, _) => (Some(values), None),
        (Binary::Div, false) => (Some(values.iter().map(|v| 1.0 / v).collect()), None),
        (Binary::Div, true) => return Ok(None),
    };
    normalization(importer, base, x, constant, scale, bias).map(Some)
}

/// `scale·x + bias` as a batch normalization of mean 0 and variance 1. The constant lends its name
/// to the one parameter it is.
fn normalization(
    importer: &mut Importer,
    base: &str,
    x: &Computed,
    constant: &Constant,
    scale: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
) -> Result<Tensor, Fault> {
    let channels = importer.graph.value(x.id).shape[0];
    let named = if bias.is_some() { "bias" } else { "scale" };
    let mut add = |role: &str, values: Option<Vec<f32>>, default: f32| {
        let values = values.unwrap_or_else(|| vec![default; channels]);
        if role == named {
            importer.parameter(&constant.name, &[channels], values)
        } else {
            importer.made_up(format!("{base}.{role}"), values)
        }
    };
    let op = Op::BatchNormalization {
        scale: add("scale", scale, 1.0)?,
        bias: add("bias", bias, 0.0)?,
        mean: add("mean", None, 0.0)?,
        variance: add("variance", None, 1.0)?,
        epsilon: 0.0,
    };
    Ok(x.with(importer.push(op, &[x.id])?))
}

pub(super) fn neg(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.required(0)?;
    let zero = match x {
        Tensor::Constant(c) if c.kind != Kind::Float => Constant::of_ints("zero", vec![], vec![0]),
        _ => Constant::of_floats("zero", vec![], vec![0.0]),
    };
    combine(
        importer,
        &node.name,
        Binary::Sub,
        &Tensor::constant(zero),
        x,
    )
}

pub(super) fn reciprocal(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let one = Tensor::constant(Constant::of_floats("one", vec![], vec![1.0]));
    combine(importer, &node.name, Binary::Div, &one, node.required(0)?)
}

pub(super) fn pow(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = match (node.required(0)?, node.required(1)?) {
        (Tensor::Constant(x), Tensor::Constant(exponent)) => {
            let function = Function {
                ints: |a, b| a.checked_pow(b.clamp(0, 64) as u32).unwrap_or(0),
                reals: f64::powf,
                truth: false,
            };
            return zip(node.output_name(0), x, exponent, &function);
        }
        _ => node.value(0)?,
    };
    let exponent = node.constant(1)?.real()?;
    let mut product = |factors: usize| -> Result<Tensor, Fault> {
        let id = (1..factors).try_fold(x.id, |id, _| importer.push(Op::Mul, &[id, x.id]))?;
        Ok(x.with(id))
    };
    match exponent {
        1.0 => product(1),
        2.0 => product(2),
        3.0 => product(3),
        0.5 => Ok(x.with(importer.push(Op::Unary(Unary::Sqrt), &[x.id])?)),
        other => Err(Fault::new(
            format!("raises to the power {other}"),
            "1, 2, 3 and 0.5 are supported",
        )),
    }
}

pub(super) fn max(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let function = Function {
        ints: i64::max,
        reals: f64::max,
        truth: false,
    };
    bounded(importer, node, &function, |bound| (bound, f32::MAX))
}

pub(super) fn min(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let function = Function {
        ints: i64::min,
        reals: f64::min,
        truth: false,
    };
    bounded(importer, node, &function, |bound| (f32::MIN, bound))
}

/// A value and numbers that bound it.
fn bounded(
    importer: &mut Importer,
    node: &NodeView,
    function: &Function,
    bounds: impl Fn(f32) -> (f32, f32),
) -> Result<Tensor, Fault> {
    let mut result = node.required(0)?.clone();
    for i in 1..node.inputs.len() {
        let next = node.required(i)?;
        result = match (&result, next) {
            (Tensor::Constant(a), Tensor::Constant(b)) => zip(node.output_name(0), a, b, function)?,
            (Tensor::Value(x), Tensor::Constant(c)) | (Tensor::Constant(c), Tensor::Value(x))
                if c.data.len() == 1 && c.shape.len() <= x.shape.len() =>
            {
                let (min, max) = bounds(c.real()?);
                clamp(importer, x, min, max)?
            }
            _ => {
                return Err(Fault::new(
                    "compares two computed values",
                    "one of them must be one constant number",
                ));
            }
        };
    }
    Ok(result)
}
