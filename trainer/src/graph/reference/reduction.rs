//! Many elements to one.

use super::{Split, Step, places, strides};

impl Step<'_> {
    pub(super) fn reduce_mean(&self, axes: &[usize]) -> Vec<f32> {
        let x = self.x();
        let mut into = strides(self.shape);
        axes.iter().for_each(|&axis| into[axis] = 0);
        let mut sums = vec![0.0; self.shape.iter().product()];
        for (&v, place) in x.data.iter().zip(places(x.shape, &into)) {
            sums[place] += f64::from(v);
        }
        let count = x.data.len() as f64 / sums.len() as f64;
        sums.iter().map(|sum| (sum / count) as f32).collect()
    }

    pub(super) fn arg_max(&self, axis: usize, select_last_index: bool) -> Vec<f32> {
        let x = self.x();
        let place = |line: Vec<usize>| {
            let better = |best: usize, i: usize| {
                let (old, new) = (x.data[line[best]], x.data[line[i]]);
                if new > old || (select_last_index && new == old) {
                    i
                } else {
                    best
                }
            };
            (0..line.len()).reduce(better).unwrap_or(0) as f32
        };
        Split::new(x.shape, axis).lines().map(place).collect()
    }
}
