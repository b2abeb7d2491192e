//! `/v1/classify`, by the meaning of labels or with a trained classifier, and `/v1/train`.

use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::classifiers::{Classifiers, ListedClassifier, unusable};
use crate::embed::{EmbedRequest, EmbedResponse, RequestTask, tail};
use crate::problem::{ApiResult, Problem};
use crate::wire::classify::{
    Classification, ClassifierInfo, ClassifyBody, ClassifyResponse, Decision, DecisionSet, Labels,
    Prediction, TokenCount, TrainBody, TrainResponse,
};
use crate::wire::input::RequestTexts;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kokeshi::cosine;
use kokeshi_analysis::softmax;
use std::collections::HashSet;
use std::sync::Arc;

/// The task of texts and labels, for models that have it.
const TASK: &str = "classification";
/// Maximum number of inputs, and of labels in a plain list, as in the hosted service.
const MAX_ITEMS: usize = 512;
/// Maximum number of groups of labels.
const MAX_GROUPS: usize = 8;
/// Maximum number of labels in a group.
const MAX_GROUP_LABELS: usize = 64;
/// Maximum number of iterations of a training; more have no effect.
const MAX_ITERATIONS: usize = 1000;

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
) -> ApiResult<axum::Json<ClassifyResponse>> {
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
) -> ApiResult<axum::Json<ClassifyResponse>> {
    let groups = label_groups(labels)?;
    let inputs = texts.len();
    texts.extend(groups.iter().flat_map(|group| group.labels.iter().cloned()));
    let task = RequestTask::implied(TASK);
    let embedded = embed(app, caller, model, task, texts).await?;
    let (inputs, labels) = embedded.vectors.split_at(inputs);
    let decisions = inputs.iter().map(|input| decision_set(input, &groups, labels));
    Ok(axum::Json(response(embedded.tokens, decisions)))
}

/// One decision per group for the vector `input`; `vectors` are those of the labels of all groups.
fn decision_set(input: &[f32], groups: &[LabelGroup], vectors: &[Vec<f32>]) -> DecisionSet {
    let mut vectors = vectors.iter();
    let decide = |group: &LabelGroup| {
        let vectors = vectors.by_ref().take(group.labels.len());
        let cosines: Vec<f64> = vectors.map(|label| cosine(input, label).into()).collect();
        let decision = decision(group.labels.iter().zip(softmax(&cosines)));
        (group.name.clone(), decision)
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
) -> ApiResult<axum::Json<ClassifyResponse>> {
    let classifier = classifiers(app)?.get(id)?;
    let embedded = embed_for(app, caller, &classifier, texts).await?;
    let regression = &classifier.regression;
    let decisions = embedded.vectors.iter().map(|vector| {
        let scores = regression.labels().iter().zip(regression.probabilities(vector));
        DecisionSet::One(decision(scores))
    });
    Ok(axum::Json(response(embedded.tokens, decisions)))
}

/// Embeds texts in the same way as those that a classifier was trained on.
async fn embed_for(
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

async fn embed(
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

fn decision<'a>(scores: impl Iterator<Item = (&'a String, f32)>) -> Decision {
    let predictions: Vec<Prediction> =
        scores.map(|(label, score)| Prediction { label: label.clone(), score }).collect();
    let best =
        predictions.iter().reduce(|best, next| if next.score > best.score { next } else { best });
    let (prediction, score) = best.map(|best| (best.label.clone(), best.score)).unwrap_or_default();
    Decision { prediction, score, predictions }
}

fn response(tokens: usize, decisions: impl Iterator<Item = DecisionSet>) -> ClassifyResponse {
    let entry = |(index, decisions)| Classification { object: "classification", index, decisions };
    let data = decisions.enumerate().map(entry).collect();
    ClassifyResponse { usage: TokenCount { total_tokens: tokens }, data }
}

fn classifiers(app: &App) -> ApiResult<&Classifiers> {
    app.classifiers.as_ref().ok_or_else(|| {
        Problem::not_found("training is off: the server has no folder for classifiers")
    })
}

/// Train a classifier
#[utoipa::path(
    post,
    path = "/v1/train",
    tag = "Jina and OpenAI",
    request_body = TrainBody,
    responses(
        (status = 200, body = TrainResponse),
        (status = 404, description = "No such classifier, or training is off")
    )
)]
pub(crate) async fn train(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<TrainBody>,
) -> ApiResult<axum::Json<TrainResponse>> {
    let id = body.classifier_id;
    let existing = id.as_deref().map(|id| classifiers(&app)?.get(id)).transpose()?;
    classifiers(&app)?;
    if body.input.len() < 2 {
        return Err(Problem::invalid("input", "expected at least two examples"));
    }
    let iterations = body.num_iters.map_or(10, |count| count.0).clamp(1, MAX_ITERATIONS);
    let (texts, labels): (Vec<String>, Vec<String>) =
        body.input.into_iter().map(|example| (example.text, example.label)).unzip();
    let embedded = match &existing {
        Some(classifier) => embed_for(&app, &caller, classifier, texts).await?,
        None => embed(&app, &caller, body.model, RequestTask::implied(TASK), texts).await?,
    };
    let (state, tokens) = (Arc::clone(&app), embedded.tokens);
    // Whatever its size, a training is long work.
    let trained = app.work(&caller.name, usize::MAX, move |_| {
        let create = || ListedClassifier::new(&embedded.model, embedded.task.clone());
        classifiers(&state)?.change(id.as_deref(), create, |classifier| {
            if let Some(access) = body.access {
                classifier.listing.access = access.into();
            }
            train_on(classifier, &embedded, &labels, iterations)
        })
    });
    let classifier = trained.await??;
    Ok(axum::Json(TrainResponse {
        classifier_id: classifier.listing.id,
        num_samples: classifier.training.samples,
        usage: TokenCount { total_tokens: tokens },
    }))
}

/// Trains a classifier, which may have changed since its examples were embedded.
fn train_on(
    classifier: &mut ListedClassifier,
    examples: &EmbedResponse,
    labels: &[String],
    iterations: usize,
) -> ApiResult<()> {
    if classifier.training.samples > 0 {
        check_dimensions(examples, classifier.training.dimensions)?;
    }
    let all = labels.iter().chain(classifier.regression.labels());
    if all.collect::<HashSet<_>>().len() < 2 {
        let message = "a classifier needs at least two different labels";
        return Err(Problem::bad_request("INPUT_INVALID_LABELS", message));
    }
    classifier.train(&examples.vectors, labels, iterations).map_err(|error| unusable(&error))
}

/// List classifiers
#[utoipa::path(
    get,
    path = "/v1/classifiers",
    tag = "Jina and OpenAI",
    responses(
        (status = 200, body = Vec<ClassifierInfo>),
        (status = 404, description = "Training is off")
    )
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
) -> ApiResult<axum::Json<Vec<ClassifierInfo>>> {
    let state = Arc::clone(&app);
    let listed = app.compute(move || classifiers(&state)?.list()).await??;
    Ok(axum::Json(listed.into_iter().map(ClassifierInfo::from).collect()))
}

/// Delete a classifier
#[utoipa::path(
    delete,
    path = "/v1/classifiers/{id}",
    tag = "Jina and OpenAI",
    params(("id" = String, Path, description = "The `classifier_id` of `/v1/train`")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "The path is not UTF-8"),
        (status = 404, description = "No such classifier, or training is off")
    )
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> ApiResult<StatusCode> {
    let Path(id) = id?;
    let state = Arc::clone(&app);
    app.compute(move || classifiers(&state)?.remove(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}
