//! Operators on each element, and constants.

use super::arrange::in_memory_order;
use super::linear::{FACTOR_BITS, finite, multiplier, over_one_shift};
use super::view::{Run, View};
use super::{LowerError, Lowering, PLACES, Step, full_range, range, refused};
use crate::program::Kind;
use no_std_core::numerics::Output;
use no_std_core::tensor::Shape;
use trainer::graph::{Affine, Node, Op, ParamId, Quantization, ValueId};

/// Bits of the slopes of a PRelu.
const SLOPE_BITS: i32 = 24;

impl Lowering<'_> {
    /// A function of each element, by a table.
    pub(super) fn unary(
        &mut self,
        node: &Node,
        step: &Step,
        function: impl Fn(f64) -> f64,
    ) -> Result<View, LowerError> {
        let q = self.own_quantization(step.output)?;
        self.tabulate(node, node.inputs[0], q, range(step, q), function)
    }

    fn tabulate(
        &mut self,
        node: &Node,
        input: ValueId,
        q: Quantization,
        range: Output,
        function: impl Fn(f64) -> f64,
    ) -> Result<View, LowerError> {
        let view = self.whole(input)?;
        let table = table(self.quantization_of(view.tensor), q, range, function);
        let shape = self.tensors[view.tensor].shape;
        let tensor = self.emit(node, view.tensor, shape, q, Kind::Table(table));
        Ok(view.on(tensor))
    }

    /// A clamp by itself, or a table where a quantized model has another scale behind it.
    pub(super) fn clamp(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let view = self.whole(node.inputs[0])?;
        let from = self.quantization_of(view.tensor);
        let q = self.graph.value(node.output).quantization.unwrap_or(from);
        let range = range(step, q);
        if q != from {
            return self.tabulate(node, node.inputs[0], q, range, |x| x);
        }
        let shape = self.tensors[view.tensor].shape;
        let tensor = self.emit(node, view.tensor, shape, q, Kind::Clamp(range));
        Ok(view.on(tensor))
    }

    /// Integers as real numbers, at either end of a model with integers for inputs or outputs.
    pub(super) fn interface(&mut self, node: &Node, affine: &Affine) -> Result<View, LowerError> {
        let (&[scale], &[zero_point]) = (&affine.scale[..], &affine.zero_point[..]) else {
            return Err(refused(
                "has a scale for each channel; give activations one scale",
            ));
        };
        let (scale, zero_point) = (f64::from(scale), f64::from(zero_point));
        let [low, high] = affine.range.map(f64::from);
        let view = self.view(node.inputs[0])?;
        let from = self.quantization_of(view.tensor);
        let default = match node.op {
            Op::QuantizeLinear(_) => integers(affine)?,
            _ => dequantized(affine)?,
        };
        let own = self.graph.value(node.output).quantization;
        let q = own.unwrap_or(default);
        let function = |x: f64| match node.op {
            Op::QuantizeLinear(_) => ((x / scale).round_ties_even() + zero_point).clamp(low, high),
            _ => (x - zero_point) * scale,
        };
        let entries = table(from, q, full_range(q), function);
        if !entries.iter().copied().eq(i8::MIN..=i8::MAX) {
            return self.tabulate(node, node.inputs[0], q, full_range(q), function);
        }
        // The same integers under another meaning.
        let view = self.whole(node.inputs[0])?;
        let shape = self.tensors[view.tensor].shape;
        let name = self.graph.value(node.output).name.clone();
        let tensor = self.add_tensor(&name, shape, q);
        let len = shape.len();
        self.copy(&View::rows(view.tensor, len), &View::rows(tensor, len))?;
        Ok(view.on(tensor))
    }

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
        let tensor = self.arrange_view(&view, shape, &order, super::arrange::Sides::All)?;
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

    /// Row-major; an operator that needs it otherwise gets one of its own.
    pub(super) fn constant(&mut self, node: &Node, value: ParamId) -> Result<View, LowerError> {
        let q = self.own_quantization(node.output)?;
        let values = finite(self.graph, value)?;
        let integers: Vec<i8> = values.iter().map(|&v| integer(q, v.into())).collect();
        let len = integers.len();
        let shape = match *self.shape(node.output) {
            [ref lead @ .., width, channels] => Shape::new(lead.iter().product(), width, channels),
            _ => Shape::new(1, 1, len),
        };
        let shape = shape.ok_or_else(|| refused(super::too_large(len)))?;
        let name = self.graph.value(node.output).name.clone();
        let tensor = self.add_tensor(&name, shape, q);
        self.add_operator(tensor, tensor, Kind::Constant(integers));
        Ok(View::rows(tensor, len))
    }

    /// Fills a tensor with one integer.
    pub(super) fn fill(&mut self, tensor: usize, value: i8) {
        self.add_operator(tensor, tensor, Kind::Constant(vec![value]));
    }

    /// `x`, or `slope·x` below 0, the slope per channel: of the axes from the first to the last along
    /// which it changes.
    pub(super) fn p_relu(
        &mut self,
        node: &Node,
        step: &Step,
        slope: ParamId,
    ) -> Result<View, LowerError> {
        let q = self.own_quantization(step.output)?;
        let slopes = finite(self.graph, slope)?;
        if let [only] = slopes[..] {
            let only = f64::from(only);
            let leaky = |x: f64| if x < 0.0 { only * x } else { x };
            return self.tabulate(node, node.inputs[0], q, range(step, q), leaky);
        }
        let shape = self.shape(node.inputs[0]);
        let slope_shape = &self.graph.parameter(slope).shape;
        let missing = shape.len() - slope_shape.len();
        let varies: Vec<usize> = (0..slope_shape.len())
            .filter(|&axis| slope_shape[axis] > 1)
            .map(|axis| axis + missing)
            .collect();
        let (first, last) = (varies[0], varies[varies.len() - 1]);
        let axes: Vec<usize> = (first..=last).collect();
        let spread = View::rows(0, slopes.len()).broadcast(
            &slope_shape[first - missing..=last - missing],
            &shape[first..=last],
        );
        let spread = spread.ok_or_else(|| refused("broadcasts what no view can"))?;
        let view = self.split_view(node.inputs[0])?;
        let order = self.channels_order(&view, shape, &axes);
        let input = self.arrange_view(&view, shape, &order, super::arrange::Sides::Channels)?;
        let ratio = f64::from(self.tensors[input].scale) / f64::from(q.scale);
        let slopes = spread.places().into_iter().map(|i| f64::from(slopes[i]));
        let factors: Vec<f64> = std::iter::once(1.0)
            .chain(slopes)
            .map(|slope| slope * ratio)
            .collect();
        let (mantissas, shift) = over_one_shift(&factors, SLOPE_BITS, 62);
        let kind = Kind::PRelu {
            positive: mantissas[0],
            negative: mantissas[1..].to_vec(),
            shift,
            range: range(step, q),
        };
        let output = self.emit(node, input, self.tensors[input].shape, q, kind);
        Ok(View::packed(output, shape, &order.axes()))
    }

    /// Rows of a table, by integers that name them.
    pub(super) fn embedding(&mut self, node: &Node, table: ParamId) -> Result<View, LowerError> {
        let q = self.own_quantization(node.output)?;
        let values = finite(self.graph, table)?;
        let &[rows, columns] = &self.graph.parameter(table).shape[..] else {
            return Err(refused("has a table of another rank than 2"));
        };
        if rows > 256 {
            return Err(refused(format!(
                "has {rows} rows; int8 names 256: use a smaller vocabulary"
            )));
        }
        let view = self.requantized(node.inputs[0], PLACES)?;
        let shape = self.shape(node.inputs[0]);
        let order = self.natural_order(&view, shape).axes();
        let order = super::arrange::Order::new(&[], &order, &[]);
        let input = self.arrange_view(&view, shape, &order, super::arrange::Sides::All)?;
        let kind = Kind::Embedding {
            columns,
            table: values.iter().map(|&v| integer(q, v.into())).collect(),
        };
        let tensor = self.emit(node, input, self.with_channels(input, columns)?, q, kind);
        let last = shape.len();
        let axes = [order.axes(), vec![last]].concat();
        Ok(View::packed(tensor, self.shape(node.output), &axes))
    }
}

/// How integers stand for integers: themselves, or less 128 where they are unsigned.
pub(crate) fn integers(affine: &Affine) -> Result<Quantization, LowerError> {
    let zero_point = match affine.range {
        [low, high] if low >= -128.0 && high <= 127.0 => 0,
        [low, high] if low >= 0.0 && high <= 255.0 => -128,
        _ => return Err(refused("has integers of more than 8 bits")),
    };
    Ok(Quantization {
        scale: 1.0,
        zero_point,
    })
}

/// What integers of [`integers`] stand for once they are dequantized by one scale.
pub(crate) fn dequantized(affine: &Affine) -> Result<Quantization, LowerError> {
    let (&[scale], &[zero_point]) = (&affine.scale[..], &affine.zero_point[..]) else {
        return Err(refused(
            "has a scale for each channel; give activations one scale",
        ));
    };
    let zero_point = zero_point as i32 + integers(affine)?.zero_point;
    Ok(Quantization { scale, zero_point })
}

/// The integer that stands for a real number, ties to even as in ONNX's `QuantizeLinear`.
fn integer(q: Quantization, real: f64) -> i8 {
    // Where a function has no value it is 0.
    let real = if real.is_nan() { 0.0 } else { real };
    let steps = (real / f64::from(q.scale)).round_ties_even() + f64::from(q.zero_point);
    steps.clamp(i8::MIN.into(), i8::MAX.into()) as i8
}

/// The results of a function for the 256 integers.
pub(super) fn table(
    from: Quantization,
    to: Quantization,
    range: Output,
    function: impl Fn(f64) -> f64,
) -> Vec<i8> {
    let result = |q: i32| {
        let x = f64::from(q - from.zero_point) * f64::from(from.scale);
        range.clamp(integer(to, function(x)).into())
    };
    (-128..128).map(result).collect()
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
