//! Read-only bytes of a weight file: memory-mapped, part of the program, or in memory.
#![expect(unsafe_code, reason = "memory maps")]

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

/// The bytes of one file.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// The descriptor is kept: it shows whether the file has become shorter.
    Mapped(memmap2::Mmap, File),
    Memory(Cow<'static, [u8]>),
}

impl Bytes {
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        // SAFETY: the map is read-only. The file must not be shortened while it is in use; a weight
        // file in a cache is replaced by renaming, never written in place. `check` notices a
        // shortened file before each pass.
        let map = unsafe { memmap2::Mmap::map(&file) };
        map.map(|map| Self::Mapped(map, file)).map_err(|e| Error::io("map", path, e))
    }

    /// Refuses bytes whose file, called `path`, is now shorter than the map: reading the missing
    /// pages would end the process.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let Self::Mapped(map, file) = self else { return Ok(()) };
        let bytes = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        if bytes < map.len() as u64 {
            return Err(Error::Shortened { path: path.to_owned(), bytes, expected: map.len() });
        }
        Ok(())
    }

    /// Advises the system that the pages of `range` will not be needed again soon, so that packed
    /// weights do not stay resident twice. They can still be read, which loads them again.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map, _) = self {
            // Whole pages inside the range; 16 KiB covers every page size in use on 64-bit systems.
            const PAGE: usize = 16 * 1024;
            let start = range.start.next_multiple_of(PAGE);
            let end = range.end / PAGE * PAGE;
            if start < end {
                // SAFETY: the mapping is read-only and backed by a file, so a discarded page comes
                // back with the same content.
                let advised = unsafe {
                    map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        start,
                        end - start,
                    )
                };
                // If the system ignores the advice, it costs memory, not correctness.
                drop(advised);
            }
        }
        #[cfg(not(unix))]
        drop(range);
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map, _) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}
