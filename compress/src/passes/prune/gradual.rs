//! Pruning while training goes on.

use super::{Amounts, Course, Prune, changing, prune_blocks, prune_pattern, regrow};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trainer::data::Dataset;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, Hook, gradients};

/// Prunes more and more as training goes on.
pub(super) struct Schedule<'s> {
    pub(super) amounts: Amounts,
    pub(super) settings: &'s Prune,
    /// Whose gradients say which weights return.
    pub(super) examples: Option<&'s Dataset>,
}

/// Examples that say which weights return.
const REGROWING_EXAMPLES: usize = 256;

impl Schedule<'_> {
    /// `progress` between `from` and `until`.
    pub(super) fn prune(&self, progress: f64, graph: &mut Graph) {
        let course = match self.settings.steps {
            0 => Course::Cubic,
            count => Course::Steps(count),
        };
        match self.settings.pattern {
            Some(pattern) => {
                let share = course.at(pattern.share(), progress);
                prune_pattern(graph, pattern.kept(share), pattern.of);
            }
            None if self.amounts.unknown() => {}
            None => {
                let at = |share| course.at(share, progress);
                let Prune { block, rate, .. } = *self.settings;
                prune_blocks(graph, &self.amounts, block, rate, at);
            }
        }
    }

    /// Other examples at every step, the same ones when a run is resumed.
    fn regrow(&self, progress: f64, graph: &mut Graph, all: &Dataset) -> Result<(), String> {
        let seed = self.settings.train.seed ^ progress.to_bits();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = REGROWING_EXAMPLES.min(all.len());
        let places: Vec<usize> = (0..count).map(|_| rng.random_range(0..all.len())).collect();
        let gradients = gradients(graph, &all.subset(&places), DeviceChoice::Cpu);
        let gradients = gradients.map_err(|e| e.to_string())?;
        regrow(graph, &gradients, changing(self.settings.regrow, progress));
        Ok(())
    }
}

impl Hook for Schedule<'_> {
    fn every(&self) -> usize {
        self.settings.every.max(1)
    }

    fn update(
        &mut self,
        progress: f64,
        graph: &mut Graph,
        squares: &[&[f32]],
    ) -> Result<(), String> {
        if let Amounts::Fisher(_, known) = &mut self.amounts {
            *known = squares.iter().map(|s| s.to_vec()).collect();
        }
        let progress = self.settings.span().progress(progress);
        self.prune(progress, graph);
        match self.examples.filter(|_| (0.0..1.0).contains(&progress)) {
            Some(examples) => self.regrow(progress, graph, examples),
            None => Ok(()),
        }
    }
}
