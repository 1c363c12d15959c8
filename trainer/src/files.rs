//! Files written whole or not at all; descriptions read with errors of one line.

use crate::names::meant;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Why a file could not be written; what was at its place before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Its folder is missing.
    #[error(
        "cannot write '{}': the folder '{}' does not exist; create it first",
        file.display(),
        folder.display()
    )]
    NoFolder {
        /// The file.
        file: PathBuf,
        /// The missing folder.
        folder: PathBuf,
    },
    /// A folder stands at its place.
    #[error("cannot write '{}': it is a folder; name a file in it", file.display())]
    IsFolder {
        /// The file.
        file: PathBuf,
    },
    /// The system refused.
    #[error("cannot write '{}': {source}", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes a file under a temporary name in the same folder, then renames it. A device or a pipe
/// (`/dev/null`) is written to as it is: to replace it would be to destroy it.
///
/// # Errors
/// When the folder is missing or the system refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let folder = folder(path)?;
    let written = if is_special(path) {
        std::fs::write(path, bytes)
    } else {
        temporary_in(folder).and_then(|mut temporary| {
            temporary.write_all(bytes)?;
            temporary.as_file().sync_all()?;
            temporary.persist(path).map_err(|e| e.error).map(drop)
        })
    };
    written.map_err(|source| failed(path, source))
}

/// Whether [`write_atomically`] would find a folder to write to: asked before long work.
///
/// # Errors
/// When the folder is missing or closed, or a folder stands at the file's place.
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    let folder = folder(path)?;
    if is_special(path) {
        return Ok(());
    }
    temporary_in(folder)
        .map(drop)
        .map_err(|source| failed(path, source))
}

/// The folder of a file, `.` for a bare name.
pub(crate) fn folder(file: &Path) -> Result<&Path, WriteError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if file.is_dir() {
        let file = file.to_owned();
        return Err(WriteError::IsFolder { file });
    }
    if !folder.is_dir() {
        let (file, folder) = (file.to_owned(), folder.to_owned());
        return Err(WriteError::NoFolder { file, folder });
    }
    Ok(folder)
}

pub(crate) fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// A temporary file with the permissions of an ordinary one, in the same folder as its target so that
/// the rename is atomic.
fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Reads a description in TOML.
///
/// # Errors
/// The line and what is wrong with it; for a name that there is not, also the nearest that there is.
pub fn parse_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|e| {
        let message = e.message().trim_end().replace('\n', ", ");
        let start = e.span().map_or(0, |span| span.start);
        let word = quoted(&message).next();
        let line = line_of(
            text,
            start,
            word.filter(|_| !message.starts_with("missing ")),
        );
        format!("line {line}: {message}{}", nearest(&message))
    })
}

/// The line of what an error quotes. The place it gives may be no more than the beginning of a table
/// that it was met in, so that the line is that of the word's next occurrence.
fn line_of(text: &str, start: usize, word: Option<&str>) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let whole = |&(at, word): &(usize, &str)| {
        !rest[..at].ends_with(is_part) && !rest[at + word.len()..].starts_with(is_part)
    };
    let found = word.filter(|word| !word.is_empty());
    let found = found.and_then(|word| rest.match_indices(word).find(whole));
    let at = start + found.map_or(0, |(at, _)| at);
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// What stands between quotation marks of either kind.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split(['`', '"']).skip(1).step_by(2)
}

/// " (do you mean …?)" for "unknown field `…`, expected one of `…`, `…`".
fn nearest(message: &str) -> String {
    let mut names = quoted(message);
    match names.next() {
        Some(unknown) if message.starts_with("unknown ") => meant(unknown, names),
        _ => String::new(),
    }
}

fn failed(file: &Path, source: io::Error) -> WriteError {
    let file = file.to_owned();
    WriteError::Failed { file, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_there_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        for content in ["old", "new"] {
            write_atomically(&path, content.as_bytes()).expect("writes");
            assert_eq!(std::fs::read_to_string(&path).expect("is there"), content);
        }
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn folders_are_checked_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = check_writable(&folder.path().join("no/a")).expect_err("no folder");
        assert!(matches!(missing, WriteError::NoFolder { .. }), "{missing}");
        let occupied = check_writable(folder.path()).expect_err("a folder");
        assert!(
            matches!(occupied, WriteError::IsFolder { .. }),
            "{occupied}"
        );
        check_writable(&folder.path().join("a")).expect("writable");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn an_unknown_name_is_found_in_its_table() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
        #[allow(dead_code)]
        enum Shape {
            #[allow(dead_code)] // read by nobody but the parser
            Disc { radius: u8 },
            #[allow(dead_code)]
            Square { side: u8 },
        }
        #[derive(Debug, serde::Deserialize)]
        struct Shapes {
            #[allow(dead_code)]
            shapes: Vec<Shape>,
        }
        let error = |text: &str| parse_toml::<Shapes>(text).expect_err("wrong");
        let first = "[[shapes]]\nkind = 'disc'\nradius = 1\n\n[[shapes]]\n";
        let key = error(&format!("{first}kind = 'square'\n# side\nsied = 2\n"));
        assert_eq!(
            key,
            "line 8: unknown field `sied`, expected `side` (do you mean side?)"
        );
        let name = error(&format!("{first}radius = 1\nkind = 'dics'\n"));
        assert_eq!(
            name,
            "line 7: unknown variant `dics`, expected `disc` or `square` (do you mean disc?)"
        );
        let value = error(&format!("{first}kind = 'disc'\nradius = 'wide'\n"));
        assert!(
            value.starts_with("line 7: invalid type: string \"wide\""),
            "{value}"
        );
        assert!(error("shapes = [\n").starts_with("line "));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_stays_one() {
        use std::os::unix::fs::FileTypeExt;
        let null = Path::new("/dev/null");
        write_atomically(null, b"gone").expect("writes");
        let kind = std::fs::metadata(null).expect("is there").file_type();
        assert!(kind.is_char_device());
    }
}
