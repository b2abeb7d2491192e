//! The sentence of a text that is closest to a query.

use crate::embedder::Embedder;
use kokeshi::{Chunk, Chunking, Embedded, Input, Result, cosine};
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
        let sentences = self.sentences(texts, &mut || true)?;
        let embedded = self.model.embed(&self.sentence_inputs(texts, &sentences))?;
        Ok(best_sentences(query, texts, sentences, &embedded))
    }

    /// The sentences of each text. It calls `keep_running` now and then, and stops once that
    /// returns `false`.
    ///
    /// # Errors
    ///
    /// If a text is too large, or the work is stopped.
    pub fn sentences(
        &self,
        texts: &[&str],
        keep_running: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<Chunk>>> {
        let cut = |text: &&str| {
            let tokenized = self.model.tokenize_while(text, keep_running)?;
            tokenized.chunk_while(Chunking::Sentences(1), keep_running)
        };
        texts.iter().map(cut).collect()
    }

    /// The engine's inputs for the vectors of `sentences`, those of each of `texts`.
    pub fn sentence_inputs<'a>(
        &self,
        texts: &[&'a str],
        sentences: &'a [Vec<Chunk>],
    ) -> Vec<Input<'a>> {
        let options = self.passage_options();
        let inputs = texts.iter().zip(sentences);
        inputs
            .map(|(text, sentences)| Input::late(text, sentences).options(options.clone()))
            .collect()
    }
}

/// For each text, the byte range of the sentence that is closest to `query`, from the engine's
/// results for [`Embedder::sentence_inputs`].
pub fn best_sentences(
    query: &[f32],
    texts: &[&str],
    sentences: Vec<Vec<Chunk>>,
    embedded: &[Embedded],
) -> Vec<Range<usize>> {
    let results = texts.iter().zip(sentences).zip(embedded);
    let best = results.map(|((text, sentences), embedded)| {
        let scores = embedded.vectors.iter().map(|vector| cosine(query, vector));
        let best = sentences.into_iter().zip(scores).max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(0..text.len(), |(sentence, _)| sentence.bytes)
    });
    best.collect()
}
