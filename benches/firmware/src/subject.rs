//! What is measured.

use crate::timer::Routine;
#[cfg(not(feature = "known"))]
use core::ffi::c_void;

/// Something with an input, an output, and a routine between them.
pub trait Subject {
    /// Runs it; the argument is the subject.
    const ROUTINE: Routine;

    fn input(&mut self) -> &mut [i8];

    fn output(&self) -> &[i8];
}

#[cfg(not(feature = "known"))]
unsafe extern "C" fn run<S: Run>(subject: *mut c_void) {
    // SAFETY: the caller hands over its only reference to a subject of this type.
    unsafe { (*subject.cast::<S>()).run() }
}

#[cfg(not(feature = "known"))]
trait Run {
    fn run(&mut self);
}

#[cfg(feature = "model")]
pub use model::serve_with;

/// The image, on the runtime.
#[cfg(feature = "model")]
mod model {
    use super::{Routine, Run, Subject, run};
    use crate::serve;
    use crate::stack::Stack;
    use edge_runtime::Session;
    use no_std_core::Model;

    #[repr(align(8))]
    pub struct Aligned<T>(T);

    include!(concat!(env!("OUT_DIR"), "/model.rs"));

    static mut ARENA: Aligned<[i8; ARENA_BYTES]> = Aligned([0; ARENA_BYTES]);

    /// Serves the session, unless the image is refused.
    pub fn serve_with(stack: Stack) -> bool {
        let Ok(model) = Model::parse(&IMAGE.0) else {
            return false;
        };
        // SAFETY: called once, from `main`, so this is the only reference to the arena.
        let arena = unsafe { &mut (*(&raw mut ARENA)).0 };
        let Ok(mut session) = Session::new(&model, arena) else {
            return false;
        };
        serve(&mut session, stack);
        true
    }

    impl Run for Session<'_, '_> {
        fn run(&mut self) {
            Session::run(self);
        }
    }

    impl Subject for Session<'_, '_> {
        const ROUTINE: Routine = run::<Self>;

        fn input(&mut self) -> &mut [i8] {
            self.input_mut()
        }

        fn output(&self) -> &[i8] {
            Session::output(self)
        }
    }
}

#[cfg(not(any(feature = "model", feature = "known")))]
pub use empty::serve_with;

/// Nothing, but not so that the compiler knows: its firmware holds the whole harness.
#[cfg(not(any(feature = "model", feature = "known")))]
mod empty {
    use super::{Routine, Run, Subject, run};
    use crate::serve;
    use crate::stack::Stack;
    use core::hint::black_box;

    pub struct Empty([i8; 4]);

    pub fn serve_with(stack: Stack) -> bool {
        serve(&mut Empty(black_box([0; 4])), stack);
        true
    }

    impl Run for Empty {
        fn run(&mut self) {
            black_box(&self.0);
        }
    }

    impl Subject for Empty {
        const ROUTINE: Routine = run::<Self>;

        fn input(&mut self) -> &mut [i8] {
            self.0.get_mut(..black_box(4)).unwrap_or(&mut [])
        }

        fn output(&self) -> &[i8] {
            self.0.get(..black_box(4)).unwrap_or(&[])
        }
    }
}

#[cfg(feature = "known")]
pub use known::serve_with;

/// A loop of `1 + 2n` instructions for an input of `n`, to check the counting.
#[cfg(feature = "known")]
mod known {
    use super::{Routine, Subject};
    use crate::serve;
    use crate::stack::Stack;
    use core::arch::global_asm;
    use core::ffi::c_void;

    #[repr(C, align(4))]
    pub struct Known([i8; 4]);

    unsafe extern "C" {
        fn pith_known(argument: *mut c_void);
    }

    global_asm!(
        ".section .text.pith_known,\"ax\"",
        ".global pith_known",
        ".type pith_known,%function",
        ".thumb_func",
        "pith_known:",
        "ldr r0, [r0]",
        "1: subs r0, #1",
        "bne 1b",
        "bx lr",
        ".size pith_known, . - pith_known",
        ".text",
    );

    pub fn serve_with(stack: Stack) -> bool {
        serve(&mut Known([0; 4]), stack);
        true
    }

    impl Subject for Known {
        const ROUTINE: Routine = pith_known;

        fn input(&mut self) -> &mut [i8] {
            &mut self.0
        }

        fn output(&self) -> &[i8] {
            &self.0
        }
    }
}
