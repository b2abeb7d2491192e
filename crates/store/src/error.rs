//! What can go wrong with a store.

use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// The result of a store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store.
    #[error("there is no index at {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is no store of ours.
    #[error("{path} is not an index of kokeshi: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that shows.
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
        /// Its schema.
        found: i32,
        /// What wrote it.
        version: String,
        /// This version.
        ours: &'static str,
        /// The newest schema that this version knows.
        known: i32,
    },
    /// Another process writes.
    #[error("another kokeshi process is writing to {store}; nothing was changed")]
    Busy {
        /// The store.
        store: String,
    },
    /// Whoever watched said so.
    #[error("stopped; nothing was changed")]
    Stopped,
    /// No space is left for the file.
    #[error("no space is left for {path}; everything written before this batch is kept")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// No space is left for a file that was to be made.
    #[error("no space is left for {path}; nothing was changed")]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// No collection of that name.
    #[error("there is no collection `{name}` in {store}; there is {known}")]
    UnknownCollection {
        /// What was asked for.
        name: String,
        /// The store.
        store: String,
        /// The names that exist, for people.
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
    /// Vectors of two kinds would be mixed.
    #[error("collection `{collection}` cannot take vectors of another kind: {differences}")]
    Mixed {
        /// The collection.
        collection: String,
        /// Every property in which the two sides differ, with both values.
        differences: String,
    },
    /// A vector of another width than the collection's.
    #[error("a vector has {found} dimensions, the collection has {wanted}")]
    Width {
        /// The vector's.
        found: usize,
        /// The collection's.
        wanted: usize,
    },
    /// An address that leads to no store.
    #[error("{address} is no address of a store: {reason}")]
    Address {
        /// The address, without its password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers.
    #[error("{store} does not answer: {reason}")]
    Unreachable {
        /// The store.
        store: String,
        /// What was tried, and how it failed.
        reason: String,
    },
    /// The server takes neither this user nor this password.
    #[error("{store} refuses the user or the password: {reason}")]
    Refused {
        /// The store.
        store: String,
        /// What the server says.
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
    /// The engine has no such thing.
    #[error("{store} has no {wanted}; it has {known}")]
    Unsupported {
        /// The store.
        store: String,
        /// What was asked for.
        wanted: String,
        /// What there is instead.
        known: String,
    },
    /// The server refused for another reason.
    #[error("{store}: {reason}")]
    Server {
        /// The store.
        store: String,
        /// What was tried, and what the server says.
        reason: String,
    },
    /// A pattern or filter that cannot be read.
    #[error("{0}")]
    Filter(String),
    /// The file holds what no version of kokeshi writes.
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
        /// Its number, from 1; of a JSONL file, that of its line.
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
    /// SQLite refused.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        #[source]
        source: rusqlite::Error,
    },
}

impl Error {
    /// The error of a store that has collections of other `names` only.
    pub(crate) fn unknown_collection<'a>(
        name: &str,
        store: String,
        names: impl Iterator<Item = &'a str>,
    ) -> Self {
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let known = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
        Self::UnknownCollection { name: name.to_owned(), store, known }
    }

    /// Turns what SQLite says of `path` into what people can act on.
    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self + Copy + '_ {
        move |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::Full { path },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    Self::Busy { store: path.display().to_string() }
                }
                Some(ErrorCode::NotADatabase) => {
                    Self::Foreign { path, reason: "it is no SQLite file".to_owned() }
                }
                Some(ErrorCode::DatabaseCorrupt) => {
                    Self::Damaged { path, reason: source.to_string() }
                }
                _ => Self::Sqlite { path, source },
            }
        }
    }

    /// What to do about it, where the message does not say it: a sentence to be shown after it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => "`kokeshi index PATH` makes one".to_owned(),
            Self::Newer { .. } => "use the newer kokeshi, or another file with --store".to_owned(),
            Self::Busy { .. } => "wait until it is done, and run this again".to_owned(),
            Self::Full { .. } => "free some space, and run this again: it goes on there".to_owned(),
            Self::NoRoom { .. } => "free some space, and run this again".to_owned(),
            Self::Damaged { .. } => {
                "remove the file and index again: documents are not touched".to_owned()
            }
            Self::Mixed { collection, .. } => format!(
                "index into a collection of its own with --collection NAME, or remove `{collection}` \
                 with `kokeshi forget --collection {collection} --all` and index again"
            ),
            Self::Address { .. } => "a store is a file, postgres://USER@HOST/DATABASE, \
                 qdrant://HOST:6333, milvus://HOST:19530 or chroma://HOST:8000"
                .to_owned(),
            Self::Unreachable { .. } => {
                "is the server running, and are its host and port right?".to_owned()
            }
            Self::Refused { .. } => {
                "write them into the address, SCHEME://USER:PASSWORD@HOST, which the variable \
                 KOKESHI_STORE can hold"
                    .to_owned()
            }
            Self::Unprepared { .. } => "install pgvector 0.7 or newer on the server, and let an \
                 administrator run `CREATE EXTENSION vector` in this database"
                .to_owned(),
            _ => return None,
        })
    }
}
