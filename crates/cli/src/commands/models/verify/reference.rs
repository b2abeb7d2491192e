//! The published values, collected as JSON.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// Vectors of the released weights from the tests of other programs.
#[derive(Deserialize)]
pub(super) struct Published {
    #[serde(rename = "transformers_integration_test")]
    pub(super) states: States,
    #[serde(rename = "fastembed_onnx_test")]
    pub(super) vectors: Vectors,
}

/// Token states of one text without instruction: rows 1..4 and columns 1..10 of
/// `[tokens, hidden]`, by task, `none` for the base weights.
#[derive(Deserialize)]
pub(super) struct States {
    pub(super) text: String,
    #[serde(rename = "n_tokens_with_specials")]
    pub(super) tokens: usize,
    pub(super) tolerance: Tolerance,
    #[serde(flatten)]
    by_task: ByTask,
}

/// The first elements of the vectors of some texts without instruction, by task.
#[derive(Deserialize)]
pub(super) struct Vectors {
    pub(super) texts: Vec<String>,
    pub(super) tolerance: Tolerance,
    #[serde(flatten)]
    by_task: ByTask,
}

#[derive(Deserialize)]
pub(super) struct Tolerance {
    pub(super) atol: f32,
    #[serde(default)]
    pub(super) rtol: f32,
}

/// Rows of values by task, among fields that describe them.
#[derive(Deserialize)]
#[serde(transparent)]
struct ByTask(BTreeMap<String, Value>);

impl ByTask {
    fn rows(&self) -> impl Iterator<Item = (&str, Vec<Vec<f32>>)> {
        let rows = |value: &Value| serde_json::from_value(value.clone()).ok();
        self.0.iter().filter_map(move |(task, value)| Some((task.as_str(), rows(value)?)))
    }
}

impl States {
    pub(super) fn by_task(&self) -> impl Iterator<Item = (&str, Vec<Vec<f32>>)> {
        self.by_task.rows()
    }
}

impl Vectors {
    pub(super) fn by_task(&self) -> impl Iterator<Item = (&str, Vec<Vec<f32>>)> {
        self.by_task.rows()
    }
}

/// A request to the hosted service and what is known of its response.
#[derive(Deserialize)]
pub(super) struct Exchange {
    pub(super) request: Request,
    #[serde(default)]
    pub(super) total_tokens: Option<usize>,
    #[serde(default)]
    pub(super) first_dims: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) task: Option<String>,
    pub(super) input: Value,
}

/// A classification by the hosted service.
#[derive(Deserialize)]
pub(super) struct Classification {
    pub(super) request: ClassificationRequest,
    pub(super) response: Predictions,
}

#[derive(Deserialize)]
pub(super) struct ClassificationRequest {
    pub(super) input: Vec<String>,
    pub(super) labels: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Predictions {
    pub(super) data: Vec<Prediction>,
}

#[derive(Deserialize)]
pub(super) struct Prediction {
    pub(super) predictions: Vec<Score>,
}

#[derive(Deserialize)]
pub(super) struct Score {
    pub(super) score: f32,
}

/// First elements of the vectors of one text under models of jina-embeddings-v2.
#[derive(Deserialize)]
pub(super) struct Family {
    pub(super) text: String,
    pub(super) tolerance: Tolerance,
    /// The reason why closer agreement cannot be expected.
    pub(super) caveat: String,
    /// By the known name of the model.
    pub(super) models: BTreeMap<String, FirstElements>,
}

/// A vector that is not normalized.
#[derive(Deserialize)]
pub(super) struct FirstElements {
    pub(super) first: Vec<f32>,
    /// Norm of the whole vector.
    pub(super) norm: f32,
}

pub(super) fn v2() -> anyhow::Result<Family> {
    parse(include_str!("../../../../reference/jina_v2_vectors.json"))
}

pub(super) fn published() -> anyhow::Result<Published> {
    parse(include_str!("../../../../reference/real_checkpoint_vectors.json"))
}

pub(super) fn hosted() -> anyhow::Result<Vec<Exchange>> {
    parse(include_str!("../../../../reference/hosted_examples.json"))
}

pub(super) fn classification() -> anyhow::Result<Classification> {
    parse(include_str!("../../../../reference/hosted_classify.json"))
}

fn parse<T: DeserializeOwned>(json: &str) -> anyhow::Result<T> {
    Ok(serde_json::from_str(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_value_is_read() {
        let published = published().expect("valid JSON");
        let (states, vectors) = (published.states.by_task(), published.vectors.by_task());
        assert_eq!((states.count(), vectors.count()), (6, 5));
        let hosted = hosted().expect("valid JSON");
        let v3 = hosted.iter().find(|exchange| exchange.request.model == "jina-embeddings-v3");
        assert_eq!(v3.expect("an exchange with v3").first_dims.len(), 5);
        assert_eq!(classification().expect("valid JSON").response.data.len(), 6);
        let v2 = v2().expect("valid JSON").models;
        assert!(v2.len() == 2 && v2.keys().all(|name| kokeshi_hub::known(name).is_some()));
    }
}
