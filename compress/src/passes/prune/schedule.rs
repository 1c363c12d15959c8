//! How much is pruned when.

use crate::settings::SettingError;

/// The part of a training, from a share of it until another, in which amounts grow.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where it begins …
    pub from: f64,
    /// … and ends.
    pub until: f64,
}

impl Span {
    /// Refuses one that is none.
    ///
    /// # Errors
    /// By the `name` given.
    pub fn check(self, name: &'static str) -> Result<(), SettingError> {
        let Self { from, until } = self;
        if 0.0 <= from && from < until && until <= 1.0 {
            return Ok(());
        }
        Err(SettingError {
            name,
            range: "0 ≤ from < until ≤ 1",
            value: format!("{from} and {until}"),
        })
    }

    /// How far `progress` of the training is in it: below 0 before, above 1 behind.
    pub fn progress(self, progress: f64) -> f64 {
        (progress - self.from) / (self.until - self.from)
    }
}

/// The share of an amount that is pruned at `progress`: much at first, while there is much to take
/// (Zhu & Gupta 2017).
pub fn cubic(progress: f64) -> f64 {
    1.0 - (1.0 - progress.clamp(0.0, 1.0)).powi(3)
}

/// How a share is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Along [`cubic`].
    Cubic,
    /// By so many prunings, at least one, each followed by retraining; the survivors become fewer by the
    /// same factor each time (Han 2015).
    Steps(usize),
}

impl Course {
    /// What of `share` is pruned at `progress`: nothing below 0, all from 1 on.
    pub fn at(self, share: f64, progress: f64) -> f64 {
        match self {
            Course::Cubic => share * cubic(progress),
            Course::Steps(_) if progress < 0.0 => 0.0,
            Course::Steps(_) if progress >= 1.0 => share,
            Course::Steps(count) => {
                let done = 1.0 + (progress * count.saturating_sub(1) as f64).floor();
                1.0 - (1.0 - share).powf(done / count.max(1) as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_leave_the_same_part_of_what_is_left() {
        let at = |progress| Course::Steps(3).at(0.875, progress);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} for {b}");
        for (progress, share) in [(-0.1, 0.0), (0.0, 0.5), (0.49, 0.5), (0.5, 0.75)] {
            close(at(progress), share);
        }
        for (progress, share) in [(0.99, 0.75), (1.0, 0.875), (1.5, 0.875)] {
            close(at(progress), share);
        }
        close(Course::Steps(1).at(0.9, 0.0), 0.9);
        close(Course::Cubic.at(0.8, 0.5), 0.8 * 0.875);
        close(Course::Cubic.at(0.8, -1.0), 0.0);
    }
}
