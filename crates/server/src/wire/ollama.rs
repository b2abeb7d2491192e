//! Ollama: `/api/embed`, and the requests that its clients send before it.

use super::embeddings::Count;
use super::input::RawInput;
use super::tei::write_rows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// A request of `/api/embed`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbedBody {
    pub(crate) model: Option<String>,
    /// Without a text, the answer has no vectors: clients load a model so.
    pub(crate) input: Option<RawInput>,
    /// Default true, unlike elsewhere.
    pub(crate) truncate: Option<bool>,
    pub(crate) dimensions: Option<Count>,
}

/// A request of the older `/api/embeddings`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PromptBody {
    pub(crate) model: Option<String>,
    /// Without one, the answer has an empty vector: clients load a model so.
    pub(crate) prompt: Option<String>,
}

/// A request of `/api/show`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ShowBody {
    #[serde(alias = "name")]
    pub(crate) model: String,
}

/// The schema of the response to an [`EmbedBody`]; [`write`] and [`write_empty`] write it.
#[derive(Serialize, ToSchema)]
#[schema(as = EmbedResponse)]
pub(crate) struct EmbedSchema {
    model: String,
    embeddings: Vec<Vec<f32>>,
    /// In nanoseconds.
    #[schema(nullable = false)]
    total_duration: Option<u64>,
    #[schema(nullable = false)]
    load_duration: Option<u64>,
    #[schema(nullable = false)]
    prompt_eval_count: Option<usize>,
}

/// The schema of the response to a [`PromptBody`].
#[derive(Serialize, ToSchema)]
#[schema(as = PromptResponse)]
pub(crate) struct PromptSchema {
    embedding: Vec<f32>,
}

/// The response of `/api/tags` and `/api/ps`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tags {
    pub(crate) models: Vec<Tag>,
}

/// A served model.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) modified_at: &'static str,
    pub(crate) size: u64,
    pub(crate) digest: &'static str,
    pub(crate) details: Details,
}

/// The kind of a model.
#[derive(Serialize, ToSchema)]
pub(crate) struct Details {
    pub(crate) format: &'static str,
    pub(crate) family: &'static str,
    pub(crate) families: [&'static str; 1],
}

/// The response of `/api/version`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    pub(crate) version: &'static str,
}

/// The response to a [`ShowBody`].
#[derive(Serialize, ToSchema)]
#[schema(as = Shown)]
pub(crate) struct ShowResponse {
    pub(crate) license: Option<String>,
    pub(crate) details: Details,
    pub(crate) capabilities: [&'static str; 1],
    pub(crate) model_info: BTreeMap<&'static str, String>,
}

/// The response to an [`EmbedBody`].
pub(crate) fn write(
    model: &str,
    vectors: &[Vec<f32>],
    tokens: usize,
    duration: Duration,
) -> Vec<u8> {
    let model = serde_json::Value::from(model);
    let mut out = format!("{{\"model\":{model},\"embeddings\":").into_bytes();
    write_rows(&mut out, vectors.iter().map(Vec::as_slice));
    let nanoseconds = duration.as_nanos();
    let tail = format!(
        ",\"total_duration\":{nanoseconds},\"load_duration\":0,\"prompt_eval_count\":{tokens}}}"
    );
    out.extend_from_slice(tail.as_bytes());
    out
}

/// The response to an [`EmbedBody`] without texts: the original omits what is zero.
pub(crate) fn write_empty(model: &str) -> Vec<u8> {
    let model = serde_json::Value::from(model);
    format!("{{\"model\":{model},\"embeddings\":[]}}").into_bytes()
}
