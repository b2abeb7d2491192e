//! Why a file cannot be read.

use std::path::PathBuf;

/// The result of reading a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A reason to leave a file out, for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system does not let us.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The walk stopped at a place.
    #[error("{0}")]
    Walk(String),
    /// The file holds no text that we can read.
    #[error("{0}")]
    NoText(String),
}
