//! The host on the other side of the emulator, by Arm semihosting.

use core::arch::asm;
use core::ffi::CStr;

const SYS_WRITE0: usize = 0x04;
const SYS_EXIT: usize = 0x18;
const APPLICATION_EXIT: usize = 0x2_0026;
const RUN_TIME_ERROR: usize = 0x2_0023;

fn call(operation: usize, argument: usize) {
    // SAFETY: the emulator handles the breakpoint and returns in r0. SYS_WRITE0 reads a string that
    // ends in zero, SYS_EXIT reads nothing; neither writes to memory of the program.
    unsafe {
        asm!("bkpt 0xAB", inout("r0") operation => _, in("r1") argument, options(nostack));
    }
}

/// Ends the emulation.
pub fn exit(success: bool) -> ! {
    let reason = if success {
        APPLICATION_EXIT
    } else {
        RUN_TIME_ERROR
    };
    loop {
        call(SYS_EXIT, reason);
    }
}

/// Prints text, a character at a time: the calls are not counted, and need no buffer.
pub fn print(text: &str) {
    for &byte in text.as_bytes() {
        print_byte(byte);
    }
}

fn print_byte(byte: u8) {
    let text = [byte, 0];
    if let Ok(text) = CStr::from_bytes_with_nul(&text) {
        call(SYS_WRITE0, text.as_ptr() as usize);
    }
}

/// Prints the low `digits` hexadecimal digits.
pub fn print_hex(value: u32, digits: u32) {
    for place in (0..digits).rev() {
        let nibble = (value >> (4 * place)) as u8 & 15;
        print_byte(if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        });
    }
}

/// Prints `key value`, the value in hexadecimal.
pub fn line(key: &str, value: u32) {
    print(key);
    print(" ");
    print_hex(value, 8);
    print("\n");
}
