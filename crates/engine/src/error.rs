//! Errors between a text and its embedding.

use crate::count::TokenCount;
use std::time::Duration;

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the input, the limit and what to do.
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
        /// The tokenizer library's message.
        reason: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer {path} cannot encode a text: {reason}")]
    Tokenize {
        /// The file.
        path: String,
        /// The tokenizer library's message.
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
        /// The requested task.
        task: String,
        /// A clause that lists the tasks.
        known: String,
        /// Advice that goes beyond the list of tasks.
        hint: Option<String>,
    },
    /// `dimensions` outside 1..=hidden.
    #[error(
        "text {index}: dimensions {dimensions} is out of range: this model supports 1 to {hidden}"
    )]
    Dimensions {
        /// Index of the input, from 0.
        index: usize,
        /// The requested number of dimensions.
        dimensions: usize,
        /// The model's width.
        hidden: usize,
    },
    /// `dimensions` other than the width of a model whose vectors cannot be cut.
    #[error(
        "text {index}: dimensions {dimensions} is not supported: vectors of this model \
         (jina-embeddings-v2) have {hidden} dimensions, and it was not trained for fewer"
    )]
    FixedWidth {
        /// Index of the input, from 0.
        index: usize,
        /// The requested number of dimensions.
        dimensions: usize,
        /// The model's width.
        hidden: usize,
    },
    /// A text over the model's limit, with `truncate` off.
    #[error(
        "text {index} has {tokens} tokens; the model's limit is {limit}. Set truncate to drop the \
         tail, or use late chunking, which has no limit"
    )]
    TooLong {
        /// Index of the input, from 0.
        index: usize,
        /// Tokens of the input, special tokens and instruction included.
        tokens: TokenCount,
        /// The limit.
        limit: usize,
    },
    /// A text that is too large to tokenize.
    #[error("text {index} has {bytes} bytes; the limit is {limit} bytes. Split it")]
    TooLarge {
        /// Index of the input, from 0.
        index: usize,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A model that does not fit into the memory budget of [`Models`](crate::Models).
    #[error(
        "the model `{id}` needs {bytes} bytes and the models in use take {in_use} bytes; together \
         they are over the memory budget of {budget} bytes"
    )]
    Budget {
        /// The name that it was requested by.
        id: String,
        /// Bytes of this model.
        bytes: usize,
        /// Bytes of the loaded models that are in use.
        in_use: usize,
        /// The budget, in bytes.
        budget: usize,
    },
    /// A queue that is full.
    #[error(
        "the queue is full: {waiting_tokens} tokens are waiting; the limit is {limit}. Try again in \
         {} s", retry_after.as_secs_f64().ceil()
    )]
    QueueFull {
        /// Tokens of the requests that have not been answered.
        waiting_tokens: usize,
        /// The queue's limit.
        limit: usize,
        /// Estimated time until the request fits.
        retry_after: Duration,
    },
    /// A queue that is shutting down.
    #[error("the queue is shutting down and accepts no more requests")]
    QueueClosed,
    /// The caller has stopped the work; see [`Model::prepare_while`](crate::Model::prepare_while).
    #[error("the work was stopped")]
    Stopped,
    /// A forward pass that failed: the device failed, the program has a bug, or the request was
    /// prepared by another model.
    #[error("the forward pass failed: {reason}")]
    Failed {
        /// The message of the device or of the panic.
        reason: String,
    },
    /// The system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// Options that contradict each other or are out of range.
    #[error("{0}")]
    Options(String),
}

impl Error {
    /// What to do, if the message does not say so already: a sentence to show after the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownTask { hint, .. } => hint.clone(),
            Self::FixedWidth { hidden, .. } => Some(format!(
                "use {hidden} or leave dimensions out; jina-embeddings-v3 supports 1 to 1024"
            )),
            Self::Budget { bytes, in_use, .. } => {
                let bytes = bytes.saturating_add(*in_use);
                Some(format!("use fewer models at once, or a budget of at least {bytes} bytes"))
            }
            _ => None,
        }
    }
}

/// Is called between two steps of long work, and returns whether the work should go on. It may also
/// wait, so that others have a turn.
pub(crate) type KeepRunning<'a> = dyn FnMut() -> bool + 'a;

/// Asks whether work should go on.
///
/// # Errors
///
/// [`Error::Stopped`] if not.
pub(crate) fn check_running(keep_running: &mut KeepRunning<'_>) -> Result<()> {
    if keep_running() { Ok(()) } else { Err(Error::Stopped) }
}
