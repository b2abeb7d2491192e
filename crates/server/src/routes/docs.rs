//! The description of the API: generated from the types, and shown without any download.

use super::{classify, cohere, embeddings, models, ollama, probes, segment, tei};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Write;
use std::sync::Arc;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "kokeshi",
        description = "jina-embeddings on your own machine, in the vocabulary of Jina, OpenAI, \
                       Text Embeddings Inference, Ollama and Cohere. Every path may be put behind \
                       `/task/{task}`, for clients that cannot send a task."
    ),
    paths(
        embeddings::embeddings,
        models::list,
        models::one,
        classify::classify,
        classify::train,
        classify::list,
        classify::remove,
        segment::segment,
        segment::similarity,
        tei::embed,
        tei::embed_all,
        tei::info,
        ollama::embed,
        ollama::embeddings,
        ollama::tags,
        ollama::ps,
        ollama::version,
        ollama::show,
        cohere::embed_v2,
        cohere::embed_v1,
        probes::live,
        probes::ready,
        probes::metrics
    )
)]
struct Description;

/// The OpenAPI document.
pub(crate) async fn openapi() -> Response {
    Json(Description::openapi()).into_response()
}

/// The OpenAPI document as a page.
pub(crate) async fn page() -> Response {
    let policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; \
                  script-src 'unsafe-inline'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("docs.html"))).into_response()
}

/// A greeting: some clients look here to see whether anybody is at home.
pub(crate) async fn welcome(State(app): State<Arc<App>>) -> String {
    let mut text = format!("kokeshi {}\n\n", env!("CARGO_PKG_VERSION"));
    for entry in app.registry.entries() {
        let terms = entry.licence.as_ref().map_or("licence unknown", |licence| &licence.id);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} ({terms})", entry.name);
    }
    text + "\nThe API: /docs, /openapi.json\n"
}
