//! `/v1/segment` and `/v1/similarity`.

use super::embeddings::{Count, Usage};
use super::input::RawInput;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text to cut into chunks.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SegmentBody {
    pub(crate) content: String,
    /// The model whose tokenizer counts tokens.
    pub(crate) model: Option<String>,
    /// `tokens:256`, `sentences`, `sentences:3`, `lines`, `paragraphs` or `semantic:512`.
    pub(crate) chunking: Option<String>,
    /// Without `chunking`: semantic chunks of at most this many characters; default 1000.
    pub(crate) max_chunk_length: Option<Count>,
    /// The unit of `chunk_positions`: `chars` (the default), or `utf16` for strings of JavaScript, Java
    /// and C#.
    pub(crate) offsets: Option<OffsetUnit>,
    /// Also return the texts of the chunks.
    pub(crate) return_chunks: Option<bool>,
    /// Not supported.
    pub(crate) return_tokens: Option<bool>,
}

/// The unit of offsets in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OffsetUnit {
    /// Characters (Unicode scalar values).
    #[default]
    Chars,
    /// UTF-16 code units.
    Utf16,
}

/// The chunks of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentResponse {
    pub(crate) num_tokens: usize,
    /// The kind of the model's tokenizer.
    pub(crate) tokenizer: String,
    pub(crate) usage: SegmentUsage,
    pub(crate) num_chunks: usize,
    /// Half-open ranges, in the unit of `offsets`.
    pub(crate) chunk_positions: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<Vec<String>>,
}

/// Tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentUsage {
    pub(crate) tokens: usize,
}

/// Texts to compare, with a query or with each other.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SimilarityBody {
    pub(crate) model: Option<String>,
    pub(crate) input: RawInput,
    pub(crate) query: Option<String>,
    /// The task of all texts. The default, if the model has it: `retrieval.query` and
    /// `retrieval.passage` with a query, `text-matching` without.
    pub(crate) task: Option<String>,
    pub(crate) dimensions: Option<Count>,
    pub(crate) truncate: Option<bool>,
}

/// Cosines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimilarityResponse {
    /// `list`.
    pub(crate) object: &'static str,
    pub(crate) model: String,
    pub(crate) usage: Usage,
    pub(crate) data: Vec<Similarity>,
}

/// The cosines of one text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Similarity {
    /// With the query.
    Query { index: usize, similarity: f32 },
    /// With every text.
    Row { index: usize, similarities: Vec<f32> },
}
