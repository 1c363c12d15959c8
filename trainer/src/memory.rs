//! How programs that train get their memory: every step allocates and frees the same large tensors.

/// The allocator of such a program: `#[global_allocator] static ALLOCATOR: Allocator = Allocator;`.
pub use mimalloc::MiMalloc as Allocator;

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// In the library's list of options; the binding does not name it.
const PURGE_DELAY: mi_option_t = 15;

/// Has the [`Allocator`] keep what is freed for the next step; otherwise a third of training goes by in
/// the system's kernel, which takes pages back and clears them again. A process then holds as much
/// memory as it once needed at the same time.
#[allow(unsafe_code)] // A setting of a library in C.
pub(crate) fn keep() {
    // SAFETY: the function takes any number and writes to a static that other threads read atomically.
    unsafe { mi_option_set(PURGE_DELAY, -1) }
}
