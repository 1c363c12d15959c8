//! Files in folders named after their classes.

use super::DataError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names of classes, numbered in their order.
pub(super) struct Classes(BTreeMap<String, usize>);

impl Classes {
    pub(super) fn of(names: &[String]) -> Self {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        Self(names.into_iter().enumerate().map(|(i, n)| (n, i)).collect())
    }

    pub(super) fn number(&self, name: &str, place: &Path) -> Result<usize, DataError> {
        let unknown = || DataError::file(place, format!("'{name}' is no class of the train split"));
        self.0.get(name).copied().ok_or_else(unknown)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

pub(super) fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> DataError + '_ {
    move |e| DataError::file(path, e)
}

/// The folders in a folder, of which there must be some, with files of this kind.
pub(super) fn names(dir: &Path, kind: &str) -> Result<Vec<String>, DataError> {
    let is_folder = |path: &PathBuf| path.is_dir();
    let folders = entries(dir)?.into_iter().filter(is_folder);
    let names: Vec<String> = folders.map(|path| name(&path)).collect();
    if names.is_empty() {
        let reason = format!("expected a folder for each class, with {kind}");
        return Err(DataError::file(dir, reason));
    }
    Ok(names)
}

/// The files wanted in a split's class folders, each with its class, in the order of their names.
pub(super) fn files(
    split: &Path,
    classes: &Classes,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<(usize, PathBuf)>, DataError> {
    let mut files = Vec::new();
    for folder in entries(split)?.into_iter().filter(|path| path.is_dir()) {
        let class = classes.number(&name(&folder), split)?;
        let wanted = entries(&folder)?.into_iter().filter(|path| wanted(path));
        files.extend(wanted.map(|path| (class, path)));
    }
    files.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    Ok(files)
}

/// What a folder holds, in no order.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(dir).map_err(unreadable(dir))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(unreadable(dir))
}

/// Of a path's last part.
pub(super) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
