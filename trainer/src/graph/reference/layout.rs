//! What moves elements and computes nothing.

use super::{Split, Step, places, strides};
use crate::graph::ParamId;

impl Step<'_> {
    pub(super) fn concat(&self, axis: usize) -> Vec<f32> {
        let mut y = Vec::with_capacity(self.shape.iter().product());
        for outer in 0..Split::new(self.shape, axis).outer {
            for x in &self.inputs {
                let split = Split::new(x.shape, axis);
                let block = split.size * split.inner;
                y.extend_from_slice(&x.data[outer * block..][..block]);
            }
        }
        y
    }

    pub(super) fn select(&self, axis: usize, indices: &[usize]) -> Vec<f32> {
        let x = self.x();
        let Split { outer, size, inner } = Split::new(x.shape, axis);
        (0..outer)
            .flat_map(|o| indices.iter().map(move |&i| (o * size + i) * inner))
            .flat_map(|start| &x.data[start..start + inner])
            .copied()
            .collect()
    }

    pub(super) fn pad(&self, before: &[usize], value: f32) -> Vec<f32> {
        let x = self.x();
        let strides = strides(self.shape);
        let start: usize = before.iter().zip(&strides).map(|(n, s)| n * s).sum();
        let mut y = vec![value; self.shape.iter().product()];
        for (&v, place) in x.data.iter().zip(places(x.shape, &strides)) {
            y[start + place] = v;
        }
        y
    }

    pub(super) fn transpose(&self, perm: &[usize]) -> Vec<f32> {
        let x = self.x();
        let of_x = strides(x.shape);
        let strides: Vec<usize> = perm.iter().map(|&axis| of_x[axis]).collect();
        places(self.shape, &strides).map(|i| x.data[i]).collect()
    }

    /// Negative places count from the end, as in ONNX; what is still outside the table, which ONNX
    /// leaves open, is its nearest row.
    pub(super) fn embedding(&self, table: ParamId) -> Vec<f32> {
        let rows = self.parameter_shape(table)[0];
        let columns = self.parameter_shape(table)[1];
        let table = self.parameter(table);
        let row = |place: f32| {
            let from_start = if place < 0.0 {
                place + rows as f32
            } else {
                place
            };
            // A cast to an unsigned integer ends at 0.
            (from_start as usize).min(rows - 1)
        };
        let x = self.x().data.iter();
        x.flat_map(|&place| &table[row(place) * columns..][..columns])
            .copied()
            .collect()
    }
}
