//! Grids of weights that came from integers.

use super::tensor::{Constant, Data};
use crate::graph::Grid;

/// Largest magnitude of int8 weights; −128 alone is beyond.
const INT8_MAX: i32 = 127;

impl Constant {
    /// The grid for a parameter whose first axis is axis `first` of this constant, if its steps are
    /// per tensor or along that axis and the integers are of 8 bits.
    pub(super) fn grid(&self, first: usize) -> Option<Grid> {
        let steps = self.steps.as_ref()?;
        let Data::Float(values) = &self.data else {
            return None;
        };
        if steps.scale.len() > 1 && steps.axis != first {
            return None;
        }
        let inner: usize = self.shape.get(first + 1..)?.iter().product();
        let scale = |i: usize| match steps.scale.as_slice() {
            &[scale] => scale,
            scales => scales[i / inner.max(1) % scales.len()],
        };
        let integers = values
            .iter()
            .enumerate()
            .map(|(i, v)| (v / scale(i)).round());
        let (least, largest) = integers.fold((0.0_f32, 0.0_f32), |(a, b), q| (a.min(q), b.max(q)));
        let max = if least < -127.0 {
            INT8_MAX + 1
        } else {
            INT8_MAX
        };
        let fits = least >= -128.0 && largest <= 127.0;
        fits.then(|| Grid {
            scale: steps.scale.clone(),
            max,
        })
    }
}
