//! What can go wrong between a text and its embedding.

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the input, the limit and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Model(#[from] kokeshi_model::Error),
    /// The tokenizer file is unusable.
    #[error("cannot read the tokenizer {path}: {reason}")]
    Tokenizer {
        /// The file.
        path: String,
        /// What the tokenizer library says.
        reason: String,
    },
    /// The tokenizer gave up on a text.
    #[error("the tokenizer {path} cannot encode a text: {reason}")]
    Tokenize {
        /// The file.
        path: String,
        /// What the tokenizer library says.
        reason: String,
    },
    /// The tokenizer can produce ids that the embedding table has no row for.
    #[error(
        "the tokenizer's largest id is {largest}, but the model's embedding table has {rows} rows; \
         the two files do not belong together"
    )]
    Vocabulary {
        /// Largest token id.
        largest: u32,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// A task that the model does not have.
    #[error("text {index}: unknown task `{task}`; {known}")]
    UnknownTask {
        /// Index of the input, from 0.
        index: usize,
        /// What was asked for.
        task: String,
        /// A sentence that lists the tasks.
        known: String,
    },
    /// `dimensions` outside 1..=hidden.
    #[error("text {index}: dimensions {dimensions} is out of range; this model has 1 to {hidden}")]
    Dimensions {
        /// Index of the input, from 0.
        index: usize,
        /// What was asked for.
        dimensions: usize,
        /// The model's width.
        hidden: usize,
    },
    /// A text that is longer than the model's limit, with `truncate` off.
    #[error(
        "text {index} has {tokens} tokens, more than the model's limit of {limit}; set truncate to \
         drop the tail, or use late chunking, which has no limit"
    )]
    TooLong {
        /// Index of the input, from 0.
        index: usize,
        /// Tokens of the input, special tokens and instruction included.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// A text that is too large to tokenize.
    #[error("text {index} is {bytes} bytes; the limit is {limit} bytes a text: split it")]
    TooLarge {
        /// Index of the input, from 0.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Options that contradict each other or are out of range.
    #[error("{0}")]
    Options(String),
}
