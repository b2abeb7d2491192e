//! The program; see the library of this package.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Gives memory back to the system, unlike that of the C library, in whose arenas a few live bytes
/// keep what a server's long texts took (`bench/serve/bars.py storm`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The allocator's option to give the free pages of a thread back when it ends:
/// `mi_option_abandoned_page_purge` of its header, which the bindings do not name.
const ABANDONED_PAGE_PURGE: libmimalloc_sys::mi_option_t = 12;
/// For how long it waits before it gives free pages back, in milliseconds: `mi_option_purge_delay`.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    give_back_at_once();
    kokeshi_cli::main(std::env::args_os(), Vec::new()).into()
}

/// Lets the allocator give free pages back at once. It keeps those that become free while a thread
/// allocates nothing more, as threads of a server do: 102 MiB a minute after the attack `answers` of
/// `bench/serve/bars.py attacks`, and 85 MiB with this. Indexing takes the same time.
#[expect(unsafe_code, reason = "the allocator is a C library")]
fn give_back_at_once() {
    for (option, value) in [(PURGE_DELAY, 0), (ABANDONED_PAGE_PURGE, 1)] {
        // SAFETY: the function takes two numbers, and nothing else runs yet.
        unsafe { libmimalloc_sys::mi_option_set(option, value) }
    }
}
