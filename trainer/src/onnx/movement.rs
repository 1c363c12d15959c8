//! What only moves elements, of constants and of computed tensors alike: picking along an axis,
//! reshaping, permuting, joining.

use super::error::Fault;
use super::import::{Batch, Importer, check_size};
use super::tensor::{Constant, Data, Steps};
use super::value::{Computed, Tensor, canonical};
use crate::graph::Op;

/// Row-major distances between neighbours along each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

impl Importer<'_> {
    /// Places along an axis, in this order.
    pub(super) fn select(
        &mut self,
        x: &Tensor,
        axis: usize,
        indices: &[usize],
    ) -> Result<Tensor, Fault> {
        let mut shape = x.shape().to_vec();
        if indices.iter().copied().eq(0..shape[axis]) {
            return Ok(x.clone());
        }
        let size = std::mem::replace(&mut shape[axis], indices.len());
        match x {
            // Nothing is known.
            Tensor::Value(value) if indices.is_empty() => Ok(Tensor::constant(Constant {
                shape,
                ..Constant::empty(value.kind)
            })),
            Tensor::Value(value) => {
                check_size(&shape)?;
                let view = self.view(value, &[axis])?;
                let axis = view.axis(axis);
                let indices = indices.to_vec();
                let id = self.push(Op::Select { axis, indices }, &[view.id])?;
                Ok(value.seen(id, shape))
            }
            Tensor::Constant(c) => {
                check_constant(&shape)?;
                let inner: usize = shape[axis + 1..].iter().product();
                let outer: usize = shape[..axis].iter().product();
                let places = (0..outer).flat_map(|o| {
                    let row = move |&i: &usize| (0..inner).map(move |k| (o * size + i) * inner + k);
                    indices.iter().flat_map(row)
                });
                let data = c.data.pick(places);
                let steps = c.steps.clone().and_then(|s| s.selected(axis, indices));
                Ok(Tensor::constant(Constant {
                    shape,
                    data,
                    steps,
                    ..(**c).clone()
                }))
            }
            Tensor::Unknown => Ok(Tensor::Unknown),
        }
    }

    /// The same elements under another shape of the file, and of the graph if that changes.
    pub(super) fn reshape(&mut self, x: &Tensor, shape: Vec<usize>) -> Result<Tensor, Fault> {
        match self.seen_as(x, shape)? {
            Tensor::Value(value) => {
                let id = self.plain(&value)?;
                Ok(value.with(id))
            }
            other => Ok(other),
        }
    }

    /// The same elements under another shape of the file: no node, whoever reads it sees to that.
    pub(super) fn seen_as(&mut self, x: &Tensor, shape: Vec<usize>) -> Result<Tensor, Fault> {
        match x {
            Tensor::Value(value) => {
                check_size(&shape)?;
                if shape.first() != Some(&1) {
                    self.keep_apart()?;
                }
                Ok(value.seen(value.id, shape))
            }
            Tensor::Constant(c) => {
                let kept = |s: &Steps| {
                    s.scale.len() == 1 || s.axis == 0 && shape.first() == c.shape.first()
                };
                let steps = c.steps.clone().filter(kept);
                Ok(Tensor::constant(Constant {
                    shape,
                    steps,
                    ..(**c).clone()
                }))
            }
            Tensor::Unknown => Ok(Tensor::Unknown),
        }
    }

    /// Axis `i` of the result is axis `perm[i]` of `x`.
    pub(super) fn transpose(&mut self, x: &Tensor, perm: &[usize]) -> Result<Tensor, Fault> {
        let old = x.shape().to_vec();
        let shape: Vec<usize> = perm.iter().map(|&p| old[p]).collect();
        match x {
            Tensor::Value(value) => {
                if perm.first().is_some_and(|&p| p != 0) {
                    self.keep_apart()?;
                }
                // Axes of one element are anywhere.
                let proper: Vec<usize> = perm.iter().copied().filter(|&p| old[p] != 1).collect();
                if proper.is_sorted() {
                    return Ok(value.seen(value.id, shape));
                }
                self.transpose_value(value, perm, shape)
            }
            Tensor::Constant(c) => {
                let from = strides(&old);
                let to = strides(&shape);
                let place = |i: usize| -> usize {
                    let digits = (0..shape.len()).map(|a| i / to[a] % shape[a].max(1));
                    digits.zip(perm).map(|(d, &p)| d * from[p]).sum()
                };
                let data = c.data.pick((0..c.data.len()).map(place));
                let steps = c.steps.clone().map(|s| Steps {
                    axis: perm.iter().position(|&p| p == s.axis).unwrap_or(s.axis),
                    ..s
                });
                Ok(Tensor::constant(Constant {
                    shape,
                    data,
                    steps,
                    ..(**c).clone()
                }))
            }
            Tensor::Unknown => Ok(Tensor::Unknown),
        }
    }

    fn transpose_value(
        &mut self,
        x: &Computed,
        perm: &[usize],
        shape: Vec<usize>,
    ) -> Result<Tensor, Fault> {
        // Without a first axis of one element, wherever it goes.
        let skipped = usize::from(canonical(&x.shape).len() < x.shape.len());
        let perm: Vec<usize> = (perm.iter().copied())
            .filter_map(|p| p.checked_sub(skipped))
            .collect();
        let id = self.plain(x)?;
        let producer = self.graph.nodes.iter().rfind(|n| n.output == id);
        if let Some(node) = producer
            && let Op::Transpose { perm: first } = &node.op
            && perm.iter().map(|&p| first[p]).eq(0..first.len())
        {
            return Ok(x.seen(node.inputs[0], shape));
        }
        let id = self.push(Op::Transpose { perm }, &[id])?;
        Ok(x.seen(id, shape))
    }

    /// Tensors one after the other along an axis.
    pub(super) fn concat(&mut self, parts: &[Tensor], axis: usize) -> Result<Tensor, Fault> {
        if let [only] = parts {
            return Ok(only.clone());
        }
        let mut shape = parts.first().map_or(&[][..], Tensor::shape).to_vec();
        let mut total = 0;
        for part in parts {
            let mut other = part.shape().to_vec();
            let size = other.get(axis).copied().unwrap_or(0);
            total += size;
            if let (Some(a), Some(b)) = (other.get_mut(axis), shape.get(axis)) {
                *a = *b;
            }
            if other != shape || shape.is_empty() {
                return Err(Fault::new(
                    format!("joins {:?} and {:?} along axis {axis}", shape, part.shape()),
                    "all other axes must be equal, export the model again",
                ));
            }
        }
        shape[axis] = total;
        if parts.iter().all(|p| matches!(p, Tensor::Constant(_))) {
            return concat_constants(parts, axis, shape);
        }
        check_size(&shape)?;
        let parts: Vec<&Tensor> = parts.iter().filter(|p| p.shape()[axis] > 0).collect();
        if let [only] = parts.as_slice() {
            return Ok((*only).clone());
        }
        let whole = axis == 0 || canonical(&shape).len() == shape.len();
        let mut ids = Vec::with_capacity(parts.len());
        let mut kind = None;
        for part in parts {
            let value = match part {
                Tensor::Value(value) => value.clone(),
                Tensor::Constant(c) => self.lift(c)?,
                Tensor::Unknown => return Ok(Tensor::Unknown),
            };
            kind = kind.or(Some(value.kind));
            let under = if whole {
                value.shape.clone()
            } else {
                value.shape[1..].to_vec()
            };
            ids.push(self.under(&value, &under)?);
        }
        let axis = axis - usize::from(!whole);
        let id = self.push(Op::Concat { axis }, &ids)?;
        let kind = kind.unwrap_or(super::tensor::Kind::Float);
        Ok(Tensor::Value(Computed { id, shape, kind }))
    }

    /// One operator for each place along the first axis, where there are several: for operators that
    /// take one example. `build` maps a tensor whose first axis has one element to such another.
    pub(super) fn each_example(
        &mut self,
        x: &Computed,
        mut build: impl FnMut(&mut Self, &Computed) -> Result<Tensor, Fault>,
    ) -> Result<Tensor, Fault> {
        let count = x.shape.first().copied().unwrap_or(1);
        if count == 1 {
            return build(self, x);
        }
        check_unrolled(count)?;
        let whole = Tensor::Value(x.clone());
        let mut parts = Vec::with_capacity(count);
        for i in 0..count {
            if let Tensor::Value(part) = self.select(&whole, 0, &[i])? {
                parts.push(build(self, &part)?);
            }
        }
        self.concat(&parts, 0)
    }

    /// The size of the batch, as a file's constants may name it.
    pub(super) fn batch_size(&self) -> usize {
        match self.batch {
            Batch::Whole => 1,
            Batch::Apart(n) => n,
        }
    }
}

/// More examples than these are a data set.
const MAX_UNROLLED: usize = 256;

/// Refuses to make an operator for each of too many examples.
pub(super) fn check_unrolled(count: usize) -> Result<(), Fault> {
    if count <= MAX_UNROLLED {
        return Ok(());
    }
    Err(Fault::new(
        format!("takes {count} examples, whose results are mixed later"),
        format!("at most {MAX_UNROLLED} are supported, export with a batch of 1"),
    ))
}

fn concat_constants(parts: &[Tensor], axis: usize, shape: Vec<usize>) -> Result<Tensor, Fault> {
    check_constant(&shape)?;
    let parts: Vec<&Constant> = (parts.iter())
        .filter_map(|p| match p {
            Tensor::Constant(c) => Some(&**c),
            _ => None,
        })
        .collect();
    let outer: usize = shape[..axis].iter().product();
    let len = |c: &Constant| c.data.len() / outer.max(1);
    let rows = (0..outer).flat_map(|o| parts.iter().map(move |c| (o, c)));
    let mut data = match parts[0].data {
        Data::Float(_) => Data::Float(Vec::new()),
        Data::Int(_) => Data::Int(Vec::new()),
    };
    for (o, c) in rows {
        let row = o * len(c)..(o + 1) * len(c);
        match (&mut data, &c.data) {
            (Data::Float(all), Data::Float(v)) => all.extend_from_slice(&v[row]),
            (Data::Int(all), Data::Int(v)) => all.extend_from_slice(&v[row]),
            _ => {
                return Err(Fault::new(
                    "joins integers and real numbers",
                    "export the model again",
                ));
            }
        }
    }
    let (name, kind, steps) = (parts[0].name.clone(), parts[0].kind, None);
    Ok(Tensor::constant(Constant {
        name,
        shape,
        kind,
        data,
        steps,
    }))
}

impl Constant {
    /// The elements as they stand in a shape that this one broadcasts to.
    pub(super) fn stretched(&self, shape: &[usize]) -> Data {
        let missing = shape.len() - self.shape.len();
        let (own, all) = (strides(&self.shape), strides(shape));
        let place = |i: usize| -> usize {
            let axes = (0..self.shape.len()).filter(|&a| self.shape[a] != 1);
            axes.map(|a| i / all[a + missing] % self.shape[a] * own[a])
                .sum()
        };
        self.data.pick((0..shape.iter().product()).map(place))
    }
}

/// Constants may be empty, but not out of all proportion.
pub(super) fn check_constant(shape: &[usize]) -> Result<(), Fault> {
    let shape: Vec<usize> = shape.iter().map(|&d| d.max(1)).collect();
    check_size(&shape)
}

impl Steps {
    /// Of a constant after picking along an axis.
    fn selected(mut self, axis: usize, indices: &[usize]) -> Option<Self> {
        if self.scale.len() > 1 && self.axis == axis {
            self.scale = indices.iter().map(|&i| self.scale[i]).collect();
            return (self.scale.len() > 1).then_some(self);
        }
        Some(self)
    }
}
