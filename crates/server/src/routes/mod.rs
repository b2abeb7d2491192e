//! Handlers, one file per family of paths, and the router.

mod classify;
mod cohere;
mod collections;
mod docs;
mod documents;
mod embeddings;
mod models;
mod ollama;
mod probes;
mod search;
mod segment;
mod table;
mod tei;
mod train;

pub(crate) use probes::Readiness;
pub(crate) use table::dialect;
pub use table::{Access, Dialect, ROUTES, Route};

use crate::accounting::account;
use crate::admission::{Caller, REMAINING, admit};
use crate::app::App;
use crate::embed::{EmbedResponse, TRUNCATED, WINDOWS};
use crate::error::{Error, Result};
use crate::problem::{ApiResult, Problem};
use crate::request_id::REQUEST_ID;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

/// The router of all routes. A browser's preflight request, which cannot carry a key, is answered
/// before keys are checked.
pub(crate) fn router(app: &Arc<App>) -> Result<Router> {
    let mut routes = Router::new();
    for route in ROUTES {
        routes = routes.route(route.path, (route.handler)());
    }
    let routes = routes
        .fallback(|| async { Problem::not_found("unknown path; see /docs") })
        .method_not_allowed_fallback(|| async {
            let message = "this path does not support the method; see /docs";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(from_fn_with_state(Arc::clone(app), admit));
    let routes = match cors(&app.config().cors_origins)? {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    Ok(routes.layer(from_fn_with_state(Arc::clone(app), account)).with_state(Arc::clone(app)))
}

fn panic_response(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Problem::internal("the request failed; see the server's log").into_response()
}

fn cors(origins: &[String]) -> Result<Option<CorsLayer>> {
    if origins.is_empty() {
        return Ok(None);
    }
    let origin = |origin: &String| {
        let invalid = || Error::Origin { origin: origin.clone() };
        // Pages of programs and of a browser's extensions have schemes of their own.
        let has_scheme = origin.split_once("://").is_some_and(|(scheme, host)| {
            let letters = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            letters && !scheme.is_empty() && !host.is_empty()
        });
        let value = HeaderValue::from_str(origin).ok();
        value.filter(|_| has_scheme && !origin.ends_with('/')).ok_or_else(invalid)
    };
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(origin).collect::<Result<Vec<_>>>()?)
    };
    let exposed = [REQUEST_ID, WINDOWS, TRUNCATED, header::RETRY_AFTER];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(exposed.into_iter().chain(REMAINING)));
    Ok(Some(layer))
}

/// A body that is already JSON.
fn json(body: impl Into<Body>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], body.into())
}

/// Maximum number of vector elements that are written on an async thread. More would delay other
/// answers: formatting 2¹⁶ floats was measured to take about 3 ms.
const MAX_INLINE_ELEMENTS: usize = 1 << 16;

/// A response whose body `write` creates from the vectors.
async fn vectors_response(
    app: &App,
    caller: &Caller,
    embedded: EmbedResponse,
    write: impl FnOnce(&EmbedResponse) -> Vec<u8> + Send + 'static,
) -> ApiResult<Response> {
    let headers = embedded.headers();
    let elements: usize = embedded.vectors.iter().map(Vec::len).sum();
    let body = match elements {
        0..=MAX_INLINE_ELEMENTS => write(&embedded),
        _ => {
            let size = elements * size_of::<f32>();
            app.work(&caller.name, size, move |_| write(&embedded)).await?
        }
    };
    Ok((headers, json(body)).into_response())
}
