use super::prepare::Int16Error;
use crate::calibrate::CalibrateError;
use crate::encode::EncodeError;
use crate::host::HostError;
use crate::lower::LowerError;
use crate::passes::choice::SkipError;
use crate::passes::codebook::CodebookError;
use crate::passes::hash::HashError;
use crate::passes::mimic::MimicError;
use crate::passes::stream::StreamError;
use crate::passes::vector::VectorError;
use crate::settings::SettingError;
use std::path::PathBuf;
use trainer::files::WriteError;
use trainer::graph::ShapeError;
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
    Mimic(#[from] MimicError),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Skip(#[from] SkipError),
    #[error(transparent)]
    Vector(#[from] VectorError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Run(#[from] HostError),
    #[error("{source}; {} holds what came before, from which the next run goes on", file.display())]
    Kept {
        source: Box<CompressError>,
        file: PathBuf,
    },
    #[error("{0}")]
    Key(Box<dyn std::error::Error>),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("{given} amounts are given for the {layers} layers with weights")]
    Layers { layers: usize, given: usize },
    #[error(
        "the weights '{layer}' are hashed, signs or vectors already, which '{stage}' would undo; compress the model without it"
    )]
    Bound { stage: &'static str, layer: String },
    #[error("parameter '{0}' holds a value that is not finite; the model cannot be compressed")]
    NotFinite(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Int16(#[from] Int16Error),
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("channels.layers: {given} shares are given for the {layers} layers whose units can go")]
    UnitLayers { layers: usize, given: usize },
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
    /// One whose form of weights keeps nothing of what a stage before made of them.
    #[error(
        "stage {at} ({name}) gives weights a form in which what stage {before} ({lost}) made of them is lost; leave one of them out"
    )]
    Forgotten {
        /// Its place, from 1.
        at: usize,
        /// Its pass.
        name: &'static str,
        /// Place of the stage before.
        before: usize,
        /// Its pass.
        lost: &'static str,
    },
    /// One that begins anew, behind another.
    #[error(
        "stage {at} ({name}) puts another network in the place of what stage {before} ({lost}) made; {}",
        if name == lost { "leave one of them out" } else { "put it before" }
    )]
    Lost {
        /// Its place, from 1.
        at: usize,
        /// Its pass.
        name: &'static str,
        /// Place of the first stage whose work would be lost.
        before: usize,
        /// Its pass.
        lost: &'static str,
    },
}
