//! See [`compress::cli`].

use trainer::memory::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> std::process::ExitCode {
    compress::cli::main()
}
