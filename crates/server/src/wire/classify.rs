//! `/v1/classify`, `/v1/train`, `/v1/classifiers`.

use super::embeddings::Count;
use super::input::RawInput;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A request to classify: with `labels` by their meaning alone, or with a trained classifier.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ClassifyBody {
    pub(crate) model: Option<String>,
    pub(crate) classifier_id: Option<String>,
    pub(crate) input: RawInput,
    pub(crate) labels: Option<Labels>,
}

/// One list of labels, or a list for each of several questions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a list of labels, or an object of such lists")]
pub(crate) enum Labels {
    List(Vec<String>),
    Groups(serde_json::Map<String, serde_json::Value>),
}

/// A label and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Prediction {
    pub(crate) label: String,
    pub(crate) score: f32,
}

/// The answer for one input and one list of labels.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Decision {
    /// The likeliest label.
    pub(crate) prediction: String,
    pub(crate) score: f32,
    /// In the order of the labels; scores sum to 1.
    pub(crate) predictions: Vec<Prediction>,
}

/// The answer for one input: a decision, or one for each group of labels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Decided {
    One(Decision),
    Groups {
        /// By the name of the group.
        predictions: BTreeMap<String, Decision>,
    },
}

/// An entry of `data`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Classified {
    /// `classification`.
    pub(crate) object: &'static str,
    pub(crate) index: usize,
    #[serde(flatten)]
    pub(crate) decided: Decided,
}

/// The answer to a [`ClassifyBody`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClassifyResponse {
    pub(crate) usage: TokenCount,
    pub(crate) data: Vec<Classified>,
}

/// Tokens of inputs and labels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenCount {
    pub(crate) total_tokens: usize,
}

/// A request to train a new classifier, or to go on with one.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TrainBody {
    pub(crate) model: Option<String>,
    pub(crate) classifier_id: Option<String>,
    /// `public` or `private`; kept and shown, as everybody with a key may use every classifier.
    pub(crate) access: Option<Access>,
    /// How long to train: ten steps each; default 10.
    pub(crate) num_iters: Option<Count>,
    pub(crate) input: Vec<Example>,
}

/// Whom a classifier is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    #[default]
    Public,
    Private,
}

/// A text and its label.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Example {
    pub(crate) text: String,
    pub(crate) label: String,
}

/// The answer to a [`TrainBody`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrainResponse {
    pub(crate) classifier_id: String,
    pub(crate) num_samples: usize,
    pub(crate) usage: TokenCount,
}

/// A stored classifier, as it is listed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClassifierInfo {
    pub(crate) classifier_id: String,
    pub(crate) model_name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) access: Access,
    pub(crate) num_samples: usize,
    /// Seconds since 1970.
    pub(crate) updated: u64,
}
