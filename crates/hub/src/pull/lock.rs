//! Locks that let only one process at a time download a blob of a shared cache.

use crate::cache::create_folder;
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

/// An advisory lock, released when it is dropped or when the process ends.
///
/// `huggingface_hub` takes the same `flock` on the same file, so both respect each other's locks.
/// The file is never removed, because a process could then lock a file that others no longer see.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Acquires the lock. Calls `waiting` once if another process holds it.
    pub(crate) fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        create_folder(path.parent().unwrap_or(Path::new(".")))?;
        let failed = Error::io("lock", path);
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(false).open(path).map_err(&failed)?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock()
            }
            Err(TryLockError::Error(e)) => Err(e),
            Ok(()) => Ok(()),
        };
        match locked {
            // Some network file systems lack locks; checksums still protect the contents.
            Err(e) if e.kind() != ErrorKind::Unsupported => Err(failed(e)),
            _ => Ok(Self { _file: file }),
        }
    }
}
