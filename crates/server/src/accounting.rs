//! The middleware around every request: its id, metrics, log line and span, and the body of a
//! refusal.

use crate::app::App;
use crate::problem::Problem;
use crate::request_id::REQUEST_ID;
use crate::routes::{self, Route};
use crate::service::Peer;
use crate::traces::{Span, TraceContext};
use crate::wire::error;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The id of a request, for handlers.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// What is recorded about a request when it is answered.
struct Record {
    id: Arc<str>,
    method: Method,
    path: String,
    /// Its route's path, because a metric must not have a series for each path that clients invent.
    route: &'static str,
    peer: Peer,
    trace: Option<TraceContext>,
    started_at: SystemTime,
    started: Instant,
}

/// Counts a request on the gauge of requests in flight until this is dropped, even if the client
/// disconnects.
struct InFlight(Arc<App>);

impl InFlight {
    fn new(app: &Arc<App>) -> Self {
        app.metrics.in_flight.inc();
        Self(Arc::clone(app))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

/// Passes a request on and accounts for its answer.
pub(crate) async fn account(
    State(app): State<Arc<App>>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let accepted = app.drain.accept();
    let in_flight = InFlight::new(&app);
    let route = path.and_then(|path| Route::at(path.as_str(), request.method()));
    let record = Record::new(&app, &request, route);
    let dialect = routes::dialect(route, &record.path);
    request.extensions_mut().insert(RequestId(Arc::clone(&record.id)));
    let response = next.run(request).await;
    let code = response.extensions().get::<Problem>().map(|problem| problem.code);
    let mut response = error::with_body(response, dialect, &record.id);
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&record.id).map(|id| (REQUEST_ID, id)));
    if app.drain.is_closing() || record.peer.is_over_limit {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    record.finish(&app, &response, code);
    drop((in_flight, accepted));
    response
}

impl Record {
    fn new(app: &App, request: &Request, route: Option<&Route>) -> Self {
        let id = app.request_ids.id(request.headers());
        let traces = app.traces.as_ref();
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            route: route.map_or("other", |route| route.path),
            peer: request.extensions().get().copied().unwrap_or_default(),
            trace: traces.map(|traces| traces.context(request.headers(), &id)),
            started_at: SystemTime::now(),
            started: Instant::now(),
            id,
        }
    }

    /// Counts, logs and traces an answer.
    fn finish(self, app: &App, response: &Response, code: Option<&'static str>) {
        self.count(app, response, code);
        tracing::info!(
            request_id = %self.id,
            method = %self.method,
            path = %self.path,
            status = response.status().as_u16(),
            code,
            peer = %self.peer.address.ip(),
            microseconds = self.started.elapsed().as_micros() as u64,
            "request"
        );
        if let (Some(traces), Some(context)) = (&app.traces, self.trace) {
            traces.record(Span {
                context,
                name: format!("{} {}", self.method, self.route),
                started: self.started_at,
                ended: SystemTime::now(),
                status: response.status().as_u16(),
                attributes: vec![
                    ("http.request.method", self.method.to_string()),
                    ("http.route", self.route.to_owned()),
                    ("kokeshi.request_id", self.id.to_string()),
                    ("error.type", code.unwrap_or_default().to_owned()),
                ],
            });
        }
    }

    fn count(&self, app: &App, response: &Response, code: Option<&str>) {
        let metrics = &app.metrics;
        metrics.requests.with_label_values(&[self.route, response.status().as_str()]).inc();
        let seconds = self.started.elapsed().as_secs_f64();
        metrics.request_seconds.with_label_values(&[self.route]).observe(seconds);
        if let Some(code) = code {
            metrics.errors.with_label_values(&[code]).inc();
        }
    }
}
