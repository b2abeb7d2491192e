//! What can go wrong with vectors and classes.

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Input that an analysis cannot be made of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More groups than different vectors.
    #[error("{groups} groups were asked for, but there are only {distinct} different vectors")]
    TooManyGroups {
        /// Groups that were asked for.
        groups: usize,
        /// Different vectors.
        distinct: usize,
    },
    /// No group at all, or nothing to group.
    #[error("there must be at least one vector and one group")]
    Nothing,
    /// A vector of another width.
    #[error("a vector has {got} dimensions, not {wanted}")]
    Width {
        /// Dimensions of the others.
        wanted: usize,
        /// Dimensions of this one.
        got: usize,
    },
    /// Parts of a classifier that do not fit together.
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
    #[error("a classifier needs at least two different labels, and there {}", found(*.0))]
    Labels(usize),
    /// The memory that vectors may take is full.
    #[error("{rows} vectors take {bytes} bytes, all that they may")]
    Memory {
        /// Vectors that are held.
        rows: usize,
        /// Bytes that they take.
        bytes: usize,
    },
    /// The system refuses threads.
    #[error("threads cannot be started: {0}")]
    Threads(#[from] std::io::Error),
}

fn found(labels: usize) -> String {
    if labels == 1 { "is 1".to_owned() } else { format!("are {labels}") }
}
