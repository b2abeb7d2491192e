//! Ollama: `/api/embed` and what its clients ask before it.

use super::embeddings::Count;
use super::input::RawInput;
use super::tei::write_rows;
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// A request of `/api/embed`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbedBody {
    pub(crate) model: Option<String>,
    pub(crate) input: RawInput,
    /// Default true, unlike elsewhere.
    pub(crate) truncate: Option<bool>,
    pub(crate) dimensions: Option<Count>,
}

/// A request of the older `/api/embeddings`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PromptBody {
    pub(crate) model: Option<String>,
    pub(crate) prompt: String,
}

/// A request of `/api/show`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ShowBody {
    #[serde(alias = "name")]
    pub(crate) model: String,
}

/// The answer to an [`EmbedBody`].
pub(crate) fn write(model: &str, vectors: &[Vec<f32>], tokens: usize, took: Duration) -> Vec<u8> {
    let model = serde_json::Value::from(model);
    let mut out = format!("{{\"model\":{model},\"embeddings\":").into_bytes();
    write_rows(&mut out, vectors.iter().map(Vec::as_slice));
    let nanoseconds = took.as_nanos();
    let tail = format!(
        ",\"total_duration\":{nanoseconds},\"load_duration\":0,\"prompt_eval_count\":{tokens}}}"
    );
    out.extend_from_slice(tail.as_bytes());
    out
}
