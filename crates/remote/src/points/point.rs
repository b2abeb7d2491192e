//! Points, and the chunks and records that they contain.

use kokeshi_store::backend::{merged, terms_of};
use kokeshi_store::{Chunk, ChunkLocation, Document, Entry, Hit, Provenance, RankContribution};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A point of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    /// A UUID derived from the point's kind and path.
    pub(super) id: String,
    pub(super) path: String,
    pub(super) terms: Vec<String>,
    pub(super) text: String,
    /// Everything else, as JSON.
    pub(super) body: String,
    /// Empty if it was not requested.
    pub(super) vector: Vec<f32>,
}

/// The vector of records, because engines require one.
pub(super) const RECORD_VECTOR: [f32; 2] = [1.0, 0.0];

/// A UUID of version 8 from a hash of `parts`.
pub(super) fn id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    let digits = format!("{number:032x}");
    let (a, b, c, d, e) =
        (&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// The chunks of a document, of which the first one has the ordinal `first`.
pub(super) fn chunks(document: &Document, first: usize) -> impl Iterator<Item = Point> + '_ {
    (first..).zip(&document.chunks).map(|(ordinal, chunk)| {
        let location = &chunk.location;
        let body = json!({
            "ordinal": ordinal,
            "bytes": [location.bytes.start, location.bytes.end],
            "lines": [location.lines.0, location.lines.1],
            "page": location.page,
            "format": document.format,
            "metadata": chunk.metadata,
            "document": document.metadata,
        });
        Point {
            id: id(&["chunk", &document.path, &ordinal.to_string()]),
            path: document.path.clone(),
            terms: terms_of(&chunk.metadata, &document.metadata),
            text: chunk.text.clone(),
            body: body.to_string(),
            vector: chunk.vector.clone(),
        }
    })
}

/// The documents of `entries` with the chunks in `points`.
pub(super) fn documents(entries: Vec<Entry>, points: Vec<Point>) -> Vec<Document> {
    let mut chunks: HashMap<String, Vec<ScoredChunk>> = HashMap::new();
    for point in points {
        chunks.entry(point.path.clone()).or_default().push(ScoredChunk::new(0.0, point));
    }
    let documents = entries.into_iter().map(|entry| {
        let mut chunks = chunks.remove(&entry.path).unwrap_or_default();
        chunks.sort_by_key(ScoredChunk::ordinal);
        // Each chunk has the document's metadata.
        let metadata = chunks.first().map(|first| first.metadata().1);
        Document {
            path: entry.path,
            hash: entry.hash,
            modified: entry.modified,
            size: entry.size,
            format: entry.format,
            metadata: metadata.unwrap_or_default(),
            chunks: chunks.into_iter().map(ScoredChunk::chunk).collect(),
        }
    });
    documents.collect()
}

/// A chunk with its score, and the metadata that filters read.
pub(super) struct ScoredChunk {
    pub(super) point: Point,
    pub(super) score: f32,
    body: Value,
}

impl ScoredChunk {
    pub(super) fn new(score: f32, point: Point) -> Self {
        let body = serde_json::from_str(&point.body).unwrap_or_default();
        Self { point, score, body }
    }

    fn object(&self, key: &str) -> Map<String, Value> {
        self.body[key].as_object().cloned().unwrap_or_default()
    }

    /// Metadata of the chunk and of its document.
    pub(super) fn metadata(&self) -> (Map<String, Value>, Map<String, Value>) {
        (self.object("metadata"), self.object("document"))
    }

    pub(super) fn ordinal(&self) -> usize {
        self.number("ordinal")
    }

    fn number(&self, key: &str) -> usize {
        self.body[key].as_u64().unwrap_or(0) as usize
    }

    fn chunk(mut self) -> Chunk {
        let (vector, metadata) = (std::mem::take(&mut self.point.vector), self.metadata().0);
        let hit = self.hit(0);
        Chunk { location: hit.location, text: hit.text, metadata, vector }
    }

    /// The hit at this rank.
    pub(super) fn hit(self, rank: usize) -> Hit {
        let pair = |key: &str| {
            let number = |at: usize| self.body[key][at].as_u64().unwrap_or(0) as usize;
            (number(0), number(1))
        };
        let (start, end) = pair("bytes");
        let page = self.body["page"].as_u64().map(|page| page as usize);
        let (own, document) = self.metadata();
        Hit {
            score: self.score,
            dense: Some(RankContribution { rank, score: self.score }),
            words: None,
            format: self.body["format"].as_str().unwrap_or_default().to_owned(),
            ordinal: self.ordinal(),
            location: ChunkLocation { bytes: start..end, lines: pair("lines"), page },
            metadata: merged(document, own),
            path: self.point.path,
            text: self.point.text,
        }
    }
}

/// A record of a collection, which is anything but a chunk.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Collection { provenance: Provenance, created: i64 },
    Root { path: String, options: String },
    Document(Entry),
}

impl Record {
    /// The path of the collection's own record.
    pub(super) const COLLECTION: &str = "collection";
    /// The terms of records of documents and of roots.
    pub(super) const DOCUMENT: &str = "document";
    pub(super) const ROOT: &str = "root";

    pub(super) fn document_path(path: &str) -> String {
        format!("document:{path}")
    }

    pub(super) fn root_path(path: &str) -> String {
        format!("root:{path}")
    }

    /// The record of a document. Before its chunks are written, the record looks like that of a
    /// changed document.
    pub(super) fn of_document(document: &Document, written: bool) -> Self {
        Self::Document(Entry {
            path: document.path.clone(),
            hash: if written { document.hash.clone() } else { String::new() },
            modified: if written { document.modified } else { 0 },
            size: document.size,
            format: document.format.clone(),
            chunks: document.chunks.len(),
        })
    }

    pub(super) fn to_point(&self) -> Point {
        let (path, term, body) = match self {
            Self::Collection { provenance, created } => {
                let body = json!({ "provenance": provenance.to_json(), "created": created });
                (Self::COLLECTION.to_owned(), Self::COLLECTION, body)
            }
            Self::Root { path, options } => {
                let body = json!({ "path": path, "options": options });
                (Self::root_path(path), Self::ROOT, body)
            }
            Self::Document(entry) => {
                let body = json!({
                    "path": entry.path,
                    "hash": entry.hash,
                    "modified": entry.modified,
                    "size": entry.size,
                    "format": entry.format,
                    "chunks": entry.chunks,
                });
                (Self::document_path(&entry.path), Self::DOCUMENT, body)
            }
        };
        Point {
            id: id(&["record", &path]),
            path,
            terms: vec![term.to_owned()],
            text: String::new(),
            body: body.to_string(),
            vector: RECORD_VECTOR.to_vec(),
        }
    }

    /// The record in a point; `None` if the point has none.
    pub(super) fn of(point: &Point) -> Option<Self> {
        let body: Value = serde_json::from_str(&point.body).ok()?;
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        match point.path.split_once(':').map_or(point.path.as_str(), |(kind, _)| kind) {
            Self::COLLECTION => Some(Self::Collection {
                provenance: Provenance::from_json(&body["provenance"])?,
                created: body["created"].as_i64()?,
            }),
            Self::ROOT => Some(Self::Root { path: text("path")?, options: text("options")? }),
            Self::DOCUMENT => Some(Self::Document(Entry {
                path: text("path")?,
                hash: text("hash")?,
                modified: body["modified"].as_i64()?,
                size: body["size"].as_u64()?,
                format: text("format")?,
                chunks: body["chunks"].as_u64()? as usize,
            })),
            _ => None,
        }
    }

    pub(super) fn entry(self) -> Option<Entry> {
        if let Self::Document(entry) = self { Some(entry) } else { None }
    }

    pub(super) fn root(self) -> Option<(String, String)> {
        if let Self::Root { path, options } = self { Some((path, options)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_derived_from_their_parts() {
        let one = id(&["a", "b"]);
        assert_eq!(one, id(&["a", "b"]));
        assert_ne!(one, id(&["ab", ""]));
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!((lengths, &one[14..15]), (vec![8, 4, 4, 4, 12], "8"));
    }
}
