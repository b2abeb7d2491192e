//! Handlers, one file a family of paths.

mod embeddings;

use crate::app::App;
use crate::problem::Problem;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use std::sync::Arc;

/// All paths.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/health", get(|| async { "ok" }))
        .fallback(|| async { Problem::not_found("there is nothing at this path; see /docs") })
        .method_not_allowed_fallback(|| async {
            let message = "this path takes another method; see /docs";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
        })
        .with_state(app)
}
