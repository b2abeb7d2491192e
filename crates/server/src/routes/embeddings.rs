//! `POST /v1/embeddings` for Jina's and OpenAI's clients.

use crate::app::App;
use crate::body::Json;
use crate::embed::EmbedRequest;
use crate::front::Caller;
use crate::problem::{Outcome, Problem};
use crate::wire::embeddings::{self, EmbeddingsBody};
use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Embeds texts.
pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<EmbeddingsBody>,
) -> Outcome<Response> {
    let kinds = body.types();
    let request = EmbedRequest {
        texts: body.input.texts("input", decode)?,
        model: body.model,
        task: body.task,
        dimensions: body.dimensions.map(|count| count.0),
        normalized: body.normalized.unwrap_or(true),
        truncate: body.truncate.unwrap_or(false),
        late_chunking: body.late_chunking,
    };
    let done = app.embed(request, &caller).await?;
    let headers = done.headers();
    let body = embeddings::write(&done.model, done.tokens, &done.vectors, &kinds);
    Ok((headers, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn decode(_: &[u32]) -> Outcome<String> {
    Err(Problem::bad_request(
        "INPUT_TOKEN_IDS",
        "`input` holds token ids of another model's tokenizer; send texts (langchain-openai: \
         OpenAIEmbeddings(check_embedding_ctx_length=False))",
    ))
}
