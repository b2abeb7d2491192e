//! The program; see the library of this package.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Gives memory back to the system, unlike that of the C library, in whose arenas a few live bytes
/// keep what a server's long texts took (`bench/serve/bars.py storm`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    kokeshi_cli::main(std::env::args_os(), Vec::new()).into()
}
