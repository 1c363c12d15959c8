//! Elements scaled by what others are.

use super::{Split, Step, broadcast_strides, places};
use crate::graph::Op;

/// Mean and mean square deviation.
fn moments(x: &[f32]) -> (f64, f64) {
    let mean_of = |f: &dyn Fn(f64) -> f64| {
        let sum: f64 = x.iter().map(|&v| f(v.into())).sum();
        sum / x.len() as f64
    };
    let mean = mean_of(&|v| v);
    (mean, mean_of(&|v| (v - mean).powi(2)))
}

impl Step<'_> {
    pub(super) fn softmax(&self, axis: usize, logarithm: bool) -> Vec<f32> {
        let x = self.x();
        let mut y = vec![0.0; x.data.len()];
        for line in Split::new(x.shape, axis).lines() {
            let value = |&i: &usize| f64::from(x.data[i]);
            let largest = line.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = line.iter().map(|i| (value(i) - largest).exp()).sum();
            for i in line {
                let log = value(&i) - largest - sum.ln();
                y[i] = if logarithm { log } else { log.exp() } as f32;
            }
        }
        y
    }

    pub(super) fn batch_normalization(&self) -> Vec<f32> {
        let Op::BatchNormalization {
            scale,
            bias,
            mean,
            variance,
            epsilon,
        } = self.op
        else {
            unreachable!("called for batch normalizations")
        };
        let [scale, bias, mean, variance] =
            [scale, bias, mean, variance].map(|&p| self.parameter(p));
        let channels = Split::new(self.shape, 0);
        let normalize = |(i, &v): (usize, &f32)| {
            let c = channels.along(i);
            let deviation = (f64::from(variance[c]) + f64::from(*epsilon)).sqrt();
            let centred = f64::from(v) - f64::from(mean[c]);
            (f64::from(scale[c]) * centred / deviation + f64::from(bias[c])) as f32
        };
        self.x().data.iter().enumerate().map(normalize).collect()
    }

    pub(super) fn layer_normalization(&self) -> Vec<f32> {
        let Op::LayerNormalization {
            axis,
            scale,
            bias,
            epsilon,
        } = self.op
        else {
            unreachable!("called for layer normalizations")
        };
        let normalized = &self.shape[*axis..];
        let len: usize = normalized.iter().product();
        // One value for each of the normalized elements.
        let spread = |id| {
            let strides = broadcast_strides(self.parameter_shape(id), normalized);
            let values = self.parameter(id);
            let spread = places(normalized, &strides).map(|i| f64::from(values[i]));
            spread.collect::<Vec<f64>>()
        };
        let scale = spread(*scale);
        let bias = bias.map_or_else(|| vec![0.0; len], spread);
        let normalize = |x: &[f32]| -> Vec<f32> {
            let (mean, variance) = moments(x);
            let deviation = (variance + f64::from(*epsilon)).sqrt();
            let normal = x.iter().map(|&v| (f64::from(v) - mean) / deviation);
            let affine = normal.zip(scale.iter().zip(&bias));
            affine.map(|(v, (s, b))| (v * s + b) as f32).collect()
        };
        self.x().data.chunks(len).flat_map(normalize).collect()
    }

    pub(super) fn lrn(&self) -> Vec<f32> {
        let Op::Lrn {
            size,
            alpha,
            beta,
            bias,
        } = *self.op
        else {
            unreachable!("called for local response normalizations")
        };
        let x = self.x();
        let mut y = vec![0.0; x.data.len()];
        let (before, after) = ((size - 1) / 2, size / 2);
        for line in Split::new(x.shape, 0).lines() {
            for (c, &i) in line.iter().enumerate() {
                let near = &line[c.saturating_sub(before)..(c + after + 1).min(line.len())];
                let squares: f64 = near.iter().map(|&j| f64::from(x.data[j]).powi(2)).sum();
                let sum = f64::from(bias) + f64::from(alpha) / size as f64 * squares;
                y[i] = (f64::from(x.data[i]) / sum.powf(beta.into())) as f32;
            }
        }
        y
    }
}
