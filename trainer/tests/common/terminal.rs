//! A program as its user meets it: run in a folder of its own, judged by what it prints and leaves;
//! and the files it is given.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder in which a program runs.
pub(crate) struct Terminal {
    program: &'static str,
    folder: tempfile::TempDir,
}

impl Terminal {
    pub(crate) fn new(program: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { program, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("writes");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).expect("JSON")
    }

    /// Every file's name and content.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        let paths = entries.map(|e| e.expect("an entry").path());
        let name = |p: &Path| {
            p.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        };
        paths
            .filter(|p| p.is_file())
            .map(|p| (name(&p), fs::read(&p).expect("readable")))
            .collect()
    }

    /// The program's name, then its arguments, divided by blanks.
    fn command(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a program");
        let is_ours = Path::new(self.program)
            .file_stem()
            .is_some_and(|p| p == name);
        assert!(is_ours, "{name} is not {}", self.program);
        let mut command = Command::new(self.program);
        command.args(words).current_dir(self.folder.path());
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command(line).output().expect("starts")
    }

    /// What a command prints; it must succeed.
    pub(crate) fn says(&self, line: &str) -> String {
        let output = self.output(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a command prints besides, as it goes; it must succeed.
    pub(crate) fn notes(&self, line: &str) -> String {
        let output = self.output(line);
        let notes = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {notes}");
        notes
    }

    /// A command that must fail with one line that names all of `words`, and leave every file as it
    /// was.
    pub(crate) fn refuses(&self, line: &str, words: &[&str]) {
        let before = self.files();
        let error = self.fails(line);
        for word in words {
            assert!(error.contains(word), "{line}\nno '{word}' in: {error}");
        }
        let after = self.files();
        let names = |files: &BTreeMap<_, _>| files.keys().cloned().collect::<Vec<String>>();
        assert_eq!(names(&before), names(&after), "{line}");
        assert!(before == after, "{line} changed a file");
    }

    /// The one line of error of a command that must fail.
    pub(crate) fn fails(&self, line: &str) -> String {
        self.error(line, &self.output(line))
    }

    /// The one line of error of a command that failed.
    fn error(&self, line: &str, output: &Output) -> String {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code().is_some_and(|c| c != 0),
            "{line}: {said}"
        );
        let progress = |l: &&str| !l.is_empty() && !PROGRESS.iter().any(|p| l.contains(p));
        let lines: Vec<&str> = said.lines().filter(progress).collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with("error: "),
            "{line}: not one line of error: {said}"
        );
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        lines[0].to_owned()
    }

    /// A command whose reader goes before it has written anything, as `| head` may; what it says on
    /// standard error. It must succeed.
    pub(crate) fn unread(&self, line: &str) -> String {
        let mut command = self.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        said
    }

    /// Starts a command, presses Ctrl-C once it has written a line that begins with `after`, and
    /// returns its one line of error.
    #[cfg(unix)]
    pub(crate) fn interrupts(&self, line: &str, after: &str) -> String {
        let mut command = self.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        while !said.lines().any(|l| l.starts_with(after)) {
            let read = errors.read_line(&mut said).expect("text");
            assert!(read > 0, "{line} ended before '{after}': {said}");
        }
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("kill starts").success());
        std::io::Read::read_to_string(&mut errors, &mut said).expect("text");
        let mut output = child.wait_with_output().expect("ends");
        output.stderr = said.into_bytes();
        self.error(line, &output)
    }
}

/// How lines begin that are no error: progress, what is done without data, what Ctrl-C does.
const PROGRESS: [&str; 9] = [
    ": epoch ",
    ": taken from ",
    "training:",
    "sensitivity:",
    "plans:",
    "front:",
    "search:",
    "without --data",
    "stopping",
];

/// A NumPy file.
pub(crate) fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
    use npyz::WriterBuilder;
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(&mut bytes).begin_nd().expect("begins");
    writer.extend(values.iter().copied()).expect("writes");
    writer.finish().expect("finishes");
    bytes
}

/// The bytes with each occurrence of a part replaced by one as long.
pub(crate) fn patched(bytes: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..=bytes.len() - part.len())
        .filter(|&i| bytes[i..].starts_with(part))
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + part.len()].copy_from_slice(by);
    }
    bytes
}

/// The fields of a measured error must be those of another.
pub(crate) fn assert_same_measure(one: &serde_json::Value, other: &serde_json::Value) {
    for field in ["metric", "value", "split", "n"] {
        assert_eq!(one[field], other[field], "{field}");
        assert!(!one[field].is_null(), "{field}");
    }
}
