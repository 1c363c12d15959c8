//! The inputs that the host loads into memory beside the program's: their number (u32), then one
//! after the other. A clip of sound is the number of its samples (u32), and these, in whole words.

use core::ptr::read_volatile;
#[cfg(feature = "audio")]
use core::slice;

#[derive(Clone, Copy)]
pub struct Inputs(usize);

impl Inputs {
    pub fn at(address: usize) -> Self {
        Self(address)
    }

    pub fn count(self) -> usize {
        // SAFETY: the host wrote a u32 at this aligned address, in memory the program does not own.
        unsafe { read_volatile(self.0 as *const u32) as usize }
    }

    /// Copies input number `index` of `bytes` each.
    pub fn copy(self, index: usize, bytes: usize, to: &mut [i8]) {
        let mut from = (self.0 + 4 + index * bytes) as *const i8;
        for element in to {
            // SAFETY: `index` is below `count`, and the host wrote `count · bytes` bytes.
            unsafe {
                *element = read_volatile(from);
                from = from.add(1);
            }
        }
    }

    /// Clip number `index`.
    #[cfg(feature = "audio")]
    pub fn clip(self, index: usize) -> &'static [i16] {
        let mut at = self.0 + 4;
        // SAFETY: `index` is below `count`, and the host wrote an aligned length before each clip.
        let length = |at: usize| unsafe { read_volatile(at as *const u32) as usize };
        for _ in 0..index {
            at += 4 + length(at).div_ceil(2) * 4;
        }
        // SAFETY: the host wrote so many samples, and nothing writes there while the program runs.
        unsafe { slice::from_raw_parts((at + 4) as *const i16, length(at)) }
    }
}
