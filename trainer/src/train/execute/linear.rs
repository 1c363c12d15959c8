//! Products of rows with matrices.

use super::Network;
use crate::graph::strides::{broadcast_strides, places};
use crate::graph::{Node, ParamId};
use burn::tensor::Tensor;
use burn::tensor::module::linear;

impl Network<'_> {
    pub(super) fn gemm(&self, x: Tensor<2>, weight: ParamId, bias: Option<ParamId>) -> Tensor<2> {
        let [batch, elements] = x.dims();
        let weight = self.matrix(weight);
        let [outputs, inputs] = weight.dims();
        let rows = elements / inputs;
        let x = x.reshape([batch * rows, inputs]);
        let y = linear(x, weight.transpose(), bias.map(|b| self.parameter(b)));
        y.reshape([batch, rows * outputs])
    }

    /// All pairs of matrices of all examples in one batch.
    pub(super) fn mat_mul(&self, node: &Node, sides: [Tensor<2>; 2]) -> Tensor<2> {
        let shape = self.shape(node.output);
        let lead = &shape[..shape.len() - 2];
        let pairs: usize = lead.iter().product();
        let [batch, _] = sides[0].dims();
        let side = |x: Tensor<2>, own: &[usize]| {
            let (own, matrix) = own.split_at(own.len() - 2);
            let [rows, columns] = [matrix[0], matrix[1]];
            let x = x.reshape([batch, own.iter().product(), rows * columns]);
            let strides = broadcast_strides(own, lead);
            let x = x.select(1, self.indices(places(lead, &strides)));
            x.reshape([batch * pairs, rows, columns])
        };
        let [a, b] = sides;
        let a = side(a, self.shape(node.inputs[0]));
        let b = side(b, self.shape(node.inputs[1]));
        a.matmul(b).reshape([batch, shape.iter().product()])
    }
}
