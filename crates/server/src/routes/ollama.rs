//! Ollama: embeddings, and the questions that its clients ask first.

use super::written;
use crate::app::App;
use crate::body::Json;
use crate::cl100k;
use crate::embed::{EmbedRequest, Task};
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::registry::ModelEntry;
use crate::wire::input::Texts;
use crate::wire::ollama::{
    self, Details, EmbedBody, EmbedSchema, PromptBody, PromptSchema, ShowBody, Shown, Tag, Tags,
    Version,
};
use crate::wire::vectors::write_floats;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use std::time::Instant;

/// Embed texts
#[utoipa::path(
    post,
    path = "/api/embed",
    tag = "Ollama",
    request_body = EmbedBody,
    responses((status = 200, body = EmbedSchema), (status = 404, description = "No such model"))
)]
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<EmbedBody>,
) -> Outcome<Response> {
    let started = Instant::now();
    let request = EmbedRequest {
        model: body.model,
        texts: body.input.texts("input", cl100k::decode)?,
        task: Task::Asked(None),
        dimensions: body.dimensions.map(|count| count.0),
        normalized: true,
        truncate: body.truncate.unwrap_or(true),
        late_chunking: None,
    };
    let done = app.embed(request, &caller).await.map_err(not_found)?;
    written(&app, done, move |done| {
        ollama::write(&done.model, &done.vectors, done.tokens, started.elapsed())
    })
    .await
}

/// Embed one text, as older clients ask
#[utoipa::path(
    post,
    path = "/api/embeddings",
    tag = "Ollama",
    request_body = PromptBody,
    responses((status = 200, body = PromptSchema), (status = 404, description = "No such model"))
)]
pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<PromptBody>,
) -> Outcome<Response> {
    let request = EmbedRequest {
        model: body.model,
        texts: Texts::Flat(vec![body.prompt]),
        task: Task::Asked(None),
        dimensions: None,
        normalized: true,
        truncate: true,
        late_chunking: None,
    };
    let done = app.embed(request, &caller).await.map_err(not_found)?;
    written(&app, done, |done| {
        let mut out = b"{\"embedding\":".to_vec();
        write_floats(&mut out, done.vectors.first().map_or(&[], Vec::as_slice));
        out.push(b'}');
        out
    })
    .await
}

/// The served models
#[utoipa::path(get, path = "/api/tags", tag = "Ollama", responses((status = 200, body = Tags)))]
pub(crate) async fn tags(State(app): State<Arc<App>>) -> axum::Json<Tags> {
    axum::Json(Tags { models: app.registry.entries().iter().map(described).collect() })
}

/// The models in memory
#[utoipa::path(get, path = "/api/ps", tag = "Ollama", responses((status = 200, body = Tags)))]
pub(crate) async fn ps(State(app): State<Arc<App>>) -> axum::Json<Tags> {
    let running = app.registry.running();
    let runs = |entry: &&ModelEntry| running.iter().any(|running| running.name == entry.name);
    axum::Json(Tags { models: app.registry.entries().iter().filter(runs).map(described).collect() })
}

/// The version of this program
#[utoipa::path(get, path = "/api/version", tag = "Ollama", responses((status = 200, body = Version)))]
pub(crate) async fn version() -> axum::Json<Version> {
    axum::Json(Version { version: env!("CARGO_PKG_VERSION") })
}

/// One model
#[utoipa::path(
    post,
    path = "/api/show",
    tag = "Ollama",
    request_body = ShowBody,
    responses((status = 200, body = Shown), (status = 404, description = "No such model"))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Json(body): Json<ShowBody>,
) -> Outcome<axum::Json<Shown>> {
    let named = app.registry.find(Some(&body.model)).map_err(not_found)?;
    let entry = named.entry();
    let licence = entry.licence.as_ref();
    Ok(axum::Json(Shown {
        license: licence.map(|licence| format!("{}: {}", licence.id, licence.note)),
        details: DETAILS,
        capabilities: ["embedding"],
        model_info: [("general.basename", entry.name.clone())].into(),
    }))
}

/// Ollama's clients take 404 for a model that is not there.
fn not_found(problem: Problem) -> Problem {
    match problem.code {
        "INPUT_MODEL_NOT_FOUND" => Problem::not_found(problem.message),
        _ => problem,
    }
}

fn described(entry: &ModelEntry) -> Tag {
    Tag {
        name: format!("{}:latest", entry.name),
        model: format!("{}:latest", entry.name),
        modified_at: "1970-01-01T00:00:00Z",
        size: 0,
        digest: "",
        details: DETAILS,
    }
}

const DETAILS: Details =
    Details { format: "safetensors", family: "jina-embeddings", families: ["jina-embeddings"] };
