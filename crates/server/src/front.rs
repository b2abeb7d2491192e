//! What every request passes before and after its handler: id, task of the path, key, limits, log
//! and metrics.

use crate::app::App;
use crate::auth::Key;
use crate::limits::{Permit, Usage};
use crate::problem::{Outcome, Problem};
use crate::traces::Span;
use crate::wire::error::{Dialect, written};
use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tower::ServiceExt;

/// Who sends a request, and what is known of it outside its body.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of the key, or the address: whose share of the queue it takes.
    pub(crate) name: Arc<str>,
    /// A task in the path or in `X-Jina-Task`.
    pub(crate) task: Option<Arc<str>>,
    pub(crate) request_id: Arc<str>,
    /// What the key has used.
    pub(crate) usage: Option<Arc<Usage>>,
}

impl Caller {
    /// Counts tokens against the key's limit, before they run.
    pub(crate) fn charge(&self, tokens: usize) -> Outcome<()> {
        self.usage.as_ref().map_or(Ok(()), |usage| usage.charge(tokens))
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TASK: HeaderName = HeaderName::from_static("x-jina-task");
const REMAINING: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
];

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether as many connections were open before it as may be.
    pub(crate) is_refused: bool,
}

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
    pub(crate) async fn answer(&self, mut request: Request<Body>, peer: Peer) -> Response {
        let accepted = self.app.drain.accept();
        self.app.metrics.in_flight.inc();
        let in_flight = scopeguard(&self.app);
        let (started, method) = (Instant::now(), request.method().clone());
        let request_id = self.ids.of(request.headers());
        let traces = self.app.traces.as_ref();
        let trace = traces.map(|traces| traces.context(request.headers(), &request_id));
        let began = SystemTime::now();
        let in_path = strip_task(request.uri_mut());
        let path = request.uri().path().to_owned();
        let response = match self.admit(&request, peer, in_path, &request_id) {
            Ok((caller, permit)) => {
                let usage = caller.usage.clone();
                request.extensions_mut().insert(caller);
                let Ok(mut response) = self.routes.clone().oneshot(request).await;
                drop(permit);
                note_usage(&mut response, usage.as_deref());
                response
            }
            Err(problem) => {
                let mut response = problem.into_response();
                let key = self.app.keys.check(request.headers()).ok().flatten();
                note_usage(&mut response, key.map(|key| &*key.usage));
                response
            }
        };
        let code = response.extensions().get::<Problem>().map(|problem| problem.code);
        let route = response.extensions().get::<MatchedPath>().cloned();
        let mut response = written(response, Dialect::of(&path), &request_id);
        response
            .headers_mut()
            .extend(HeaderValue::from_str(&request_id).map(|id| (REQUEST_ID, id)));
        if self.app.drain.is_closing() || peer.is_refused {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let route = route.as_ref().map_or("other", MatchedPath::as_str);
        self.count(route, &response, code, started);
        tracing::info!(
            request_id = %request_id,
            method = %method,
            path = %path,
            status = response.status().as_u16(),
            code,
            peer = %peer.address.ip(),
            microseconds = started.elapsed().as_micros() as u64,
            "request"
        );
        if let (Some(traces), Some(context)) = (traces, trace) {
            traces.record(Span {
                context,
                name: format!("{method} {route}"),
                started: began,
                ended: SystemTime::now(),
                status: response.status().as_u16(),
                attributes: vec![
                    ("http.request.method", method.to_string()),
                    ("http.route", route.to_owned()),
                    ("kokeshi.request_id", request_id.to_string()),
                    ("error.type", code.unwrap_or_default().to_owned()),
                ],
            });
        }
        drop((in_flight, accepted));
        response
    }

    /// Who asks, or why they may not.
    fn admit(
        &self,
        request: &Request<Body>,
        peer: Peer,
        task: Option<String>,
        request_id: &Arc<str>,
    ) -> Outcome<(Caller, Option<Permit>)> {
        let headers = request.headers();
        let in_header = || headers.get(TASK)?.to_str().ok().map(str::to_owned);
        let task = task.or_else(in_header).map(Arc::from);
        let path = request.uri().path();
        let request_id = Arc::clone(request_id);
        let public = is_public(path) || (path == "/metrics" && self.app.config.public_metrics);
        if public {
            let caller = Caller { name: "public".into(), task, request_id, usage: None };
            return Ok((caller, None));
        }
        if self.app.drain.is_closing() && path != "/metrics" {
            return Err(Problem::unavailable("the server is stopping; ask another one"));
        }
        if peer.is_refused {
            return Err(self.too_many_connections());
        }
        let key = self.app.keys.check(headers)?;
        let name =
            key.map_or_else(|| peer.address.ip().to_string().into(), |key| Arc::clone(&key.name));
        let usage = key.map(|key: &Key| Arc::clone(&key.usage));
        let permit = usage.as_ref().map(Usage::admit).transpose()?;
        Ok((Caller { name, task, request_id, usage }, permit))
    }

    fn too_many_connections(&self) -> Problem {
        let limit = self.app.config.limits.connections;
        let message = format!("the server has {limit} open connections, which is its limit");
        Problem::limited("RATE_CONCURRENCY_LIMIT_EXCEEDED", message, Duration::from_secs(1))
    }

    fn count(&self, route: &str, response: &Response, code: Option<&str>, started: Instant) {
        let metrics = &self.app.metrics;
        metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
        let seconds = started.elapsed().as_secs_f64();
        metrics.request_seconds.with_label_values(&[route]).observe(seconds);
        if let Some(code) = code {
            metrics.errors.with_label_values(&[code]).inc();
        }
    }
}

/// Takes a request off the gauge when dropped, also if its client goes away first.
fn scopeguard(app: &Arc<App>) -> impl Drop + use<> {
    struct Leave(Arc<App>);
    impl Drop for Leave {
        fn drop(&mut self) {
            self.0.metrics.in_flight.dec();
        }
    }
    Leave(Arc::clone(app))
}

/// Paths that need no key: probes, and the description of the API.
pub(crate) fn is_public(path: &str) -> bool {
    matches!(
        path,
        "/" | "/health" | "/live" | "/ready" | "/docs" | "/openapi.json" | "/api/version"
    )
}

fn note_usage(response: &mut Response, usage: Option<&Usage>) {
    let left = usage.map(Usage::left).into_iter().flatten();
    for (name, left) in REMAINING.into_iter().zip(left) {
        if let Some(left) = left {
            response.headers_mut().insert(name, HeaderValue::from(left));
        }
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
