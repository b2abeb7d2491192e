//! `/v1/classify`, by the meaning of labels or with a trained classifier.

use super::json;
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::classifiers::ListedClassifier;
use crate::embed::{EmbedRequest, EmbedResponse, RequestTask, tail};
use crate::problem::{ApiResult, Problem};
use crate::wire::classify::{
    Classification, ClassifyBody, ClassifyResponse, Decision, DecisionSet, Labels, Prediction,
    TokenCount,
};
use crate::wire::input::RequestTexts;
use crate::wire::write_json;
use crate::work::Pace;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kokeshi::cosine;
use kokeshi_analysis::softmax;
use std::sync::Arc;

/// The task of texts and labels, for models that have it.
pub(super) const TASK: &str = "classification";
/// Maximum number of inputs, and of labels in a plain list, as in the hosted service.
const MAX_ITEMS: usize = 512;
/// Maximum number of groups of labels.
const MAX_GROUPS: usize = 8;
/// Maximum number of labels in a group.
const MAX_GROUP_LABELS: usize = 64;
/// Maximum size of the decisions of an answer, in bytes: each has all labels.
const MAX_DECISION_BYTES: usize = 64 << 20;
/// Bytes of a label's entry in an answer, without the label.
const PREDICTION_BYTES: usize = 40;

/// Labels to choose from, under the name of their question.
struct LabelGroup {
    /// `None` for a plain list of labels.
    name: Option<String>,
    labels: Vec<String>,
}

/// Classify texts
#[utoipa::path(
    post,
    path = "/v1/classify",
    tag = "Jina and OpenAI",
    request_body = ClassifyBody,
    responses(
        (status = 200, body = ClassifyResponse),
        (status = 404, description = "No such classifier, or training is off")
    )
)]
pub(crate) async fn classify(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<ClassifyBody>,
) -> ApiResult<Response> {
    let texts = flat_texts(app.texts(&caller.name, "input", body.input).await?)?;
    if texts.len() > MAX_ITEMS {
        let message = format!("`input` has {} items; the limit is {MAX_ITEMS}", texts.len());
        return Err(Problem::bad_request("INPUT_TOO_MANY_ITEMS", message));
    }
    match (body.labels, body.classifier_id) {
        (Some(labels), None) => by_meaning(&app, &caller, body.model, texts, labels).await,
        (None, Some(id)) => by_training(&app, &caller, &id, texts).await,
        _ => {
            let message = "expected either `labels` or `classifier_id`";
            Err(Problem::invalid("labels", message))
        }
    }
}

fn flat_texts(texts: RequestTexts) -> ApiResult<Vec<String>> {
    match texts {
        RequestTexts::Flat(texts) => Ok(texts),
        RequestTexts::Nested(_) => {
            Err(Problem::invalid("input", "expected a text or a list of texts"))
        }
    }
}

/// Embeds inputs and labels in one call. Scores are the softmax of their cosines, as captured
/// answers of the hosted service suggest: its scores sum to 1 and are close to each other.
async fn by_meaning(
    app: &Arc<App>,
    caller: &Caller,
    model: Option<String>,
    mut texts: Vec<String>,
    labels: Labels,
) -> ApiResult<Response> {
    let groups = label_groups(labels)?;
    let inputs = texts.len();
    let labels = groups.iter().flat_map(|group| &group.labels);
    let size = check_decisions(inputs, labels.clone())?;
    texts.extend(labels.cloned());
    let task = RequestTask::implied(TASK);
    let embedded = embed(app, caller, model, task, texts).await?;
    let write = move |pace: &mut Pace| {
        let (inputs, labels) = embedded.vectors.split_at(inputs);
        let decide = |input: &Vec<f32>| decision_set(input, &groups, labels);
        respond(embedded.tokens, inputs, decide, pace)
    };
    Ok(json(app.work(&caller.name, size, write).await??).into_response())
}

/// Bytes of the decisions for `inputs` inputs with these labels, or a refusal.
fn check_decisions<'a>(
    inputs: usize,
    labels: impl Iterator<Item = &'a String>,
) -> ApiResult<usize> {
    let each: usize = labels.map(|label| label.len() + PREDICTION_BYTES).sum();
    let bytes = inputs.saturating_mul(each);
    if bytes <= MAX_DECISION_BYTES {
        return Ok(bytes);
    }
    let message = format!(
        "the answer would have {bytes} bytes, because it repeats all labels for each of {inputs} \
         inputs; the limit is {MAX_DECISION_BYTES}. Send fewer inputs or shorter labels"
    );
    Err(Problem::bad_request("INPUT_LABEL_LIMIT_EXCEEDED", message))
}

/// One decision per group for the vector `input`; `vectors` are those of the labels of all groups.
fn decision_set<'a>(
    input: &[f32],
    groups: &'a [LabelGroup],
    vectors: &[Vec<f32>],
) -> DecisionSet<'a> {
    let mut vectors = vectors.iter();
    let decide = |group: &'a LabelGroup| {
        let vectors = vectors.by_ref().take(group.labels.len());
        let cosines: Vec<f64> = vectors.map(|label| cosine(input, label).into()).collect();
        let decision = decision(group.labels.iter().zip(softmax(&cosines)));
        (group.name.as_deref(), decision)
    };
    let mut decisions: Vec<_> = groups.iter().map(decide).collect();
    match decisions.as_slice() {
        [(None, _)] => DecisionSet::One(decisions.remove(0).1),
        _ => DecisionSet::Groups {
            predictions: decisions
                .into_iter()
                .map(|(name, decision)| (name.unwrap_or_default(), decision))
                .collect(),
        },
    }
}

async fn by_training(
    app: &Arc<App>,
    caller: &Caller,
    id: &str,
    texts: Vec<String>,
) -> ApiResult<Response> {
    let classifier = app.classifier(caller, id).await?;
    let size = check_decisions(texts.len(), classifier.regression.labels().iter())?;
    let embedded = embed_for(app, caller, &classifier, texts).await?;
    let write = move |pace: &mut Pace| {
        let regression = &classifier.regression;
        let decide = |vector: &Vec<f32>| {
            let scores = regression.probabilities(vector);
            DecisionSet::One(decision(regression.labels().iter().zip(scores)))
        };
        respond(embedded.tokens, &embedded.vectors, decide, pace)
    };
    Ok(json(app.work(&caller.name, size, write).await??).into_response())
}

/// Embeds texts in the same way as those that a classifier was trained on.
pub(super) async fn embed_for(
    app: &Arc<App>,
    caller: &Caller,
    classifier: &ListedClassifier,
    texts: Vec<String>,
) -> ApiResult<EmbedResponse> {
    let training = &classifier.training;
    if !training.instruction {
        let message = "the classifier was trained on texts without their task's instruction, but \
                       this server always adds it; train a new one";
        return Err(Problem::bad_request("INPUT_INVALID", message));
    }
    let task = RequestTask::implied(training.task.as_deref().unwrap_or(TASK));
    let embedded = embed(app, caller, Some(training.model.clone()), task, texts).await?;
    check_dimensions(&embedded, training.dimensions)?;
    Ok(embedded)
}

fn check_dimensions(embedded: &EmbedResponse, dimensions: usize) -> ApiResult<()> {
    match embedded.vectors.iter().find(|vector| vector.len() != dimensions) {
        None => Ok(()),
        Some(vector) => {
            let message = format!(
                "the classifier was trained on vectors of {dimensions} dimensions, but those of \
                 `{}` have {}; train a new one",
                embedded.model,
                vector.len()
            );
            Err(Problem::bad_request("INPUT_INVALID", message))
        }
    }
}

pub(super) async fn embed(
    app: &Arc<App>,
    caller: &Caller,
    model: Option<String>,
    task: RequestTask,
    texts: Vec<String>,
) -> ApiResult<EmbedResponse> {
    let request = EmbedRequest {
        model,
        texts: RequestTexts::Flat(texts),
        task,
        dimensions: None,
        normalized: true,
        truncate: tail(true),
        late_chunking: None,
    };
    app.embed(request, caller).await
}

fn label_groups(labels: Labels) -> ApiResult<Vec<LabelGroup>> {
    let groups = match labels {
        Labels::List(labels) => vec![LabelGroup { name: None, labels }],
        Labels::Groups(groups) => {
            groups.into_iter().map(named_group).collect::<ApiResult<Vec<_>>>()?
        }
    };
    if groups.is_empty() || groups.iter().any(|group| group.labels.is_empty()) {
        let message = "`labels` must contain at least one label";
        return Err(Problem::bad_request("INPUT_INVALID_LABELS", message));
    }
    let limit = |group: &LabelGroup| match group.name {
        None => MAX_ITEMS,
        Some(_) => MAX_GROUP_LABELS,
    };
    if groups.len() > MAX_GROUPS || groups.iter().any(|group| group.labels.len() > limit(group)) {
        let message = format!(
            "`labels` is over its limit of {MAX_ITEMS} labels, or of {MAX_GROUPS} groups of \
             {MAX_GROUP_LABELS}"
        );
        return Err(Problem::bad_request("INPUT_LABEL_LIMIT_EXCEEDED", message));
    }
    Ok(groups)
}

fn named_group((name, labels): (String, serde_json::Value)) -> ApiResult<LabelGroup> {
    let field = format!("labels.{name}");
    let labels = serde_json::from_value(labels);
    let labels = labels.map_err(|_| Problem::invalid(field, "expected a list of labels"))?;
    Ok(LabelGroup { name: Some(name), labels })
}

fn decision<'a>(scores: impl Iterator<Item = (&'a String, f32)>) -> Decision<'a> {
    let predictions: Vec<Prediction<'a>> =
        scores.map(|(label, score)| Prediction { label, score }).collect();
    let best =
        predictions.iter().reduce(|best, next| if next.score > best.score { next } else { best });
    let (prediction, score) = best.map(|best| (best.label, best.score)).unwrap_or_default();
    Decision { prediction, score, predictions }
}

/// Inputs that are decided between two pauses.
const DECISIONS_PER_STEP: usize = 16;

/// The body of an answer with a decision for each of `inputs`.
fn respond<'a>(
    total_tokens: usize,
    inputs: &[Vec<f32>],
    decide: impl Fn(&Vec<f32>) -> DecisionSet<'a>,
    pace: &mut Pace,
) -> ApiResult<Vec<u8>> {
    let mut data = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        if index % DECISIONS_PER_STEP == 0 {
            pace.check()?;
        }
        data.push(Classification { object: "classification", index, decisions: decide(input) });
    }
    write_json(&ClassifyResponse { usage: TokenCount { total_tokens }, data })
}
