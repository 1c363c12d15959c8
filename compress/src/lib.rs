//! From a float Graph to a Pith image: passes, calibration, memory plan, encoders, byte ledger.

pub mod calibrate;
pub mod cli;
pub mod diff;
pub mod encode;
pub mod host;
pub mod inspect;
pub mod lower;
pub mod passes;
pub mod pipeline;
pub mod plan;
pub mod program;
mod progress;
pub mod report;
mod scales;
pub mod search;
pub mod settings;
