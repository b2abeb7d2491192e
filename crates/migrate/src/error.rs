//! Errors of a migration.

use crate::ledger::State;
use std::path::PathBuf;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the plan, the file or the collection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A plan that cannot be parsed.
    #[error("{path} is not a plan of a migration: {reason}")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A step that is out of order.
    #[error("migration `{name}` is {state}, and cannot be {wanted}: {next}")]
    State {
        /// The plan's name.
        name: String,
        /// The state of the migration.
        state: State,
        /// The step that was requested.
        wanted: &'static str,
        /// What can be done instead.
        next: String,
    },
    /// The plan or one of its sides has changed since the migration began.
    #[error("migration `{name}` has changed since it began: {difference}")]
    Changed {
        /// The plan's name.
        name: String,
        /// What differs, and what to do.
        difference: String,
    },
    /// A line of the plan differs from what was run.
    #[error(
        "the line `{line}` of the plan of `{name}` was {recorded} when the migration began; undo \
         the edit, or create another plan that writes to another collection"
    )]
    Edited {
        /// The plan's name.
        name: String,
        /// The line as it is now.
        line: String,
        /// What the line was, for people.
        recorded: String,
    },
    /// A file that is not a ledger, where one was expected.
    #[error("{path} is not the ledger of a migration: it belongs to another program")]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// A ledger that a newer version wrote.
    #[error(
        "the ledger {path} has version {found}, which a newer version of kokeshi wrote; this one \
         supports versions up to {supported}"
    )]
    NewerLedger {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this build supports.
        supported: i64,
    },
    /// The ledger.
    #[error("the ledger {path}: {source}")]
    Ledger {
        /// Its file.
        path: PathBuf,
        /// SQLite's error.
        #[source]
        source: rusqlite::Error,
    },
    /// A file.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A store.
    #[error(transparent)]
    Store(#[from] kokeshi_store::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] kokeshi::Error),
}

impl Error {
    /// The error of a `collection` of the plan `name` that no longer exists.
    pub(crate) fn missing(name: &str, collection: &str) -> Self {
        let difference = format!("collection `{collection}` no longer exists");
        Self::Changed { name: name.to_owned(), difference }
    }
}
