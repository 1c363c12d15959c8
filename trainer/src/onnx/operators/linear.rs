use super::arithmetic::{self, Binary};
use crate::graph::{Grid, Op, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::Constant;
use crate::onnx::value::{Computed, Tensor, broadcast};

/// `alpha·A·B + beta·C`
pub(super) fn gemm(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let attributes = node.attributes;
    let alpha = attributes.float("alpha")?.unwrap_or(1.0);
    let beta = attributes.float("beta")?.unwrap_or(1.0);
    let mut operands = [node.required(0)?.clone(), node.required(1)?.clone()];
    for operand in &operands {
        if operand.shape().len() != 2 {
            return Err(Fault::new(
                format!("multiplies {:?}", operand.shape()),
                "matrices are needed, reshape to [batch, features] before it",
            ));
        }
    }
    for (operand, name) in operands.iter_mut().zip(["transA", "transB"]) {
        // Weights are turned where they are read.
        let weights = name == "transB" && matches!(operand, Tensor::Constant(_));
        if attributes.int(name, 0)? != 0 && !weights {
            *operand = importer.transpose(operand, &[1, 0])?;
        }
    }
    let c = node.tensor(2).filter(|_| beta != 0.0);
    if let [Tensor::Value(x), Tensor::Constant(w)] = &operands {
        let weights = Weights::of(w, attributes.int("transB", 0)? != 0)?.times(alpha);
        let out = weights.shape[0];
        let bias = match c {
            Some(Tensor::Constant(c)) => bias(c, out)?.map(|values| (&c.name, values)),
            _ => None,
        };
        let folded = bias.is_some();
        let bias = bias.map(|(name, values)| {
            Constant::of_floats(
                name.clone(),
                vec![out],
                values.iter().map(|v| v * beta).collect(),
            )
        });
        let product = multiply(importer, x, w, weights, bias.as_ref())?;
        return match c {
            Some(c) if !folded => plus(importer, product, beta, c),
            _ => Ok(product),
        };
    }
    let product = product(importer, &operands[0], &operands[1])?;
    let product = times(importer, product, alpha)?;
    match c {
        Some(c) => plus(importer, product, beta, c),
        None => Ok(product),
    }
}

fn times(importer: &mut Importer, x: Tensor, factor: f32) -> Result<Tensor, Fault> {
    if factor == 1.0 {
        return Ok(x);
    }
    let factor = Tensor::constant(Constant::of_floats("factor", vec![], vec![factor]));
    arithmetic::combine(importer, "factor", Binary::Mul, &x, &factor)
}

fn plus(importer: &mut Importer, x: Tensor, beta: f32, c: &Tensor) -> Result<Tensor, Fault> {
    let c = times(importer, c.clone(), beta)?;
    arithmetic::combine(importer, "bias", Binary::Add, &x, &c)
}

/// A constant's element for each output, if it differs along no other axis.
fn bias(c: &Constant, out: usize) -> Result<Option<Vec<f32>>, Fault> {
    let values = c.floats()?;
    let last = c.shape.last().copied().unwrap_or(1);
    Ok(match values {
        &[value] => Some(vec![value; out]),
        _ if values.len() == out && last == out => Some(values.to_vec()),
        _ => None,
    })
}

pub(super) fn mat_mul(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    product(importer, node.required(0)?, node.required(1)?)
}

/// The product of two tensors over the last axis of one and the last but one of the other.
pub(super) fn product(importer: &mut Importer, a: &Tensor, b: &Tensor) -> Result<Tensor, Fault> {
    if let (Tensor::Value(x), Tensor::Constant(w)) = (a, b)
        && let Some(matrix) = as_matrix(x, w)
    {
        let weights = Weights::of(&matrix, false)?;
        let product = multiply(importer, x, w, weights, None)?;
        if w.shape.len() > 1 {
            return Ok(product);
        }
        let mut shape = product.shape().to_vec();
        shape.pop();
        return importer.seen_as(&product, shape);
    }
    let ranks = [a.shape().len(), b.shape().len()];
    for (operand, other) in [(a, ranks[1]), (b, ranks[0])] {
        // A stack of matrices, one for each example.
        let stacked = operand.shape().len() > 2 && operand.shape().len() >= other;
        if matches!(operand, Tensor::Constant(c) if stacked && c.shape[0] != 1) {
            importer.keep_apart()?;
        }
    }
    let [a, b] = [a, b].map(|t| match t {
        Tensor::Constant(c) => importer.lift(c),
        Tensor::Value(v) => Ok(v.clone()),
        Tensor::Unknown => Err(Fault::new("reads what was refused", "see there")),
    });
    batched(importer, a?, b?)
}

/// The constant as a matrix, if it is one for every example.
fn as_matrix(x: &Computed, w: &Constant) -> Option<Constant> {
    let rank = w.shape.len();
    let shape = match w.shape.as_slice() {
        &[rows] => vec![rows, 1],
        // Leading axes of one element change nothing, if the product has as many.
        [lead @ .., rows, columns] if lead.iter().all(|&d| d == 1) && rank <= x.shape.len() => {
            vec![*rows, *columns]
        }
        _ => return None,
    };
    let steps = w.steps.clone().and_then(|mut s| {
        s.axis = (s.axis + 2).checked_sub(rank)?;
        Some(s)
    });
    Some(Constant {
        shape,
        steps,
        ..w.clone()
    })
}

fn batched(importer: &mut Importer, a: Computed, b: Computed) -> Result<Tensor, Fault> {
    let both = [a.shape.len(), b.shape.len()];
    if both.contains(&0) || both.contains(&1) || both[0].max(both[1]) < 3 || both[0] != both[1] {
        importer.keep_apart()?;
    }
    let (mut left, mut right) = (a.shape.clone(), b.shape.clone());
    if left.len() == 1 {
        left.insert(0, 1);
    }
    if right.len() == 1 {
        right.push(1);
    }
    // The batch goes where it is apart from rows and columns.
    let lead = |s: &[usize]| match s {
        [1, rest @ ..] if rest.len() > 1 => rest.to_vec(),
        s => s.to_vec(),
    };
    let ids = [
        importer.under(&a, &lead(&left))?,
        importer.under(&b, &lead(&right))?,
    ];
    let id = importer.push(Op::MatMul, &ids)?;
    let (&[ref la @ .., m, _], &[ref lb @ .., _, n]) = (left.as_slice(), right.as_slice()) else {
        return Err(Fault::new(
            "multiplies numbers",
            "vectors or matrices are needed",
        ));
    };
    let mut shape = broadcast(la, lb)?;
    if a.shape.len() > 1 {
        shape.push(m);
    }
    if b.shape.len() > 1 {
        shape.push(n);
    }
    Ok(Computed::float(id, shape))
}

/// A weight matrix as `[out, in]`.
struct Weights {
    shape: [usize; 2],
    values: Vec<f32>,
    grid: Option<Grid>,
}

impl Weights {
    /// Of a matrix of the file, which has it so where `transposed`.
    fn of(w: &Constant, transposed: bool) -> Result<Self, Fault> {
        let values = w.floats()?;
        let &[rows, columns] = w.shape.as_slice() else {
            return Err(Fault::new(
                format!("multiplies by weights of shape {:?}", w.shape),
                "a matrix is needed",
            ));
        };
        if values.is_empty() {
            return Err(Fault::new("has no weights", "remove the node"));
        }
        if transposed {
            let shape = [rows, columns];
            return Ok(Self {
                shape,
                values: values.to_vec(),
                grid: w.grid(0),
            });
        }
        let column = |c: usize| values.iter().skip(c).step_by(columns).copied();
        Ok(Self {
            shape: [columns, rows],
            values: (0..columns).flat_map(column).collect(),
            grid: w.grid(1),
        })
    }

    fn times(mut self, factor: f32) -> Self {
        if factor != 1.0 {
            self.values.iter_mut().for_each(|v| *v *= factor);
            self.grid = None;
        }
        self
    }
}

/// `x·W + b` over the last axis.
fn multiply(
    importer: &mut Importer,
    x: &Computed,
    origin: &Constant,
    weights: Weights,
    bias: Option<&Constant>,
) -> Result<Tensor, Fault> {
    if x.shape.len() < 2 {
        importer.keep_apart()?;
    }
    let Weights {
        shape,
        values,
        grid,
    } = weights;
    let weight = importer.on_grid(&origin.name, &shape, values, grid)?;
    let bias = match bias {
        Some(b) => Some(importer.parameter(&b.name, &b.shape, b.reals())?),
        None => None,
    };
    let id = last_axis(importer, x)?;
    let id = importer.push(Op::Gemm { weight, bias }, &[id])?;
    let mut out = x.shape.clone();
    if let Some(last) = out.last_mut() {
        *last = shape[0];
    }
    Ok(Computed::float(id, out))
}

/// The value with the file's last axis as the graph's.
fn last_axis(importer: &mut Importer, x: &Computed) -> Result<ValueId, Fault> {
    let own = &importer.graph.value(x.id).shape;
    if own.len() > 1 && own.last() == x.shape.last() {
        return Ok(x.id);
    }
    importer.plain(x)
}
