use super::fit::EpochStats;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shows training on standard error: a bar on a terminal, a line per epoch elsewhere.
#[derive(Debug)]
pub enum Progress {
    /// Nothing.
    Silent,
    /// A bar with the time left.
    Bar(ProgressBar),
    /// A line per epoch, with the time left.
    Lines {
        /// What is being done.
        title: String,
        /// Epochs altogether.
        epochs: usize,
        /// When it began, and the epoch it began with.
        started: Instant,
        /// When the last line was written.
        printed: Option<Instant>,
    },
}

/// Lines are no closer than this, the last one apart.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    /// For a run of `epochs` epochs of `steps` steps each.
    pub fn new(title: &str, epochs: usize, steps: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress::Lines {
                title: title.to_owned(),
                epochs,
                started: Instant::now(),
                printed: None,
            };
        }
        let bar = ProgressBar::new((epochs * steps) as u64);
        let template = "{prefix} [{bar:30}] {percent}% {msg} ({eta} left)";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(title.to_owned());
        Progress::Bar(bar)
    }

    pub(super) fn step(&self) {
        if let Progress::Bar(bar) = self {
            bar.inc(1);
        }
    }

    pub(super) fn skip(&mut self, epochs: usize, steps: usize) {
        match self {
            Progress::Bar(bar) => bar.set_position((epochs * steps) as u64),
            Progress::Lines { epochs: left, .. } => *left = left.saturating_sub(epochs),
            Progress::Silent => {}
        }
    }

    pub(super) fn epoch(&mut self, stats: &EpochStats, done: usize) {
        let message = match stats.held_out_error {
            Some(error) => format!(
                "epoch {}, loss {:.4}, held-out error {error:.2} %",
                stats.epoch, stats.loss
            ),
            None => format!("epoch {}, loss {:.4}", stats.epoch, stats.loss),
        };
        match self {
            Progress::Bar(bar) => bar.set_message(message),
            Progress::Lines {
                title,
                epochs,
                started,
                printed,
            } => {
                let now = Instant::now();
                let due = printed.is_none_or(|at| now - at >= LINE_INTERVAL) || done >= *epochs;
                if due {
                    let left = started.elapsed().as_secs_f64() / done as f64
                        * epochs.saturating_sub(done) as f64;
                    eprintln!("{title}: {message}, {left:.0} s left");
                    *printed = Some(now);
                }
            }
            Progress::Silent => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish();
        }
    }
}
