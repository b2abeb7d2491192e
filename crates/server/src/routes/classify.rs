//! `/v1/classify`, by the meaning of labels or with a trained classifier, and `/v1/train`.

use crate::app::App;
use crate::body::Json;
use crate::cl100k;
use crate::classifiers::{Classifier, Classifiers, failed};
use crate::embed::{EmbedRequest, EmbedResponse, Task};
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::wire::classify::{
    Classified, ClassifierInfo, ClassifyBody, ClassifyResponse, Decided, Decision, Labels,
    Prediction, TokenCount, TrainBody, TrainResponse,
};
use crate::wire::input::Texts;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kokeshi::cosine;
use kokeshi_analysis::softmax;
use std::sync::Arc;

/// Most inputs, and most labels of a list, as in the hosted service.
const MOST: usize = 512;
/// Most groups of labels, and labels of each.
const GROUPS: (usize, usize) = (8, 64);
/// Most iterations of a training: beyond it nothing is gained.
const MOST_ITERATIONS: usize = 1000;

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
) -> Outcome<axum::Json<ClassifyResponse>> {
    let texts = flat(body.input.texts("input", cl100k::decode)?)?;
    if texts.len() > MOST {
        let message = format!("`input` has {} items; the limit is {MOST}", texts.len());
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

fn flat(texts: Texts) -> Outcome<Vec<String>> {
    match texts {
        Texts::Flat(texts) => Ok(texts),
        Texts::Nested(_) => Err(Problem::invalid("input", "expected a text or a list of texts")),
    }
}

/// Inputs and labels are embedded with one call; scores are the softmax of their cosines, as the
/// hosted service's captured answers suggest: they sum to 1 and lie close together.
async fn by_meaning(
    app: &Arc<App>,
    caller: &Caller,
    model: Option<String>,
    mut texts: Vec<String>,
    labels: Labels,
) -> Outcome<axum::Json<ClassifyResponse>> {
    let groups = groups(labels)?;
    let inputs = texts.len();
    texts.extend(groups.iter().flat_map(|(_, labels)| labels.iter().cloned()));
    let done = embedded(app, caller, model, texts).await?;
    let (inputs, labels) = done.vectors.split_at(inputs);
    let decided = |input: &Vec<f32>| {
        let mut vectors = labels.iter();
        let decide = |(name, labels): &(Option<String>, Vec<String>)| {
            let cosines: Vec<f64> = vectors
                .by_ref()
                .take(labels.len())
                .map(|label| cosine(input, label).into())
                .collect();
            let scores = labels.iter().cloned().zip(softmax(&cosines));
            let predictions = scores.map(|(label, score)| Prediction { label, score }).collect();
            (name.clone(), decision(predictions))
        };
        let mut decisions: Vec<_> = groups.iter().map(decide).collect();
        match decisions.as_slice() {
            [(None, _)] => Decided::One(decisions.remove(0).1),
            _ => Decided::Groups {
                predictions: decisions
                    .into_iter()
                    .map(|(name, decision)| (name.unwrap_or_default(), decision))
                    .collect(),
            },
        }
    };
    Ok(axum::Json(response(done.tokens, inputs.iter().map(decided))))
}

async fn by_training(
    app: &Arc<App>,
    caller: &Caller,
    id: &str,
    texts: Vec<String>,
) -> Outcome<axum::Json<ClassifyResponse>> {
    let classifier = store(app)?.get(id)?;
    let done = embedded(app, caller, Some(classifier.model.clone()), texts).await?;
    check_width(&done, classifier.dimensions())?;
    let regression = classifier.regression().map_err(|error| failed(&error))?;
    let decided = done.vectors.iter().map(|vector| {
        let scores = regression.labels().iter().cloned().zip(regression.probabilities(vector));
        let predictions = scores.map(|(label, score)| Prediction { label, score }).collect();
        Decided::One(decision(predictions))
    });
    Ok(axum::Json(response(done.tokens, decided)))
}

fn check_width(done: &EmbedResponse, dimensions: usize) -> Outcome<()> {
    match done.vectors.iter().all(|vector| vector.len() == dimensions) {
        true => Ok(()),
        false => {
            let message = "the classifier was trained with another model of this name; train anew";
            Err(Problem::bad_request("INPUT_INVALID", message))
        }
    }
}

async fn embedded(
    app: &Arc<App>,
    caller: &Caller,
    model: Option<String>,
    texts: Vec<String>,
) -> Outcome<EmbedResponse> {
    let request = EmbedRequest {
        model,
        texts: Texts::Flat(texts),
        task: Task::Hinted(Some("classification")),
        dimensions: None,
        normalized: true,
        truncate: true,
        late_chunking: None,
    };
    app.embed(request, caller).await
}

/// The labels of each question; a plain list is one question without a name.
fn groups(labels: Labels) -> Outcome<Vec<(Option<String>, Vec<String>)>> {
    let groups: Vec<_> = match labels {
        Labels::List(labels) => vec![(None, labels)],
        Labels::Groups(groups) => groups
            .into_iter()
            .map(|(name, labels)| {
                let field = format!("labels.{name}");
                let labels = serde_json::from_value(labels);
                let labels =
                    labels.map_err(|_| Problem::invalid(field, "expected a list of labels"))?;
                Ok((Some(name), labels))
            })
            .collect::<Outcome<_>>()?,
    };
    let most = if groups.iter().any(|(name, _)| name.is_some()) { GROUPS } else { (1, MOST) };
    if groups.is_empty() || groups.iter().any(|(_, labels): &(_, Vec<String>)| labels.is_empty()) {
        let message = "`labels` must hold at least one label";
        return Err(Problem::bad_request("INPUT_INVALID_LABELS", message));
    }
    if groups.len() > most.0 || groups.iter().any(|(_, labels)| labels.len() > most.1) {
        let message =
            format!("`labels` may hold {MOST} labels, or {} groups of {}", GROUPS.0, GROUPS.1);
        return Err(Problem::bad_request("INPUT_LABEL_LIMIT_EXCEEDED", message));
    }
    Ok(groups)
}

fn decision(predictions: Vec<Prediction>) -> Decision {
    let best =
        predictions.iter().reduce(|best, one| if one.score > best.score { one } else { best });
    let (prediction, score) = best.map(|best| (best.label.clone(), best.score)).unwrap_or_default();
    Decision { prediction, score, predictions }
}

fn response(tokens: usize, decided: impl Iterator<Item = Decided>) -> ClassifyResponse {
    let entry = |(index, decided)| Classified { object: "classification", index, decided };
    let data = decided.enumerate().map(entry).collect();
    ClassifyResponse { usage: TokenCount { total_tokens: tokens }, data }
}

fn store(app: &App) -> Outcome<&Classifiers> {
    app.classifiers.as_ref().ok_or_else(|| {
        let message = "training is off; the server needs a folder for it (--classifiers)";
        Problem::not_found(message)
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
) -> Outcome<axum::Json<TrainResponse>> {
    let model = match &body.classifier_id {
        Some(id) => Some(store(&app)?.get(id)?.model),
        None => store(&app).map(|_| body.model)?,
    };
    if body.input.len() < 2 {
        return Err(Problem::invalid("input", "expected at least two examples"));
    }
    let iterations = body.num_iters.map_or(10, |count| count.0).clamp(1, MOST_ITERATIONS);
    let (texts, labels) = body.input.into_iter().map(|one| (one.text, one.label)).unzip();
    let labels: Vec<String> = labels;
    let done = embedded(&app, &caller, model, texts).await?;
    let (state, tokens) = (Arc::clone(&app), done.tokens);
    let stored = app.compute(move || {
        let id = body.classifier_id.as_deref();
        store(&state)?.change(id, &done.model, body.access, |classifier| {
            if id.is_some() {
                check_width(&done, classifier.dimensions())?;
            }
            let known = labels.iter().chain(&classifier.labels);
            if known.collect::<std::collections::HashSet<_>>().len() < 2 {
                let message = "a classifier needs at least two different labels";
                return Err(Problem::bad_request("INPUT_INVALID_LABELS", message));
            }
            let trained = classifier.train(&done.vectors, &labels, iterations);
            trained.map_err(|error| failed(&error))
        })
    });
    let classifier = stored.await??;
    Ok(axum::Json(TrainResponse {
        classifier_id: classifier.classifier_id,
        num_samples: classifier.num_samples,
        usage: TokenCount { total_tokens: tokens },
    }))
}

/// The stored classifiers
#[utoipa::path(
    get,
    path = "/v1/classifiers",
    tag = "Jina and OpenAI",
    responses(
        (status = 200, body = Vec<ClassifierInfo>),
        (status = 404, description = "Training is off")
    )
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Outcome<axum::Json<Vec<ClassifierInfo>>> {
    let state = Arc::clone(&app);
    let all = app.compute(move || store(&state)?.list()).await??;
    Ok(axum::Json(all.iter().map(Classifier::info).collect()))
}

/// Delete a classifier
#[utoipa::path(
    delete,
    path = "/v1/classifiers/{id}",
    tag = "Jina and OpenAI",
    params(("id" = String, Path, description = "As `/v1/train` returned it")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "The path is not UTF-8"),
        (status = 404, description = "No such classifier, or training is off")
    )
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Outcome<StatusCode> {
    let Path(id) = id?;
    let state = Arc::clone(&app);
    app.compute(move || store(&state)?.remove(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}
