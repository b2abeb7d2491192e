//! Small files that are read as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a file of settings, in bytes.
pub(crate) const MAX_SETTINGS: u64 = 1 << 20;

/// Reads the text of a file of at most `limit` bytes. A device may have no end.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let len = File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    match len as u64 > limit {
        true => Err(io::Error::other(format!("it is over the limit of {} MiB", limit >> 20))),
        false => Ok(text),
    }
}
