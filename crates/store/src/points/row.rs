//! Points, and what they hold: chunks and records.

use crate::provenance::Provenance;
use crate::record::{Chunk, Document, Entry, Hit, Part, Place, merged};
use crate::terms;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A point.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// A UUID that follows from what the point is.
    pub(super) id: String,
    pub(super) path: String,
    pub(super) terms: Vec<String>,
    pub(super) text: String,
    /// Everything else, as JSON.
    pub(super) body: String,
    /// Empty if it was not asked for.
    pub(super) vector: Vec<f32>,
}

/// The vector of records. Engines demand one.
pub(super) const NOWHERE: [f32; 2] = [1.0, 0.0];

/// A UUID of version 8, of a hash of `parts`.
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

/// The chunks of a document.
pub(super) fn chunks(document: &Document) -> impl Iterator<Item = Row> + '_ {
    document.chunks.iter().enumerate().map(|(ordinal, chunk)| {
        let place = &chunk.place;
        let body = json!({
            "ordinal": ordinal,
            "bytes": [place.bytes.start, place.bytes.end],
            "lines": [place.lines.0, place.lines.1],
            "page": place.page,
            "format": document.format,
            "metadata": chunk.metadata,
            "document": document.metadata,
        });
        Row {
            id: id(&["chunk", &document.path, &ordinal.to_string()]),
            path: document.path.clone(),
            terms: terms::of(&chunk.metadata, &document.metadata),
            text: chunk.text.clone(),
            body: body.to_string(),
            vector: chunk.vector.clone(),
        }
    })
}

/// The documents of `entries` with the chunks that points hold.
pub(super) fn documents(entries: Vec<Entry>, points: Vec<Row>) -> Vec<Document> {
    let mut chunks: HashMap<String, Vec<Found>> = HashMap::new();
    for point in points {
        chunks.entry(point.path.clone()).or_default().push(Found::new(0.0, point));
    }
    let documents = entries.into_iter().map(|entry| {
        let mut found = chunks.remove(&entry.path).unwrap_or_default();
        found.sort_by_key(Found::ordinal);
        // What a document knows of itself stands with each of its chunks.
        let metadata = found.first().map(|first| first.metadata().1);
        Document {
            path: entry.path,
            hash: entry.hash,
            modified: entry.modified,
            size: entry.size,
            format: entry.format,
            metadata: metadata.unwrap_or_default(),
            chunks: found.into_iter().map(Found::chunk).collect(),
        }
    });
    documents.collect()
}

/// A chunk that was found, and the metadata that filters look at.
pub(super) struct Found {
    pub(super) row: Row,
    pub(super) score: f32,
    body: Value,
}

impl Found {
    pub(super) fn new(score: f32, row: Row) -> Self {
        let body = serde_json::from_str(&row.body).unwrap_or_default();
        Self { row, score, body }
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
        let (vector, metadata) = (std::mem::take(&mut self.row.vector), self.metadata().0);
        let hit = self.hit(0);
        Chunk { place: hit.place, text: hit.text, metadata, vector }
    }

    /// The hit of this rank.
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
            dense: Some(Part { rank, score: self.score }),
            words: None,
            format: self.body["format"].as_str().unwrap_or_default().to_owned(),
            ordinal: self.ordinal(),
            place: Place { bytes: start..end, lines: pair("lines"), page },
            metadata: merged(document, own),
            path: self.row.path,
            text: self.row.text,
        }
    }
}

/// What a collection knows beside its chunks.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Collection { provenance: Provenance, created: i64 },
    Root { path: String, options: String },
    Document(Entry),
}

impl Record {
    /// The path of the record of the collection.
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

    /// The record of a document: before its chunks are written, one that looks changed.
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

    pub(super) fn row(&self) -> Row {
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
        Row {
            id: id(&["record", &path]),
            path,
            terms: vec![term.to_owned()],
            text: String::new(),
            body: body.to_string(),
            vector: NOWHERE.to_vec(),
        }
    }

    /// The record that a point is; `None` if it is none.
    pub(super) fn of(row: &Row) -> Option<Self> {
        let body: Value = serde_json::from_str(&row.body).ok()?;
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        match row.path.split_once(':').map_or(row.path.as_str(), |(kind, _)| kind) {
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
    fn ids_are_uuids_that_follow_from_what_they_name() {
        let one = id(&["a", "b"]);
        assert_eq!(one, id(&["a", "b"]));
        assert_ne!(one, id(&["ab", ""]));
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!((lengths, &one[14..15]), (vec![8, 4, 4, 4, 12], "8"));
    }
}
