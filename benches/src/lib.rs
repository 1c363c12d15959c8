//! Measurements that are counted, not timed: instructions, flash and RAM of an image on an emulated
//! microcontroller ([`mcu`]), [`networks`] to measure, and what these may cost ([`budgets`]).

pub mod budgets;
pub mod mcu;
pub mod networks;
