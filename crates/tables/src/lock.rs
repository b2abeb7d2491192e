//! Locks that keep two processes from one shard.

use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// Takes the lock of a shard; `None` if another process has it.
pub(crate) fn lock(path: &Path) -> Result<Option<File>> {
    let io = Error::io("write", path);
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(&io)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Some network file systems have no locks; there, only the choice of shards keeps processes
        // apart.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            Ok(Some(file))
        }
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Removes the lock of a finished shard, and then gives it up: who waited for it finds the manifest.
pub(crate) fn unlock(lock: File, path: &Path) {
    // A file that is left is taken by the next run.
    let _ = fs::remove_file(path);
    drop(lock);
}
