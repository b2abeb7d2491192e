//! What can go wrong with a migration.

use crate::ledger::State;
use std::path::PathBuf;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A plan that cannot be read.
    #[error("{path} is not a plan of a migration: {reason}")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A step that is not next.
    #[error("migration `{name}` is {state}, and cannot be {wanted}: {next}")]
    State {
        /// The plan's name.
        name: String,
        /// How far it is.
        state: State,
        /// What was asked for.
        wanted: &'static str,
        /// What can be done instead.
        next: String,
    },
    /// The plan, or a side of it, is not what it was when the migration began.
    #[error("migration `{name}` has changed since it began: {what}")]
    Changed {
        /// The plan's name.
        name: String,
        /// What differs.
        what: String,
    },
    /// The ledger.
    #[error("the ledger {path}: {source}")]
    Ledger {
        /// Its file.
        path: PathBuf,
        /// What SQLite says.
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
