//! Token sequences of one input, and the special tokens and instruction around its own tokens.

use crate::window::Pass;
use std::ops::Range;

/// Tokens of one document for the model, and the spans of them that become vectors.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) ids: Vec<u32>,
    pub(crate) adapter: Option<usize>,
    /// Number of first tokens with which every pass begins.
    pub(crate) lead: usize,
    /// Token ranges of `ids`; empty for a chunk without tokens.
    pub(crate) spans: Vec<Range<usize>>,
    /// The forward passes that cover the spans.
    pub(crate) passes: Vec<Pass>,
}

/// Special tokens and instruction that go around a text's own tokens.
pub(crate) struct Frame<'a> {
    /// Index of the input in its call.
    pub(crate) input: usize,
    pub(crate) adapter: Option<usize>,
    /// Before and after the text.
    pub(crate) specials: (&'a [u32], &'a [u32]),
    pub(crate) instruction: &'a [u32],
}

impl Frame<'_> {
    /// Number of tokens before and after the text's own.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        (self.specials.0.len() + self.instruction.len(), self.specials.1.len())
    }

    /// `content` with the frame around it.
    pub(crate) fn wrap(&self, content: &[u32]) -> Vec<u32> {
        [self.specials.0, self.instruction, content, self.specials.1].concat()
    }

    /// A sequence with one span over all of `ids`.
    pub(crate) fn whole(&self, ids: Vec<u32>) -> Sequence {
        let tokens = ids.len();
        // A tokenizer without special tokens leaves nothing to run for an empty text.
        let passes = (tokens > 0).then(|| Pass::whole(tokens)).into_iter().collect();
        let spans = std::iter::once(0..tokens).collect();
        Sequence { ids, adapter: self.adapter, lead: 0, spans, passes }
    }
}
