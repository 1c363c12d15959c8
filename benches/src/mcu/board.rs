//! The emulated boards: one a core, with their memory maps and timers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A Cortex-M core.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Core {
    /// Armv6-M, no division; its code runs on the board of the M3.
    M0,
    /// Armv7-M.
    M3,
    /// Armv7E-M: the DSP instructions.
    M4,
    /// Armv7E-M.
    M7,
    /// Armv8-M with DSP.
    M33,
    /// Armv8.1-M with Helium.
    M55,
}

impl Core {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::M0, Self::M3, Self::M4, Self::M7, Self::M33, Self::M55];

    /// The board that stands for the core.
    pub const fn board(self) -> &'static Board {
        match self {
            Self::M0 => &M0,
            Self::M3 => &M3,
            Self::M4 => &M4,
            Self::M7 => &M7,
            Self::M33 => &M33,
            Self::M55 => &M55,
        }
    }

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::M0 => "m0",
            Self::M3 => "m3",
            Self::M4 => "m4",
            Self::M7 => "m7",
            Self::M33 => "m33",
            Self::M55 => "m55",
        }
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the harness needs to know of a board.
#[derive(Debug)]
pub struct Board {
    /// QEMU's name.
    pub machine: &'static str,
    /// Rust's target.
    pub triple: &'static str,
    /// The core, where the target alone leaves instructions out.
    pub cpu: Option<&'static str>,
    /// Where code and constants go.
    pub flash: Region,
    /// Where the stack and statics go; nothing is mapped just below, so a stack that runs over
    /// faults.
    pub ram: Region,
    /// Where the host puts inputs, apart from the firmware's memory.
    pub inputs: Region,
    /// What tells guest time.
    pub timer: Timer,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// First address.
    pub origin: u32,
    /// Bytes.
    pub length: u32,
}

/// A timer that runs at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    /// What the firmware calls it.
    pub kind: &'static str,
    /// First register.
    pub base: u32,
    /// Ticks a second.
    pub hertz: u64,
}

impl Timer {
    /// Instructions executed in so many ticks, with 128 ns each (`-icount shift=7`). A tick is
    /// less than half an instruction, so that rounding gives the number exactly.
    pub const fn instructions(&self, ticks: u32) -> u64 {
        const PER_SECOND: u64 = 1_000_000_000 / 128;
        // 10⁹ / 128 is 7,812,500 exactly, and the product is below 2⁵⁵.
        (ticks as u64 * PER_SECOND + self.hertz / 2) / self.hertz
    }
}

const MIB: u32 = 1 << 20;

const CMSDK: Timer = Timer {
    kind: "cmsdk",
    base: 0x4000_0000,
    hertz: 25_000_000,
};

const M0: Board = Board {
    triple: "thumbv6m-none-eabi",
    ..M3
};

const M3: Board = Board {
    machine: "mps2-an385",
    triple: "thumbv7m-none-eabi",
    cpu: None,
    flash: Region {
        origin: 0,
        length: 4 * MIB,
    },
    ram: Region {
        origin: 0x2000_0000,
        length: 4 * MIB,
    },
    inputs: Region {
        origin: 0x2100_0000,
        length: 16 * MIB,
    },
    timer: CMSDK,
};

const M4: Board = Board {
    machine: "mps2-an386",
    triple: "thumbv7em-none-eabihf",
    cpu: Some("cortex-m4"),
    ..M3
};

const M7: Board = Board {
    machine: "mps2-an500",
    triple: "thumbv7em-none-eabihf",
    cpu: Some("cortex-m7"),
    inputs: Region {
        origin: 0x6000_0000,
        length: 16 * MIB,
    },
    ..M3
};

/// The core starts in the secure state: these are the secure names of its memories.
const M33: Board = Board {
    machine: "mps2-an505",
    triple: "thumbv8m.main-none-eabihf",
    cpu: Some("cortex-m33"),
    flash: Region {
        origin: 0x1000_0000,
        length: 4 * MIB,
    },
    ram: Region {
        origin: 0x3800_0000,
        length: 4 * MIB,
    },
    inputs: Region {
        origin: 0x8000_0000,
        length: 16 * MIB,
    },
    timer: Timer {
        hertz: 20_000_000,
        ..CMSDK
    },
};

const M55: Board = Board {
    machine: "mps3-an547",
    triple: "thumbv8m.main-none-eabihf",
    cpu: Some("cortex-m55"),
    flash: Region {
        origin: 0,
        length: MIB / 2,
    },
    ram: Region {
        origin: 0x2000_0000,
        length: MIB / 2,
    },
    inputs: Region {
        origin: 0x6000_0000,
        length: 16 * MIB,
    },
    timer: Timer {
        kind: "system",
        base: 0x5810_0000,
        hertz: 32_000_000,
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the phase at which a region begins, its ticks give its instructions.
    #[test]
    fn ticks_give_the_exact_number_of_instructions() {
        for core in Core::ALL {
            let timer = core.board().timer;
            for instructions in [1, 2, 3, 7, 1000, 999_983, 80_000_001u64] {
                for begin in 0..50u64 {
                    let ticks_at = |n: u64| n * 128 * timer.hertz / 1_000_000_000;
                    let ticks = ticks_at(begin + instructions) - ticks_at(begin);
                    assert_eq!(timer.instructions(ticks as u32), instructions, "{core}");
                }
            }
        }
    }
}
