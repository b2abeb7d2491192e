//! Documents of a store as inputs of the engine.

use kokeshi::{Chunk, Embedded, Input, Model, Options, Result};
use kokeshi_store::Document;
use std::ops::Range;
use std::sync::Arc;

/// How the vectors of a side are made.
#[derive(Clone, Debug)]
pub struct Embedder {
    /// The model.
    pub model: Arc<Model>,
    /// The task of passages.
    pub task: Option<String>,
    /// The task of queries.
    pub query_task: Option<String>,
    /// Dimensions that are kept; `None` is all.
    pub dimensions: Option<usize>,
    /// Whether the chunks of a document are pooled from one pass over it.
    pub late: bool,
}

/// A document that was put together from its chunks.
enum Body<'a> {
    /// Its text, and where the chunks are in it.
    Text(String, Vec<Chunk>),
    /// The chunks, whose places say nothing.
    Parts(Vec<&'a str>),
}

impl Embedder {
    fn options(&self, task: &Option<String>) -> Options {
        Options { task: task.clone(), dimensions: self.dimensions, ..Options::default() }
    }

    /// The vectors of all chunks of `documents`, in their order, and the number of tokens.
    ///
    /// # Errors
    ///
    /// If a chunk is too long for the model, or the engine fails.
    pub fn documents(&self, documents: &[Document]) -> Result<(Vec<Vec<f32>>, usize)> {
        let options = self.options(&self.task);
        let full = documents.iter().filter(|document| !document.chunks.is_empty());
        let bodies: Vec<Body<'_>> = if self.late { full.map(body).collect() } else { Vec::new() };
        let chunks = documents.iter().flat_map(|document| &document.chunks);
        let inputs: Vec<Input<'_>> = match self.late {
            true => bodies
                .iter()
                .map(|body| match body {
                    Body::Text(text, chunks) => Input::late(text, chunks),
                    Body::Parts(parts) => Input::late_parts(parts),
                })
                .map(|input| input.options(options.clone()))
                .collect(),
            false => chunks.map(|chunk| Input::new(&chunk.text).options(options.clone())).collect(),
        };
        let embedded = self.model.embed(&inputs)?;
        let tokens = embedded.iter().map(|one| one.tokens).sum();
        Ok((vectors(embedded), tokens))
    }

    /// A vector for each query.
    ///
    /// # Errors
    ///
    /// As [`Self::documents`].
    pub fn queries<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Vec<f32>>> {
        let options = self.options(&self.query_task);
        let inputs: Vec<Input<'_>> =
            texts.into_iter().map(|text| Input::new(text).options(options.clone())).collect();
        Ok(vectors(self.model.embed(&inputs)?))
    }
}

fn vectors(embedded: Vec<Embedded>) -> Vec<Vec<f32>> {
    embedded.into_iter().flat_map(|one| one.vectors).collect()
}

/// The text that chunks were cut from. Stores keep what is in chunks alone: a line break stands for
/// each gap between two of them, which was white space wherever our own cutting left one.
fn body(document: &Document) -> Body<'_> {
    let (mut text, mut ranges, mut end) = (String::new(), Vec::<Range<usize>>::new(), 0);
    for chunk in &document.chunks {
        let bytes = &chunk.location.bytes;
        if bytes.start < end || bytes.len() != chunk.text.len() {
            let parts = document.chunks.iter().map(|chunk| chunk.text.as_str());
            return Body::Parts(parts.collect());
        }
        if bytes.start > end && !text.is_empty() {
            text.push('\n');
        }
        let start = text.len();
        text.push_str(&chunk.text);
        ranges.push(start..text.len());
        end = bytes.end;
    }
    // Whole chunks are whole characters.
    let chunks = ranges.into_iter().filter_map(|range| Chunk::new(&text, range).ok()).collect();
    Body::Text(text, chunks)
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
    fn a_document_is_put_together_from_its_chunks() {
        let document = document(&[(3, "Größe."), (12, "Two."), (16, "Three.")]);
        let Body::Text(text, chunks) = body(&document) else { panic!("no text") };
        assert_eq!(text, "Größe.\nTwo.Three.");
        let cut: Vec<&str> = chunks.iter().map(|chunk| &text[chunk.bytes.clone()]).collect();
        assert_eq!(cut, ["Größe.", "Two.", "Three."]);
    }

    #[test]
    fn chunks_that_overlap_are_parts() {
        let document = document(&[(0, "One. Two."), (5, "Two. Three.")]);
        assert!(
            matches!(body(&document), Body::Parts(parts) if parts == ["One. Two.", "Two. Three."])
        );
    }
}
