//! Operators on each element, and constants.

use super::linear::{finite, over_one_shift};
use super::view::View;
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

    pub(super) fn tabulate(
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
