//! The table of routes. The router, the check of keys, the labels of metrics, the dialect of
//! refusals and the OpenAPI document are derived from it.

use super::{
    classify, cohere, collections, docs, documents, embeddings, models, ollama, probes, search,
    segment, tei, train,
};
use crate::app::App;
use crate::auth::Scope;
use crate::wire::error::{CohereError, ErrorBody, OllamaError, TeiError};
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use std::sync::Arc;
use utoipa::OpenApi;

/// Whose API a request follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Jina and OpenAI, which share paths.
    Jina,
    /// Text Embeddings Inference.
    Tei,
    /// Ollama.
    Ollama,
    /// Cohere.
    Cohere,
}

/// Who may use a route of a server that has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone, even while the server is stopping.
    Public,
    /// Holders of a key, whatever its scopes.
    Key,
    /// Holders of a key with the scope `embed`.
    Embed,
    /// Holders of a key with the scope `search`.
    Search,
    /// Holders of a key with the scope `write`.
    Write,
    /// Holders of a key, or everyone if the server is configured so; even while it is stopping.
    Metrics,
}

impl Access {
    /// Whether a request needs no key.
    pub(crate) fn is_public(self, public_metrics: bool) -> bool {
        match self {
            Self::Public => true,
            Self::Key | Self::Embed | Self::Search | Self::Write => false,
            Self::Metrics => public_metrics,
        }
    }

    /// The scope that a key needs.
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Self::Public | Self::Key | Self::Metrics => None,
            Self::Embed => Some(Scope::Embed),
            Self::Search => Some(Scope::Search),
            Self::Write => Some(Scope::Write),
        }
    }
}

/// A method and path of the server.
#[derive(Debug)]
pub struct Route {
    /// The method; GET includes HEAD.
    pub method: Method,
    /// The path, with parameters in braces: `/v1/models/{*id}`.
    pub path: &'static str,
    /// The dialect of its refusals.
    pub dialect: Dialect,
    /// Who may use it.
    pub access: Access,
    /// Whether it is in the OpenAPI document.
    pub is_documented: bool,
    pub(super) handler: fn() -> MethodRouter<Arc<App>>,
}

impl Route {
    /// The route of a matched path. A method that the path does not support gets the properties of
    /// the path's first route.
    pub(crate) fn at(path: &str, method: &Method) -> Option<&'static Self> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let at_path = || ROUTES.iter().filter(|route| route.path == path);
        at_path().find(|route| route.method == *method).or_else(|| at_path().next())
    }

    /// Its path in the OpenAPI document, which does not mark parameters that contain slashes.
    pub fn documented_path(&self) -> String {
        self.path.replace("{*", "{")
    }
}

/// Refusals of unknown paths with this prefix follow this dialect; all others follow Jina's.
const PREFIX: (&str, Dialect) = ("/api/", Dialect::Ollama);

/// The dialect of a request to `path`, which has `route` unless it is unknown.
pub(crate) fn dialect(route: Option<&Route>, path: &str) -> Dialect {
    match route {
        Some(route) => route.dialect,
        None if path.starts_with(PREFIX.0) => PREFIX.1,
        None => Dialect::Jina,
    }
}

/// Defines `ROUTES`, and `Description` with the OpenAPI document of the documented routes.
macro_rules! routes {
    (
        documented { $($method:ident $path:literal $dialect:ident $access:ident $handler:path;)+ }
        undocumented {
            $($hidden_method:ident $hidden_path:literal $hidden_dialect:ident
                $hidden_access:ident $hidden_handler:path;)+
        }
    ) => {
        /// All routes.
        pub static ROUTES: &[Route] = &[
            $(route!($method $path $dialect $access $handler, true),)+
            $(route!($hidden_method $hidden_path $hidden_dialect $hidden_access
                $hidden_handler, false),)+
        ];

        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "kokeshi",
                description = "jina-embeddings on your own machine, in the dialects of Jina, \
                               OpenAI, Text Embeddings Inference, Ollama and Cohere. Every path \
                               can be prefixed with `/task/{task}`, for clients that cannot send \
                               a task."
            ),
            paths($($handler),+),
            components(schemas(ErrorBody, TeiError, OllamaError, CohereError))
        )]
        pub(super) struct Description;
    };
}

macro_rules! route {
    ($method:ident $path:literal $dialect:ident $access:ident $handler:path, $documented:literal) => {
        Route {
            method: Method::$method,
            path: $path,
            dialect: Dialect::$dialect,
            access: Access::$access,
            is_documented: $documented,
            handler: || on(MethodFilter::$method, $handler),
        }
    };
}

routes! {
    documented {
        POST   "/v1/embeddings"       Jina   Embed   embeddings::embeddings;
        GET    "/v1/models"           Jina   Key     models::list;
        GET    "/v1/models/{*id}"     Jina   Key     models::one;
        POST   "/v1/classify"         Jina   Embed   classify::classify;
        POST   "/v1/train"            Jina   Embed   train::train;
        GET    "/v1/classifiers"      Jina   Key     train::list;
        DELETE "/v1/classifiers/{id}" Jina   Embed   train::remove;
        POST   "/v1/segment"          Jina   Embed   segment::segment;
        POST   "/v1/similarity"       Jina   Embed   segment::similarity;
        POST   "/v1/search"           Jina   Search  search::search;
        GET    "/v1/collections"      Jina   Search  collections::list;
        POST   "/v1/collections/{name}/documents" Jina Write documents::add;
        DELETE "/v1/collections/{name}/documents" Jina Write documents::remove;
        POST   "/embed"               Tei    Embed   tei::embed;
        POST   "/embed_all"           Tei    Embed   tei::embed_all;
        GET    "/info"                Tei    Key     tei::info;
        POST   "/api/embed"           Ollama Embed   ollama::embed;
        POST   "/api/embeddings"      Ollama Embed   ollama::embeddings;
        GET    "/api/tags"            Ollama Key     ollama::tags;
        GET    "/api/ps"              Ollama Key     ollama::ps;
        GET    "/api/version"         Ollama Public  ollama::version;
        POST   "/api/show"            Ollama Key     ollama::show;
        POST   "/v2/embed"            Cohere Embed   cohere::embed_v2;
        POST   "/v1/embed"            Cohere Embed   cohere::embed_v1;
        GET    "/live"                Jina   Public  probes::live;
        GET    "/ready"               Jina   Public  probes::ready;
        GET    "/metrics"             Jina   Metrics probes::metrics;
    }
    undocumented {
        GET    "/health"              Jina   Public  probes::live;
        GET    "/openapi.json"        Jina   Public  docs::openapi;
        GET    "/docs"                Jina   Public  docs::page;
        GET    "/"                    Jina   Public  docs::welcome;
        POST   "/"                    Tei    Embed   tei::embed;
        POST   "/invocations"         Tei    Embed   tei::embed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_route_is_in_the_openapi_document() {
        let api = serde_json::to_value(Description::openapi()).expect("JSON");
        for route in ROUTES.iter().filter(|route| route.is_documented) {
            let (path, method) = (route.documented_path(), route.method.as_str().to_lowercase());
            assert!(api["paths"][&path][&method].is_object(), "{method} {path}");
        }
        let operations = api["paths"].as_object().expect("paths").values();
        let operations: usize =
            operations.map(|item| item.as_object().map_or(0, serde_json::Map::len)).sum();
        assert_eq!(operations, ROUTES.iter().filter(|route| route.is_documented).count());
    }

    #[test]
    fn a_route_is_found_by_path_and_method_and_a_prefix_has_one_dialect() {
        for route in ROUTES {
            let found = Route::at(route.path, &route.method).expect("a route");
            assert!(std::ptr::eq(found, route), "{} {}", route.method, route.path);
            assert_eq!(route.path.starts_with(PREFIX.0), route.dialect == PREFIX.1);
        }
        let head = Route::at("/", &Method::HEAD).expect("a route");
        assert_eq!((&head.method, head.access), (&Method::GET, Access::Public));
        assert!(Route::at("/v1/embeddings", &Method::PUT).is_some());
    }
}
