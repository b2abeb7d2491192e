//! `/v1/segment` and `/v1/similarity`.

use super::embeddings::{Count, Usage};
use super::input::RawInput;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text to cut into chunks.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SegmentBody {
    pub(crate) content: String,
    /// The model whose tokens are counted.
    pub(crate) model: Option<String>,
    /// `tokens:256`, `sentences`, `sentences:3`, `lines`, `paragraphs` or `semantic:512`.
    pub(crate) chunking: Option<String>,
    /// Without `chunking`: chunks of whole units of meaning with at most so many characters;
    /// default 1000.
    pub(crate) max_chunk_length: Option<Count>,
    /// Also return the texts of the chunks.
    pub(crate) return_chunks: Option<bool>,
    /// Not offered.
    pub(crate) return_tokens: Option<bool>,
}

/// Where the chunks of a text are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentResponse {
    pub(crate) num_tokens: usize,
    /// The kind of the model's tokenizer.
    pub(crate) tokenizer: String,
    pub(crate) usage: SegmentUsage,
    pub(crate) num_chunks: usize,
    /// Half-open ranges of characters.
    pub(crate) chunk_positions: Vec<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<Vec<String>>,
}

/// Tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentUsage {
    pub(crate) tokens: usize,
}

/// Texts to compare: with a query, or with each other.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct SimilarityBody {
    pub(crate) model: Option<String>,
    pub(crate) input: RawInput,
    pub(crate) query: Option<String>,
    /// For all texts. Without it, where a model has them: `retrieval.query` and
    /// `retrieval.passage` with a query, else `text-matching`.
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
