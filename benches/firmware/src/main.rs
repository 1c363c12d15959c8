//! Runs an image on inputs that the host put into memory, and reports over semihosting, a line
//! each: what an empty region costs, what setting up and each inference cost, their outputs, and
//! how deep the stack went.
//!
//! Nothing here divides, copies or formats through the standard library, so that a routine the
//! runtime needs is never counted as the harness's.

#![no_std]
#![no_main]

mod host;
mod inputs;
mod stack;
mod subject;
mod timer;

use host::{exit, line, print, print_hex};
use inputs::Inputs;
use stack::Stack;
use subject::{Subject, Timed};

mod board {
    include!(concat!(env!("OUT_DIR"), "/board.rs"));
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let stack = Stack::here();
    timer::enable();
    let ready = subject::serve_with(stack);
    if !ready {
        line("refused", 0);
    }
    exit(ready)
}

/// Every input once, the first one twice: an inference must not depend on the one before.
fn serve(subject: &mut impl Subject, mut stack: Stack) {
    stack.end();
    line("empty", timer::ticks_of_nothing());
    let inputs = Inputs::at(board::INPUTS);
    for index in 0..inputs.count() {
        let times = if index == 0 { 2 } else { 1 };
        for _ in 0..times {
            subject.load(inputs, index, &mut stack);
            infer(subject, &mut stack);
        }
    }
    stack.settle();
    line("stack", stack.deepest_run() as u32);
    line("reach", stack.deepest_ever() as u32);
    print("done\n");
}

fn infer(subject: &mut impl Subject, stack: &mut Stack) {
    measure("run", subject, stack);
    print_values("output ", subject.output());
}

fn measure<T: Timed>(key: &str, subject: &mut T, stack: &mut Stack) {
    stack.begin();
    let ticks = timer::ticks_of(subject);
    stack.end();
    match ticks {
        Some(ticks) => line(key, ticks),
        None => print("wrapped\n"),
    }
}

fn print_values(key: &str, values: &[i8]) {
    print(key);
    for &value in values {
        print_hex(value as u8 as u32, 2);
    }
    print("\n");
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    line("fault", frame.pc());
    exit(false)
}

#[cfg(not(feature = "no-panic"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    print("panic\n");
    exit(false)
}

#[cfg(feature = "no-panic")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        fn a_panic_can_be_reached() -> !;
    }
    // SAFETY: the symbol exists nowhere, so a program that holds this call does not link.
    unsafe { a_panic_can_be_reached() }
}
