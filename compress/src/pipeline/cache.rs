//! Results of stages, each under a key of all that decides it: the graph and the data that the run
//! began with, the stage's settings, and those of the stages before.
//!
//! A file is a line that names its version, the key, a CRC-32, then bincode under zstd.

use super::{Checkpoints, CompressError, Effect, Run, Stage, stages};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::BufWriter;
use std::path::Path;
use trainer::files::write_atomically;

/// What every version begins its files with.
const KIND: &[u8] = b"Pith stage ";

/// The number goes up when the layout changes, or what a pass makes of the same settings.
const HEADER: &[u8] = concat!("Pith stage 3 of ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// Bytes a result may take unpacked; a file that claims more is none of ours.
const LARGEST: usize = 1 << 34;

type Any = Box<dyn std::error::Error>;

/// SHA-256 of all that decides a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Of the first things that decide.
    ///
    /// # Errors
    /// When they cannot be laid out as bytes.
    pub fn of(parts: &impl Serialize) -> Result<Self, Any> {
        Key([0; 32]).and(parts)
    }

    /// Of all that so far, and more.
    ///
    /// # Errors
    /// When it cannot be laid out as bytes.
    pub fn and(&self, more: &impl Serialize) -> Result<Self, Any> {
        let mut hash = BufWriter::new(Sha256::new_with_prefix(self.0));
        let layout = bincode::config::standard();
        bincode::serde::encode_into_std_write(more, &mut hash, layout)?;
        Ok(Key(hash.into_inner()?.finalize().into()))
    }
}

impl fmt::Display for Key {
    /// Enough of it for the name of a file.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A stage of a run, as reports and files call it.
pub(super) struct Step<'s> {
    pub(super) name: String,
    pub(super) stage: &'s Stage,
    /// Of its result; none where no results are kept.
    pub(super) key: Option<Key>,
}

/// The stages of a run, which has not begun.
pub(super) fn steps<'s>(
    run: &Run<'s>,
    checkpoints: &Checkpoints,
) -> Result<Vec<Step<'s>>, CompressError> {
    let trains = run.settings.trainings().any(|train| run.trains(train));
    let mut steps: Vec<Step> = stages::named(&run.settings.stages)
        .map(|(name, stage)| Step {
            name,
            stage,
            key: None,
        })
        .collect();
    if checkpoints.keeps(trains) {
        checkpoints.open()?;
        let mut key = start(run).map_err(CompressError::Key)?;
        for step in &mut steps {
            key = then(&key, step.stage, run).map_err(CompressError::Key)?;
            step.key = Some(key);
        }
    }
    Ok(steps)
}

/// Of what a run begins with.
fn start(run: &Run) -> Result<Key, Any> {
    let data = (run.train, run.held_out, &run.calibration);
    Key::of(&(run.state(), data, run.settings.seed))
}

/// Of the result of a stage, where `before` is that of what it is made of.
fn then(before: &Key, stage: &Stage, run: &Run) -> Result<Key, Any> {
    let (pass, settings) = (stage.pass(), run.settings);
    let mut key = before.and(&serde_json::to_string(stage)?)?;
    for file in pass.files() {
        let bytes =
            std::fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        key = key.and(&bytes)?;
    }
    match pass.effect() {
        Effect::Form => key.and(&(settings.grid, serde_json::to_string(&settings.calibration)?)),
        _ => Ok(key),
    }
}

/// What is in a file of results.
enum Found<T> {
    Result(T),
    /// None, or that of another key.
    Nothing,
    /// A reason not to use it.
    Unusable(String),
}

/// The result of this key in a file. One that cannot be used is said so in a line.
pub(super) fn load<T: DeserializeOwned>(file: &Path, key: &Key) -> Option<T> {
    match read(file, key) {
        Found::Result(result) => Some(result),
        Found::Nothing => None,
        Found::Unusable(reason) => {
            eprintln!("{} {reason} and is not used", file.display());
            None
        }
    }
}

fn read<T: DeserializeOwned>(file: &Path, key: &Key) -> Found<T> {
    let Ok(bytes) = std::fs::read(file) else {
        return Found::Nothing;
    };
    let Some(rest) = bytes.strip_prefix(HEADER) else {
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let version = String::from_utf8_lossy(&line[..line.len().min(HEADER.len() + 16)]);
        return Found::Unusable(if line.starts_with(KIND) {
            format!("is from another version ('{}')", version.escape_debug())
        } else {
            "is no result of a stage".to_owned()
        });
    };
    match rest.split_first_chunk::<32>() {
        Some((of, _)) if *of != key.0 => Found::Nothing,
        Some((_, packed)) => {
            let damaged = |error| Found::Unusable(format!("is damaged ({error})"));
            decode(packed).map_or_else(damaged, Found::Result)
        }
        None => Found::Unusable("is cut off".to_owned()),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Any> {
    let (checksum, packed) = bytes.split_first_chunk::<4>().ok_or("it is cut off")?;
    if no_std_core::crc32(packed) != u32::from_le_bytes(*checksum) {
        return Err("its checksum is wrong".into());
    }
    let mut decoder = zstd::Decoder::with_buffer(packed)?;
    let layout = bincode::config::standard().with_limit::<LARGEST>();
    Ok(bincode::serde::decode_from_std_read(&mut decoder, layout)?)
}

/// Writes a result. That it cannot be kept is no reason to lose it: it is said in a line.
pub(super) fn keep<T: Serialize>(file: &Path, key: &Key, result: &T) {
    let written = encode(key, result).and_then(|bytes| Ok(write_atomically(file, &bytes)?));
    if let Err(error) = written {
        eprintln!("the stage is not kept: {error}");
    }
}

fn encode<T: Serialize>(key: &Key, result: &T) -> Result<Vec<u8>, Any> {
    let mut packed = zstd::Encoder::new(Vec::new(), 1)?;
    bincode::serde::encode_into_std_write(result, &mut packed, bincode::config::standard())?;
    let packed = packed.finish()?;
    let checksum = no_std_core::crc32(&packed).to_le_bytes();
    Ok([HEADER, &key.0, &checksum, &packed].concat())
}
