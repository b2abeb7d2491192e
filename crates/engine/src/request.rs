//! What to embed, and how.

use crate::error::{Error, Result};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

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
    /// One vector for each part; all parts together are one document. Parts are tokenised one by
    /// one and their tokens put in a row. That equals tokenising the parts joined by one space, as
    /// the hosted API joins them, except with the byte-level tokenizers of
    /// jina-embeddings-v2-base-de, -es and -code, which have tokens for spaces.
    LateParts(&'a [&'a str]),
}

/// Options of one input. Names and defaults are those of the Jina embeddings API.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// A task of the model, such as `retrieval.query`; `None` runs the base weights without an
    /// instruction. jina-embeddings-v2 has `text-matching` alone, which changes nothing.
    pub task: Option<String>,
    /// Put the task's instruction before the text. Default `true`; `false` selects the adapter
    /// alone, as the ONNX export and sentence-transformers' `task=` do.
    pub instruction: bool,
    /// Keep this many leading dimensions (Matryoshka); `None` keeps all, and so must
    /// jina-embeddings-v2, which was not trained for fewer.
    pub dimensions: Option<usize>,
    /// Scale vectors to unit length, after `dimensions` has cut them. Default `true`.
    pub normalized: bool,
    /// Drop the tail of a text that is too long, instead of returning an error. Default `false`.
    /// Late chunking never truncates: it runs in windows.
    pub truncate: bool,
    /// How late chunking covers a document that is longer than the model's limit.
    pub window: Window,
    /// Which chunks take in the special tokens and the instruction in late chunking.
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
            window: Window::default(),
            late_spans: LateSpans::default(),
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

/// What late chunking does with the tokens around the document's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LateSpans {
    /// As the reference implementation (jina-ai/late-chunking): the first chunk's mean takes in
    /// `<s>` and the instruction, the last one's `</s>`.
    #[default]
    Reference,
    /// Every chunk's mean is over its own tokens alone.
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

/// A part of a document. All ranges are half open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Byte offsets in the UTF-8 text.
    pub bytes: Range<usize>,
    /// Character (Unicode scalar value) offsets.
    pub chars: Range<usize>,
    /// Offsets among the document's own tokens, without special tokens and instruction. If empty,
    /// late chunking looks the tokens up by `bytes`.
    pub tokens: Range<usize>,
}

impl Chunk {
    /// The chunk of `text` at `bytes`; its tokens are looked up when it is embedded.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the range is not within the text or cuts through a character.
    pub fn new(text: &str, bytes: Range<usize>) -> Result<Self> {
        let (Some(before), Some(within)) = (text.get(..bytes.start), text.get(bytes.clone()))
        else {
            let len = text.len();
            return Err(Error::Options(format!(
                "the chunk at bytes {bytes:?} is not a range of whole characters of its text, \
                 which has {len} bytes"
            )));
        };
        let start = before.chars().count();
        Ok(Self { bytes, chars: start..start + within.chars().count(), tokens: 0..0 })
    }
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
    /// As many whole paragraphs, lines, sentences or words as `n` tokens hold.
    Semantic(usize),
}

/// The forms in which a [`Chunking`] is written.
const CHUNKING_FORMS: &str =
    "`tokens:256`, `sentences`, `sentences:3`, `lines`, `paragraphs`, `semantic:512`";

impl FromStr for Chunking {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, size) = match text.split_once(':') {
            Some((name, size)) => (name, Some(size.parse().ok().filter(|&size: &usize| size > 0))),
            None => (text, None),
        };
        match (name, size) {
            ("tokens", Some(Some(size))) => Ok(Self::Tokens(size)),
            ("sentences", None) => Ok(Self::Sentences(1)),
            ("sentences", Some(Some(count))) => Ok(Self::Sentences(count)),
            ("lines", None) => Ok(Self::Lines),
            ("paragraphs", None) => Ok(Self::Paragraphs),
            ("semantic", Some(Some(size))) => Ok(Self::Semantic(size)),
            _ => Err(Error::Options(format!(
                "`{text}` is not a way to cut a document; use one of {CHUNKING_FORMS}"
            ))),
        }
    }
}

impl fmt::Display for Chunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(size) => write!(f, "tokens:{size}"),
            Self::Sentences(1) => f.write_str("sentences"),
            Self::Sentences(count) => write!(f, "sentences:{count}"),
            Self::Lines => f.write_str("lines"),
            Self::Paragraphs => f.write_str("paragraphs"),
            Self::Semantic(size) => write!(f, "semantic:{size}"),
        }
    }
}

/// The result of one [`Input`].
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector for a whole text, one a chunk or part for late chunking, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of the input: special tokens and instruction included, the overlaps of
    /// late-chunking windows not counted twice.
    pub tokens: usize,
    /// Tokens cut off the end because of [`Options::truncate`]; otherwise 0.
    pub truncated_tokens: usize,
    /// Forward passes over the document: 1, or more when late chunking ran in windows, or 0 when
    /// no chunk has a token.
    pub windows: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunkings_are_written_as_they_are_read() {
        for text in ["tokens:256", "sentences", "sentences:3", "lines", "paragraphs", "semantic:9"]
        {
            let chunking: Chunking = text.parse().expect(text);
            assert_eq!(chunking.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_chunking_is_refused_with_the_forms() {
        for text in
            ["", "tokens", "tokens:", "tokens:0", "tokens:-1", "lines:2", "word", "semantic"]
        {
            let error = text.parse::<Chunking>().expect_err(text).to_string();
            assert!(
                error.contains(&format!("`{text}`")) && error.contains("`sentences:3`"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_hand_made_chunk_counts_its_characters_and_keeps_to_whole_ones() {
        let chunk = Chunk::new("äöü", 2..6).expect("a range of whole characters");
        assert_eq!(chunk.chars, 1..3);
        for bytes in [1..2, 0..7, 9..10] {
            assert!(Chunk::new("äöü", bytes.clone()).is_err(), "{bytes:?}");
        }
    }
}
