//! What to embed, and how.

use std::ops::Range;

/// One thing to embed, with options of its own: a call may mix tasks, lengths and dimensions.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The text, and how it is cut into vectors.
    pub text: Text<'a>,
    /// Task, dimensions and the like, for this input alone.
    pub options: Options,
}

/// A text and the vectors that are wanted of it.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// One vector for the whole text.
    Whole(&'a str),
    /// One vector for each chunk, pooled from one forward pass over the whole text (late
    /// chunking). Texts past the model's limit run in overlapping windows.
    LateChunks {
        /// The document.
        text: &'a str,
        /// Its chunks, as [`Model::chunk`](crate::Model::chunk) cuts them, or hand-made.
        chunks: &'a [Chunk],
    },
    /// One vector for each part; all parts together are one document, joined as the hosted
    /// API joins them (by one space).
    LateParts(&'a [&'a str]),
}

/// Options of one input. Names and defaults are those of the Jina embeddings API.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A task of the model, such as `retrieval.query`; `None` runs the base weights without an
    /// instruction.
    pub task: Option<String>,
    /// Put the task's instruction before the text. Default `true`; `false` selects the adapter
    /// alone, as the ONNX export and sentence-transformers' `task=` do.
    pub instruction: bool,
    /// Keep this many leading dimensions (Matryoshka); `None` keeps all.
    pub dimensions: Option<usize>,
    /// Scale vectors to unit length, after `dimensions` has cut them. Default `true`.
    pub normalized: bool,
    /// Drop the tail of a text that is too long, instead of returning an error. Default `false`.
    /// Late chunking never truncates: it runs in windows.
    pub truncate: bool,
    /// How late chunking covers a document that is longer than the model's limit.
    pub window: Window,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            task: None,
            instruction: true,
            dimensions: None,
            normalized: true,
            truncate: false,
            window: Window::default(),
        }
    }
}

/// Windows of long late chunking, in tokens (paper 2409.04701, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tokens in a window; `None` is the model's limit.
    pub size: Option<usize>,
    /// Tokens that a window shares with the one before; their states come from the earlier one.
    pub overlap: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: None, overlap: 512 }
    }
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

/// A part of a document. All ranges are half open; `tokens` counts the document's own tokens,
/// without special tokens and instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Byte offsets in the UTF-8 text.
    pub bytes: Range<usize>,
    /// Character (Unicode scalar value) offsets.
    pub chars: Range<usize>,
    /// Token offsets.
    pub tokens: Range<usize>,
}

/// How a document is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunking {
    /// Every `n` tokens.
    Tokens(usize),
    /// Every `n` sentences (Unicode UAX #29).
    Sentences(usize),
    /// Lines that hold more than white space.
    Lines,
    /// Paragraphs: blocks between blank lines.
    Paragraphs,
    /// The largest semantic units (paragraph, sentence, word, …) of at most `n` tokens.
    Semantic(usize),
}

/// The result of one [`Input`].
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector for a whole text, one a chunk or part for late chunking, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that went through the model: special tokens and instruction included, the
    /// overlaps of late-chunking windows not counted twice.
    pub tokens: usize,
    /// Tokens cut off the end because of [`Options::truncate`]; otherwise 0.
    pub truncated_tokens: usize,
    /// Forward passes over one document: 1, or more when late chunking ran in windows.
    pub windows: usize,
}
