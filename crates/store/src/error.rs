//! The errors of stores.

use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// The result of a store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a store. Messages name the file or the address, without its password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not exist.
    #[error("no index at {path}")]
    Missing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The file is not a store.
    #[error("{path} is not an index of kokeshi: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that is known.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error(
        "{path} has schema {found}, written by kokeshi {version}; this is kokeshi {ours}, which \
         knows schemas up to {known}"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i32,
        /// The version of kokeshi that wrote it.
        version: String,
        /// This version of kokeshi.
        ours: &'static str,
        /// The newest schema version that this build knows.
        known: i32,
    },
    /// Another process is writing.
    #[error("another kokeshi process is writing to {store}; nothing was changed")]
    Busy {
        /// The store.
        store: String,
    },
    /// The caller asked to stop.
    #[error("stopped; nothing was changed")]
    Stopped,
    /// The disk is full; earlier batches are kept.
    #[error("no space is left for {path}; everything written before this batch is kept")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full; nothing was changed.
    #[error("no space is left for {path}; nothing was changed")]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// There is no collection of that name.
    #[error("no collection `{name}` in {store}; it has {known}")]
    UnknownCollection {
        /// The name asked for.
        name: String,
        /// The store.
        store: String,
        /// The names that exist, as people read them.
        known: String,
    },
    /// The name is taken.
    #[error("`{name}` is already a {kind} in {store}")]
    Taken {
        /// The name.
        name: String,
        /// `collection` or `alias`.
        kind: &'static str,
        /// The store.
        store: String,
    },
    /// Vectors of two provenances would be mixed.
    #[error("collection `{collection}` cannot hold vectors of another provenance: {differences}")]
    Mixed {
        /// The collection.
        collection: String,
        /// Every property that differs, with both values.
        differences: String,
    },
    /// A vector has another width than the collection's.
    #[error("a vector has {found} dimensions, the collection has {wanted}")]
    Width {
        /// Dimensions of the vector.
        found: usize,
        /// Dimensions of the collection.
        wanted: usize,
    },
    /// The address is not one of a store.
    #[error("{address} is not the address of a store: {reason}")]
    Address {
        /// The address, without its password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server does not answer.
    #[error("{store} does not answer: {reason}")]
    Unreachable {
        /// The store.
        store: String,
        /// What was tried, and how it failed.
        reason: String,
    },
    /// The server refuses the user or the password.
    #[error("{store} refuses the user or the password: {reason}")]
    Refused {
        /// The store.
        store: String,
        /// The server's message.
        reason: String,
    },
    /// The server lacks what vectors need.
    #[error("{store} cannot hold vectors: {reason}")]
    Unprepared {
        /// The store.
        store: String,
        /// What is missing.
        reason: String,
    },
    /// The store does not support what was asked for.
    #[error("{store} has no {wanted}; it has {known}")]
    Unsupported {
        /// The store.
        store: String,
        /// What was asked for.
        wanted: String,
        /// What it supports instead.
        known: String,
    },
    /// The store cannot search by words.
    #[error("{store} cannot search by words: it supports search by meaning only")]
    NoHybridSearch {
        /// The store.
        store: String,
    },
    /// A document is over a limit of the store.
    #[error("{store}: {path} has {count} {what}; the limit is {limit}")]
    OverLimit {
        /// The store.
        store: String,
        /// The document.
        path: String,
        /// How much of it the document has.
        count: usize,
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The program was built without an optional part.
    #[error("this build cannot {action}: it lacks the feature `{feature}`")]
    MissingFeature {
        /// What was tried.
        action: String,
        /// The Cargo feature.
        feature: &'static str,
    },
    /// Nothing says which table of a database is meant.
    #[error("{store} has tables, and none is named")]
    NoTable {
        /// The store.
        store: String,
    },
    /// Rows of another program's table have a text but belong to no document.
    #[error("{store}: rows have a text but no value in `{column}`")]
    NoDocument {
        /// The store.
        store: String,
        /// The column of documents.
        column: String,
    },
    /// Points of another program's collection have several vectors, and nothing says which is
    /// meant.
    #[error("{store}: {problem} in {collection}; it has {known}")]
    AmbiguousVector {
        /// The store.
        store: String,
        /// The collection.
        collection: String,
        /// What is unclear.
        problem: String,
        /// The names of its vectors, as people read them.
        known: String,
    },
    /// Another program's collection has something that a shadow copy of it cannot have.
    #[error("{store}: {reason}")]
    NotCopyable {
        /// The store.
        store: String,
        /// What cannot be copied.
        reason: String,
    },
    /// The server refused the call for another reason.
    #[error("{store}: {reason}")]
    Server {
        /// The store.
        store: String,
        /// What was tried, and the server's message.
        reason: String,
    },
    /// A pattern, filter or storage that cannot be parsed.
    #[error("{0}")]
    Filter(String),
    /// The file contains what no version of kokeshi writes.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A row of a file that cannot be read.
    #[error("{path}, row {number}: {reason}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Its number, from 1; in a JSONL file, the line number.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or writing failed.
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
    /// SQLite failed.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Its error.
        #[source]
        source: rusqlite::Error,
    },
}

impl Error {
    /// The error of a store whose only collections are `names`.
    pub fn unknown_collection<'a>(
        name: &str,
        store: String,
        names: impl Iterator<Item = &'a str>,
    ) -> Self {
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let known = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
        Self::UnknownCollection { name: name.to_owned(), store, known }
    }

    /// Turns an error of SQLite about the file `path` into one that people can act on.
    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self + Copy + '_ {
        move |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::Full { path },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    Self::Busy { store: path.display().to_string() }
                }
                Some(ErrorCode::NotADatabase) => {
                    Self::Foreign { path, reason: "it is not an SQLite file".to_owned() }
                }
                Some(ErrorCode::DatabaseCorrupt) => {
                    Self::Damaged { path, reason: source.to_string() }
                }
                _ => Self::Sqlite { path, source },
            }
        }
    }
}
