//! `/v1/classify`, `/v1/train`, `/v1/classifiers`.

use super::embeddings::Count;
use super::input::RawInput;
use crate::classifiers::ListedClassifier;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;

/// A request to classify, by the meaning of `labels` or with a trained classifier.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ClassifyBody {
    pub(crate) model: Option<String>,
    pub(crate) classifier_id: Option<String>,
    pub(crate) input: RawInput,
    pub(crate) labels: Option<Labels>,
}

/// A list of labels, or one list per question.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(crate) enum Labels {
    List(Vec<String>),
    Groups(serde_json::Map<String, serde_json::Value>),
}

/// Not derived: an untagged enum is read as a whole first, so its errors would not name the label.
impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelsVisitor)
    }
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of labels, or an object of lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Labels, A::Error> {
        let mut labels = Vec::new();
        while let Some(label) = items.next_element()? {
            labels.push(label);
        }
        Ok(Labels::List(labels))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Labels, A::Error> {
        let mut groups = serde_json::Map::new();
        while let Some((name, labels)) = fields.next_entry()? {
            groups.insert(name, labels);
        }
        Ok(Labels::Groups(groups))
    }
}

/// A label and its probability. It borrows the label, which an answer has once for each input.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Prediction<'a> {
    pub(crate) label: &'a str,
    pub(crate) score: f32,
}

/// The decision for one input and one list of labels.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Decision<'a> {
    /// The most likely label.
    pub(crate) prediction: &'a str,
    pub(crate) score: f32,
    /// In the order of the labels; the scores sum to 1.
    pub(crate) predictions: Vec<Prediction<'a>>,
}

/// The decision for one input, or one decision per group of labels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Decided)]
pub(crate) enum DecisionSet<'a> {
    One(Decision<'a>),
    Groups {
        /// By the name of the group.
        predictions: BTreeMap<&'a str, Decision<'a>>,
    },
}

/// An entry of `data`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Classified)]
pub(crate) struct Classification<'a> {
    /// `classification`.
    pub(crate) object: &'static str,
    pub(crate) index: usize,
    #[serde(flatten)]
    pub(crate) decisions: DecisionSet<'a>,
}

/// The answer to a [`ClassifyBody`].
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClassifyResponse<'a> {
    pub(crate) usage: TokenCount,
    pub(crate) data: Vec<Classification<'a>>,
}

/// Tokens of inputs and labels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenCount {
    pub(crate) total_tokens: usize,
}

/// A request to train a new classifier, or to continue training one.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TrainBody {
    pub(crate) model: Option<String>,
    pub(crate) classifier_id: Option<String>,
    /// `public`, the default: every key may use it; or `private`: only the key that created it.
    pub(crate) access: Option<ClassifierAccess>,
    /// Iterations of ten steps each; default 10.
    pub(crate) num_iters: Option<Count>,
    pub(crate) input: Vec<Example>,
}

/// Whom a classifier is for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Access)]
pub(crate) enum ClassifierAccess {
    Public,
    Private,
}

impl From<ClassifierAccess> for kokeshi_analysis::Visibility {
    fn from(access: ClassifierAccess) -> Self {
        match access {
            ClassifierAccess::Public => Self::Public,
            ClassifierAccess::Private => Self::Private,
        }
    }
}

impl From<kokeshi_analysis::Visibility> for ClassifierAccess {
    fn from(access: kokeshi_analysis::Visibility) -> Self {
        match access {
            kokeshi_analysis::Visibility::Public => Self::Public,
            kokeshi_analysis::Visibility::Private => Self::Private,
        }
    }
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

/// A stored classifier.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClassifierInfo {
    pub(crate) classifier_id: String,
    pub(crate) model_name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) access: ClassifierAccess,
    pub(crate) num_samples: usize,
    /// Seconds since 1970.
    pub(crate) updated: u64,
}

impl From<ListedClassifier> for ClassifierInfo {
    fn from(ListedClassifier { listing, training, regression }: ListedClassifier) -> Self {
        Self {
            classifier_id: listing.id,
            model_name: training.model,
            labels: regression.labels().to_vec(),
            access: listing.access.into(),
            num_samples: training.samples,
            updated: listing.updated,
        }
    }
}
