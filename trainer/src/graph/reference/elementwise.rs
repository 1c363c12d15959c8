//! Functions of one element, or of two.

use super::{Step, broadcast_strides, places};
use crate::graph::ParamId;

impl Step<'_> {
    pub(super) fn pairs(&self, f: impl Fn(f64, f64) -> f64) -> Vec<f32> {
        let [a, b] = [&self.inputs[0], &self.inputs[1]];
        let strides = [a, b].map(|side| broadcast_strides(side.shape, self.shape));
        places(self.shape, &strides[0])
            .zip(places(self.shape, &strides[1]))
            .map(|(i, j)| f(a.data[i].into(), b.data[j].into()) as f32)
            .collect()
    }

    pub(super) fn prelu(&self, slope: ParamId) -> Vec<f32> {
        let strides = broadcast_strides(self.parameter_shape(slope), self.shape);
        let slope = self.parameter(slope);
        let x = self.x().data.iter();
        x.zip(places(self.shape, &strides))
            .map(|(&v, i)| if v < 0.0 { slope[i] * v } else { v })
            .collect()
    }
}
