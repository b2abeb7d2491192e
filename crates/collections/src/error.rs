//! Errors of collections of files.

use std::path::PathBuf;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the path, the model or the collection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The paths to index have no common folder that the store could be in.
    #[error("these paths have no folder in common")]
    NoCommonFolder,
    /// No store at a path or above it.
    #[error("no index at {path} or above")]
    NoIndex {
        /// Where the search began.
        path: PathBuf,
    },
    /// A path that a store cannot record.
    #[error("the name of {path} is not in UTF-8")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The weights are not those that produced the collection's vectors.
    #[error(
        "the weights of `{model}` are now {revision}; the vectors of the collection were produced \
         with {recorded}"
    )]
    WeightsChanged {
        /// The model's name or folder.
        model: String,
        /// The current revision of the weights.
        revision: String,
        /// The revision that the collection records.
        recorded: String,
    },
    /// A collection that a source does not have.
    #[error("no collection `{name}` in {store}")]
    NoCollection {
        /// The requested name.
        name: String,
        /// The store, without its password.
        store: String,
    },
    /// A chunking that cannot be parsed.
    #[error("{0}")]
    Chunking(String),
    /// The name was switched to another collection during every attempt to search it.
    #[error("collection `{name}` was replaced during every attempt to search it")]
    Replaced {
        /// The requested name.
        name: String,
    },
    /// The writing thread has stopped; the run returns its error instead of this one.
    #[error("the store accepts no more documents")]
    WriterStopped,
    /// A file whose text cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: kokeshi_documents::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] kokeshi_store::Error),
    /// Walking a folder.
    #[error(transparent)]
    Documents(#[from] kokeshi_documents::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] kokeshi::Error),
}
