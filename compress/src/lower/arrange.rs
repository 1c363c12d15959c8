//! Elements where an operator needs them.

use super::view::{View, block_axes, common};
use super::{LowerError, Lowering, refused, too_large};
use crate::program::{Block, Kind, Tensor};
use no_std_core::operator::MAX_AXES;
use no_std_core::tensor::Shape;
use trainer::graph::{Quantization, ValueId};

/// A view and the tensor that holds its elements in another arrangement.
pub(super) struct Arranged {
    from: View,
    to: View,
    shape: Shape,
}

/// What an operator asks of the shape of the tensor it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sides {
    /// Height, width and channels matter.
    All,
    /// Only that the last axes are the channels.
    Channels,
}

/// Axes of a value in the order of memory: those of height, of width and of the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) height: Vec<usize>,
    pub(super) width: Vec<usize>,
    pub(super) channels: Vec<usize>,
}

impl Order {
    pub(super) fn new(height: &[usize], width: &[usize], channels: &[usize]) -> Self {
        Self {
            height: height.to_vec(),
            width: width.to_vec(),
            channels: channels.to_vec(),
        }
    }

    /// `[channels, height, width]` channels last.
    pub(super) fn image() -> Self {
        Self::new(&[1], &[2], &[0])
    }

    pub(super) fn axes(&self) -> Vec<usize> {
        [&self.height[..], &self.width, &self.channels].concat()
    }

    pub(super) fn shape(&self, value: &[usize]) -> Result<Shape, LowerError> {
        let side = |axes: &[usize]| axes.iter().map(|&axis| value[axis]).product();
        Shape::new(side(&self.height), side(&self.width), side(&self.channels))
            .ok_or_else(|| refused(too_large(value.iter().product())))
    }
}

impl Lowering<'_> {
    pub(super) fn view(&self, value: ValueId) -> Result<View, LowerError> {
        let view = self.views.get(&value);
        view.cloned()
            .ok_or_else(|| LowerError::NotCalibrated(self.graph.value(value).name.clone()))
    }

    /// A view that the value's axes do not cut through, copied if need be.
    pub(super) fn split_view(&mut self, value: ValueId) -> Result<View, LowerError> {
        let view = self.view(value)?;
        if view.axes(self.shape(value)).is_some() {
            Ok(view)
        } else {
            self.in_rows(value)
        }
    }

    /// A view whose steps along one axis are equal, copied if need be.
    pub(super) fn whole_axes(&mut self, value: ValueId, axis: usize) -> Result<View, LowerError> {
        let view = self.split_view(value)?;
        let runs = view.axes(self.shape(value));
        if runs.is_some_and(|axes| axes[axis].len() <= 1) {
            Ok(view)
        } else {
            self.in_rows(value)
        }
    }

    /// The value's elements in its own order.
    pub(super) fn in_rows(&mut self, value: ValueId) -> Result<View, LowerError> {
        let view = self.view(value)?;
        let len = view.len();
        let shape = match *self.shape(value) {
            [ref lead @ .., width, channels] => Shape::new(lead.iter().product(), width, channels),
            _ => Shape::new(1, 1, len),
        };
        let shape = shape.ok_or_else(|| refused(too_large(len)))?;
        let to = View::rows(usize::MAX, len);
        let tensor = self.gathered(&view, &to, shape)?;
        Ok(View::rows(tensor, len))
    }

    /// The tensor that holds a value's elements in an order, that of the value itself if it does.
    pub(super) fn arrange(
        &mut self,
        value: ValueId,
        order: &Order,
        sides: Sides,
    ) -> Result<usize, LowerError> {
        let shape = self.shape(value);
        let view = self.split_view(value)?;
        self.arrange_view(&view, shape, order, sides)
    }

    /// As [`Self::arrange`], of a view with these axes.
    pub(super) fn arrange_view(
        &mut self,
        view: &View,
        shape: &[usize],
        order: &Order,
        sides: Sides,
    ) -> Result<usize, LowerError> {
        let to = View::packed(usize::MAX, shape, &order.axes());
        let side = order.shape(shape)?;
        let tensor = &self.tensors[view.tensor];
        let suits = match sides {
            Sides::All => tensor.shape == side,
            Sides::Channels => tensor.shape.channels == side.channels,
        };
        let in_order = view.offset == 0 && view.runs() == to.runs();
        if suits && in_order && tensor.shape.len() == view.len() {
            Ok(view.tensor)
        } else {
            self.gathered(view, &to, side)
        }
    }

    /// All elements of a tensor that holds the value's and nothing else, in whatever order.
    pub(super) fn whole(&mut self, value: ValueId) -> Result<View, LowerError> {
        let view = self.view(value)?;
        if view.is_whole(self.tensors[view.tensor].shape.len()) {
            return Ok(view);
        }
        let view = self.split_view(value)?;
        let shape = self.shape(value);
        let order = self.natural_order(&view, shape);
        let tensor = self.arrange_view(&view, shape, &order, Sides::All)?;
        Ok(View::packed(tensor, shape, &order.axes()))
    }

    /// The axes by their steps in memory, largest first: the last are the channels.
    pub(super) fn natural_order(&self, view: &View, shape: &[usize]) -> Order {
        if shape.len() == 3 && View::packed(0, shape, &[1, 2, 0]).runs() == view.runs() {
            return Order::image();
        }
        let runs = view.axes(shape).unwrap_or_default();
        let step = |&axis: &usize| {
            let runs = runs.get(axis).map_or(&[][..], Vec::as_slice);
            let steps = runs.iter().map(|run| run.stride.unsigned_abs());
            // Repeated elements stay far out.
            match steps.max() {
                Some(0) => usize::MAX,
                // An axis of one element has no place of its own.
                None => usize::MAX - 1,
                Some(step) => step,
            }
        };
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(step(axis)));
        let channels: Vec<usize> = axes.pop().into_iter().collect();
        let width: Vec<usize> = axes.pop().into_iter().collect();
        Order {
            height: axes,
            width,
            channels,
        }
    }

    /// An order with some axes as the channels and the others as they are.
    pub(super) fn channels_order(&self, view: &View, shape: &[usize], channels: &[usize]) -> Order {
        let order = self.natural_order(view, shape).axes();
        let places = order.into_iter().filter(|axis| !channels.contains(axis));
        Order {
            height: Vec::new(),
            width: places.collect(),
            channels: channels.to_vec(),
        }
    }

    /// A tensor of this shape with a view's elements where `to` says; one made before if there is.
    pub(super) fn gathered(
        &mut self,
        from: &View,
        to: &View,
        shape: Shape,
    ) -> Result<usize, LowerError> {
        let same = |a: &&Arranged| a.from == *from && a.to.runs() == to.runs() && a.shape == shape;
        if let Some(arranged) = self.arranged.iter().find(same) {
            return Ok(arranged.to.tensor);
        }
        let name = self.tensors[from.tensor].name.clone();
        let tensor = self.add_tensor(&name, shape, self.quantization_of(from.tensor));
        let to = to.clone().on(tensor);
        match self.constant_of(from.tensor) {
            Some(values) => {
                let moved = moved_constants(&values, from, &to);
                self.add_operator(tensor, tensor, Kind::Constant(moved));
            }
            None => self.copy(from, &to)?,
        }
        let from = from.clone();
        self.arranged.push(Arranged { from, to, shape });
        Ok(tensor)
    }

    /// The elements of a constant tensor.
    pub(super) fn constant_of(&self, tensor: usize) -> Option<Vec<i8>> {
        let Tensor { shape, .. } = &self.tensors[tensor];
        let mut writers = self.operators.iter().filter(|op| op.output == tensor);
        match (&writers.next()?.kind, writers.next()) {
            (Kind::Constant(values), None) if values.len() == shape.len() => Some(values.clone()),
            _ => None,
        }
    }

    /// Moves the elements of one view to where another has them.
    pub(super) fn copy(&mut self, from: &View, to: &View) -> Result<(), LowerError> {
        let axes = block_axes(from, to);
        let axes = axes.ok_or_else(|| {
            refused("moves elements in a way that no loops describe; reshape in fewer steps")
        })?;
        // More loops than a block has are as many blocks as the outer ones have steps.
        let outer = axes.len().saturating_sub(MAX_AXES);
        let mut starts = vec![(from.offset as isize, to.offset)];
        for axis in &axes[..outer] {
            let steps = |&(from, to): &(isize, usize)| {
                let at =
                    move |i: usize| (from + i as isize * axis.from_step, to + i * axis.to_step);
                (0..axis.count).map(at).collect::<Vec<_>>()
            };
            starts = starts.iter().flat_map(steps).collect();
        }
        for (start, to_start) in starts {
            let block = Block {
                from: start as usize,
                to: to_start,
                axes: axes[outer..].to_vec(),
            };
            self.add_operator(from.tensor, to.tensor, Kind::Copy(block));
        }
        Ok(())
    }

    /// Gives a value the scale it was given, if its tensor has another.
    pub(super) fn requantize_as_given(&mut self, value: ValueId) -> Result<(), LowerError> {
        if let Some(q) = self.graph.value(value).quantization {
            let view = self.requantized(value, q)?;
            self.views.insert(value, view);
        }
        Ok(())
    }

    /// A value in another scale.
    pub(super) fn requantized(
        &mut self,
        value: ValueId,
        q: Quantization,
    ) -> Result<View, LowerError> {
        let view = self.view(value)?;
        if self.quantization_of(view.tensor) == q {
            return Ok(view);
        }
        let view = self.whole(value)?;
        let from = self.quantization_of(view.tensor);
        let name = self.graph.value(value).name.clone();
        let shape = self.tensors[view.tensor].shape;
        let tensor = self.add_tensor(&name, shape, q);
        let table = super::elementwise::table(from, q, super::full_range(q), |x| x);
        self.add_operator(view.tensor, tensor, Kind::Table(table));
        Ok(view.on(tensor))
    }
}

fn moved_constants(values: &[i8], from: &View, to: &View) -> Vec<i8> {
    let mut moved = vec![0; to.len()];
    for (from, to) in from.places().into_iter().zip(to.places()) {
        moved[to] = values[from];
    }
    moved
}

/// Loops over two views of the same values by the order in which the first stands in memory:
/// `(steps, stride of the first, stride of the second)`.
pub(super) fn in_memory_order(first: &View, second: &View) -> Option<Vec<(usize, usize, isize)>> {
    let mut loops = common(first.runs(), second.runs())?;
    loops.sort_by_key(|&(_, stride, _)| std::cmp::Reverse(stride));
    loops
        .into_iter()
        .map(|(size, a, b)| Some((size, usize::try_from(a).ok()?, b)))
        .collect()
}
