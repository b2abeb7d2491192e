//! What every request passes before and after its handler.

use crate::app::App;
use crate::wire::error::{Dialect, written};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use axum::response::Response;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::ServiceExt;

/// Who sends a request, and what is known of it outside its body.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of the key, or the address: whose share of the queue it takes.
    pub(crate) name: Arc<str>,
    /// A task in the path or in `X-Jina-Task`.
    pub(crate) task: Option<Arc<str>>,
    pub(crate) request_id: Arc<str>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TASK: HeaderName = HeaderName::from_static("x-jina-task");

/// The whole service: one for all connections.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    app: Arc<App>,
    routes: Router,
    ids: Arc<RequestIds>,
}

impl Front {
    pub(crate) fn new(app: Arc<App>, routes: Router) -> Self {
        Self { app, routes, ids: Arc::default() }
    }

    /// Answers a request of `peer`.
    pub(crate) async fn answer(&self, mut request: Request<Body>, peer: SocketAddr) -> Response {
        let request_id = self.ids.of(request.headers());
        let in_path = strip_task(request.uri_mut());
        let in_header = || request.headers().get(TASK)?.to_str().ok().map(str::to_owned);
        let task = in_path.or_else(in_header).map(Arc::from);
        let dialect = Dialect::of(request.uri().path());
        let name = Arc::from(peer.ip().to_string());
        request.extensions_mut().insert(Caller { name, task, request_id: request_id.clone() });
        let Ok(response) = self.routes.clone().oneshot(request).await;
        let mut response = written(response, dialect, &request_id);
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
}

/// `/task/{task}/v1/embeddings` → `/v1/embeddings`, for clients that can set a base address and
/// nothing else.
fn strip_task(uri: &mut Uri) -> Option<String> {
    let whole = uri.path_and_query()?.as_str();
    let (task, rest) = whole.strip_prefix("/task/")?.split_once('/')?;
    let task = task.to_owned();
    *uri = format!("/{rest}").parse().ok()?;
    Some(task)
}

/// Ids of requests: the client's own, or one that no other request of this process has.
#[derive(Debug, Default)]
struct RequestIds {
    state: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    fn of(&self, headers: &HeaderMap) -> Arc<str> {
        let sent = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        if let Some(sent) = sent.filter(|id| is_plain(id)) {
            return sent.into();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.state.hash_one(number)).into()
    }
}

/// Whether an id can stand in logs and headers as it is.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}
