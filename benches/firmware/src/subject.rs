//! What is measured.

use crate::inputs::Inputs;
use crate::stack::Stack;
use crate::timer::Routine;
#[cfg(not(feature = "known"))]
use core::ffi::c_void;

/// Something with a routine that is measured.
pub trait Timed {
    /// Runs it; the argument is the subject.
    const ROUTINE: Routine;
}

/// Something with an input, an output, and a routine between them.
pub trait Subject: Timed {
    fn input(&mut self) -> &mut [i8];

    /// Makes the input of one that the host wrote.
    fn load(&mut self, inputs: Inputs, index: usize, _: &mut Stack) {
        let bytes = self.input().len();
        inputs.copy(index, bytes, self.input());
    }

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

#[cfg(feature = "audio")]
use audio::serve_session;
#[cfg(feature = "model")]
pub use model::serve_with;
#[cfg(feature = "startup")]
pub use startup::serve_with;

/// Serves the session alone.
#[cfg(all(feature = "model", not(feature = "audio")))]
#[inline(always)]
fn serve_session(
    _: &no_std_core::Model,
    mut session: edge_runtime::Session,
    stack: Stack,
) -> Option<()> {
    crate::serve(&mut session, stack);
    Some(())
}

#[cfg(any(feature = "model", feature = "startup"))]
mod image {
    #[repr(align(8))]
    pub struct Aligned<T>(pub T);

    include!(concat!(env!("OUT_DIR"), "/model.rs"));

    pub static mut ARENA: Aligned<[i8; ARENA_BYTES]> = Aligned([0; ARENA_BYTES]);
}

/// The image, on the runtime.
#[cfg(feature = "model")]
mod model {
    use super::image::{ARENA, IMAGE};
    use super::{Routine, Run, Subject, Timed, run, serve_session};
    use crate::stack::Stack;
    use edge_runtime::Session;
    use no_std_core::Model;

    /// Serves the session, unless the image is refused.
    pub fn serve_with(stack: Stack) -> bool {
        let Ok(model) = Model::parse(&IMAGE.0) else {
            return false;
        };
        // SAFETY: called once, from `main`, so this is the only reference to the arena.
        let arena = unsafe { &mut (*(&raw mut ARENA)).0 };
        let Ok(session) = Session::new(&model, arena) else {
            return false;
        };
        serve_session(&model, session, stack).is_some()
    }

    impl Run for Session<'_, '_> {
        fn run(&mut self) {
            Session::run(self);
        }
    }

    impl Timed for Session<'_, '_> {
        const ROUTINE: Routine = run::<Self>;
    }

    impl Subject for Session<'_, '_> {
        fn input(&mut self) -> &mut [i8] {
            self.input_mut()
        }

        fn output(&self) -> &[i8] {
            Session::output(self)
        }
    }
}

/// The image read, checked and given its memory, which is what comes before a first inference.
#[cfg(feature = "startup")]
mod startup {
    use super::image::{ARENA, IMAGE};
    use super::{Routine, Run, Subject, Timed, run};
    use crate::serve;
    use crate::stack::Stack;
    use core::hint::black_box;
    use edge_runtime::Session;
    use no_std_core::Model;

    pub struct Startup {
        arena: &'static mut [i8],
        /// That of the session's input, which tells that start-up came to its end.
        length: [i8; 4],
    }

    pub fn serve_with(stack: Stack) -> bool {
        // SAFETY: called once, from `main`, so this is the only reference to the arena.
        let arena = unsafe { &mut (*(&raw mut ARENA)).0 };
        let mut startup = Startup {
            arena,
            length: [0; 4],
        };
        serve(&mut startup, stack);
        true
    }

    impl Run for Startup {
        fn run(&mut self) {
            let Ok(model) = Model::parse(&IMAGE.0) else {
                return;
            };
            if let Ok(mut session) = Session::new(&model, self.arena) {
                let length = black_box(&mut session).input_mut().len() as u32;
                self.length = length.to_le_bytes().map(|byte| byte as i8);
            }
        }
    }

    impl Timed for Startup {
        const ROUTINE: Routine = run::<Self>;
    }

    impl Subject for Startup {
        fn input(&mut self) -> &mut [i8] {
            &mut self.length
        }

        fn output(&self) -> &[i8] {
            &self.length
        }
    }
}

/// The image behind the front end that its metadata describe.
#[cfg(feature = "audio")]
mod audio {
    use super::image::{HALVES, WORDS};
    use super::{Routine, Run, Subject, Timed, run};
    use crate::inputs::Inputs;
    use crate::stack::Stack;
    use crate::{measure, print_values, serve};
    use edge_runtime::Session;
    use edge_runtime::frontend::{FrontEnd, Parameters};
    use no_std_core::Model;

    static mut WORKSPACE: ([i32; WORDS], [i16; HALVES]) = ([0; WORDS], [0; HALVES]);

    /// Serves session and front end, unless the latter is refused.
    pub fn serve_session<'a>(model: &Model, session: Session<'a, 'a>, stack: Stack) -> Option<()> {
        let parameters = Parameters::of(model)?.ok()?;
        // SAFETY: called once, so this is the only reference to the workspace.
        let (words, halves) = unsafe { &mut *(&raw mut WORKSPACE) };
        let front_end = FrontEnd::new(&parameters, words, halves).ok()?;
        let clip = &[];
        let listener = &mut Listener(Listening {
            front_end,
            session,
            clip,
        });
        serve(listener, stack);
        Some(())
    }

    /// The front end on a clip, into the session's input.
    struct Listening<'a> {
        front_end: FrontEnd<'a>,
        session: Session<'a, 'a>,
        clip: &'static [i16],
    }

    impl Run for Listening<'_> {
        fn run(&mut self) {
            self.front_end.clip(self.clip, self.session.input_mut());
        }
    }

    impl Timed for Listening<'_> {
        const ROUTINE: Routine = run::<Self>;
    }

    /// The session, loaded by listening.
    struct Listener<'a>(Listening<'a>);

    impl Run for Listener<'_> {
        fn run(&mut self) {
            self.0.session.run();
        }
    }

    impl Timed for Listener<'_> {
        const ROUTINE: Routine = run::<Self>;
    }

    impl Subject for Listener<'_> {
        fn input(&mut self) -> &mut [i8] {
            self.0.session.input_mut()
        }

        fn load(&mut self, inputs: Inputs, index: usize, stack: &mut Stack) {
            self.0.clip = inputs.clip(index);
            measure("listen", &mut self.0, stack);
            print_values("features ", self.0.session.input_mut());
        }

        fn output(&self) -> &[i8] {
            self.0.session.output()
        }
    }
}

#[cfg(not(any(feature = "model", feature = "startup", feature = "known")))]
pub use empty::serve_with;

/// Nothing, but not so that the compiler knows: its firmware holds the whole harness.
#[cfg(not(any(feature = "model", feature = "startup", feature = "known")))]
mod empty {
    use super::{Routine, Run, Subject, Timed, run};
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

    impl Timed for Empty {
        const ROUTINE: Routine = run::<Self>;
    }

    impl Subject for Empty {
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
    use super::{Routine, Subject, Timed};
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

    impl Timed for Known {
        const ROUTINE: Routine = pith_known;
    }

    impl Subject for Known {
        fn input(&mut self) -> &mut [i8] {
            &mut self.0
        }

        fn output(&self) -> &[i8] {
            &self.0
        }
    }
}
