//! Operators that put elements together: what cannot be a view.

use super::arrange::Order;
use super::view::{Pattern, Run, View};
use super::{LowerError, Lowering, refused};
use trainer::graph::{Node, Op, Quantization};

impl Lowering<'_> {
    /// Each input's elements in their part of one tensor.
    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<View, LowerError> {
        let first = self.split_view(node.inputs[0])?;
        let order = self.natural_order(&first, self.shape(node.inputs[0]));
        let q = self.inherited(node);
        let mut parts = Vec::new();
        for &input in &node.inputs {
            parts.push((self.requantized_split(input, q)?, self.shape(input)[axis]));
        }
        self.assemble(node, &order, q, axis, &parts)
    }

    /// Places along an axis that follow no pattern: as many parts as there are patterns in them.
    pub(super) fn select(
        &mut self,
        node: &Node,
        axis: usize,
        indices: &[usize],
    ) -> Result<View, LowerError> {
        let input = node.inputs[0];
        let (view, shape) = (self.whole_axes(input, axis)?, self.shape(input));
        let order = self.natural_order(&view, shape);
        let (mut parts, mut left) = (Vec::new(), indices);
        while !left.is_empty() {
            let (pattern, named) = Pattern::leading(left);
            let part = view.selected(shape, axis, &pattern);
            let part = part.ok_or_else(|| refused("names elements that no view can"))?;
            parts.push((part, named));
            left = &left[named..];
        }
        let q = self.quantization_of(view.tensor);
        self.assemble(node, &order, q, axis, &parts)
    }

    fn assemble(
        &mut self,
        node: &Node,
        order: &Order,
        q: Quantization,
        axis: usize,
        parts: &[(View, usize)],
    ) -> Result<View, LowerError> {
        let shape = self.shape(node.output);
        let name = self.graph.value(node.output).name.clone();
        let tensor = self.add_tensor(&name, order.shape(shape)?, q);
        let all = View::packed(tensor, shape, &order.axes());
        let mut start = 0;
        for (part, size) in parts {
            let mut starts = vec![0; shape.len()];
            let mut sizes = shape.to_vec();
            (starts[axis], sizes[axis]) = (start, *size);
            self.copy(part, &part_of(&all, shape, &starts, &sizes)?)?;
            start += size;
        }
        Ok(all)
    }

    /// A constant everywhere, then the value in its middle.
    pub(super) fn pad(&mut self, node: &Node) -> Result<View, LowerError> {
        let Op::Pad { before, value, .. } = &node.op else {
            return Err(refused("is no Pad"));
        };
        let q = self.inherited(node);
        let view = self.requantized_split(node.inputs[0], q)?;
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.output));
        let order = self.natural_order(&view, x);
        let name = self.graph.value(node.output).name.clone();
        let tensor = self.add_tensor(&name, order.shape(y)?, q);
        let steps = (value / q.scale).round_ties_even() + q.zero_point as f32;
        self.fill(tensor, steps.clamp(-128.0, 127.0) as i8);
        let all = View::packed(tensor, y, &order.axes());
        self.copy(&view, &part_of(&all, y, before, x)?)?;
        Ok(all)
    }

    /// The scale a node was given, or else that of its first input.
    fn inherited(&self, node: &Node) -> Quantization {
        let own = self.graph.value(node.output).quantization;
        let first = self.views.get(&node.inputs[0]);
        own.or_else(|| first.map(|view| self.quantization_of(view.tensor)))
            .unwrap_or(super::PLACES)
    }

    /// A value in a scale, by a view that its axes do not cut through.
    fn requantized_split(
        &mut self,
        value: trainer::graph::ValueId,
        q: Quantization,
    ) -> Result<View, LowerError> {
        let view = self.requantized(value, q)?;
        if view.axes(self.shape(value)).is_some() {
            return Ok(view);
        }
        let old = self.views.insert(value, view);
        let split = self.split_view(value);
        old.map(|old| self.views.insert(value, old));
        split
    }
}

/// Part of a value that fills its tensor.
fn part_of(
    all: &View,
    shape: &[usize],
    starts: &[usize],
    sizes: &[usize],
) -> Result<View, LowerError> {
    let axes = all.axes(shape).unwrap_or_default();
    let (mut offset, mut runs) = (0, Vec::new());
    for (axis, (&start, &size)) in axes.iter().zip(starts.iter().zip(sizes)) {
        let stride = match axis[..] {
            [] => 0,
            [Run { stride, .. }] => stride,
            _ => return Err(refused("is part of no view")),
        };
        offset += start * stride.unsigned_abs();
        runs.push(Run { size, stride });
    }
    Ok(View::new(all.tensor, offset, runs))
}
