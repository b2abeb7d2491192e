//! The OpenAPI document, generated from the table of routes and the wire types, and its page.

use super::table::{Description, Route};
use super::{Access, ROUTES};
use crate::app::App;
use crate::problem::Problem;
use crate::wire::error::schema_name;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use maud::{PreEscaped, html};
use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

/// The OpenAPI document. It never changes, and needs no key, so it is written once.
pub(crate) async fn openapi() -> Response {
    static DOCUMENT: OnceLock<Result<Bytes, String>> = OnceLock::new();
    match DOCUMENT.get_or_init(document) {
        Ok(document) => super::json(document.clone()).into_response(),
        Err(error) => {
            tracing::error!(error, "cannot write the OpenAPI document");
            Problem::internal("the request failed; see the server's log").into_response()
        }
    }
}

fn document() -> Result<Bytes, String> {
    let mut api = Description::openapi();
    for route in ROUTES.iter().filter(|route| route.is_documented) {
        let Some(item) = api.paths.paths.get_mut(&route.documented_path()) else { continue };
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        let operations = operations.into_iter().flatten();
        operations.for_each(|operation| describe_refusals(route, operation));
    }
    serde_json::to_vec(&api).map(Bytes::from).map_err(|error| error.to_string())
}

/// Refusals of all operations that are not public.
const REFUSALS: &[(u16, &str)] = &[
    (401, "The key is missing or unknown"),
    (403, "The key lacks the scope, or a foreign web page has sent the request"),
    (429, "A limit of the key is reached, or the queue is full"),
    (500, "The server failed"),
    (503, "The server is stopping, or lacks the memory for the model"),
    (504, "Not answered in time"),
];
/// Refusals of all operations that have a body.
const BODY_REFUSALS: &[(u16, &str)] = &[
    (400, "The body is not JSON, or requests something that is unavailable or over a limit"),
    (408, "The body did not arrive in time"),
    (413, "The body is too large"),
    (415, "The body is compressed"),
    (422, "A field has an invalid type or value"),
];

/// Adds the refusals that do not come from handlers, and the dialect's body to every refusal.
fn describe_refusals(route: &Route, operation: &mut Operation) {
    let body = operation.request_body.as_ref().map(|_| BODY_REFUSALS);
    let any = (route.access != Access::Public).then_some(REFUSALS);
    let responses = &mut operation.responses.responses;
    for &(status, why) in body.into_iter().chain(any).flatten() {
        responses
            .entry(status.to_string())
            .or_insert_with(|| ResponseBuilder::new().description(why).into());
    }
    let schema = schema_name(route.dialect);
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

/// The OpenAPI document as a page, which loads nothing from other servers.
pub(crate) async fn page() -> Response {
    let policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; \
                  script-src 'unsafe-inline'";
    let body = html! {
        header {
            h1 { "kokeshi API" }
            label.soft {
                "API key, if needed "
                input id="key" type="password" autocomplete="off";
            }
        }
        main {
            p.soft id="about" {}
            div id="paths" { "Loading " a href="/openapi.json" { "/openapi.json" } "…" }
        }
        script { (PreEscaped(include_str!("docs.js"))) }
    };
    let page = crate::page::page("kokeshi API", include_str!("docs.css"), &body);
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

/// A greeting, for clients that check here whether a server is running.
pub(crate) async fn welcome(State(app): State<Arc<App>>) -> String {
    let mut text = format!("kokeshi {}\n\n", env!("CARGO_PKG_VERSION"));
    for entry in app.registry.entries() {
        let licence = entry.licence.as_ref().map_or("licence unknown", |licence| &licence.id);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ({licence})", entry.name);
    }
    text + "\nAPI: /docs, /openapi.json\n"
}
