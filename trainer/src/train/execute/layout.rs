//! What moves elements and computes nothing: all of it picks elements by their places.

use super::Network;
use crate::graph::strides::{Split, broadcast_strides, places, strides};
use crate::graph::{Node, ParamId};
use burn::tensor::{Int, Tensor, TensorData};

impl Network<'_> {
    pub(super) fn indices(&self, places: impl Iterator<Item = usize>) -> Tensor<1, Int> {
        let places: Vec<i64> = places.map(|i| i as i64).collect();
        let len = places.len();
        Tensor::from_data(TensorData::new(places, [len]), &self.device)
    }

    /// The elements of each example at these places.
    fn pick(&self, x: Tensor<2>, places: impl Iterator<Item = usize>) -> Tensor<2> {
        x.select(1, self.indices(places))
    }

    /// The elements of each example at these places, and a constant where there is none.
    pub(super) fn pick_or(
        &self,
        x: Tensor<2>,
        places: impl Iterator<Item = Option<usize>>,
        constant: f32,
    ) -> Tensor<2> {
        let [batch, len] = x.dims();
        let constant = Tensor::full([batch, 1], constant, &self.device);
        let x = Tensor::cat(vec![x, constant], 1);
        self.pick(x, places.map(|place| place.unwrap_or(len)))
    }

    /// Examples of the shape `own`, broadcast to `shape`.
    pub(super) fn spread(&self, x: Tensor<2>, own: &[usize], shape: &[usize]) -> Tensor<2> {
        // As many elements are the same elements.
        if own.iter().product::<usize>() == shape.iter().product::<usize>() {
            return x;
        }
        self.pick(x, places(shape, &broadcast_strides(own, shape)))
    }

    /// A parameter broadcast to `shape`: `[1, elements]`.
    pub(super) fn spread_parameter(&self, id: ParamId, shape: &[usize]) -> Tensor<2> {
        let own = &self.graph.parameter(id).shape;
        self.spread(self.parameter(id).unsqueeze(), own, shape)
    }

    /// The same for each of the examples.
    pub(super) fn constant(&self, value: ParamId, batch: usize) -> Tensor<2> {
        let len = self.graph.parameter(value).len();
        self.parameter(value).reshape([1, len]).expand([batch, len])
    }

    pub(super) fn concat(&self, node: &Node, inputs: Vec<Tensor<2>>, axis: usize) -> Tensor<2> {
        let blocks = inputs.into_iter().zip(&node.inputs).map(|(x, &id)| {
            let [batch, _] = x.dims();
            let Split { outer, size, inner } = Split::new(self.shape(id), axis);
            x.reshape([batch, outer, size * inner])
        });
        Tensor::cat(blocks.collect(), 2).flatten(1, 2)
    }

    pub(super) fn select(
        &self,
        x: Tensor<2>,
        shape: &[usize],
        axis: usize,
        indices: &[usize],
    ) -> Tensor<2> {
        let [batch, _] = x.dims();
        let Split { outer, size, inner } = Split::new(shape, axis);
        let x = x.reshape([batch * outer, size, inner]);
        let y = x.select(1, self.indices(indices.iter().copied()));
        y.reshape([batch, outer * indices.len() * inner])
    }

    pub(super) fn transpose(&self, x: Tensor<2>, shape: &[usize], perm: &[usize]) -> Tensor<2> {
        let of_x = strides(shape);
        let [shape, strides] = [shape, &of_x].map(|of| -> Vec<usize> {
            let in_order = perm.iter().map(|&axis| of[axis]);
            in_order.collect()
        });
        self.pick(x, places(&shape, &strides))
    }

    pub(super) fn pad(&self, node: &Node, x: Tensor<2>, before: &[usize], value: f32) -> Tensor<2> {
        let own = self.shape(node.inputs[0]);
        let padded = strides(self.shape(node.output));
        let start: usize = before.iter().zip(&padded).map(|(n, s)| n * s).sum();
        let mut sources = vec![None; self.graph.value(node.output).len()];
        for (source, place) in places(own, &padded).enumerate() {
            sources[start + place] = Some(source);
        }
        self.pick_or(x, sources.into_iter(), value)
    }

    /// As the reference has it: negative places count from the end, none is outside the table.
    pub(super) fn embedding(&self, x: Tensor<2>, table: ParamId) -> Tensor<2> {
        let [batch, places] = x.dims();
        let table = self.matrix(table);
        let [rows, columns] = table.dims();
        let from_end = x.clone().lower_elem(0.0);
        let x = x.clone().mask_where(from_end, x.add_scalar(rows as f32));
        let x = x.clamp(0.0, (rows - 1) as f32).reshape([batch * places]);
        table.select(0, x.int()).reshape([batch, places * columns])
    }
}
