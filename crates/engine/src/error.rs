//! What can go wrong between a text and its embedding.

use std::time::Duration;

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
        /// What to do instead, if there is more to say than the list does.
        hint: Option<String>,
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
    /// `dimensions` other than the width of a model whose vectors cannot be cut.
    #[error(
        "text {index}: dimensions {dimensions} is not possible: vectors of this model \
         (jina-embeddings-v2) have {hidden}, and it was not trained for fewer"
    )]
    FixedWidth {
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
    /// A model that does not fit into the memory budget of [`Models`](crate::Models).
    #[error(
        "the model `{id}` takes {bytes} bytes and the models in use take {in_use} bytes, which \
         exceeds the memory budget of {budget} bytes"
    )]
    Budget {
        /// The name it was asked for by.
        id: String,
        /// Bytes of this model.
        bytes: usize,
        /// Bytes of the loaded models that somebody holds.
        in_use: usize,
        /// The budget, in bytes.
        budget: usize,
    },
    /// A queue that has all the work it may accept.
    #[error(
        "the queue is full: {waiting_tokens} tokens are waiting, the limit is {limit}; try again in \
         {} s", retry_after.as_secs_f64().ceil()
    )]
    QueueFull {
        /// Tokens of the requests that are not answered yet.
        waiting_tokens: usize,
        /// The queue's limit.
        limit: usize,
        /// When there should be room for the request.
        retry_after: Duration,
    },
    /// A queue that accepts no more requests, because it is being shut down.
    #[error("the queue is shutting down and accepts no more requests")]
    QueueClosed,
    /// A forward pass that failed: the device, this program, or an input of another model.
    #[error("the forward pass failed: {reason}")]
    Panicked {
        /// The message of the panic.
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
    /// What to do instead, where the message does not say it already: a sentence of its own, to
    /// be shown after the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownTask { hint, .. } => hint.clone(),
            Self::FixedWidth { hidden, .. } => Some(format!(
                "use {hidden} or leave dimensions out; jina-embeddings-v3 takes 1 to 1024"
            )),
            Self::Budget { bytes, in_use, .. } => {
                let bytes = bytes.saturating_add(*in_use);
                Some(format!("use fewer models at once, or a budget of at least {bytes} bytes"))
            }
            _ => None,
        }
    }
}
