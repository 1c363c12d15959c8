//! From a float Graph to a Pith image: passes, calibration, memory plan, encoders, byte ledger.

pub mod encode;
pub mod host;
pub mod lower;
pub mod passes;
pub mod plan;
pub mod program;
