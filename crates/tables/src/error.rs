//! Errors of tables.

use std::io;
use std::path::{Path, PathBuf};

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused a file.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A pattern that is not a glob.
    #[error("`{pattern}` is not a valid glob: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A pattern that names nothing.
    #[error("no file matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A file of none of the formats.
    #[error("{path} is not a table: expected `.parquet`, `.jsonl`, `.ndjson`, `.csv` or `.tsv`")]
    NotATable {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read as what it is.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that another program wrote to meanwhile.
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A column that a file lacks.
    #[error("{path} has no column `{name}`; it has {known}")]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        name: String,
        /// A list of its columns.
        known: String,
    },
    /// A file without any of the usual columns of texts.
    #[error("{path} has no column called {usual}; it has {known}")]
    NoText {
        /// The file.
        path: PathBuf,
        /// A list of the usual names.
        usual: String,
        /// A list of its columns.
        known: String,
    },
    /// A column whose values are not texts.
    #[error("the column `{name}` of {path} has values of type {dtype}, not texts")]
    NotTexts {
        /// The file.
        path: PathBuf,
        /// The column.
        name: String,
        /// The type of its values.
        dtype: String,
    },
    /// A kept column with the name of one that is written.
    #[error("{path} has a column `{name}`, and the output would have another one of that name")]
    SameColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        name: String,
    },
    /// Two inputs with the same name of their output.
    #[error("{first} and {second} would both be written to {output}")]
    SameOutput {
        /// An input.
        first: PathBuf,
        /// The other input.
        second: PathBuf,
        /// The output.
        output: String,
    },
    /// An output folder that was written with other settings.
    #[error("{output} has vectors with {found}, not {wanted}")]
    OtherSettings {
        /// The folder.
        output: PathBuf,
        /// A setting, and its value there.
        found: String,
        /// Its value now.
        wanted: String,
    },
    /// A Parquet file that cannot be written.
    #[error("cannot write {path}: {reason}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Options(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] kokeshi::Error),
    /// The caller has stopped the work.
    #[error("the work was stopped")]
    Stopped,
}

impl Error {
    /// Describes an error of the system about `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Describes why `path` cannot be read as what it is.
    pub(crate) fn unreadable(path: &Path, reason: impl ToString) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: reason.to_string() }
    }
}
