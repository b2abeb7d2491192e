//! The middleware that admits a request: by its route, the server's state, its key, and the limits
//! of the key.

use crate::accounting::RequestId;
use crate::app::App;
use crate::buffers::Held;
use crate::connections::Slot;
use crate::limits::{KeyUsage, Permit};
use crate::problem::{ApiResult, Problem};
use crate::routes::{Access, Route};
use crate::service::{PathTask, Peer};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The sender of a request, and the parts of the request outside its body.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of the key, or the address. The queue is shared fairly among names.
    pub(crate) name: Arc<str>,
    /// Identifies the key as the owner of classifiers; `None` without keys.
    pub(crate) owner: Option<Arc<str>>,
    /// The task in the path or in `X-Jina-Task`.
    pub(crate) task: Option<Arc<str>>,
    pub(crate) request_id: Arc<str>,
    /// The usage of the key.
    pub(crate) usage: Option<Arc<KeyUsage>>,
}

/// The bytes of a request's body, which count until it is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bodies(Arc<Mutex<Option<Held>>>);

impl Bodies {
    pub(crate) fn keep(&self, held: Held) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }
}

/// Tokens that were charged before their number was known.
#[derive(Debug)]
#[must_use = "the difference to the true number is charged by `settle`"]
pub(crate) struct Deposit(usize);

impl Caller {
    /// Counts tokens against the key's limit, before they run.
    pub(crate) fn charge(&self, tokens: usize) -> ApiResult<()> {
        self.usage.as_ref().map_or(Ok(()), |usage| usage.charge(tokens))
    }

    /// Counts tokens that a request has at least, before the work that finds out how many it has: a
    /// key without tokens must not keep the server busy. If the request is refused later, they are
    /// spent.
    pub(crate) fn deposit(&self, tokens: usize) -> ApiResult<Deposit> {
        self.charge(tokens).map(|()| Deposit(tokens))
    }

    /// Counts the rest of `tokens` before they run, or returns what was too much.
    pub(crate) fn settle(&self, Deposit(deposit): Deposit, tokens: usize) -> ApiResult<()> {
        match tokens.checked_sub(deposit) {
            Some(0) => Ok(()),
            Some(rest) => self.charge(rest),
            None => {
                self.correct(tokens as f64 - deposit as f64);
                Ok(())
            }
        }
    }

    /// Counts the rest of `tokens` of work that is done: the key may then be in debt.
    pub(crate) fn settle_done(&self, Deposit(deposit): Deposit, tokens: usize) {
        self.correct(tokens as f64 - deposit as f64);
    }

    fn correct(&self, tokens: f64) {
        if let Some(usage) = &self.usage {
            usage.correct(tokens);
        }
    }
}

const TASK: HeaderName = HeaderName::from_static("x-jina-task");
/// Remaining requests and tokens of a key.
pub(crate) const REMAINING: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
];

/// Passes an admitted request on, together with its [`Caller`].
pub(crate) async fn admit(
    State(app): State<Arc<App>>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = path.and_then(|path| Route::at(path.as_str(), request.method()));
    match app.admit(&request, route) {
        Ok((caller, permit)) => {
            let (usage, client) = (caller.usage.clone(), Arc::clone(&caller.name));
            let bodies = Bodies::default();
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(bodies.clone());
            let response = next.run(request).await;
            drop((permit, bodies));
            let mut response = app.buffers.count_answer(&client, response);
            add_remaining(&mut response, usage.as_deref());
            response
        }
        Err(problem) => {
            let mut response = problem.into_response();
            let keys = app.keys();
            let key = keys.check(request.headers()).ok().flatten();
            add_remaining(&mut response, key.map(|key| &*key.usage));
            response
        }
    }
}

impl App {
    /// The caller, or why the request is refused. Unknown paths need a key as well.
    fn admit(
        &self,
        request: &Request,
        route: Option<&Route>,
    ) -> ApiResult<(Caller, Option<Permit>)> {
        let (headers, extensions) = (request.headers(), request.extensions());
        let in_path = extensions.get::<PathTask>().map(|PathTask(task)| task.as_str());
        let in_header = || headers.get(TASK)?.to_str().ok();
        let task = in_path.or_else(in_header).map(Arc::from);
        let request_id = match extensions.get() {
            Some(RequestId(id)) => Arc::clone(id),
            None => self.request_ids.id(headers),
        };
        let keys = self.keys();
        if let Some(guard) = self.guard.as_ref().filter(|_| keys.is_empty()) {
            guard.check(request)?;
        }
        let access = route.map_or(Access::Key, |route| route.access);
        if access.is_public(self.config().public_metrics) {
            let caller =
                Caller { name: "public".into(), owner: None, task, request_id, usage: None };
            return Ok((caller, None));
        }
        if self.drain.is_closing() && access != Access::Metrics {
            return Err(Problem::unavailable("the server is stopping; use another one"));
        }
        let peer: Peer = extensions.get().copied().unwrap_or_default();
        if peer.is_over_limit {
            return Err(self.too_many_connections());
        }
        let key = keys.check(headers)?;
        key.map_or(Ok(()), |key| key.check_scope(access.scope()))?;
        let name =
            key.map_or_else(|| peer.address.ip().to_string().into(), |key| Arc::clone(&key.name));
        let owner = key.map(|key| Arc::clone(&key.owner));
        let usage = key.map(|key| Arc::clone(&key.usage));
        if let Some(slot) = extensions.get::<Arc<Slot>>().filter(|_| key.is_some()) {
            slot.keep();
        }
        self.buffers.check_room(&name)?;
        let permit = usage.as_ref().map(KeyUsage::admit).transpose()?;
        // Before the body is read.
        if let Some(usage) = usage.as_ref().filter(|_| request.method() == Method::POST) {
            usage.check_tokens()?;
        }
        Ok((Caller { name, owner, task, request_id, usage }, permit))
    }

    fn too_many_connections(&self) -> Problem {
        let limit = self.config().limits.connections;
        let message = format!("the server has {limit} open connections, which is its limit");
        Problem::limited("RATE_CONCURRENCY_LIMIT_EXCEEDED", message, Duration::from_secs(1))
    }
}

/// Adds headers with the remaining requests and tokens of a key.
fn add_remaining(response: &mut Response, usage: Option<&KeyUsage>) {
    let remaining = usage.map(KeyUsage::remaining).into_iter().flatten();
    for (name, remaining) in REMAINING.into_iter().zip(remaining) {
        if let Some(remaining) = remaining {
            response.headers_mut().insert(name, HeaderValue::from(remaining));
        }
    }
}
