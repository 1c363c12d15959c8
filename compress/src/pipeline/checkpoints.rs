//! What a run leaves behind for another one: the state of an interrupted training, and the results of
//! the stages that it finished.

use super::cache::{self, Key, Step};
use super::{CompressError, Stage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use trainer::command::beside;
use trainer::files::WriteError;
use trainer::train::TrainConfig;

/// How a run goes on after another.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// Files begin with this path, as long as the run is not finished; nothing is kept without one.
    pub stem: Option<PathBuf>,
    /// Where the results of stages are kept for good, rather than beside `stem`.
    pub cache: Option<PathBuf>,
    /// Whether states of interrupted trainings are used. Results of stages are in any case.
    pub resume: bool,
}

/// Ending of the state of a training.
const STATE: &str = "ckpt";

/// Ending of the result of a stage.
const RESULT: &str = "stage";

impl Checkpoints {
    /// Makes the folder of results.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(&self) -> Result<(), WriteError> {
        let Some(file) = &self.cache else {
            return Ok(());
        };
        std::fs::create_dir_all(file).map_err(|source| WriteError::Failed {
            file: file.clone(),
            source,
        })
    }

    /// What the stage left whose result has this key, and the seconds it took. A file that cannot be used
    /// is said to be so, in a line on standard error.
    pub fn load<T: DeserializeOwned>(&self, stage: &str, key: &Key) -> Option<(T, f64)> {
        cache::load(&self.result(stage, key)?, key)
    }

    /// Keeps what a stage left, for [`load`](Self::load).
    pub fn keep<T: Serialize>(&self, stage: &str, key: &Key, result: &T, seconds: f64) {
        if let Some(file) = self.result(stage, key) {
            cache::keep(&file, key, &(result, seconds));
        }
    }

    /// Where the result of the last of these steps is, if it was kept.
    pub(super) fn last(&self, steps: &[Step]) -> Option<PathBuf> {
        let step = steps.last()?;
        let file = self.result(&step.name, step.key.as_ref()?);
        file.filter(|file| file.exists())
    }

    /// Where the result of a stage is. Beside an output there is one for each stage alone.
    fn result(&self, stage: &str, key: &Key) -> Option<PathBuf> {
        let cached = |folder: &PathBuf| folder.join(format!("{stage}.{key}.{RESULT}"));
        let cached = self.cache.as_ref().map(cached);
        cached.or_else(|| self.beside(stage, RESULT))
    }

    /// Whether results are kept: in a cache all, beside an output those of a run that trains, for
    /// without training nothing takes long.
    pub(super) fn keeps(&self, trains: bool) -> bool {
        self.cache.is_some() || self.stem.is_some() && trains
    }

    /// A training with its state kept.
    pub(super) fn config(&self, train: &TrainConfig, stage: &str) -> TrainConfig {
        TrainConfig {
            checkpoint: self.beside(stage, STATE),
            resume: self.resume,
            ..train.clone()
        }
    }

    fn beside(&self, stage: &str, suffix: &str) -> Option<PathBuf> {
        let stem = self.stem.as_ref();
        stem.map(|stem| beside(stem, &format!("{stage}.{suffix}")))
    }

    /// Says where the network is that the next stage could not be made of. A training says so itself.
    pub(super) fn explain(&self, error: CompressError, done: &[Step]) -> CompressError {
        let file = done
            .last()
            .and_then(|step| self.result(&step.name, step.key.as_ref()?));
        match (error, file.filter(|file| file.exists())) {
            (error @ CompressError::Train(_), _) | (error, None) => error,
            (error, Some(file)) => {
                let source = Box::new(error);
                CompressError::Kept { source, file }
            }
        }
    }

    /// Deletes what runs for this output have left beside it. A cache stays.
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
    let (stage, suffix) = rest.rsplit_once('.')?;
    [STATE, RESULT].contains(&suffix).then_some(stage)
}
