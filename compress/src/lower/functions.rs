//! Operators over the channels of each place.

use super::arrange::{Order, Sides};
use super::linear::{FACTOR_BITS, finite, over_one_shift};
use super::view::View;
use super::{LowerError, Lowering, PLACES, SOFTMAX_OUTPUT, Step, range, refused};
use crate::program::Kind;
use trainer::graph::{Node, Op};

/// Most entries of a table of local response normalization.
const LRN_ENTRIES: u64 = 256;

/// Bits of the factors and biases of a layer normalization.
const NORM_BITS: i32 = 24;

impl Lowering<'_> {
    pub(super) fn softmax(&mut self, node: &Node, axis: usize) -> Result<View, LowerError> {
        let (input, order) = self.with_channels_last(node, &[axis])?;
        let shape = self.tensors[input].shape;
        let kind = Kind::Softmax(exponentials(self.tensors[input].scale));
        let tensor = self.emit(node, input, shape, SOFTMAX_OUTPUT, kind);
        Ok(View::packed(tensor, self.shape(node.output), &order.axes()))
    }

    pub(super) fn log_softmax(
        &mut self,
        node: &Node,
        step: &Step,
        axis: usize,
    ) -> Result<View, LowerError> {
        let q = self.own_quantization(step.output)?;
        let (input, order) = self.with_channels_last(node, &[axis])?;
        let (shape, scale) = (self.tensors[input].shape, self.tensors[input].scale);
        let steps = f64::from(q.scale).recip();
        let factors = [f64::from(scale) * steps, -steps / 65_536.0];
        let (mantissas, shift) = over_one_shift(&factors, FACTOR_BITS, 62);
        let kind = Kind::LogSoftmax {
            exponentials: exponentials(scale),
            mantissas: [mantissas[0], mantissas[1]],
            shift,
            range: range(step, q),
        };
        let tensor = self.emit(node, input, shape, q, kind);
        Ok(View::packed(tensor, self.shape(node.output), &order.axes()))
    }

    pub(super) fn arg_max(&mut self, node: &Node) -> Result<View, LowerError> {
        let Op::ArgMax {
            axis,
            select_last_index,
        } = node.op
        else {
            return Err(refused("is no ArgMax"));
        };
        let choices = self.shape(node.inputs[0])[axis];
        if choices > 256 {
            let reason = format!("chooses among {choices}; int8 names 256 places");
            return Err(refused(reason));
        }
        let (input, order) = self.with_channels_last(node, &[axis])?;
        let kind = Kind::ArgMax {
            last: select_last_index,
        };
        let tensor = self.emit(node, input, self.with_channels(input, 1)?, PLACES, kind);
        Ok(View::packed(tensor, self.shape(node.output), &order.axes()))
    }

    pub(super) fn layer_norm(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let Op::LayerNormalization {
            axis,
            scale,
            bias,
            epsilon,
        } = node.op
        else {
            return Err(refused("is no LayerNormalization"));
        };
        let q = self.own_quantization(step.output)?;
        let shape = self.shape(node.inputs[0]);
        let normalized = &shape[axis..];
        let channels: Vec<usize> = (axis..shape.len()).collect();
        let spread = |id| -> Result<Vec<f64>, LowerError> {
            let values = finite(self.graph, id)?;
            let own = &self.graph.parameter(id).shape;
            let view = View::rows(0, values.len()).broadcast(own, normalized);
            let view = view.ok_or_else(|| refused("broadcasts what no view can"))?;
            let places = view.places().into_iter();
            Ok(places.map(|i| f64::from(values[i])).collect())
        };
        let step_size = f64::from(q.scale);
        let scales: Vec<f64> = spread(scale)?.iter().map(|s| s / step_size).collect();
        let biases = match bias {
            Some(bias) => spread(bias)?,
            None => vec![0.0; scales.len()],
        };
        let most = f64::from((1 << NORM_BITS) - 1);
        let fixed = |bias: f64| (bias / step_size * 256.0).round().clamp(-most, most) as i32;
        let (input, order) = self.with_channels_last(node, &channels)?;
        let (scales, shift) = over_one_shift(&scales, NORM_BITS, 50);
        let x = f64::from(self.tensors[input].scale);
        let kind = Kind::LayerNorm {
            epsilon: (f64::from(epsilon) / (x * x) * 65_536.0).round() as u32,
            scales,
            shift,
            biases: biases.into_iter().map(fixed).collect(),
            range: range(step, q),
        };
        let tensor = self.emit(node, input, self.tensors[input].shape, q, kind);
        Ok(View::packed(tensor, shape, &order.axes()))
    }

    pub(super) fn lrn(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let Op::Lrn {
            size,
            alpha,
            beta,
            bias,
        } = node.op
        else {
            return Err(refused("is no LRN"));
        };
        let q = self.own_quantization(step.output)?;
        let (input, order) = self.with_channels_last(node, &[0])?;
        let x = &self.tensors[input];
        let furthest = (127 - i64::from(x.zero_point)).max(128 + i64::from(x.zero_point));
        let most = size.min(x.shape.channels) as u64 * furthest.pow(2) as u64;
        let mut spacing = 0u8;
        while (most >> spacing) + 2 > LRN_ENTRIES {
            spacing += 1;
        }
        let ratio = f64::from(x.scale) / f64::from(q.scale);
        let square = f64::from(alpha) / size as f64 * f64::from(x.scale).powi(2);
        let factor = |i: u64| {
            let sum = (i << spacing) as f64;
            let power = (f64::from(bias) + square * sum).powf(-f64::from(beta));
            (power * ratio * 65_536.0).round() as u32
        };
        let kind = Kind::Lrn {
            size,
            table: (0..(most >> spacing) + 2).map(factor).collect(),
            step: spacing,
            range: range(step, q),
        };
        let tensor = self.emit(node, input, self.tensors[input].shape, q, kind);
        Ok(View::packed(tensor, self.shape(node.output), &order.axes()))
    }

    /// The first input with some axes as the channels, whatever places the others make.
    fn with_channels_last(
        &mut self,
        node: &Node,
        channels: &[usize],
    ) -> Result<(usize, Order), LowerError> {
        let view = self.split_view(node.inputs[0])?;
        let shape = self.shape(node.inputs[0]);
        let order = self.channels_order(&view, shape, channels);
        let tensor = self.arrange_view(&view, shape, &order, Sides::Channels)?;
        Ok((tensor, order))
    }
}

/// `round(65535·e^(−scale·d))` for d = 0, 1, …, without the zeros at the end.
fn exponentials(scale: f32) -> Vec<u16> {
    let entry = |d: u32| (65535.0 * (-(scale as f64) * d as f64).exp()).round() as u16;
    (0..256).map(entry).take_while(|&e| e > 0).collect()
}
