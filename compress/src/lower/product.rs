//! Products of two values.

use super::arrange::{Order, Sides};
use super::linear::multiplier;
use super::view::View;
use super::{LowerError, Lowering, Step, range, refused};
use crate::program::Kind;
use no_std_core::tensor::Shape;
use trainer::graph::{Node, ValueId};

impl Lowering<'_> {
    /// `[…, m, k]·[…, k, n]`; the second may stand as `[…, n, k]`.
    pub(super) fn mat_mul(&mut self, node: &Node, step: &Step) -> Result<View, LowerError> {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let (out, q) = (self.shape(node.output), self.own_quantization(step.output)?);
        let lead = &out[..out.len() - 2];
        let (first, first_shape) = self.matrices(a, lead, false)?;
        let (second, second_shape) = self.matrices(b, lead, true)?;
        let rank = first_shape.len();
        let heights: Vec<usize> = (0..rank - 2).collect();
        let order = Order::new(&heights, &[rank - 2], &[rank - 1]);
        let input = self.arrange_view(&first, &first_shape, &order, Sides::All)?;
        // Whichever of the two forms the second factor already has.
        let rank = second_shape.len();
        let heights: Vec<usize> = (0..rank - 2).collect();
        let turned = Order::new(&heights, &[rank - 1], &[rank - 2]);
        let is =
            |order: &Order| second.runs() == View::packed(0, &second_shape, &order.axes()).runs();
        let order = Order::new(&heights, &[rank - 2], &[rank - 1]);
        let transposed = is(&turned) && !is(&order);
        let order = if transposed { &turned } else { &order };
        let other = self.arrange_view(&second, &second_shape, order, Sides::All)?;
        let scale = |tensor: usize| f64::from(self.tensors[tensor].scale);
        let kind = Kind::MatMul {
            other,
            transposed,
            multiplier: multiplier(scale(input) * scale(other) / f64::from(q.scale)),
            range: range(step, q),
        };
        let shape = Shape {
            channels: out[out.len() - 1],
            ..self.tensors[input].shape
        };
        let tensor = self.emit(node, input, shape, q, kind);
        let axes: Vec<usize> = (0..out.len()).collect();
        Ok(View::packed(tensor, out, &axes))
    }

    /// A factor with its leading axes broadcast, unless it is one matrix that `shared` allows for all.
    fn matrices(
        &mut self,
        value: ValueId,
        lead: &[usize],
        shared: bool,
    ) -> Result<(View, Vec<usize>), LowerError> {
        let (view, shape) = (self.split_view(value)?, self.shape(value));
        let (own, matrix) = shape.split_at(shape.len() - 2);
        if own == lead || (shared && own.iter().product::<usize>() == 1) {
            return Ok((view, shape.to_vec()));
        }
        let wanted = [lead, matrix].concat();
        let view = view.broadcast(shape, &wanted);
        let view = view.ok_or_else(|| refused("broadcasts what no view can"))?;
        Ok((view, wanted))
    }
}
