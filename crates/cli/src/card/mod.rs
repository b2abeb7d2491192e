//! NVIDIA cards, which need the feature `cuda`.

#[cfg(not(feature = "cuda"))]
#[path = "absent.rs"]
mod backend;
#[cfg(feature = "cuda")]
#[path = "driver.rs"]
mod backend;

pub(crate) use backend::{Card, describe_first};

use std::sync::OnceLock;

/// The number of the first card that can be used. The reason why an installed card cannot be used
/// is printed once; a machine without a card is not worth a note.
#[expect(clippy::print_stderr, reason = "for people, before any output")]
pub(crate) fn first() -> Option<usize> {
    static FIRST: OnceLock<Option<usize>> = OnceLock::new();
    *FIRST.get_or_init(|| {
        backend::first().unwrap_or_else(|reason| {
            eprintln!("kokeshi: the NVIDIA card of this machine is not used: {reason}");
            None
        })
    })
}
