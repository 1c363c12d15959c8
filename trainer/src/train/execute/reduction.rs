//! Many elements to one.

use super::Network;
use crate::graph::strides::Split;
use burn::tensor::Tensor;

impl Network<'_> {
    /// One axis after the other: each mean is over as many.
    pub(super) fn reduce_mean(&self, x: Tensor<2>, shape: &[usize], axes: &[usize]) -> Tensor<2> {
        let [batch, _] = x.dims();
        let mut shape = shape.to_vec();
        let mean = |x: Tensor<2>, &axis: &usize| {
            let Split { outer, size, inner } = Split::new(&shape, axis);
            shape[axis] = 1;
            let x = x.reshape([batch, outer, size, inner]);
            x.mean_dim(2).reshape([batch, outer * inner])
        };
        axes.iter().fold(x, mean)
    }

    pub(super) fn arg_max(
        &self,
        x: Tensor<2>,
        shape: &[usize],
        axis: usize,
        select_last_index: bool,
    ) -> Tensor<2> {
        let [batch, _] = x.dims();
        let Split { outer, size, inner } = Split::new(shape, axis);
        let x = x.reshape([batch, outer, size, inner]);
        let place = |x: Tensor<4>| x.argmax(2).float().reshape([batch, outer * inner]);
        if select_last_index {
            // The first one of the other order.
            place(x.flip([2])).neg().add_scalar((size - 1) as f32)
        } else {
            place(x)
        }
    }
}
