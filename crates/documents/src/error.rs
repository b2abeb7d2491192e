//! Reasons why a file cannot be read.

use std::path::PathBuf;

/// The result of reading a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system reported an error.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The stream that is read failed.
    #[error("cannot be read: {0}")]
    Input(#[source] std::io::Error),
    /// A glob cannot be parsed, or a folder cannot be walked: a message for people.
    #[error("{0}")]
    Walk(String),
    /// A file or folder that a walk could not look at.
    #[error("{reason}")]
    Unreachable {
        /// The file or folder; `None` if the system does not name it.
        path: Option<PathBuf>,
        /// Why, for people.
        reason: String,
    },
    /// The file has no text that can be read: the reason, for people.
    #[error("{0}")]
    NoText(String),
    /// This build lacks the feature that reads a format.
    #[error("this build lacks the feature `{feature}`")]
    MissingFeature {
        /// The feature.
        feature: &'static str,
    },
}
