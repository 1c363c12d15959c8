//! Runs an image on an emulated Cortex-M core and says what it cost: instructions (exact), flash,
//! static RAM, arena and stack, and that the integers are those of the host.
//!
//! # Layers
//!
//! ```text
//! measure       twice: to learn what the firmware needs, then linked with just that
//!  ├ Inputs     quantized on the host, clips of sound, or random           input
//!  ├ host twin  what must come out                                         twin
//!  ├ Firmware   benches/firmware around the image, by Cargo                firmware, toolchain
//!  │  └ Sizes   what it takes of flash and RAM                             elf
//!  └ Run        QEMU, and what the firmware reported                       emulator
//!     └ Core    the boards and their addresses                             board
//!
//! estimate      cycles, from the blocks of code that were executed         mix
//!  └ Cycles     what their instructions take by Arm's timings              cycles
//! ```

mod board;
mod cycles;
mod elf;
mod emulator;
mod error;
mod firmware;
mod input;
mod measure;
mod mix;
mod toolchain;
mod twin;

pub use board::{Board, Core, Region, Timer};
pub use cycles::Cycles;
pub use elf::Sizes;
pub use emulator::{Emulator, Heard, Inference, Run};
pub use error::McuError;
pub use firmware::{Firmware, Memory, Subject, target_folder};
pub use input::Inputs;
pub use measure::{FrontEndCost, Measurement, Options, measure};
pub use mix::estimate;
pub use toolchain::Toolchain;
