//! Packed sequences: the only shape in which text reaches the encoder.

use std::ops::Range;

/// Token sequences laid end to end. There is no padding anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    seq_ends: Vec<usize>,
    adapters: Vec<Option<usize>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one sequence (special tokens included) that runs with `adapter`: an index into
    /// [`EncoderConfig::tasks`](crate::EncoderConfig), or `None` for the base weights alone.
    pub fn push(&mut self, ids: &[u32], adapter: Option<usize>) {
        self.ids.extend_from_slice(ids);
        self.seq_ends.push(self.ids.len());
        self.adapters.push(adapter);
    }

    /// Token ids of all sequences, `[tokens]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Number of tokens in all sequences together.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// One past the last token of each sequence, ascending.
    pub fn seq_ends(&self) -> &[usize] {
        &self.seq_ends
    }

    /// The adapter of each sequence.
    pub fn adapters(&self) -> &[Option<usize>] {
        &self.adapters
    }

    /// The token range of each sequence.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.seq_ends.iter().enumerate().map(|(i, &end)| {
            let start = if i == 0 { 0 } else { self.seq_ends[i - 1] };
            start..end
        })
    }
}
