//! The whole state of a training run between two epochs: a CRC-32, then bincode under zstd.

use super::TrainError;
use super::config::TrainConfig;
use super::fit::EpochStats;
use super::optimizer::State;
use crate::data::Dataset;
use crate::files::write_atomically;
use crate::graph::Graph;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Written first; another one is another program's file.
const MAGIC: &[u8; 8] = b"PithCkp7";

/// Bytes a state may take unpacked; a file that claims more is none of ours.
const LARGEST: usize = 1 << 32;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) config: TrainConfig,
    /// Fingerprint of the graph that training began with.
    pub(super) origin: u32,
    /// Fingerprint of the examples, trained on and held out.
    pub(super) examples: u32,
    pub(super) epoch: usize,
    pub(super) graph: Graph,
    pub(super) optimizer: State,
    pub(super) history: Vec<EpochStats>,
    pub(super) best: Option<(f64, Graph)>,
    pub(super) since_best: usize,
}

impl Checkpoint {
    pub(super) fn save(&self, path: &Path) -> Result<(), TrainError> {
        let packed = self.encode().map_err(|e| failed(path, e))?;
        let checksum = no_std_core::crc32(&packed).to_le_bytes();
        let bytes = [&MAGIC[..], &checksum, &packed].concat();
        Ok(write_atomically(path, &bytes)?)
    }

    fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut packed = zstd::Encoder::new(Vec::new(), 1)?;
        bincode::serde::encode_into_std_write(self, &mut packed, bincode::config::standard())?;
        Ok(packed.finish()?)
    }

    /// The state in a file, if there is one; it must have begun as `start`.
    pub(super) fn load(path: &Path, start: &Self) -> Result<Option<Self>, TrainError> {
        if !path.exists() {
            return Ok(None);
        }
        let checkpoint = Self::read(path).map_err(|e| failed(path, e))?;
        let own = |c: &TrainConfig| TrainConfig {
            checkpoint: None,
            resume: false,
            ..c.clone()
        };
        if own(&checkpoint.config) != own(&start.config) {
            return Err(failed(
                path,
                "the checkpoint was made with other settings; repeat them or delete it".into(),
            ));
        }
        if checkpoint.origin != start.origin {
            return Err(failed(
                path,
                "the checkpoint was made from another model; delete it to start anew".into(),
            ));
        }
        if checkpoint.examples != start.examples {
            return Err(failed(
                path,
                "the checkpoint was made on other data or with another hold-out; repeat them or delete it"
                    .into(),
            ));
        }
        Ok(Some(checkpoint))
    }

    /// Refuses to begin anew over the progress of the same run. The checkpoint of another run, or a
    /// damaged one, is overwritten.
    pub(super) fn spare(path: &Path, start: &Self) -> Result<(), TrainError> {
        match Self::load(path, start) {
            Ok(Some(found)) if found.epoch > 0 => {
                let (done, all) = (found.epoch, start.config.epochs);
                let reason = format!(
                    "holds {done} of {all} epochs of this run, which was interrupted; go on with --resume, or delete it to start anew"
                );
                Err(failed(path, reason.into()))
            }
            _ => Ok(()),
        }
    }

    fn read(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let bytes = std::fs::read(path)?;
        let Some(packed) = bytes.strip_prefix(MAGIC) else {
            return Err("not a checkpoint of this version; delete it to start anew".into());
        };
        Self::decode(packed).map_err(|e| format!("damaged ({e}); delete it to start anew").into())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Box<dyn std::error::Error>> {
        let (checksum, packed) = bytes.split_first_chunk::<4>().ok_or("truncated")?;
        if no_std_core::crc32(packed) != u32::from_le_bytes(*checksum) {
            return Err("its checksum is wrong".into());
        }
        let mut decoder = zstd::Decoder::with_buffer(packed)?;
        let settings = bincode::config::standard().with_limit::<LARGEST>();
        Ok(bincode::serde::decode_from_std_read(
            &mut decoder,
            settings,
        )?)
    }
}

/// Fingerprint of graphs, in their order.
pub(super) fn fingerprint_of_graphs<'g>(graphs: impl Iterator<Item = &'g Graph>) -> u32 {
    let mut crc = flate2::Crc::new();
    for graph in graphs {
        let bytes = bincode::serde::encode_to_vec(graph, bincode::config::standard());
        crc.update(&bytes.unwrap_or_default());
    }
    crc.sum()
}

/// Fingerprint of examples: shapes, labels and every input.
pub(super) fn fingerprint_of_examples(train: &Dataset, held_out: Option<&Dataset>) -> u32 {
    let mut crc = flate2::Crc::new();
    for data in [Some(train), held_out].into_iter().flatten() {
        let numbers = [data.len(), data.classes].into_iter();
        let numbers = numbers.chain(data.input_shape.iter().copied());
        numbers.for_each(|n| crc.update(&(n as u64).to_le_bytes()));
        let labels: Vec<u8> = data.labels.iter().flat_map(|l| l.to_le_bytes()).collect();
        crc.update(&labels);
        for inputs in data.inputs.chunks(PIECE) {
            let bytes: Vec<u8> = inputs.iter().flat_map(|x| x.to_le_bytes()).collect();
            crc.update(&bytes);
        }
    }
    crc.sum()
}

/// Inputs laid out as bytes at once.
const PIECE: usize = 1 << 14;

fn failed(path: &Path, error: Box<dyn std::error::Error>) -> TrainError {
    TrainError::Checkpoint {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
