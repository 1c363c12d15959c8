use std::path::{Path, PathBuf};

/// Why data could not be read, in one line that names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A specification that names no known kind of data.
    #[error("unknown data '{spec}'{hint}; expected {}", KINDS)]
    Unknown {
        /// As given.
        spec: String,
        /// Which one may be meant.
        hint: String,
    },
    /// A specification whose part after the colon is wrong.
    #[error("'{spec}': {reason}")]
    Spec {
        /// As given.
        spec: String,
        /// What is expected.
        reason: String,
    },
    /// A file that is missing, truncated or wrong.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The kinds of data, for messages.
const KINDS: &str = "glyphs[:N], mnist:DIR, cifar10:DIR, images:DIR, wav:DIR[,features=mfcc,…], idx:IMAGES,LABELS, csv:FILE[,label=NAME], npz:FILE or npy:X.npy,Y.npy, optionally with ,scale=255";

impl DataError {
    pub(super) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        DataError::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
