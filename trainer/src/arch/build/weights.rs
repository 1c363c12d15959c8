//! Weights as they begin.

use super::super::settings::Init;
use super::Builder;
use crate::graph::{ParamId, Parameter};
use rand::RngExt;
use rand_distr::StandardNormal;

/// Most weights of a layer, 1 GB of floats: no typing error shall ask for all memory.
const MAX_WEIGHTS: usize = 1 << 28;

impl Builder {
    pub(super) fn vector(&mut self, layer: &str, part: &str, len: usize, value: f32) -> ParamId {
        self.filled(layer, part, &[len], value)
    }

    pub(super) fn filled(
        &mut self,
        layer: &str,
        part: &str,
        shape: &[usize],
        value: f32,
    ) -> ParamId {
        let values = vec![value; shape.iter().product()];
        let parameter = Parameter::dense(format!("{layer}.{part}"), shape, values);
        self.graph.add_parameter(parameter)
    }

    /// `[out, in, …]`
    pub(super) fn weight(&mut self, layer: &str, shape: &[usize]) -> Result<ParamId, String> {
        let receptive: usize = shape[2..].iter().product();
        let fans = [shape[1], shape[0]].map(|n| n.saturating_mul(receptive));
        self.random(format!("{layer}.weight"), shape, self.init, fans)
    }

    /// Seeded numbers; `fans` are the terms of an output's sum and the sums an input is in.
    pub(super) fn random(
        &mut self,
        name: String,
        shape: &[usize],
        init: Init,
        fans: [usize; 2],
    ) -> Result<ParamId, String> {
        let count = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        let count = count
            .filter(|&n| (1..=MAX_WEIGHTS).contains(&n))
            .ok_or_else(|| format!("needs 1 to {MAX_WEIGHTS} weights, not those of {shape:?}"))?;
        let (fan_in, fan_out) = (fans[0].max(1) as f32, fans[1] as f32);
        let spread = match init {
            Init::He => (2.0 / fan_in).sqrt(),
            Init::Xavier => (2.0 / (fan_in + fan_out)).sqrt(),
            Init::Lecun | Init::Uniform => (1.0 / fan_in).sqrt(),
        };
        let values = (0..count)
            .map(|_| match init {
                Init::Uniform => self.rng.random_range(-spread..=spread),
                _ => spread * self.rng.sample::<f32, _>(StandardNormal),
            })
            .collect();
        let parameter = Parameter::dense(name, shape, values);
        Ok(self.graph.add_parameter(parameter))
    }
}
