//! Ollama: embeddings, and the requests that its clients send before them.

use super::{json, vectors_response};
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::embed::{EmbedRequest, RequestTask, tail};
use crate::problem::{ApiResult, Problem};
use crate::registry::ModelEntry;
use crate::running_model::RunningModel;
use crate::wire::input::RequestTexts;
use crate::wire::ollama::{
    self, Details, EmbedBody, EmbedSchema, PromptBody, PromptSchema, ShowBody, ShowResponse, Tag,
    Tags, Version,
};
use crate::wire::vectors::write_floats;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
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
) -> ApiResult<Response> {
    let started = Instant::now();
    let Some(input) = body.input.filter(|input| !input.is_empty()) else {
        let model = loaded(&app, &caller, body.model.as_deref()).await?;
        return Ok(json(ollama::write_empty(&model.name)).into_response());
    };
    let request = EmbedRequest {
        model: body.model,
        texts: app.texts(&caller.name, "input", input).await?,
        task: RequestTask::Named(None),
        dimensions: body.dimensions.map(|count| count.0),
        normalized: true,
        truncate: tail(body.truncate.unwrap_or(true)),
        late_chunking: None,
    };
    let embedded = app.embed(request, &caller).await.map_err(not_found)?;
    vectors_response(&app, &caller, embedded, move |embedded| {
        ollama::write(&embedded.model, &embedded.vectors, embedded.tokens, started.elapsed())
    })
    .await
}

/// Embed one text, for older clients
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
) -> ApiResult<Response> {
    let Some(prompt) = body.prompt.filter(|prompt| !prompt.is_empty()) else {
        loaded(&app, &caller, body.model.as_deref()).await?;
        return Ok(json("{\"embedding\":[]}").into_response());
    };
    let request = EmbedRequest {
        model: body.model,
        texts: RequestTexts::Flat(vec![prompt]),
        task: RequestTask::Named(None),
        dimensions: None,
        normalized: true,
        truncate: tail(true),
        late_chunking: None,
    };
    let embedded = app.embed(request, &caller).await.map_err(not_found)?;
    vectors_response(&app, &caller, embedded, |embedded| {
        let mut out = b"{\"embedding\":".to_vec();
        write_floats(&mut out, embedded.vectors.first().map_or(&[], Vec::as_slice));
        out.push(b'}');
        out
    })
    .await
}

/// The model of a request without texts, which only loads it.
async fn loaded(
    app: &Arc<App>,
    caller: &Caller,
    model: Option<&str>,
) -> ApiResult<Arc<RunningModel>> {
    let reference = app.registry.resolve(model).map_err(not_found)?;
    app.loaded(&caller.name, &reference).await
}

/// The served models
#[utoipa::path(get, path = "/api/tags", tag = "Ollama", responses((status = 200, body = Tags)))]
pub(crate) async fn tags(State(app): State<Arc<App>>) -> axum::Json<Tags> {
    axum::Json(Tags { models: app.registry.entries().iter().map(|entry| tag(entry)).collect() })
}

/// The loaded models
#[utoipa::path(get, path = "/api/ps", tag = "Ollama", responses((status = 200, body = Tags)))]
pub(crate) async fn ps(State(app): State<Arc<App>>) -> axum::Json<Tags> {
    let running = app.registry.running_models();
    let is_running =
        |entry: &&Arc<ModelEntry>| running.iter().any(|model| model.name == entry.name);
    let entries = app.registry.entries().iter().filter(is_running);
    axum::Json(Tags { models: entries.map(|entry| tag(entry)).collect() })
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
    responses((status = 200, body = ShowResponse), (status = 404, description = "No such model"))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Json(body): Json<ShowBody>,
) -> ApiResult<axum::Json<ShowResponse>> {
    let model = app.registry.resolve(Some(&body.model)).map_err(not_found)?;
    let entry = model.entry();
    let licence = entry.licence.as_ref();
    Ok(axum::Json(ShowResponse {
        license: licence.map(|licence| format!("{}: {}", licence.id, licence.note)),
        details: DETAILS,
        capabilities: ["embedding"],
        model_info: [("general.basename", entry.name.clone())].into(),
    }))
}

/// Ollama's clients expect 404 for an unknown model.
fn not_found(problem: Problem) -> Problem {
    match problem.code {
        "INPUT_MODEL_NOT_FOUND" => Problem::not_found(problem.message),
        _ => problem,
    }
}

fn tag(entry: &ModelEntry) -> Tag {
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
