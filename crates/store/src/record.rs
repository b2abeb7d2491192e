//! The records of a store: documents, chunks, collections, queries and hits.

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::provenance::Provenance;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// A document with all its chunks.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name, unique in a collection: a path with `/`.
    pub path: String,
    /// Hash of its content.
    pub hash: String,
    /// When its file was last changed, in nanoseconds since 1970; 0 if that is not reliable.
    pub modified: i64,
    /// Size of its file, in bytes.
    pub size: u64,
    /// The format that it was read as, such as `markdown`.
    pub format: String,
    /// Fields to filter by.
    pub metadata: Map<String, Value>,
    /// Its chunks, in order.
    pub chunks: Vec<Chunk>,
}

/// A chunk and its vector.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Where it is in its document.
    pub location: ChunkLocation,
    /// Its text.
    pub text: String,
    /// Fields of this chunk alone, such as those of a row.
    pub metadata: Map<String, Value>,
    /// Its vector, `[dimensions]`.
    pub vector: Vec<f32>,
}

/// Where a chunk is in its document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkLocation {
    /// The range of bytes in the document's text.
    pub bytes: Range<usize>,
    /// First and last line of the file, from 1; zeros if the text was converted from another one.
    pub lines: (usize, usize),
    /// Page, from 1, if the document has pages.
    pub page: Option<usize>,
}

/// A stored document without its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As in [`Document`].
    pub path: String,
    /// As in [`Document`].
    pub hash: String,
    /// As in [`Document`].
    pub modified: i64,
    /// As in [`Document`].
    pub size: u64,
    /// As in [`Document`].
    pub format: String,
    /// Number of its chunks.
    pub chunks: usize,
}

/// A collection: documents with vectors of one provenance.
#[derive(Clone, Debug)]
pub struct Collection {
    /// What identifies it in its store, whatever it is called. Another collection, which may have
    /// the same name later, has another id if the store can distinguish the two.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What produced its vectors.
    pub provenance: Provenance,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// Its aliases: other names that point to it.
    pub aliases: Vec<String>,
}

/// The size of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of documents.
    pub documents: usize,
    /// Number of chunks, each with one vector.
    pub chunks: usize,
}

/// A search.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The query's vector, `[dimensions]`.
    pub vector: &'a [f32],
    /// The query's text, for a hybrid search: by its words as well, with both rankings fused.
    pub words: Option<&'a str>,
    /// Maximum number of hits.
    pub limit: usize,
    /// Which chunks are searched.
    pub filter: &'a Filter,
    /// Scan all vectors even if there are codes or an ANN index.
    pub exact: bool,
}

impl Query<'_> {
    /// Refuses a query with words, for a store that cannot search by them.
    ///
    /// # Errors
    ///
    /// [`Error::NoHybridSearch`] if the query has words.
    pub fn refuse_words(&self, store: &str) -> Result<()> {
        match self.words {
            None => Ok(()),
            Some(_) => Err(Error::NoHybridSearch { store: store.to_owned() }),
        }
    }
}

/// A hit's rank and score in one of the rankings that a hybrid search fuses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankContribution {
    /// The rank, from 1.
    pub rank: usize,
    /// The score: a cosine, or BM25.
    pub score: f32,
}

/// A search result: a chunk and why it was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The score that hits are ordered by: the cosine, or the sum of reciprocal ranks in a hybrid
    /// search.
    pub score: f32,
    /// The contribution of its vector; absent if a hybrid search found it by its words only.
    pub dense: Option<RankContribution>,
    /// The contribution of its words.
    pub words: Option<RankContribution>,
    /// The path of its document.
    pub path: String,
    /// The format that the document was read as.
    pub format: String,
    /// Its index among the document's chunks.
    pub ordinal: usize,
    /// Where it is in its document.
    pub location: ChunkLocation,
    /// Its text.
    pub text: String,
    /// The document's metadata, overridden by the chunk's own.
    pub metadata: Map<String, Value>,
}

/// The last of `documents` with each path, in their order.
pub fn latest(documents: &[Document]) -> Vec<&Document> {
    let mut seen = HashSet::new();
    let mut latest: Vec<&Document> =
        documents.iter().rev().filter(|document| seen.insert(&document.path)).collect();
    latest.reverse();
    latest
}

/// The metadata of a document, overridden by those of a chunk.
pub fn merged(mut document: Map<String, Value>, chunk: Map<String, Value>) -> Map<String, Value> {
    document.extend(chunk);
    document
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    age.as_secs().cast_signed()
}
