//! Classifies a digit on the Nucleo-F411RE, once a second, and prints over RTT what it is and how
//! many cycles it took.

#![no_std]
#![no_main]

use core::panic::PanicInfo;
use cortex_m::peripheral::DWT;
use edge_runtime::{Session, argmax};
use no_std_core::Model;
use rtt_target::{rprintln, rtt_init_print};

/// Puts the image at an address that all its parts are aligned to.
#[repr(align(8))]
pub struct Aligned<T>(T);

include!(concat!(env!("OUT_DIR"), "/model.rs"));

/// The internal oscillator, which the chip starts on; its flash needs no wait states at this rate.
const MEGAHERTZ: u32 = 16;

#[cortex_m_rt::entry]
fn main() -> ! {
    rtt_init_print!();
    start_cycle_counter();
    let Ok(model) = Model::parse(&IMAGE.0) else {
        rprintln!("the image is damaged: flash it again");
        rest()
    };
    let mut arena = [0; ARENA_BYTES];
    let Ok(mut session) = Session::new(&model, &mut arena) else {
        rprintln!("the image was changed after the firmware was built");
        rest()
    };
    rprintln!(
        "{} bytes of model, {} bytes of arena",
        IMAGE.0.len(),
        ARENA_BYTES
    );
    loop {
        session.input_mut().copy_from_slice(&DIGIT);
        let cycles = cycles_of(|| session.run());
        rprintln!(
            "this is a {}: {} cycles, {} microseconds at {} MHz",
            argmax(session.output()),
            cycles,
            cycles / MEGAHERTZ,
            MEGAHERTZ
        );
        cortex_m::asm::delay(MEGAHERTZ * 1_000_000);
    }
}

fn start_cycle_counter() {
    // There is nothing before this that could have taken the peripherals.
    if let Some(mut core) = cortex_m::Peripherals::take() {
        core.DCB.enable_trace();
        core.DWT.enable_cycle_counter();
    }
}

/// Cycles of a call; the counter wraps after four minutes.
fn cycles_of(call: impl FnOnce()) -> u32 {
    let before = DWT::cycle_count();
    call();
    DWT::cycle_count().wrapping_sub(before)
}

/// Awake, so that the debugger can read the last words.
fn rest() -> ! {
    loop {
        cortex_m::asm::nop();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    rprintln!("{}", info);
    rest()
}
