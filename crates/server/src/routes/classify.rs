//! `/v1/classify`, by the meaning of labels or with a trained classifier, and `/v1/train`.

use super::json;
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::classifiers::{Classifiers, ListedClassifier};
use crate::embed::{EmbedRequest, EmbedResponse, RequestTask, tail};
use crate::problem::{ApiResult, Problem};
use crate::wire::classify::{
    Classification, ClassifierInfo, ClassifyBody, ClassifyResponse, Decision, DecisionSet, Labels,
    Prediction, TokenCount, TrainBody, TrainResponse,
};
use crate::wire::embeddings::Count;
use crate::wire::input::RequestTexts;
use crate::wire::write_json;
use crate::work::Pace;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
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
/// Maximum number of iterations of a training.
const MAX_ITERATIONS: usize = 1000;
/// Maximum number of labels of a trained classifier, and of bytes of each.
const MAX_TRAINED_LABELS: usize = 512;
const MAX_LABEL_BYTES: usize = 1024;
/// Maximum product of examples, labels and iterations of a training: about a minute on one core.
const MAX_TRAINING: usize = 1 << 24;
/// So much of that product is charged as a token: with vectors of 1024 dimensions, it takes about as
/// long as a token of jina-embeddings-v3.
const TRAINING_PER_TOKEN: usize = 1 << 14;
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

impl App {
    /// The classifier `id`, if the caller may use it. Reading a large one takes a while.
    async fn classifier(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
    ) -> ApiResult<ListedClassifier> {
        let (app, id, owner) = (Arc::clone(self), id.to_owned(), caller.owner.clone());
        let size = classifiers(self)?.len_bytes(&id);
        let read = move |_: &mut Pace| classifiers(&app)?.get(&id, owner.as_deref());
        self.work(&caller.name, size, read).await?
    }
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
    let limit = app.config().timeouts.request;
    let trained = tokio::time::timeout(limit, trained(&app, &caller, body));
    trained.await.map_err(|_| Problem::timeout(limit))?.map(axum::Json)
}

async fn trained(app: &Arc<App>, caller: &Caller, body: TrainBody) -> ApiResult<TrainResponse> {
    let TrainBody { model, classifier_id: id, access, num_iters, input } = body;
    let stored = classifiers(app)?;
    if input.len() < 2 {
        return Err(Problem::invalid("input", "expected at least two examples"));
    }
    let iterations = iterations(num_iters)?;
    let (texts, labels): (Vec<String>, Vec<String>) =
        input.into_iter().map(|example| (example.text, example.label)).unzip();
    app.check_count(texts.len())?;
    // Nobody else trains the same classifier meanwhile.
    let (_alone, mut classifier) = match &id {
        Some(id) => (Some(stored.lock(id).await), Some(app.classifier(caller, id).await?)),
        None => (None, None),
    };
    check_training(classifier.as_ref(), &labels, iterations, caller)?;
    let embedded = match &classifier {
        Some(classifier) => embed_for(app, caller, classifier, texts).await?,
        None => embed(app, caller, model, RequestTask::implied(TASK), texts).await?,
    };
    let owner = caller.owner.as_deref();
    let mut classifier = classifier
        .take()
        .unwrap_or_else(|| ListedClassifier::new(&embedded.model, embedded.task.clone(), owner));
    if let Some(access) = access.filter(|_| classifier.is_owned_by(owner)) {
        classifier.listing.access = access.into();
    }
    let (state, total_tokens) = (Arc::clone(app), embedded.tokens);
    // Whatever its size, a training is long work.
    let train = move |pace: &mut Pace| {
        classifier
            .train((&embedded.vectors[..], &labels[..]), iterations, &mut || pace.keep_running())?;
        classifiers(&state)?.store(&mut classifier)?;
        ApiResult::Ok((classifier.listing.id, classifier.training.samples))
    };
    let (classifier_id, num_samples) = app.work(&caller.name, usize::MAX, train).await??;
    Ok(TrainResponse { classifier_id, num_samples, usage: TokenCount { total_tokens } })
}

/// The iterations of a training.
fn iterations(requested: Option<Count>) -> ApiResult<usize> {
    let iterations = requested.map_or(10, |count| count.0).max(1);
    if iterations > MAX_ITERATIONS {
        let message = format!("`num_iters` is {iterations}; the limit is {MAX_ITERATIONS}");
        return Err(Problem::bad_request("INPUT_INVALID", message));
    }
    Ok(iterations)
}

/// Checks the labels and the amount of work of a training, and charges the work.
fn check_training(
    existing: Option<&ListedClassifier>,
    examples: &[String],
    iterations: usize,
    caller: &Caller,
) -> ApiResult<()> {
    let known = existing.map_or(&[][..], |classifier| classifier.regression.labels());
    let labels = examples.iter().chain(known).collect::<HashSet<_>>();
    if labels.len() < 2 {
        let message = "a classifier needs at least two different labels";
        return Err(Problem::bad_request("INPUT_INVALID_LABELS", message));
    }
    if let Some(long) = labels.iter().find(|label| label.len() > MAX_LABEL_BYTES) {
        let message = format!(
            "a label has {} bytes; the limit is {MAX_LABEL_BYTES} bytes. Use shorter labels",
            long.len()
        );
        return Err(Problem::bad_request("INPUT_INVALID_LABELS", message));
    }
    let (examples, labels) = (examples.len(), labels.len());
    if labels > MAX_TRAINED_LABELS {
        let message = format!("{labels} labels; the limit is {MAX_TRAINED_LABELS}");
        return Err(Problem::bad_request("INPUT_LABEL_LIMIT_EXCEEDED", message));
    }
    let work = examples.saturating_mul(labels).saturating_mul(iterations);
    if work > MAX_TRAINING {
        let message = format!(
            "{examples} examples × {labels} labels × {iterations} iterations are {work}; the limit \
             is {MAX_TRAINING}. Use fewer iterations, labels or examples"
        );
        return Err(Problem::bad_request("INPUT_TOO_LONG", message));
    }
    caller.charge(work / TRAINING_PER_TOKEN)
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
    Extension(caller): Extension<Caller>,
) -> ApiResult<Response> {
    let (state, owner) = (Arc::clone(&app), caller.owner.clone());
    // All files are read, so this is long work.
    let list = move |pace: &mut Pace| {
        let listed = classifiers(&state)?.list(owner.as_deref(), &mut || pace.keep_running())?;
        write_json(&listed.into_iter().map(ClassifierInfo::from).collect::<Vec<_>>())
    };
    Ok(json(app.work(&caller.name, usize::MAX, list).await??).into_response())
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
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> ApiResult<StatusCode> {
    let Path(id) = id?;
    let (state, owner, size) =
        (Arc::clone(&app), caller.owner.clone(), classifiers(&app)?.len_bytes(&id));
    let remove = move |_: &mut Pace| classifiers(&state)?.remove(&id, owner.as_deref());
    app.work(&caller.name, size, remove).await??;
    Ok(StatusCode::NO_CONTENT)
}
