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
    NotAStore {
        /// The file.
        path: PathBuf,
        /// Why it is not one.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error(
        "{path} has schema {found}, written by kokeshi {version}; this is kokeshi {current}, which \
         supports schemas up to {supported}"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i32,
        /// The version of kokeshi that wrote it.
        version: String,
        /// This version of kokeshi.
        current: &'static str,
        /// The newest schema version that this build supports.
        supported: i32,
    },
    /// The file was written by an older version, and cannot be upgraded.
    #[error(
        "{path} has schema {found}, and this version of kokeshi needs {supported}: it would be \
         upgraded, but cannot be written"
    )]
    OlderSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i32,
        /// The schema version that this build reads.
        supported: i32,
    },
    /// The file may not be changed.
    #[error("cannot write {path}: the file or its folder may not be changed by this user")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Another process is writing.
    #[error("another kokeshi process is writing to {store}; nothing was changed")]
    Busy {
        /// The store.
        store: String,
    },
    /// The caller stopped the call.
    #[error("stopped; nothing was changed")]
    Stopped,
    /// The disk became full while a batch was written; earlier batches are kept.
    #[error("no space is left for {path}; everything written before this batch is kept")]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no space for a new ANN index; nothing was changed.
    #[error("no space is left for {path}; nothing was changed")]
    NoSpaceForAnnIndex {
        /// The file.
        path: PathBuf,
    },
    /// There is no collection of that name.
    #[error("no collection `{name}` in {store}; it has {known}")]
    UnknownCollection {
        /// The requested name.
        name: String,
        /// The store.
        store: String,
        /// The names that exist, as a list for people.
        known: String,
    },
    /// The name is taken.
    #[error("`{name}` is already a {kind} in {store}")]
    NameTaken {
        /// The name.
        name: String,
        /// `collection` or `alias`.
        kind: &'static str,
        /// The store.
        store: String,
    },
    /// What a migration would switch or remove is not what it was begun with.
    #[error("{reason} in {store}: another program has changed it; nothing was changed")]
    NotReplaceable {
        /// The store.
        store: String,
        /// What a name leads to, in place of what was recorded.
        reason: String,
    },
    /// Vectors of two provenances would be mixed.
    #[error("collection `{collection}` cannot hold vectors of another provenance: {differences}")]
    ProvenanceMismatch {
        /// The collection.
        collection: String,
        /// Every property that differs, with both values.
        differences: String,
    },
    /// A vector does not have the width of the collection's vectors.
    #[error("a vector has {found} dimensions; the collection has {wanted}")]
    WidthMismatch {
        /// Dimensions of the vector.
        found: usize,
        /// Dimensions of the collection.
        wanted: usize,
    },
    /// The address is not that of a store.
    #[error("{address} is not the address of a store: {reason}")]
    InvalidAddress {
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
    LoginRefused {
        /// The store.
        store: String,
        /// The server's message.
        reason: String,
    },
    /// The server lacks what vectors need.
    #[error("{store} cannot hold vectors: {reason}")]
    NoVectorSupport {
        /// The store.
        store: String,
        /// What is missing.
        reason: String,
    },
    /// The store does not support what was requested.
    #[error("{store} has no {wanted}; it has {known}")]
    Unsupported {
        /// The store.
        store: String,
        /// What was requested.
        wanted: String,
        /// What it supports instead.
        known: String,
    },
    /// The collection cannot have an ANN index.
    #[error("cannot build an ANN index of `{collection}` in {store}: {reason}")]
    NotIndexable {
        /// The store.
        store: String,
        /// The collection.
        collection: String,
        /// Why not.
        reason: &'static str,
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
        /// The document's count.
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
    /// The address is a database, and no table of it is named.
    #[error("no table of {store} is named")]
    NoTable {
        /// The store.
        store: String,
    },
    /// A foreign table cannot be opened.
    #[error("cannot open table `{table}` of {store}: {reason}")]
    UnsuitableTable {
        /// The store.
        store: String,
        /// The table, as it was named.
        table: String,
        /// What it is or lacks, and what to do.
        reason: String,
    },
    /// Objects of a database depend on what readers use now, and cannot follow them.
    #[error(
        "{objects} in {store} cannot follow readers of `{name}` by itself; nothing was changed"
    )]
    CannotFollow {
        /// The store.
        store: String,
        /// The name that readers use.
        name: String,
        /// The objects, as a list for people.
        objects: String,
        /// Statements that remove them before the switch and create them again after it, in order.
        statements: Vec<String>,
    },
    /// Rows of a foreign table have a text but belong to no document.
    #[error("{store}: rows have a text but no value in `{column}`")]
    NoDocument {
        /// The store.
        store: String,
        /// The column of documents.
        column: String,
    },
    /// Points of a foreign collection have several vectors, and none or an unknown one is named.
    #[error("{store}: {problem} in {collection}; it has {known}")]
    AmbiguousVector {
        /// The store.
        store: String,
        /// The collection.
        collection: String,
        /// What is unclear.
        problem: String,
        /// The names of its vectors, as a list for people.
        known: String,
    },
    /// A foreign collection has a property that a shadow copy cannot have.
    #[error("{store}: {reason}")]
    NotCopyable {
        /// The store.
        store: String,
        /// The property.
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
    /// A pattern, condition, storage or kind of codes that cannot be parsed.
    #[error("{0}")]
    Parse(String),
    /// The file has contents that no version of kokeshi writes.
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
        /// The number of the row, from 1; in a JSONL file, the line number.
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

    /// The error of a recorded collection that no longer exists.
    pub fn gone(store: String) -> Self {
        let reason = "a collection of this migration no longer exists".to_owned();
        Self::NotReplaceable { store, reason }
    }

    /// Turns an error of SQLite about the file `path` into one that people can act on.
    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self + Copy + '_ {
        move |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::DiskFull { path },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    Self::Busy { store: path.display().to_string() }
                }
                Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
                Some(ErrorCode::NotADatabase) => {
                    Self::NotAStore { path, reason: "it is not an SQLite file".to_owned() }
                }
                Some(ErrorCode::DatabaseCorrupt) => {
                    Self::Damaged { path, reason: source.to_string() }
                }
                _ => Self::Sqlite { path, source },
            }
        }
    }
}
