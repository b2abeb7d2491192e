//! `/v1/models`: the fields that clients of Jina and OpenAI read.

use serde::Serialize;
use utoipa::ToSchema;

/// All served models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// `list`.
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ModelInfo>,
}

/// A served model. Sizes and tasks are absent until it is loaded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelInfo {
    pub(crate) id: String,
    /// `model`.
    pub(crate) object: &'static str,
    /// When the server started, in seconds since 1970.
    pub(crate) created: u64,
    pub(crate) owned_by: String,
    pub(crate) name: String,
    pub(crate) hugging_face_id: Option<String>,
    pub(crate) description: String,
    pub(crate) input_modalities: [&'static str; 1],
    pub(crate) output_modalities: [&'static str; 1],
    /// SPDX identifier of the weights' licence.
    pub(crate) licence: Option<String>,
    pub(crate) licence_note: Option<String>,
    pub(crate) loaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<String>>,
    pub(crate) supported_features: Vec<&'static str>,
    pub(crate) pricing: Pricing,
}

/// Zero: the model runs on your machine.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Pricing {
    pub(crate) prompt: &'static str,
    pub(crate) completion: &'static str,
}
