//! The store of the served collections: open connections for reading, and one for each write.

use crate::problem::{ApiResult, Problem};
use kokeshi_collections::Error;
use kokeshi_store::{Address, Error as StoreError, Store};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Identifies a file, even if another one has its path later.
type FileId = (u64, u64);

/// A connection that nobody uses, and the file that it has open.
type Idle = (Option<FileId>, Box<dyn Store>);

/// The store at an address. Reads use connections again, which keep vectors in memory.
pub(crate) struct Stores {
    address: Address,
    idle: Mutex<Vec<Idle>>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Stores {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// Reads the store. This blocks: do not call it on an async thread.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&dyn Store) -> ApiResult<T>) -> ApiResult<T> {
        let file = file_id(&self.address);
        let store = match self.idle(file) {
            Some(store) => store,
            None => self.open()?,
        };
        let result = read(&*store);
        // After a failure, a new connection may work.
        if !result.as_ref().is_err_and(|problem| problem.status.is_server_error()) {
            self.lock().push((file, store));
        }
        result
    }

    /// Writes the store, unless another process does. A file is opened again each time, because it
    /// may have been replaced by another one. This blocks.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&mut dyn Store) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let mut store = self.open()?;
        let _lock = store.lock().map_err(Error::from)?;
        write(&mut *store)
    }

    /// Opens the store. This blocks.
    pub(crate) fn open(&self) -> ApiResult<Box<dyn Store>> {
        Ok(kokeshi_remote::open(&self.address).map_err(Error::from)?)
    }

    /// A connection to `file`; those to other files are closed.
    fn idle(&self, file: Option<FileId>) -> Option<Box<dyn Store>> {
        let mut idle = self.lock();
        let outdated: Vec<_> = idle.extract_if(.., |(open, _)| *open != file).collect();
        let store = idle.pop().map(|(_, store)| store);
        drop(idle);
        drop(outdated);
        store
    }

    /// Every change leaves the list consistent, so it is usable after a panic.
    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file at an address; `None` for a server, and where systems do not replace open files.
fn file_id(address: &Address) -> Option<FileId> {
    match address {
        #[cfg(unix)]
        Address::File(path) => {
            use std::os::unix::fs::MetadataExt;
            path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
        }
        _ => None,
    }
}

/// Messages do not show where the store is, which the log does.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Engine(error) => error.into(),
            Error::Store(error) => of_store(&error),
            error => unusable(&error),
        }
    }
}

fn of_store(error: &StoreError) -> Problem {
    use StoreError as E;
    match error {
        E::Parse(message) => Problem::bad_request("INPUT_INVALID", message.clone()),
        E::WidthMismatch { .. } => Problem::invalid("vector", error.to_string()),
        E::NoHybridSearch { .. } => {
            let message = "the store of this collection cannot search by words; omit `hybrid`";
            Problem::invalid("hybrid", message)
        }
        E::OverLimit { path, count, what, limit, .. } => {
            let message = format!("document `{path}` has {count} {what}; the limit is {limit}");
            Problem::bad_request("INPUT_TOO_LONG", message)
        }
        E::Busy { .. } => {
            let message = "another program is writing to the store of the collections; try again";
            Problem::unavailable(message)
        }
        E::DiskFull { .. } => unavailable(error, "no space is left for the store"),
        E::ReadOnly { .. } => unavailable(error, "the store cannot be changed"),
        error => unusable(error),
    }
}

/// 503 for a store that does not answer, or cannot be read or written.
fn unusable(error: &dyn std::error::Error) -> Problem {
    unavailable(error, "the store of the collections cannot be used")
}

fn unavailable(error: &dyn std::error::Error, what: &str) -> Problem {
    tracing::error!(%error, source = error.source(), "{what}");
    let message = format!("{what}; see the server's log");
    Problem { retry_after: Some(Duration::from_secs(1)), ..Problem::unavailable(message) }
}
