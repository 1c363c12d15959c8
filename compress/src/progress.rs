//! How far long work is, and the time left: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Lines are no closer than this.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Work in steps of about equal length.
pub(crate) struct Steps {
    title: &'static str,
    count: usize,
    taken: Cell<usize>,
    started: Instant,
    printed: Cell<Instant>,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// So many of them.
    pub(crate) fn new(title: &'static str, count: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(count as u64).with_prefix(title);
            let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent}% ({eta} left)");
            style.map(|s| bar.set_style(s.progress_chars("=> "))).ok();
            bar
        });
        Self {
            title,
            count,
            taken: Cell::new(0),
            started: Instant::now(),
            printed: Cell::new(Instant::now()),
            bar,
        }
    }

    /// One more is done.
    pub(crate) fn done(&self) {
        let taken = self.taken.get() + 1;
        self.taken.set(taken);
        match &self.bar {
            Some(bar) if taken >= self.count => bar.finish_and_clear(),
            Some(bar) => bar.inc(1),
            None if self.printed.get().elapsed() >= LINE_INTERVAL => self.line(taken),
            None => {}
        }
    }

    fn line(&self, taken: usize) {
        let Self { title, count, .. } = self;
        let each = self.started.elapsed().as_secs_f64() / taken as f64;
        let left = each * count.saturating_sub(taken) as f64;
        eprintln!("{title}: {taken} of {count}, {left:.0} s left");
        self.printed.set(Instant::now());
    }
}
