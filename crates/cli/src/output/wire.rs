//! The JSON of one vector, shared by the JSON formats.

use super::{Row, RowChunk};
use crate::args::OffsetUnit;
use crate::input::{Origin, Source};
use kokeshi::{EmbeddingType, Encoded, encode};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// An entry of `data`, as in the Jina API; all else is kokeshi's own. `source` is absent if the
/// texts are arguments; `id` and `metadata` are fields of the record that contains the text.
#[derive(serde::Serialize)]
pub(super) struct Entry<'a> {
    object: &'static str,
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Json>,
    #[serde(flatten)]
    origin: OriginFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk: Option<Ranges>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<&'a String, &'a Json>>,
    embedding: Embedding<'a>,
}

#[derive(serde::Serialize)]
struct OriginFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// Half-open ranges of a chunk in the text with the number `document`.
#[derive(serde::Serialize)]
struct Ranges {
    document: usize,
    bytes: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    chars: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utf16: Option<[usize; 2]>,
    tokens: [usize; 2],
}

impl<'a> Entry<'a> {
    pub(super) fn new(row: &Row<'a>, kinds: &'a [EmbeddingType]) -> Self {
        Self {
            object: "embedding",
            index: row.index,
            id: row.id,
            origin: OriginFields::new(row.origin),
            chunk: row.chunk.map(|chunk| Ranges::new(row.origin, chunk)),
            text: row.has_text.then_some(row.text),
            metadata: (!row.metadata.is_empty()).then(|| row.metadata.iter().copied().collect()),
            embedding: Embedding { kinds, vector: row.vector },
        }
    }
}

impl OriginFields {
    fn new(origin: &Origin) -> Self {
        let source = (origin.source != Source::Arguments).then(|| origin.source.to_string());
        Self { source, line: origin.line }
    }
}

impl Ranges {
    fn new(origin: &Origin, RowChunk { chunk, offsets }: RowChunk<'_>) -> Self {
        let ends = |range: &std::ops::Range<usize>| [range.start, range.end];
        Self {
            document: origin.number,
            bytes: ends(&chunk.bytes),
            chars: (offsets == OffsetUnit::Chars).then(|| ends(&chunk.chars)),
            utf16: (offsets == OffsetUnit::Utf16).then(|| ends(&chunk.utf16)),
            tokens: ends(&chunk.tokens),
        }
    }
}

/// One type is written as the value itself, several as an object keyed by type. The hosted form of
/// the latter is not documented; its schema permits nothing but an object.
struct Embedding<'a> {
    kinds: &'a [EmbeddingType],
    vector: &'a [f32],
}

impl Serialize for Embedding<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = |kind| Value(encode(self.vector, kind));
        if let [kind] = self.kinds {
            return value(*kind).serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.kinds.len()))?;
        for &kind in self.kinds {
            map.serialize_entry(&kind.to_string(), &value(kind))?;
        }
        map.end()
    }
}

struct Value(Encoded);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Encoded::Float(values) => values.serialize(serializer),
            Encoded::Base64(text) => text.serialize(serializer),
            Encoded::Binary(bytes) => bytes.serialize(serializer),
            Encoded::Ubinary(bytes) => bytes.serialize(serializer),
        }
    }
}
