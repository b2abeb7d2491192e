//! Embeds texts as a collection's [`Provenance`] specifies. Only this module turns a provenance
//! into options of the engine.

use crate::chunks::{LocatedChunk, engine_chunks_of_part};
use kokeshi::{Chunk, Embedded, Input, Model, Options, Progress, Result};
use kokeshi_documents::DocumentText;
use kokeshi_store::{Document, Provenance};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// How the vectors of a collection are computed.
#[derive(Clone, Debug)]
pub struct Embedder {
    /// The model.
    pub model: Arc<Model>,
    /// The task of passages.
    pub passage_task: Option<String>,
    /// The task of queries.
    pub query_task: Option<String>,
    /// Elements of a vector.
    pub dimensions: usize,
    /// Whether the chunks of a passage are pooled from one pass over it.
    pub late: bool,
}

/// A text that one pass of late chunking covers, and its chunks.
#[derive(Clone, Debug)]
pub enum Passage<'a> {
    /// A text, and where its chunks are.
    Text {
        /// The text.
        text: Cow<'a, str>,
        /// Its chunks, in ascending order.
        chunks: Vec<Chunk>,
    },
    /// The chunks, whose locations in a text are unknown.
    Parts(Vec<&'a str>),
}

/// The vectors of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// One vector for each chunk, in their order, `[dimensions]`.
    pub vectors: Vec<Vec<f32>>,
    /// Number of tokens that the engine processed.
    pub tokens: usize,
}

impl Embedder {
    /// The embedder of collections with `provenance`, whose model is `model`.
    pub fn new(model: Arc<Model>, provenance: &Provenance) -> Self {
        let Provenance { passage_task, query_task, dimensions, late, .. } = provenance;
        Self {
            model,
            passage_task: passage_task.clone(),
            query_task: query_task.clone(),
            dimensions: *dimensions,
            late: *late,
        }
    }

    pub(crate) fn passage_options(&self) -> Options {
        self.options(&self.passage_task)
    }

    fn options(&self, task: &Option<String>) -> Options {
        Options { task: task.clone(), dimensions: Some(self.dimensions), ..Options::default() }
    }

    /// The vectors of all chunks of `passages`; `progress` is called after every batch.
    ///
    /// # Errors
    ///
    /// If a chunk is too long for the model, or the engine fails.
    pub fn passages(
        &self,
        passages: &[Passage<'_>],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Embeddings> {
        let embedded = self.model.embed_with(&self.passage_inputs(passages), progress)?;
        Ok(Embeddings::of(embedded))
    }

    /// The engine's inputs for `passages`.
    pub(crate) fn passage_inputs<'a>(&self, passages: &'a [Passage<'a>]) -> Vec<Input<'a>> {
        let options = self.passage_options();
        let inputs: Vec<Input<'a>> = match self.late {
            true => passages.iter().map(Passage::late).collect(),
            false => passages.iter().flat_map(Passage::alone).collect(),
        };
        inputs.into_iter().map(|input| input.options(options.clone())).collect()
    }

    /// The vectors of all chunks of stored `documents`, whose texts are reassembled from their
    /// chunks.
    ///
    /// # Errors
    ///
    /// As [`Self::passages`].
    pub fn documents(&self, documents: &[Document]) -> Result<Embeddings> {
        let non_empty = documents.iter().filter(|document| !document.chunks.is_empty());
        let passage = if self.late { Passage::of } else { Passage::parts_of };
        let passages: Vec<Passage<'_>> = non_empty.map(passage).collect();
        self.passages(&passages, &mut |_| ())
    }

    /// A vector for each query.
    ///
    /// # Errors
    ///
    /// As [`Self::passages`].
    pub fn queries<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Vec<f32>>> {
        let options = self.options(&self.query_task);
        let inputs: Vec<Input<'_>> =
            texts.into_iter().map(|text| Input::new(text).options(options.clone())).collect();
        Ok(vectors(self.model.embed(&inputs)?))
    }
}

impl Embeddings {
    /// The vectors and tokens of the engine's results.
    pub(crate) fn of(embedded: Vec<Embedded>) -> Self {
        let tokens = embedded.iter().map(|embedded| embedded.tokens).sum();
        Self { vectors: vectors(embedded), tokens }
    }
}

fn vectors(embedded: Vec<Embedded>) -> Vec<Vec<f32>> {
    embedded.into_iter().flat_map(|embedded| embedded.vectors).collect()
}

impl<'a> Passage<'a> {
    /// The parts of a text that have chunks, each with its own of `chunks`.
    pub(crate) fn of_parts(
        text: &'a DocumentText,
        chunks: &'a [Vec<LocatedChunk>],
    ) -> impl Iterator<Item = Self> {
        let parts = text.parts.iter().zip(chunks).filter(|(_, chunks)| !chunks.is_empty());
        parts.map(|(part, chunks)| {
            let text = &text.text[part.bytes.clone()];
            Self::Text { text: text.into(), chunks: engine_chunks_of_part(text, part, chunks) }
        })
    }

    /// The text that a stored document's chunks were cut from. Stores keep only chunks, so a line
    /// break replaces each gap between two of them; the chunking of this crate leaves only white
    /// space out.
    fn of(document: &'a Document) -> Self {
        let (mut text, mut ranges, mut end) = (String::new(), Vec::<Range<usize>>::new(), 0);
        for chunk in &document.chunks {
            let bytes = &chunk.location.bytes;
            if bytes.start < end || bytes.len() != chunk.text.len() {
                return Self::parts_of(document);
            }
            if bytes.start > end && !text.is_empty() {
                text.push('\n');
            }
            let start = text.len();
            text.push_str(&chunk.text);
            ranges.push(start..text.len());
            end = bytes.end;
        }
        let chunks = Chunk::at_ranges(&text, ranges.into_iter().map(|bytes| (bytes, 0..0)));
        Self::Text { text: text.into(), chunks }
    }

    fn parts_of(document: &'a Document) -> Self {
        Self::Parts(document.chunks.iter().map(|chunk| chunk.text.as_str()).collect())
    }

    /// An input whose chunks are pooled from one pass.
    fn late(&self) -> Input<'_> {
        match self {
            Self::Text { text, chunks } => Input::late(text, chunks),
            Self::Parts(parts) => Input::late_parts(parts),
        }
    }

    /// An input for each chunk.
    fn alone(&self) -> Vec<Input<'_>> {
        match self {
            Self::Text { text, chunks } => {
                chunks.iter().map(|chunk| Input::new(&text[chunk.bytes.clone()])).collect()
            }
            Self::Parts(parts) => parts.iter().map(|part| Input::new(part)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_store::ChunkLocation;

    fn document(chunks: &[(usize, &str)]) -> Document {
        let chunk = |&(start, text): &(usize, &str)| kokeshi_store::Chunk {
            location: ChunkLocation {
                bytes: start..start + text.len(),
                ..ChunkLocation::default()
            },
            text: text.to_owned(),
            metadata: serde_json::Map::new(),
            vector: Vec::new(),
        };
        Document {
            path: "a".to_owned(),
            hash: String::new(),
            modified: 0,
            size: 0,
            format: "text".to_owned(),
            metadata: serde_json::Map::new(),
            chunks: chunks.iter().map(chunk).collect(),
        }
    }

    #[test]
    fn a_document_is_reassembled_from_its_chunks() {
        let document = document(&[(3, "Größe."), (12, "Two."), (16, "Three.")]);
        let Passage::Text { text, chunks } = Passage::of(&document) else { panic!("no text") };
        assert_eq!(text, "Größe.\nTwo.Three.");
        let cut: Vec<&str> = chunks.iter().map(|chunk| &text[chunk.bytes.clone()]).collect();
        assert_eq!(cut, ["Größe.", "Two.", "Three."]);
        let alone = chunks.iter().map(|chunk| Chunk::new(&text, chunk.bytes.clone()));
        let alone: Vec<Chunk> = alone.collect::<Result<_>>().expect("whole characters");
        assert_eq!(chunks, alone);
    }

    #[test]
    fn chunks_that_overlap_are_parts() {
        let document = document(&[(0, "One. Two."), (5, "Two. Three.")]);
        let passage = Passage::of(&document);
        assert!(
            matches!(&passage, Passage::Parts(parts) if *parts == ["One. Two.", "Two. Three."])
        );
    }
}
