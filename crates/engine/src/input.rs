//! A text to embed and its options.

use crate::chunk::Chunk;

/// One text to embed, with its own options: a call can mix tasks, lengths and dimensions.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The text, and how it is divided into vectors.
    pub text: Text<'a>,
    /// Task, dimensions and other options of this input alone.
    pub options: Options,
}

/// A text and the vectors to compute from it.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// One vector for the whole text.
    Whole(&'a str),
    /// One vector for each chunk, pooled from one forward pass over the whole text (late
    /// chunking). A text that is longer than a window runs in overlapping windows.
    LateChunks {
        /// The document.
        text: &'a str,
        /// Its chunks, from [`Model::chunk`](crate::Model::chunk) or [`Chunk::new`].
        chunks: &'a [Chunk],
    },
    /// One vector for each part; the parts together are one document. Parts are tokenized one by
    /// one and their tokens are concatenated. This equals tokenizing the parts joined by one space,
    /// as the hosted API joins them, except with the byte-level tokenizers of
    /// jina-embeddings-v2-base-de, -es and -code, which have tokens for spaces.
    LateParts(&'a [&'a str]),
}

/// Options of one input. Names and defaults are those of the Jina embeddings API.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A task of the model, such as `retrieval.query`; `None` runs the base weights without an
    /// instruction. jina-embeddings-v2 has only `text-matching`, which changes nothing.
    pub task: Option<String>,
    /// Put the task's instruction before the text. Default `true`; `false` selects the adapter
    /// alone, as the ONNX export and sentence-transformers' `task=` do.
    pub instruction: bool,
    /// Number of leading dimensions to keep (Matryoshka); `None` keeps all. jina-embeddings-v2 was
    /// not trained for fewer and accepts only its full width.
    pub dimensions: Option<usize>,
    /// Scale vectors to unit length after cutting them to `dimensions`. Default `true`.
    pub normalized: bool,
    /// Drop the end of a text that is too long instead of returning an error. Default `false`.
    /// Late chunking never truncates: it runs in windows.
    pub truncate: bool,
    /// Limit of tokens for this text, special tokens and instruction included, if it is below the
    /// model's own. Late chunking has its window instead.
    pub max_tokens: Option<usize>,
    /// Which end of a text that is too long `truncate` drops.
    pub truncated_end: TextEnd,
    /// How late chunking covers a document that is longer than the model was trained for.
    pub window: Window,
    /// Whether every window begins with the special tokens and the instruction before the text, in
    /// the place of tokens whose states come from the window before it. Without them, states of a
    /// model that was trained with them may be useless. The published implementation of long late
    /// chunking has them in the first window only.
    pub windows_have_lead: bool,
    /// Which late chunks include the special tokens and the instruction.
    pub late_spans: LateSpans,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            task: None,
            instruction: true,
            dimensions: None,
            normalized: true,
            truncate: false,
            max_tokens: None,
            truncated_end: TextEnd::default(),
            window: Window::default(),
            windows_have_lead: true,
            late_spans: LateSpans::default(),
        }
    }
}

/// An end of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextEnd {
    /// The last tokens.
    #[default]
    Tail,
    /// The first tokens of the text itself; the task's instruction stays.
    Head,
}

/// Windows of long late chunking, in tokens (paper 2409.04701, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Tokens in a window; `None` is the length up to which the model was trained
    /// ([`EncoderConfig::trained_tokens`](crate::EncoderConfig::trained_tokens)).
    pub size: Option<usize>,
    /// Tokens that a window shares with the one before it. Their states come from the earlier one.
    /// `None` is a quarter of the window, but at most 512.
    pub overlap: Option<usize>,
}

/// Which spans of late chunking include the tokens around the document's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LateSpans {
    /// As in the reference implementation (jina-ai/late-chunking): the first chunk's mean includes
    /// `<s>` and the instruction, the last chunk's mean includes `</s>`.
    #[default]
    Reference,
    /// Every chunk's mean includes only its own tokens.
    Content,
}

impl<'a> Input<'a> {
    /// One vector for `text`, with default options.
    pub fn new(text: &'a str) -> Self {
        Self { text: Text::Whole(text), options: Options::default() }
    }

    /// Late chunking of `text` over `chunks`.
    pub fn late(text: &'a str, chunks: &'a [Chunk]) -> Self {
        Self { text: Text::LateChunks { text, chunks }, options: Options::default() }
    }

    /// Late chunking over `parts`, which together are one document.
    pub fn late_parts(parts: &'a [&'a str]) -> Self {
        Self { text: Text::LateParts(parts), options: Options::default() }
    }

    /// Sets the task.
    #[must_use]
    pub fn task(mut self, task: &str) -> Self {
        self.options.task = Some(task.to_owned());
        self
    }

    /// Sets the number of dimensions.
    #[must_use]
    pub fn dimensions(mut self, dimensions: usize) -> Self {
        self.options.dimensions = Some(dimensions);
        self
    }

    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}
