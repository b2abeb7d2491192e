//! Handlers, one file a family of paths.

mod classify;
mod cohere;
mod docs;
mod embeddings;
mod models;
mod ollama;
mod probes;
mod segment;
mod tei;

use crate::app::App;
use crate::embed::EmbedResponse;
use crate::error::{Error, Result};
use crate::problem::{Outcome, Problem};
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use std::any::Any;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

/// All paths.
pub(crate) fn router(app: &Arc<App>) -> Result<Router> {
    let routes = Router::new()
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/classify", post(classify::classify))
        .route("/v1/train", post(classify::train))
        .route("/v1/classifiers", get(classify::list))
        .route("/v1/classifiers/{id}", delete(classify::remove))
        .route("/v1/segment", post(segment::segment))
        .route("/v1/similarity", post(segment::similarity))
        .route("/embed", post(tei::embed))
        .route("/embed_all", post(tei::embed_all))
        .route("/info", get(tei::info))
        .route("/api/embed", post(ollama::embed))
        .route("/api/embeddings", post(ollama::embeddings))
        .route("/api/tags", get(ollama::tags))
        .route("/api/ps", get(ollama::ps))
        .route("/api/version", get(ollama::version))
        .route("/api/show", post(ollama::show))
        .route("/v1/embed", post(cohere::embed_v1))
        .route("/v2/embed", post(cohere::embed_v2))
        .route("/health", get(probes::live))
        .route("/live", get(probes::live))
        .route("/ready", get(probes::ready))
        .route("/metrics", get(probes::metrics))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .route("/", get(docs::welcome))
        .fallback(|| async { Problem::not_found("there is nothing at this path; see /docs") })
        .method_not_allowed_fallback(|| async {
            let message = "this path takes another method; see /docs";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(note_route));
    let routes = match cors(&app.config.cors_origins)? {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    Ok(routes.with_state(Arc::clone(app)))
}

/// The route of a request, for metrics, which must not have a series for every path that is asked.
async fn note_route(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Problem::internal("the request failed; the log says more").into_response()
}

fn cors(origins: &[String]) -> Result<Option<CorsLayer>> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origin = |origin: &String| {
        let fault = || Error::Origin { origin: origin.clone() };
        let known = origin.starts_with("http://") || origin.starts_with("https://");
        let value = HeaderValue::from_str(origin).ok().filter(|_| known && !origin.ends_with('/'));
        value.ok_or_else(fault)
    };
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(origin).collect::<Result<Vec<_>>>()?)
    };
    let exposed = ["x-request-id", "x-kokeshi-windows", "x-kokeshi-truncated", "retry-after"];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(exposed.map(HeaderName::from_static)));
    Ok(Some(layer))
}

/// A body that is JSON already.
fn json(body: impl Into<Body>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], body.into())
}

/// Numbers that are written on the thread that answers; more would keep other answers waiting
/// (printing 2¹⁶ floats was measured to take about 3 ms).
const FEW_NUMBERS: usize = 1 << 16;

/// The response whose body `write` makes of the vectors.
async fn written(
    app: &App,
    done: EmbedResponse,
    write: impl FnOnce(&EmbedResponse) -> Vec<u8> + Send + 'static,
) -> Outcome<Response> {
    let headers = done.headers();
    let numbers: usize = done.vectors.iter().map(Vec::len).sum();
    let body = match numbers {
        0..=FEW_NUMBERS => write(&done),
        _ => app.compute(move || write(&done)).await?,
    };
    Ok((headers, json(body)).into_response())
}
