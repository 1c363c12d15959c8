//! The inputs that the host loads into memory beside the program's: their number (u32), then one
//! after the other.

use core::ptr::read_volatile;

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
}
