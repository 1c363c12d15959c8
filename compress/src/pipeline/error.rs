use super::prepare::Int16Error;
use crate::calibrate::CalibrateError;
use crate::encode::EncodeError;
use crate::host::HostError;
use crate::lower::LowerError;
use crate::passes::codebook::CodebookError;
use crate::passes::stream::StreamError;
use crate::settings::SettingError;
use std::path::PathBuf;
use trainer::train::TrainError;

/// Why a model could not be compressed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its source
pub enum CompressError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Codebook(#[from] CodebookError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Run(#[from] HostError),
    #[error("{source}; {} holds what came before, from which --resume goes on", checkpoint.display())]
    Kept {
        source: Box<CompressError>,
        checkpoint: PathBuf,
    },
    #[error("{given} amounts are given for the {layers} layers with weights")]
    Layers { layers: usize, given: usize },
    #[error("parameter '{0}' holds a value that is not finite; the model cannot be compressed")]
    NotFinite(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Int16(#[from] Int16Error),
}

/// A stage where it makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Behind one whose weights are fixed.
    #[error(
        "stage {at} ({name}) would change weights to which stage {before} ({fixing}) gave their last form; {}",
        if name == fixing { "leave one of them out" } else { "put it before" }
    )]
    Fixed {
        /// Its place, from 1.
        at: usize,
        /// Its pass.
        name: &'static str,
        /// Place of the stage that fixes weights.
        before: usize,
        /// Its pass.
        fixing: &'static str,
    },
    /// One that begins anew, behind another.
    #[error(
        "stage {at} ({name}) puts another network in the place of what stage 1 ({lost}) made; {}",
        if name == lost { "leave one of them out" } else { "put it first" }
    )]
    Lost {
        /// Its place, from 1.
        at: usize,
        /// Its pass.
        name: &'static str,
        /// The first stage's pass.
        lost: &'static str,
    },
}
