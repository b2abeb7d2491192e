//! `/v1/collections` and the documents of a collection.

use super::embeddings::Usage;
use crate::bindings::{Binding, StoredCollection};
use kokeshi_collections::{AddSummary, AddedText};
use kokeshi_store::{Collection, Counts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The served collections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CollectionList {
    /// `list`.
    pub(crate) object: &'static str,
    pub(crate) data: Vec<CollectionInfo>,
}

/// A served collection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CollectionInfo {
    /// The name in the API.
    pub(crate) name: String,
    /// The collection's own name, which changes with a migration.
    pub(crate) collection: String,
    pub(crate) documents: usize,
    /// Chunks, each of which has a vector.
    pub(crate) chunks: usize,
    /// When it was created, in seconds since 1970.
    pub(crate) created: i64,
    pub(crate) provenance: ProvenanceInfo,
}

/// What produced the vectors of a collection.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Provenance)]
pub(crate) struct ProvenanceInfo {
    pub(crate) model: String,
    pub(crate) revision: String,
    pub(crate) passage_task: Option<String>,
    pub(crate) query_task: Option<String>,
    pub(crate) dimensions: usize,
    /// How documents are cut into chunks.
    pub(crate) chunking: String,
    pub(crate) late_chunking: bool,
    /// How vectors are stored.
    pub(crate) storage: String,
    /// Codes that find a short list, if there are any.
    pub(crate) codes: Option<String>,
}

impl CollectionInfo {
    /// The collection that is bound now.
    pub(crate) fn new(
        binding: &Binding,
        stored: &StoredCollection,
        (found, counts): (&Collection, Counts),
    ) -> Self {
        let provenance = stored.provenance.clone();
        Self {
            name: binding.name.clone(),
            collection: found.name.clone(),
            documents: counts.documents,
            chunks: counts.chunks,
            created: found.created,
            provenance: ProvenanceInfo {
                // A recorded model may be a path of this machine.
                model: binding.model.name.clone(),
                revision: provenance.revision,
                passage_task: provenance.passage_task,
                query_task: provenance.query_task,
                dimensions: provenance.dimensions,
                chunking: provenance.chunking,
                late_chunking: provenance.late,
                storage: provenance.storage.to_string(),
                codes: provenance.codes.map(|codes| codes.to_string()),
            },
        }
    }
}

/// Documents to add to a collection.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct DocumentsBody {
    pub(crate) documents: Vec<DocumentBody>,
}

/// A text to add, or to replace the document with the same id.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Document)]
pub(crate) struct DocumentBody {
    /// At most 1024 bytes. It is the `path` of hits.
    pub(crate) id: String,
    pub(crate) text: String,
    /// Fields to filter by, at most 64 KiB of JSON.
    #[schema(value_type = Option<Object>)]
    pub(crate) metadata: Option<Map<String, Value>>,
}

impl From<DocumentBody> for AddedText {
    fn from(DocumentBody { id, text, metadata }: DocumentBody) -> Self {
        Self { id, text, metadata: metadata.unwrap_or_default() }
    }
}

/// What adding documents did, all of which is stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentsResponse {
    /// Documents that were added or replaced.
    pub(crate) written: usize,
    /// Documents that the collection had already, with the same text and fields.
    pub(crate) unchanged: usize,
    /// Documents of those written that are blank, and so cannot be found.
    pub(crate) blank: usize,
    /// Chunks that were written.
    pub(crate) chunks: usize,
    pub(crate) usage: Usage,
}

impl From<AddSummary> for DocumentsResponse {
    fn from(summary: AddSummary) -> Self {
        let AddSummary { written, unchanged, blank, chunks, tokens } = summary;
        let usage = Usage { total_tokens: tokens, prompt_tokens: tokens };
        Self { written, unchanged, blank, chunks, usage }
    }
}

/// Documents to remove from a collection.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RemovalBody {
    /// Their ids; those of documents that do not exist are ignored.
    pub(crate) ids: Vec<String>,
}

/// The answer to a [`RemovalBody`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovalResponse {
    /// Documents that existed, and were removed.
    pub(crate) removed: usize,
}
