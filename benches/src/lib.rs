//! Measurements that are counted, not timed: instructions, flash and RAM of an image on an emulated
//! microcontroller ([`mcu`]), and [`networks`] to measure.

pub mod mcu;
pub mod networks;
