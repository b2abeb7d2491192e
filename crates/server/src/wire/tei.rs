//! Text Embeddings Inference: `/embed`, `/embed_all`, `/info`.

use super::embeddings::Count;
use super::input::RawInput;
use super::vectors::{size_hint, write_floats};
use kokeshi::EmbeddingType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request of TEI.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiBody {
    pub(crate) inputs: RawInput,
    /// Default true.
    pub(crate) normalize: Option<bool>,
    /// Default false.
    pub(crate) truncate: Option<bool>,
    /// The end that is dropped: `right`, the default, or `left`.
    pub(crate) truncation_direction: Option<String>,
    /// The task.
    pub(crate) prompt_name: Option<String>,
    pub(crate) dimensions: Option<Count>,
}

/// The response of `/info`, about the first served model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Info {
    pub(crate) model_id: String,
    pub(crate) model_dtype: &'static str,
    pub(crate) model_type: ModelType,
    pub(crate) max_input_length: usize,
    pub(crate) max_client_batch_size: usize,
    pub(crate) max_batch_tokens: usize,
    pub(crate) prompts: Vec<String>,
    pub(crate) version: &'static str,
}

/// TEI's form of mean pooling.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelType {
    pub(crate) embedding: Pooling,
}

/// See [`ModelType`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pooling {
    pub(crate) pooling: &'static str,
}

/// `[[…], …]`.
pub(crate) fn write(vectors: &[Vec<f32>]) -> Vec<u8> {
    let dimensions = vectors.first().map_or(0, Vec::len);
    let size = size_hint(dimensions, &[EmbeddingType::Float]);
    let mut out = Vec::with_capacity(16 + vectors.len() * size);
    write_rows(&mut out, vectors.iter().map(Vec::as_slice));
    out
}

/// Appends `[[…], …]`.
pub(crate) fn write_rows<'a>(out: &mut Vec<u8>, rows: impl Iterator<Item = &'a [f32]>) {
    out.push(b'[');
    for (index, row) in rows.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_floats(out, row);
    }
    out.push(b']');
}
