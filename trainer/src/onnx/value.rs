//! Tensors of the file and the values of the graph that stand for them.
//!
//! A graph's shapes are per example, a file's are not: a [`Computed`] tensor is a value of the graph
//! and the shape that the file gives it, of as many elements in the same order. Axes of one element
//! can come and go without a node of the graph.

use super::error::Fault;
use super::import::{Batch, Importer};
use super::tensor::{Constant, Kind};
use crate::graph::{Op, ValueId};
use std::rc::Rc;

/// What a tensor name stands for.
#[derive(Clone, Debug)]
pub(super) enum Tensor {
    Value(Computed),
    Constant(Rc<Constant>),
    /// The output of something refused: reported already, so that its readers are not.
    Unknown,
}

/// A computed tensor.
#[derive(Clone, Debug)]
pub(super) struct Computed {
    pub(super) id: ValueId,
    /// As the file has it, but 1 for a batch that is kept apart.
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
}

/// A value whose axes of interest are axes of the graph's value too.
pub(super) struct View {
    pub(super) id: ValueId,
    /// The graph's axis for each axis of the file; without meaning for those not asked for.
    axes: Vec<usize>,
}

impl View {
    pub(super) fn axis(&self, axis: usize) -> usize {
        self.axes[axis]
    }
}

impl Tensor {
    pub(super) fn constant(constant: Constant) -> Self {
        Tensor::Constant(Rc::new(constant))
    }

    pub(super) fn value(&self) -> Option<&Computed> {
        match self {
            Tensor::Value(value) => Some(value),
            _ => None,
        }
    }

    /// As the file has it.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Tensor::Value(value) => &value.shape,
            Tensor::Constant(constant) => &constant.shape,
            Tensor::Unknown => &[],
        }
    }
}

impl Computed {
    /// The same shape and kind, of another value.
    pub(super) fn with(&self, id: ValueId) -> Tensor {
        self.seen(id, self.shape.clone())
    }

    /// The same kind, of another value under another shape.
    pub(super) fn seen(&self, id: ValueId, shape: Vec<usize>) -> Tensor {
        let kind = self.kind;
        Tensor::Value(Computed { id, shape, kind })
    }

    /// Real numbers.
    pub(super) fn float(id: ValueId, shape: Vec<usize>) -> Tensor {
        let kind = Kind::Float;
        Tensor::Value(Computed { id, shape, kind })
    }
}

/// The graph's shape for one of the file: without a first axis of one element, which is the batch.
pub(super) fn canonical(shape: &[usize]) -> Vec<usize> {
    match shape {
        [] => vec![1],
        [1, rest @ ..] if !rest.is_empty() => rest.to_vec(),
        other => other.to_vec(),
    }
}

/// Axes of more than one element.
fn proper(shape: &[usize]) -> impl Iterator<Item = usize> {
    (0..shape.len()).filter(|&axis| shape[axis] != 1)
}

impl Importer<'_> {
    /// The value under a shape of as many elements.
    pub(super) fn under(&mut self, x: &Computed, shape: &[usize]) -> Result<ValueId, Fault> {
        self.reshaped(x.id, shape)
    }

    fn reshaped(&mut self, id: ValueId, shape: &[usize]) -> Result<ValueId, Fault> {
        if self.graph.value(id).shape == shape {
            return Ok(id);
        }
        let producer = self.graph.nodes.iter().rfind(|n| n.output == id);
        if let Some(node) = producer
            && matches!(node.op, Op::Reshape { .. } | Op::Flatten)
        {
            return self.reshaped(node.inputs[0], shape);
        }
        let op = match shape {
            [_] => Op::Flatten,
            _ => Op::Reshape {
                shape: shape.to_vec(),
            },
        };
        self.push(op, &[id])
    }

    /// The value as the graph has it by default: the file's shape without the batch.
    pub(super) fn plain(&mut self, x: &Computed) -> Result<ValueId, Fault> {
        self.under(x, &canonical(&x.shape))
    }

    /// The value so that these axes of the file's shape are axes of the graph's, reshaped only if
    /// they are not.
    pub(super) fn view(&mut self, x: &Computed, axes: &[usize]) -> Result<View, Fault> {
        let own = &self.graph.value(x.id).shape;
        let sizes = |shape: &[usize]| proper(shape).map(|a| shape[a]).collect::<Vec<_>>();
        if axes.iter().all(|&a| x.shape[a] != 1) && sizes(own) == sizes(&x.shape) {
            let mut map = vec![0; x.shape.len()];
            for (file, graph) in proper(&x.shape).zip(proper(own)) {
                map[file] = graph;
            }
            return Ok(View {
                id: x.id,
                axes: map,
            });
        }
        let rank = x.shape.len();
        if canonical(&x.shape).len() < rank && !axes.contains(&0) {
            let axes = (0..rank).map(|a| a.saturating_sub(1)).collect();
            let id = self.plain(x)?;
            return Ok(View { id, axes });
        }
        let shape = if rank == 0 { vec![1] } else { x.shape.clone() };
        let id = self.under(x, &shape)?;
        let axes = (0..rank).collect();
        Ok(View { id, axes })
    }

    /// An axis of a tensor, which counts from the end where negative. The batch is no axis where it is
    /// kept apart.
    pub(super) fn axis(&self, x: &Tensor, axis: i64) -> Result<usize, Fault> {
        let rank = x.shape().len();
        let place = place(axis, rank).ok_or_else(|| {
            Fault::new(
                format!("names axis {axis} of {:?}", x.shape()),
                "the file is damaged, export the model again",
            )
        })?;
        if place == 0 && rank > 1 && x.value().is_some() {
            self.keep_apart()?;
        }
        Ok(place)
    }

    /// As [`Importer::axis`], of several.
    pub(super) fn axes(&self, x: &Tensor, axes: &[i64]) -> Result<Vec<usize>, Fault> {
        axes.iter().map(|&a| self.axis(x, a)).collect()
    }

    /// Fails where examples are kept apart, for operators that mix them.
    pub(super) fn keep_apart(&self) -> Result<(), Fault> {
        match self.batch {
            Batch::Whole => Ok(()),
            Batch::Apart(_) => Err(Fault::new(
                "mixes the examples of a batch",
                "export the model with a batch of 1",
            )),
        }
    }
}

/// An index below `size`, which counts from the end where negative.
pub(super) fn place(index: i64, size: usize) -> Option<usize> {
    let size = i64::try_from(size).ok()?;
    let index = if index < 0 {
        index.checked_add(size)?
    } else {
        index
    };
    (0..size).contains(&index).then_some(index as usize)
}

/// Aligned at the last axis, each axis equal or of one element.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| {
        axis.checked_sub(rank - shape.len())
            .map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (m, n) if m == n || n == 1 => Ok(m),
            (1, n) => Ok(n),
            _ => Err(Fault::new(
                format!("combines {a:?} and {b:?}, which do not broadcast"),
                "the file is damaged, export the model again",
            )),
        })
        .collect()
}
