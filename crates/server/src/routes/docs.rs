//! The description of the API: generated from the types, and shown without any download.

use super::{classify, cohere, embeddings, models, ollama, probes, segment, tei};
use crate::app::App;
use crate::front::is_public;
use crate::wire::error::{CohereError, Dialect, ErrorBody, OllamaError, TeiError};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Write;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

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
    ),
    components(schemas(ErrorBody, TeiError, OllamaError, CohereError))
)]
struct Description;

/// The OpenAPI document.
pub(crate) async fn openapi() -> Response {
    let mut api = Description::openapi();
    for (path, item) in &mut api.paths.paths {
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(|operation| describe_refusals(path, operation));
    }
    Json(api).into_response()
}

/// Why any operation may be refused, unless its path is public.
const REFUSALS: [(u16, &str); 5] = [
    (401, "The key is missing or not known"),
    (429, "A limit of the key is met, or the queue is full"),
    (500, "A fault of the server"),
    (503, "The server is stopping, or has no memory for the model"),
    (504, "Not answered in time"),
];
/// Why a body may be refused.
const BODY_REFUSALS: [(u16, &str); 5] = [
    (400, "The body is no JSON, or asks for what there is not or is too much"),
    (408, "The body did not arrive in time"),
    (413, "The body is too large"),
    (415, "The body is compressed"),
    (422, "A field has a wrong type or value"),
];

/// Adds what any operation may be refused with, and to all refusals the body that their dialect
/// gives them: both are the front's work, and no handler's.
fn describe_refusals(path: &str, operation: &mut Operation) {
    let body = operation.request_body.as_ref().map(|_| BODY_REFUSALS);
    let any = (!is_public(path)).then_some(REFUSALS);
    let responses = &mut operation.responses.responses;
    for (status, why) in body.into_iter().chain(any).flatten() {
        responses
            .entry(status.to_string())
            .or_insert_with(|| ResponseBuilder::new().description(why).into());
    }
    let schema = Dialect::of(path).error_schema();
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if !status.starts_with(['4', '5']) {
            continue;
        }
        let content = Content::new(Some(Ref::from_schema_name(&schema)));
        response.content.insert("application/json".to_owned(), content.into());
        if matches!(status.as_str(), "429" | "503") {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
            response.headers.insert("Retry-After".to_owned(), Header::new(seconds).into());
        }
    }
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
