//! The sentence of a text that is closest to a query.

use crate::embedder::Embedder;
use kokeshi::{Chunk, Chunking, Input, Result, cosine};
use std::ops::Range;

impl Embedder {
    /// For each text, the byte range of the sentence that is closest to `query`, a vector of this
    /// embedder; a text without sentences has its whole range. Each text takes one pass of late
    /// chunking.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    pub fn best_sentences(&self, query: &[f32], texts: &[&str]) -> Result<Vec<Range<usize>>> {
        let sentences: Vec<Vec<Chunk>> = texts
            .iter()
            .map(|text| self.model.chunk(text, Chunking::Sentences(1)))
            .collect::<Result<_>>()?;
        let options = self.passage_options();
        let inputs: Vec<Input<'_>> = texts
            .iter()
            .zip(&sentences)
            .map(|(text, sentences)| Input::late(text, sentences).options(options.clone()))
            .collect();
        let embedded = self.model.embed(&inputs)?;
        let best =
            texts.iter().zip(sentences).zip(embedded).map(|((text, sentences), embedded)| {
                let scores = embedded.vectors.iter().map(|vector| cosine(query, vector));
                let best = sentences.into_iter().zip(scores).max_by(|a, b| a.1.total_cmp(&b.1));
                best.map_or(0..text.len(), |(sentence, _)| sentence.bytes)
            });
        Ok(best.collect())
    }
}
