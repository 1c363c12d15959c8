//! Update rules over flat parameters. `g` is the gradient, `α` the learning rate, `t` counts from 1.
//!
//! | rule | update |
//! |---|---|
//! | sgd | `w −= αg` |
//! | momentum | `v = 0.9v − αg; w += v` |
//! | nesterov | `v' = 0.9v − αg; w += 0.9v' − αg` (momentum with the gradient at the point ahead) |
//! | adagrad | `a += g²; w −= αg/√(a + 1e-8)` |
//! | rmsprop | `a = 0.9a + 0.1g²; w −= αg/√(a + 1e-8)` |
//! | adadelta | `a = 0.95a + 0.05g²; d = −g·√((δ + ε)/(a + ε)); δ = 0.95δ + 0.05d²; w += αd`, ε = 1e-6 |
//! | adam | `m = 0.9m + 0.1g; a = 0.999a + 0.001g²; w −= α·√(1−0.999ᵗ)/(1−0.9ᵗ)·m/(√a + ε')` |
//! | adamw | adam, with `w −= αλw` apart from the gradient (Loshchilov & Hutter 2019) |
//! | lamb | `u` = adamw's step at rate 1; `w −= α·‖w‖/‖u‖·u` for weights, `w −= αu` for biases (You et al. 2020) |
//!
//! Learned steps s of integer grids come behind a parameter's free values; rules move ln s by the
//! gradient over s, without decay.
//!
//! With lamb a rate is the share by which a tensor of weights changes in a step, whatever the scale of
//! its inputs: a first layer that reads pixels of 0…255 has weights 255 times smaller than one that
//! reads 0…1, and learns the same.

use super::config::{Optimizer, TrainConfig};
use crate::graph::{Graph, Parameter, Parametrization};
use serde::{Deserialize, Serialize};

/// What a rule remembers of one parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    first: Vec<f32>,
    second: Vec<f32>,
}

/// The memory of an update rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    step: u64,
    memories: Vec<Memory>,
    /// Of the learned steps of each parameter's integer grid.
    #[serde(default)]
    steps: Vec<Memory>,
}

impl Memory {
    /// Empty, unless it is already of so many values.
    fn fit(&mut self, count: usize) {
        if self.first.len() != count {
            self.first = vec![0.0; count];
            self.second = vec![0.0; count];
        }
    }
}

impl State {
    /// For each parameter the running means of its gradients' squares; empty where there are none.
    pub(super) fn squares(&self) -> Vec<&[f32]> {
        self.memories.iter().map(|m| m.second.as_slice()).collect()
    }

    /// Moves every parameter that has a gradient. A parameter whose number of free values changed
    /// starts with an empty memory.
    pub(super) fn update(
        &mut self,
        graph: &mut Graph,
        gradients: &[Option<Vec<f32>>],
        rate: f64,
        config: &TrainConfig,
    ) {
        self.step += 1;
        let clip = clip_factor(gradients, config.clip_norm);
        for memories in [&mut self.memories, &mut self.steps] {
            memories.resize_with(graph.parameters.len(), Memory::default);
        }
        for (((parameter, gradient), memory), of_steps) in graph
            .parameters
            .iter_mut()
            .zip(gradients)
            .zip(&mut self.memories)
            .zip(&mut self.steps)
        {
            let frozen = config.frozen.contains(&parameter.name);
            if let Some(gradient) = gradient.as_ref().filter(|_| !frozen) {
                let mut gradient: Vec<f32> = gradient.iter().map(|g| g * clip).collect();
                let steps = gradient.split_off(parameter.free().len());
                regularize(parameter, &mut gradient, config);
                memory.fit(gradient.len());
                of_steps.fit(steps.len());
                move_steps(
                    parameter,
                    &steps,
                    of_steps,
                    config.optimizer,
                    rate,
                    self.step,
                );
                let decay = if is_weight(parameter) { config.l2 } else { 0.0 };
                if config.optimizer == Optimizer::Lamb {
                    lamb_step(parameter, &gradient, memory, rate, self.step, decay);
                } else {
                    step(
                        parameter.free_mut(),
                        &gradient,
                        memory,
                        config.optimizer,
                        rate,
                        self.step,
                        decay,
                    );
                }
                constrain(parameter, config.max_norm as f32);
            }
        }
    }
}

/// What brings the norm of all gradients down to `limit`, 1 where it is below.
fn clip_factor(gradients: &[Option<Vec<f32>>], limit: f64) -> f32 {
    if limit == 0.0 {
        return 1.0;
    }
    let squares = |g: &Vec<f32>| g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    let norm = gradients.iter().flatten().map(squares).sum::<f64>().sqrt();
    (limit / norm.max(limit)) as f32
}

/// What holds after every step: zero stays pinned whatever the rule remembers from before it was,
/// and no output unit's weights are longer than `max_norm`.
fn constrain(parameter: &mut Parameter, max_norm: f32) {
    let fan_in: usize = parameter.shape.iter().skip(1).product();
    let limited = is_weight(parameter) && max_norm > 0.0;
    match &mut parameter.parametrization {
        Parametrization::Shared {
            codebook,
            pinned_zero: true,
            ..
        } => codebook[0] = 0.0,
        Parametrization::Dense { values } if limited => {
            shorten(values, fan_in, |_| true, max_norm);
        }
        Parametrization::Masked { values, mask } if limited => {
            shorten(values, fan_in, |i| mask[i], max_norm);
        }
        _ => {}
    }
}

/// Scales each run of `fan_in` weights whose living ones are longer than `limit`.
fn shorten(values: &mut [f32], fan_in: usize, lives: impl Fn(usize) -> bool, limit: f32) {
    for (unit, weights) in values.chunks_mut(fan_in.max(1)).enumerate() {
        let living = weights
            .iter()
            .enumerate()
            .filter(|(i, _)| lives(unit * fan_in + i));
        let norm = living.map(|(_, w)| w * w).sum::<f32>().sqrt();
        if norm > limit {
            weights.iter_mut().for_each(|w| *w *= limit / norm);
        }
    }
}

fn is_weight(parameter: &Parameter) -> bool {
    parameter.shape.len() > 1
}

fn regularize(parameter: &Parameter, gradient: &mut [f32], config: &TrainConfig) {
    if !is_weight(parameter) {
        return;
    }
    let l2 = if matches!(config.optimizer, Optimizer::AdamW | Optimizer::Lamb) {
        0.0
    } else {
        config.l2 as f32
    };
    let l1 = config.l1 as f32;
    if l2 == 0.0 && l1 == 0.0 {
        return;
    }
    let penalty = |w: f32| l2 * w + l1 * if w == 0.0 { 0.0 } else { w.signum() };
    // The penalty is on W: a centroid bears that of every copy.
    let copies = match &parameter.parametrization {
        Parametrization::Shared { .. } | Parametrization::Vectors(_) => {
            parameter.pull_back(&vec![1.0; parameter.len()])
        }
        Parametrization::Hashed(weights) => weights.copies(),
        _ => vec![1.0; gradient.len()],
    };
    let weights = gradient.iter_mut().zip(parameter.free());
    weights
        .zip(copies)
        .for_each(|((g, &w), copies)| *g += copies * penalty(w));
}

/// Moves the logarithms of a grid's steps, of which there may be none.
fn move_steps(
    parameter: &mut Parameter,
    gradient: &[f32],
    memory: &mut Memory,
    rule: Optimizer,
    rate: f64,
    t: u64,
) {
    let Some(grid) = parameter.grid.as_mut().filter(|_| !gradient.is_empty()) else {
        return;
    };
    let mut logarithms: Vec<f32> = grid.scale.iter().map(|s| s.ln()).collect();
    let relative: Vec<f32> = gradient
        .iter()
        .zip(&grid.scale)
        .map(|(g, s)| g / s)
        .collect();
    step(&mut logarithms, &relative, memory, rule, rate, t, 0.0);
    grid.move_steps(&logarithms);
}

/// AdamW's step, made as long as the living weights are.
fn lamb_step(
    parameter: &mut Parameter,
    g: &[f32],
    memory: &mut Memory,
    rate: f64,
    t: u64,
    decay: f64,
) {
    let mut moved = parameter.free().to_vec();
    step(&mut moved, g, memory, Optimizer::AdamW, 1.0, t, decay);
    let w = parameter.free();
    let u: Vec<f32> = w.iter().zip(&moved).map(|(w, moved)| w - moved).collect();
    let (from, length) = (living_norm(parameter, w), living_norm(parameter, &u));
    let trust = if is_weight(parameter) && from > 0.0 && length > 0.0 {
        from / length
    } else {
        1.0
    };
    let alpha = (rate * trust) as f32;
    let entries = parameter.free_mut().iter_mut().zip(&u);
    entries.for_each(|(w, u)| *w -= alpha * u);
}

/// Euclidean norm of the entries that no mask hides.
fn living_norm(parameter: &Parameter, values: &[f32]) -> f64 {
    let square = |v: &f32| f64::from(*v).powi(2);
    let sum: f64 = match &parameter.parametrization {
        Parametrization::Masked { mask, .. } | Parametrization::Clustered { mask, .. } => {
            let living = values.iter().zip(mask).filter(|(_, lives)| **lives);
            living.map(|(v, _)| square(v)).sum()
        }
        _ => values.iter().map(square).sum(),
    };
    sum.sqrt()
}

fn step(
    w: &mut [f32],
    g: &[f32],
    memory: &mut Memory,
    rule: Optimizer,
    rate: f64,
    t: u64,
    decay: f64,
) {
    let alpha = rate as f32;
    let entries = w
        .iter_mut()
        .zip(g)
        .zip(memory.first.iter_mut().zip(memory.second.iter_mut()));
    match rule {
        Optimizer::Sgd => entries.for_each(|((w, g), _)| *w -= alpha * g),
        Optimizer::Momentum => entries.for_each(|((w, g), (v, _))| {
            *v = 0.9 * *v - alpha * g;
            *w += *v;
        }),
        Optimizer::Nesterov => entries.for_each(|((w, g), (v, _))| {
            *v = 0.9 * *v - alpha * g;
            *w += 0.9 * *v - alpha * g;
        }),
        Optimizer::AdaGrad => entries.for_each(|((w, g), (_, a))| {
            *a += g * g;
            *w -= alpha * g / (*a + 1e-8).sqrt();
        }),
        Optimizer::RmsProp => entries.for_each(|((w, g), (_, a))| {
            *a = 0.9 * *a + 0.1 * g * g;
            *w -= alpha * g / (*a + 1e-8).sqrt();
        }),
        Optimizer::AdaDelta => entries.for_each(|((w, g), (delta, a))| {
            *a = 0.95 * *a + 0.05 * g * g;
            let d = -g * ((*delta + 1e-6) / (*a + 1e-6)).sqrt();
            *delta = 0.95 * *delta + 0.05 * d * d;
            *w += alpha * d;
        }),
        Optimizer::Adam | Optimizer::AdamW | Optimizer::Lamb => {
            let power = t.min(1 << 20) as i32;
            let correction =
                ((1.0 - 0.999f64.powi(power)).sqrt() / (1.0 - 0.9f64.powi(power))) as f32;
            let epsilon = 1e-8 * (1.0 - 0.999f64.powi(power)).sqrt() as f32;
            let shrink = if rule != Optimizer::Adam {
                1.0 - alpha * decay as f32
            } else {
                1.0
            };
            entries.for_each(|((w, g), (m, a))| {
                *m = 0.9 * *m + 0.1 * g;
                *a = 0.999 * *a + 0.001 * g * g;
                *w = *w * shrink - alpha * correction * *m / (a.sqrt() + epsilon);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps with gradient 2 then −1 from w = 1, by the formulas with pencil and paper.
    fn two_steps(rule: Optimizer, rate: f64) -> f32 {
        let (mut w, mut memory) = (
            [1.0],
            Memory {
                first: vec![0.0],
                second: vec![0.0],
            },
        );
        step(&mut w, &[2.0], &mut memory, rule, rate, 1, 0.1);
        step(&mut w, &[-1.0], &mut memory, rule, rate, 2, 0.1);
        w[0]
    }

    #[test]
    fn rules_follow_their_formulas() {
        let close = |a: f32, b: f64| assert!((a as f64 - b).abs() < 1e-5, "{a} for {b}");
        close(two_steps(Optimizer::Sgd, 0.1), 1.0 - 0.2 + 0.1);
        close(two_steps(Optimizer::Momentum, 0.1), 0.8 + (-0.18 + 0.1));
        close(
            two_steps(Optimizer::Nesterov, 0.1),
            1.0 + (-0.18 - 0.2) + (0.9 * -0.08 + 0.1),
        );
        close(
            two_steps(Optimizer::AdaGrad, 0.1),
            1.0 - 0.1 + 0.1 / 5f64.sqrt(),
        );
        close(
            two_steps(Optimizer::RmsProp, 0.1),
            1.0 - 0.2 / 0.4f64.sqrt() + 0.1 / 0.46f64.sqrt(),
        );
        let d1 = -2.0 * (1e-6f64 / (0.2 + 1e-6)).sqrt();
        let d2 = ((0.05 * d1 * d1 + 1e-6) / (0.19 + 0.05 + 1e-6)).sqrt();
        close(two_steps(Optimizer::AdaDelta, 1.0), 1.0 + d1 + d2);
        let (m, a) = (0.9 * 0.2 - 0.1, 0.999 * 0.004 + 0.001f64);
        let adam2 = 0.1 * (1.0 - 0.999f64.powi(2)).sqrt() / (1.0 - 0.81) * m / a.sqrt();
        close(two_steps(Optimizer::Adam, 0.1), 1.0 - 0.1 - adam2);
        close(
            two_steps(Optimizer::AdamW, 0.1),
            (0.99 - 0.1) * 0.99 - adam2,
        );
    }

    #[test]
    fn adams_first_step_is_the_learning_rate() {
        for g in [1e-3, 5.0, -40.0] {
            let (mut w, mut memory) = (
                [0.0],
                Memory {
                    first: vec![0.0],
                    second: vec![0.0],
                },
            );
            step(&mut w, &[g], &mut memory, Optimizer::Adam, 0.01, 1, 0.0);
            assert!((w[0].abs() - 0.01).abs() < 1e-6);
        }
    }

    /// One step of lamb from these weights `[2, 2]` with this gradient.
    fn lamb(weights: [f32; 4], gradient: [f32; 4], decay: f64) -> Vec<f32> {
        let mut parameter = Parameter::dense("w", &[2, 2], weights.to_vec());
        let mut memory = Memory {
            first: vec![0.0; 4],
            second: vec![0.0; 4],
        };
        lamb_step(&mut parameter, &gradient, &mut memory, 0.1, 1, decay);
        parameter.free().to_vec()
    }

    #[test]
    fn lambs_first_step_is_a_share_of_the_norm_along_the_signs() {
        // Adam's first step is the gradient's sign; ‖w‖ = 5, ‖sign‖ = √4.
        let after = lamb([3.0, 0.0, -4.0, 0.0], [7.0, -0.1, 2.0, 1e-3], 0.0);
        let expected = [3.0 - 0.25, 0.25, -4.25, -0.25];
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!(after.iter().zip(&expected).all(close), "{after:?}");
    }

    #[test]
    fn with_lamb_inputs_255_times_larger_learn_the_same() {
        let (weights, gradient) = ([3.0, 0.5, -4.0, 1.0], [7.0, -0.1, 2.0, 0.5]);
        let small = lamb(weights.map(|w| w / 255.0), gradient.map(|g| g * 255.0), 0.0);
        let plain = lamb(weights, gradient, 0.0);
        let same = |(s, p): (&f32, &f32)| (s * 255.0 - p).abs() < 1e-4;
        assert!(small.iter().zip(&plain).all(same), "{small:?} {plain:?}");
    }
}
