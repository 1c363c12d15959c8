//! Windows that slide over a plane.

use super::Step;
use super::linear::{grid, image, tap};
use crate::graph::{Op, Window};

impl Step<'_> {
    pub(super) fn pool(&self) -> Vec<f32> {
        let x = self.x().data;
        match self.op {
            Op::MaxPool { window, dilation } => self.slide(window, *dilation, |taps, _| {
                taps.iter().map(|&i| x[i]).fold(f32::NEG_INFINITY, f32::max)
            }),
            Op::AveragePool {
                window,
                dilation,
                count_include_pad,
            } => self.slide(window, *dilation, |taps, padded| {
                let sum: f64 = taps.iter().map(|&i| f64::from(x[i])).sum();
                let count = if *count_include_pad {
                    padded
                } else {
                    taps.len()
                };
                (sum / count.max(1) as f64) as f32
            }),
            _ => unreachable!("called for pools"),
        }
    }

    /// `reduce` gets the taps inside the input, and how many fall on it or its padding (a window of
    /// `ceil_mode` may reach beyond both).
    fn slide(
        &self,
        window: &Window,
        dilation: [usize; 2],
        reduce: impl Fn(&[usize], usize) -> f32,
    ) -> Vec<f32> {
        let [_, h, w] = image(self.x().shape);
        let [channels, out_h, out_w] = image(self.shape);
        let [top, left, bottom, right] = window.padding;
        let inside = |at: [usize; 2], k: [usize; 2], pads: [usize; 2], size: [usize; 2]| {
            let along =
                |a: usize| tap(at[a], k[a], window.stride[a], dilation[a], pads[a], size[a]);
            Some([along(0)?, along(1)?])
        };
        let mut y = Vec::with_capacity(channels * out_h * out_w);
        for c in 0..channels {
            for at in grid([out_h, out_w]) {
                let taps: Vec<usize> = grid(window.kernel)
                    .filter_map(|k| inside(at, k, [top, left], [h, w]))
                    .map(|[iy, ix]| (c * h + iy) * w + ix)
                    .collect();
                let padded = [h + top + bottom, w + left + right];
                let padded = grid(window.kernel).filter_map(|k| inside(at, k, [0, 0], padded));
                y.push(reduce(&taps, padded.count()));
            }
        }
        y
    }
}
