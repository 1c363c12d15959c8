//! Classifies a digit on an emulated Cortex-M4 and prints the result over semihosting.

#![no_std]
#![no_main]

use core::panic::PanicInfo;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hprintln;
use edge_runtime::{Session, argmax};
use no_std_core::Model;

/// Puts the image at an address that all its parts are aligned to.
#[repr(align(8))]
pub struct Aligned<T>(T);

include!(concat!(env!("OUT_DIR"), "/model.rs"));

#[cortex_m_rt::entry]
fn main() -> ! {
    let Ok(model) = Model::parse(&IMAGE.0) else {
        hprintln!("the image is damaged");
        finish(EXIT_FAILURE)
    };
    let mut arena = [0; ARENA_BYTES];
    let Ok(mut session) = Session::new(&model, &mut arena) else {
        hprintln!("the image was changed after the firmware was built");
        finish(EXIT_FAILURE)
    };
    session.input_mut().copy_from_slice(&DIGIT);
    session.run();
    hprintln!(
        "{} bytes of model, {} bytes of arena",
        IMAGE.0.len(),
        ARENA_BYTES
    );
    hprintln!("the outputs are {:?}", session.output());
    hprintln!("this is a {}", argmax(session.output()));
    finish(EXIT_SUCCESS)
}

/// Ends the emulation.
fn finish(status: debug::ExitStatus) -> ! {
    loop {
        debug::exit(status);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    hprintln!("{}", info);
    finish(EXIT_FAILURE)
}
