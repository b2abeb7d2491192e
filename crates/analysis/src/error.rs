//! Errors of analyses.

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an analysis is impossible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More groups than distinct vectors.
    #[error("{groups} groups were requested, but only {distinct} vectors are different")]
    TooManyGroups {
        /// Requested number of groups.
        groups: usize,
        /// Number of different vectors.
        distinct: usize,
    },
    /// No vectors or no groups.
    #[error("there must be at least one vector and one group")]
    Empty,
    /// A vector with a different number of dimensions.
    #[error("a vector has {got} dimensions instead of {expected}")]
    Width {
        /// Dimensions of the other vectors.
        expected: usize,
        /// Dimensions of this vector.
        got: usize,
    },
    /// Inconsistent parts of a classifier.
    #[error("the classifier is damaged: {0}")]
    Damaged(String),
    /// A classifier's file that is not JSON, or lacks a field.
    #[error("cannot parse the classifier: {0}")]
    Json(#[from] serde_json::Error),
    /// A file of another kind.
    #[error("the file is a `{format}`, not a `kokeshi classifier`")]
    Format {
        /// The `format` that the file states.
        format: String,
    },
    /// A classifier's file of another version.
    #[error("the classifier has version {version}; this program reads version {supported}")]
    Version {
        /// The version that the file states.
        version: u32,
        /// The version that is readable.
        supported: u32,
    },
    /// A classifier's file that was changed after it was written.
    #[error("the classifier does not match its checksum")]
    Checksum,
    /// Fewer than two labels.
    #[error("a classifier needs at least two different labels; there {}", counted(*.0))]
    TooFewLabels(usize),
    /// The memory limit of vectors is reached.
    #[error("{rows} vectors take {bytes} bytes and reach the memory limit")]
    Memory {
        /// Vectors in memory.
        rows: usize,
        /// Bytes that they take.
        bytes: usize,
    },
    /// The caller has stopped the work.
    #[error("the work was stopped")]
    Stopped,
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Threads(#[from] std::io::Error),
}

fn counted(labels: usize) -> String {
    if labels == 1 { "is 1".to_owned() } else { format!("are {labels}") }
}
