//! What can be wrong with a checkpoint.

use std::path::PathBuf;

/// The result of a model call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file, the tensor or key, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
