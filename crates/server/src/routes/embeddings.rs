//! `POST /v1/embeddings` for Jina's and OpenAI's clients.

use super::vectors_response;
use crate::admission::Caller;
use crate::app::App;
use crate::body::Json;
use crate::embed::{EmbedRequest, RequestTask, tail};
use crate::problem::ApiResult;
use crate::wire::embeddings::{self, EmbeddingsBody, ResponseSchema};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// Embed texts
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "Jina and OpenAI",
    request_body = EmbeddingsBody,
    responses((status = 200, body = ResponseSchema))
)]
pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<EmbeddingsBody>,
) -> ApiResult<Response> {
    let kinds = body.types();
    let request = EmbedRequest {
        texts: app.texts(&caller.name, "input", body.input).await?,
        model: body.model,
        task: RequestTask::Named(body.task),
        dimensions: body.dimensions.map(|count| count.0),
        normalized: body.normalized.unwrap_or(true),
        truncate: tail(body.truncate.unwrap_or(false)),
        late_chunking: body.late_chunking,
    };
    let embedded = app.embed(request, &caller).await?;
    vectors_response(&app, &caller, embedded, move |embedded| {
        embeddings::write(&embedded.model, embedded.tokens, &embedded.vectors, &kinds)
    })
    .await
}
