//! What an interrupted run leaves beside its output, and what the next one makes of it.

use super::Stage;
use std::path::{Path, PathBuf};
use trainer::command::beside;
use trainer::train::TrainConfig;

/// How a run goes on after an interruption.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// Files begin with this path; nothing is kept without one.
    pub stem: Option<PathBuf>,
    /// Whether existing ones are used.
    pub resume: bool,
}

/// Ending of the files.
const SUFFIX: &str = "ckpt";

impl Checkpoints {
    /// A training with its state kept.
    pub(super) fn config(&self, train: &TrainConfig, stage: &str) -> TrainConfig {
        TrainConfig {
            checkpoint: self.file(stage),
            resume: self.resume,
            ..train.clone()
        }
    }

    /// Where the state of a stage's training is.
    pub(super) fn file(&self, stage: &str) -> Option<PathBuf> {
        let stem = self.stem.as_ref();
        stem.map(|stem| beside(stem, &format!("{stage}.{SUFFIX}")))
    }

    /// Deletes what runs for this output have left.
    pub fn remove(&self) {
        let Some((folder, prefix)) = self.stem.as_deref().and_then(place) else {
            return;
        };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let stage = name.to_str().and_then(|name| stage_of(name, prefix));
            if stage.is_some_and(Stage::is_named) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Folder and name of a file.
fn place(file: &Path) -> Option<(&Path, &str)> {
    let folder = file.parent()?;
    let here = folder.as_os_str().is_empty();
    let folder = if here { Path::new(".") } else { folder };
    Some((folder, file.file_name()?.to_str()?))
}

/// `prune` in `model.pith.prune.ckpt`.
fn stage_of<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
    rest.strip_suffix(SUFFIX)?.strip_suffix('.')
}
