//! The server without sockets: a tower service.

use crate::app::App;
use crate::bindings::ServedCollections;
use crate::config::Config;
use crate::error::Result;
use crate::registry::ModelEntry;
use crate::routes;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use kokeshi::Models;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Answers requests of all dialects. Clones share their state.
#[derive(Clone, Debug)]
pub struct ApiService {
    pub(crate) app: Arc<App>,
    routes: Router,
}

/// The other end of a connection. Without a connection, a request counts as coming from this
/// machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether the server had its maximum number of connections when this one was accepted.
    pub(crate) is_over_limit: bool,
}

impl Default for Peer {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { address, is_over_limit: false }
    }
}

/// The task in a request's path.
#[derive(Clone, Debug)]
pub(crate) struct PathTask(pub(crate) String);

impl ApiService {
    /// Checks the configuration; no model is loaded yet. `models` keeps the loaded models within
    /// its memory budget. `collections` are those that names are bound to.
    ///
    /// # Errors
    ///
    /// An invalid configuration, key file or list of models.
    pub fn new(
        config: Config,
        entries: Vec<ModelEntry>,
        collections: Option<ServedCollections>,
        models: Models,
    ) -> Result<Self> {
        let app = Arc::new(App::new(config, entries, collections, models)?);
        let routes = routes::router(&app)?;
        Ok(Self { app, routes })
    }

    /// Loads all models, or only the first, and those of bound names.
    ///
    /// # Errors
    ///
    /// A model that cannot be loaded, a binding that cannot be read, or a default task that no
    /// model has.
    pub fn load(&self, all: bool) -> Result<()> {
        self.app.load(all)
    }
}

impl Service<Request<Body>> for ApiService {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(task) = strip_task(request.uri_mut()) {
            request.extensions_mut().insert(PathTask(task));
        }
        self.routes.call(request)
    }
}

/// Removes `/task/{task}` from the path and returns the task, for clients that can only configure a
/// base URL: `/task/{task}/v1/embeddings` → `/v1/embeddings`.
fn strip_task(uri: &mut Uri) -> Option<String> {
    let whole = uri.path_and_query()?.as_str();
    let (task, rest) = whole.strip_prefix("/task/")?.split_once('/')?;
    let task = task.to_owned();
    *uri = format!("/{rest}").parse().ok()?;
    Some(task)
}
