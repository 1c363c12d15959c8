//! Sums, differences and products of two values.

use super::arrange::{Sides, in_memory_order};
use super::linear::{FACTOR_BITS, finite, multiplier, over_one_shift};
use super::view::{Run, View};
use super::{LowerError, Lowering, Step, range, refused};
use crate::program::Kind;
use no_std_core::tensor::Shape;
use trainer::graph::{Node, Op, ValueId};

impl Lowering<'_> {
    /// `a ∘ b`; a constant of one element makes it a function of the other operand.
    pub(super) fn arithmetic(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let of = |a: f64, b: f64| match node.op {
            Op::Add => a + b,
            Op::Sub => a - b,
            Op::Mul => a * b,
            _ => a / b,
        };
        let q = self.own_quantization(step.output)?;
        let range = range(step, q);
        let whole = |value: ValueId| self.shape(value) == self.shape(node.output);
        match (self.scalar(a)?, self.scalar(b)?) {
            (_, Some(b)) if whole(a) => {
                return self.tabulate(node, a, q, range, |a| of(a, b));
            }
            (Some(a), _) if whole(b) => {
                return self.tabulate(node, b, q, range, |b| of(a, b));
            }
            _ => {}
        }
        if matches!(node.op, Op::Div) {
            return Err(refused(
                "divides by a value that is not constant; images multiply: compute the reciprocal's factor before",
            ));
        }
        let (first, second, swapped) = self.operands(node)?;
        let (x, other) = (first.tensor, second);
        let scales = [x, other].map(|tensor| f64::from(self.tensors[tensor].scale));
        let kind = if matches!(node.op, Op::Mul) {
            Kind::Mul {
                other,
                multiplier: multiplier(scales[0] * scales[1] / f64::from(q.scale)),
                range,
            }
        } else {
            let mut factors = scales.map(|scale| scale / f64::from(q.scale));
            if matches!(node.op, Op::Sub) {
                factors[usize::from(!swapped)] *= -1.0;
            }
            let (mantissas, shift) = over_one_shift(&factors, FACTOR_BITS, 62);
            Kind::Add {
                other,
                mantissas: [mantissas[0], mantissas[1]],
                shift,
                range,
            }
        };
        let shape = self.tensors[x].shape;
        let tensor = self.emit_wide(step, x, shape, q, kind)?;
        Ok(first.on(tensor))
    }

    /// The view of an operand that fills the output, the tensor of the other in the same order, and
    /// whether that is the first of the two.
    fn operands(&mut self, node: &Node) -> Result<(View, usize, bool), LowerError> {
        let shape = self.shape(node.output);
        let fills = |value: &ValueId| self.shape(*value) == shape;
        let moves = |value: &ValueId| {
            let view = self.views.get(value);
            view.is_none_or(|view| !view.is_whole(self.tensors[view.tensor].shape.len()))
        };
        let full: Vec<usize> = (0..2).filter(|&i| fills(&node.inputs[i])).collect();
        let large = full
            .iter()
            .copied()
            .find(|&i| !moves(&node.inputs[i]))
            .or(full.first().copied());
        let place = large.unwrap_or(0);
        let first = match large {
            Some(i) => self.whole(node.inputs[i])?,
            None => self.repeated(node.inputs[0], shape)?,
        };
        let small = node.inputs[1 - place];
        let second = self.split_view(small)?;
        let second = second.broadcast(self.shape(small), shape);
        let second = second.ok_or_else(|| refused("broadcasts what no view can"))?;
        let second = self.like(&first, &second)?;
        Ok((first, second, place == 1))
    }

    /// A value repeated to a larger shape.
    fn repeated(&mut self, value: ValueId, shape: &[usize]) -> Result<View, LowerError> {
        let view = self.split_view(value)?;
        let view = view.broadcast(self.shape(value), shape);
        let view = view.ok_or_else(|| refused("broadcasts what no view can"))?;
        let order = self.natural_order(&view, shape);
        let tensor = self.arrange_view(&view, shape, &order, Sides::All)?;
        Ok(View::packed(tensor, shape, &order.axes()))
    }

    /// The tensor of the elements of `second` in the order of `first`, one where the repeated ones
    /// fill a whole side.
    fn like(&mut self, first: &View, second: &View) -> Result<usize, LowerError> {
        let loops = in_memory_order(first, second);
        let loops = loops.ok_or_else(|| refused("combines orders that no loops describe"))?;
        let shape = self.tensors[first.tensor].shape;
        let sides = [shape.height, shape.width, shape.channels];
        let cut = |loops| sides_of(loops, sides);
        let by_side =
            cut(loops).ok_or_else(|| refused("combines orders that no loops describe"))?;
        // A side along which nothing changes has one element.
        let constant = |runs: &Vec<Run>| runs.iter().all(|run| run.stride == 0);
        let side = |i: usize| if constant(&by_side[i]) { 1 } else { sides[i] };
        let shape = Shape::new(side(0), side(1), side(2));
        let shape = shape.ok_or_else(|| refused(super::too_large(first.len())))?;
        let runs = by_side.into_iter().filter(|runs| !constant(runs)).flatten();
        let from = View::new(second.tensor, second.offset, runs.collect());
        let tensor = &self.tensors[second.tensor];
        let rows = View::rows(second.tensor, shape.len());
        if from == rows && tensor.shape == shape {
            return Ok(second.tensor);
        }
        self.gathered(&from, &View::rows(usize::MAX, shape.len()), shape)
    }

    /// The one element of a constant.
    fn scalar(&self, value: ValueId) -> Result<Option<f64>, LowerError> {
        let writer = self.graph.nodes.iter().find(|n| n.output == value);
        match writer.map(|node| &node.op) {
            Some(Op::Constant { value }) if self.graph.parameter(*value).len() == 1 => {
                let values = finite(self.graph, *value)?;
                Ok(values.first().map(|&v| v.into()))
            }
            _ => Ok(None),
        }
    }
}

/// Loops in memory order cut at the sides of a tensor, innermost last, as runs of the second stride.
fn sides_of(mut loops: Vec<(usize, usize, isize)>, sides: [usize; 3]) -> Option<[Vec<Run>; 3]> {
    let mut cut = [Vec::new(), Vec::new(), Vec::new()];
    for side in (0..3).rev() {
        let mut left = sides[side];
        while left > 1 {
            let (size, first, stride) = loops.pop()?;
            let taken = if left.is_multiple_of(size) {
                size
            } else {
                left
            };
            if !size.is_multiple_of(taken) {
                return None;
            }
            if taken < size {
                loops.push((size / taken, first * taken, stride * taken as isize));
            }
            cut[side].insert(
                0,
                Run {
                    size: taken,
                    stride,
                },
            );
            left /= taken;
        }
    }
    Some(cut)
}
