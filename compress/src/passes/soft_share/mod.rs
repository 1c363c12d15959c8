//! Soft weight sharing: a penalty draws weights together while they learn; then they share the values
//! that they came to, as after `quantize`.

mod mixture;
mod pairwise;

use super::codebook::{self, CodebookError, Start};
use super::weights;
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
use mixture::Mixture;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, ParamId, Parameter, Parametrization};
use trainer::train::{Hook, TrainConfig};

/// What draws weights together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoftShareBy {
    /// `−τ·ln p(w)` under a mixture of Gaussians per layer, one of them at zero, that is fitted to the
    /// weights as they learn (Nowlan & Hinton 1992; Ullrich et al. 2017).
    #[default]
    Mixture,
    /// `λ(w_i − w_j)²/2` for pairs of weights of like values.
    Pairwise,
}

/// Soft weight sharing and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftShare {
    /// Values that a layer has in the end, at most, zero among them.
    pub components: usize,
    /// What draws weights together.
    pub by: SoftShareBy,
    /// τ of a mixture: what a nat of a weight is worth in nats of an example's loss; 1e-6 unless given.
    pub tau: Option<f64>,
    /// Share of a layer's living weights that a mixture expects at zero; 0.9 unless given.
    pub zero: Option<f64>,
    /// λ of the pairwise penalty; 0.01 unless given.
    pub lambda: Option<f64>,
    /// Share of the training until which weights are drawn together; then they share values, which learn
    /// on.
    pub until: f64,
    /// Training, through the integers.
    pub train: TrainConfig,
}

impl Default for SoftShare {
    fn default() -> Self {
        Self {
            components: 16,
            by: SoftShareBy::default(),
            tau: None,
            zero: None,
            lambda: None,
            until: 0.75,
            train: TrainConfig::default(),
        }
    }
}

/// τ unless given.
const USUAL_TAU: f64 = 1e-6;

/// λ unless given.
const USUAL_LAMBDA: f64 = 0.01;

/// Share at zero unless given.
const USUAL_ZERO: f64 = 0.9;

impl SoftShare {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            train: TrainConfig {
                epochs: 10,
                ..TrainConfig::continued()
            },
            ..Self::default()
        }
    }

    /// Values of a layer besides zero.
    fn entries(&self) -> usize {
        self.components - 1
    }

    fn mixture(&self, living: &[f32]) -> Mixture {
        Mixture::fit(living, self.components, self.zero.unwrap_or(USUAL_ZERO))
    }

    /// What draws a layer's weights together now.
    fn force(&self, parameter: &Parameter) -> Force {
        let (values, living) = (parameter.free(), living(parameter));
        match self.by {
            SoftShareBy::Mixture => {
                let values: Vec<f32> = living.iter().map(|&i| values[i]).collect();
                Force::Mixture(self.mixture(&values))
            }
            SoftShareBy::Pairwise => {
                let groups = self.entries().min(living.len());
                Force::Pairs(pairwise::pairs(values, &living, groups))
            }
        }
    }

    /// Lets a layer's weights share their values for good.
    fn collapse(&self, graph: &mut Graph, id: ParamId, seed: u64) -> Result<(), CodebookError> {
        match (self.by, self.force(graph.parameter(id))) {
            (_, Force::Mixture(mixture)) => {
                onto_means(&mut graph.parameters[id.0], &mixture);
                Ok(())
            }
            _ => codebook::share(graph, id, self.entries(), Start::Density, seed),
        }
    }
}

/// What draws a layer's weights together.
enum Force {
    Mixture(Mixture),
    /// Places of those that belong together.
    Pairs(Vec<(usize, usize)>),
}

/// Places of the weights that pruning left.
fn living(parameter: &Parameter) -> Vec<usize> {
    match &parameter.parametrization {
        Parametrization::Masked { mask, .. } => (0..mask.len()).filter(|&i| mask[i]).collect(),
        _ => (0..parameter.free().len()).collect(),
    }
}

/// Gives every weight the mean of the component most responsible for it.
fn onto_means(parameter: &mut Parameter, mixture: &Mixture) {
    let latent = parameter.latent();
    let choose = |&w: &f32| {
        if w == 0.0 {
            0
        } else {
            mixture.nearest(w.into())
        }
    };
    let chosen: Vec<usize> = latent.par_iter().map(choose).collect();
    let means: Vec<f64> = mixture.means().collect();
    let is_used = |place: &usize| *place == 0 || chosen.contains(place);
    let used: Vec<usize> = (0..means.len()).filter(is_used).collect();
    let index = |place: &usize| used.partition_point(|u| u < place) as u32;
    parameter.parametrization = Parametrization::Shared {
        codebook: used.iter().map(|&place| means[place] as f32).collect(),
        indices: chosen.iter().map(index).collect(),
        pinned_zero: true,
    };
}

impl Pass for SoftShare {
    fn effect(&self) -> Effect {
        Effect::Form
    }

    fn check(&self) -> Result<(), SettingError> {
        let wrong = |name, range, value| Err(SettingError { name, range, value });
        if !(2..=256).contains(&self.components) {
            let range = "2 to 256 values";
            return wrong("--soft-share", range, self.components.to_string());
        }
        let amounts = [
            ("soft-share.tau", self.tau, SoftShareBy::Mixture),
            ("soft-share.zero", self.zero, SoftShareBy::Mixture),
            ("soft-share.lambda", self.lambda, SoftShareBy::Pairwise),
        ];
        for (name, amount, by) in amounts {
            let Some(amount) = amount else { continue };
            if by != self.by {
                let range = match by {
                    SoftShareBy::Mixture => "left out where soft-share.by is pairwise",
                    SoftShareBy::Pairwise => "left out where soft-share.by is mixture",
                };
                return wrong(name, range, amount.to_string());
            }
            if !(amount >= 0.0 && amount.is_finite()) {
                return wrong(name, "a number of at least 0", amount.to_string());
            }
        }
        if let Some(zero) = self.zero.filter(|zero| !(0.0 < *zero && *zero < 1.0)) {
            return wrong(
                "soft-share.zero",
                "a share above 0 and below 1",
                zero.to_string(),
            );
        }
        if !(0.0..=1.0).contains(&self.until) {
            return wrong(
                "soft-share.until",
                "a share of 0 to 1",
                self.until.to_string(),
            );
        }
        Ok(())
    }

    /// No more values than weights.
    fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
        let ids = weights(graph).into_iter();
        let mut sizes = ids.map(|id| codebook::check_size(graph.parameter(id), self.entries()));
        Ok(sizes.try_for_each(|size| size)?)
    }

    fn training(&self) -> Option<&TrainConfig> {
        Some(&self.train)
    }

    fn training_mut(&mut self) -> Option<&mut TrainConfig> {
        Some(&mut self.train)
    }

    fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
        for id in weights(&run.graph) {
            let parameter = &mut run.graph.parameters[id.0];
            let values = parameter.latent();
            let mask = values.iter().map(|v| *v != 0.0).collect();
            parameter.set_form(Parametrization::Masked { values, mask });
        }
        let mut draw = Draw {
            settings: self,
            max: run.settings.grid_max(),
            seed: run.settings.seed,
            forces: Vec::new(),
        };
        draw.refresh(&mut run.graph);
        run.calibrate()?;
        run.fit(&self.train, &mut draw)?;
        // The kept epoch may be one before weights shared their values.
        let last = draw.update(1.0, &mut run.graph, &[]);
        Ok(last.map_err(trainer::train::TrainError::Hook)?)
    }
}

/// Draws weights together, and then lets them share their values.
struct Draw<'s> {
    settings: &'s SoftShare,
    /// Of the integer grid.
    max: i32,
    seed: u64,
    /// On the layers that do not share values yet.
    forces: Vec<(ParamId, Force)>,
}

impl Draw<'_> {
    fn refresh(&self, graph: &mut Graph) {
        for id in weights(graph) {
            codebook::per_tensor_grid(graph, id, self.max);
        }
    }

    fn add(&self, force: &Force, parameter: &Parameter, gradient: &mut [f32]) {
        let values = parameter.free();
        match force {
            Force::Mixture(mixture) => {
                let tau = self.settings.tau.unwrap_or(USUAL_TAU);
                let living = living(parameter);
                let slope = |&i: &usize| (i, (tau * mixture.slope(values[i].into())) as f32);
                let slopes: Vec<(usize, f32)> = living.par_iter().map(slope).collect();
                slopes.into_iter().for_each(|(i, g)| gradient[i] += g);
            }
            Force::Pairs(pairs) => {
                let lambda = self.settings.lambda.unwrap_or(USUAL_LAMBDA);
                pairwise::add_gradient(values, pairs, lambda as f32, gradient);
            }
        }
    }
}

impl Hook for Draw<'_> {
    fn every(&self) -> usize {
        20
    }

    fn update(&mut self, progress: f64, graph: &mut Graph, _: &[&[f32]]) -> Result<(), String> {
        self.forces.clear();
        for id in weights(graph) {
            let parameter = graph.parameter(id);
            let shares = matches!(parameter.parametrization, Parametrization::Shared { .. });
            if shares {
                continue;
            }
            if progress < self.settings.until {
                self.forces.push((id, self.settings.force(parameter)));
            } else {
                let collapsed = self.settings.collapse(graph, id, self.seed);
                collapsed.map_err(|e| e.to_string())?;
            }
        }
        self.refresh(graph);
        Ok(())
    }

    fn penalize(&mut self, graph: &Graph, gradients: &mut [Option<Vec<f32>>]) {
        for (id, force) in &self.forces {
            if let Some(gradient) = &mut gradients[id.0] {
                self.add(force, graph.parameter(*id), gradient);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::graph::Op;

    /// The gradient of the whole penalty, by differences of its value; a pruned weight bears none.
    #[test]
    fn the_penalty_adds_its_gradient() {
        let values: Vec<f32> = (0..60).map(|i| (i as f32 / 10.0).sin()).collect();
        let mask: Vec<bool> = (0..60).map(|i| i % 7 > 0).collect();
        let mut graph = Graph::new("g", "x", &[60]);
        let weight = graph.add_parameter(Parameter::dense("w", &[1, 60], values.clone()));
        let op = Op::Gemm { weight, bias: None };
        graph.push("fc", op, &[graph.input]).expect("fits");
        graph.parameters[0].parametrization = Parametrization::Masked {
            values: values.clone(),
            mask: mask.clone(),
        };
        let settings = SoftShare {
            components: 4,
            tau: Some(0.5),
            ..SoftShare::default()
        };
        let mut draw = Draw {
            settings: &settings,
            max: 127,
            seed: 1,
            forces: Vec::new(),
        };
        draw.update(0.0, &mut graph, &[]).expect("draws");
        let mut gradients = [Some(vec![1.0; 60])];
        draw.penalize(&graph, &mut gradients);
        let Force::Mixture(mixture) = &draw.forces[0].1 else {
            panic!("a mixture is the usual force");
        };
        let gradient = gradients[0].as_ref().expect("one");
        for (i, &w) in values.iter().enumerate() {
            let cost = |step: f64| mixture.cost(f64::from(w) + step);
            let slope = (cost(1e-6) - cost(-1e-6)) / 2e-6;
            let expected = 1.0 + if mask[i] { 0.5 * slope } else { 0.0 };
            let off = (f64::from(gradient[i]) - expected).abs();
            assert!(off < 1e-4 * expected.abs().max(1.0), "{i}: {expected}");
        }
    }
}
