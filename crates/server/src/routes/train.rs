//! `/v1/train`, and the classifiers that it makes.

use super::classify::{TASK, embed, embed_for};
use super::json;
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::classifiers::{Classifiers, ListedClassifier};
use crate::embed::RequestTask;
use crate::problem::{ApiResult, Problem};
use crate::wire::classify::{ClassifierInfo, TokenCount, TrainBody, TrainResponse};
use crate::wire::embeddings::Count;
use crate::wire::write_json;
use crate::work::Pace;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::collections::HashSet;
use std::sync::Arc;

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

impl App {
    /// The classifier `id`, if the caller may use it. Reading a large one takes a while.
    pub(super) async fn classifier(
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
