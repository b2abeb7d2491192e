//! Text to vectors on this machine, with jina-embeddings-v3 (five tasks, Matryoshka dimensions) and
//! jina-embeddings-v2 (one task, one width). Both support late chunking, and both can be loaded in
//! one process ([`Models`]).
//!
//! A text passes through these modules in turn: `tokenize` (ids and offsets), `prepare`
//! (instruction, limits), `spans`, `late` and `window` (which tokens form which vector),
//! `schedule` (batches, forward passes), `finish` (dimensions, unit length), [`encode`].
//!
//! # Example
//!
//! One call can mix tasks, dimensions and lengths; every input has its own options.
//!
//! ```
//! use kokeshi::{Chunking, Input, LoadOptions, Model, cosine};
//!
//! let model = Model::starter(&LoadOptions::default())?;
//! let embedded = model.embed(&[
//!     Input::new("How do I charge it?").task("retrieval.query"),
//!     Input::new("Connect the cable to the port.").task("retrieval.passage"),
//!     Input::new("The Force will be with you.").task("text-matching").dimensions(64),
//! ])?;
//! let (query, passage) = (&embedded[0].vectors[0], &embedded[1].vectors[0]);
//! assert_eq!(query.len(), model.config().hidden);
//! assert!(cosine(query, passage) <= 1.0);
//! assert_eq!(embedded[2].vectors[0].len(), 64);
//!
//! // Late chunking: one forward pass over the whole document, one vector for each sentence.
//! let document = "Berlin is the capital of Germany. It has 3.7 million inhabitants.";
//! let chunks = model.chunk(document, Chunking::Sentences(1))?;
//! let late = model.embed(&[Input::late(document, &chunks).task("retrieval.passage")])?;
//! assert_eq!(late[0].vectors.len(), 2);
//! assert_eq!(&document[chunks[1].bytes.clone()], "It has 3.7 million inhabitants.");
//! # Ok::<(), kokeshi::Error>(())
//! ```

mod blocks;
mod bounded;
mod capability;
mod chars;
mod chunk;
mod chunking;
mod count;
mod cuts;
mod embedded;
mod encode;
mod error;
mod finish;
mod input;
mod late;
mod model;
mod models;
mod pipeline;
mod prefix;
mod prepare;
mod quantize;
mod queue;
mod request;
mod schedule;
mod sequence;
mod spans;
mod synthesize;
mod tokenize;
mod unigram;
mod units;
mod window;

pub use blocks::{BLOCK_BYTES, BLOCK_TEXTS, BlockSize, blocks};
pub use chunk::Chunk;
pub use chunking::Chunking;
pub use count::TokenCount;
pub use embedded::Embedded;
pub use encode::{EmbeddingType, Encoded, encode};
pub use error::{Error, Result};
pub use input::{Input, LateSpans, Options, Text, TextEnd, Window};
pub use kokeshi_model::{
    Activation, Checkpoint, Device, EncoderConfig, Layout, Level, Position, Precision,
    SyntheticShape, TableBits, TaskConfig, TensorInfo, cosine,
};
#[cfg(feature = "cuda")]
pub use kokeshi_model::{Card, CardError, card, cards, first_card};
pub use model::{LoadOptions, Model, TokenizedText};
pub use models::{LoadedModel, Models};
pub use prepare::MAX_TEXT_BYTES;
pub use quantize::{ORIGINAL_CARD, quantize};
pub use queue::{Observer, Queue, QueueLimits, QueueStats, Ticket};
pub use request::Request;
pub use schedule::Progress;
pub use synthesize::synthesize;
pub use tokenize::{TokenizerInfo, inspect_tokenizer};
