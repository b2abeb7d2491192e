//! Probes for orchestrators, and metrics for Prometheus.

use crate::app::App;
use crate::problem::{ApiResult, Problem};
use crate::running_model::RunningModel;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kokeshi::Input;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The process answers
#[utoipa::path(get, path = "/live", tag = "Operation", responses((status = 200, body = String)))]
pub(crate) async fn live() -> &'static str {
    "ok"
}

/// Every loaded model embeds a text through its queue
///
/// A model with a full queue is ready as long as the queue is moving. Requests within half a second
/// get the same answer. The answer is `ready`, then a
/// line for each loaded model with its device, and one for each name that is bound to a collection.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "Operation",
    responses((status = 200, body = String), (status = 503, description = "Stopping, or stuck"))
)]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> ApiResult<String> {
    if app.drain.is_closing() {
        return Err(Problem::unavailable("the server is stopping"));
    }
    app.readiness.of(&app).await
}

/// How long an answer of `/ready` is given to others as well: they need no key, and a forward pass
/// each would cost whatever they ask for.
const SHARED_FOR: Duration = Duration::from_millis(500);

/// The last answer of `/ready`, and when it was found.
#[derive(Debug, Default)]
pub(crate) struct Readiness(tokio::sync::Mutex<Option<(Instant, ApiResult<String>)>>);

impl Readiness {
    /// The last answer if it is recent, or a new one. Requests that come meanwhile wait for it.
    async fn of(&self, app: &App) -> ApiResult<String> {
        let mut last = self.0.lock().await;
        match &*last {
            Some((time, answer)) if time.elapsed() < SHARED_FOR => answer.clone(),
            _ => {
                let answer = check(app).await;
                *last = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }
}

/// Runs a forward pass of every loaded model.
async fn check(app: &App) -> ApiResult<String> {
    let limit = app.config().timeouts.ready;
    let mut answer = "ready\n".to_owned();
    for running in app.registry.running_models() {
        let name = running.name.clone();
        answer += &format!("{name} on {}\n", running.model.device());
        match probe(running, limit).await {
            Ok(()) => {}
            Err(problem) if problem.status == StatusCode::TOO_MANY_REQUESTS => {}
            Err(problem) => {
                tracing::error!(model = name, problem = problem.message, "not ready");
                let message = format!("the model `{name}` does not answer: {}", problem.message);
                return Err(Problem::unavailable(message));
            }
        }
    }
    for binding in app.registry.bindings().current() {
        let (name, model) = (&binding.name, &binding.model.name);
        answer += &format!("{name}: collection {}, {model}\n", binding.collection);
    }
    if let Some(failure) = app.registry.bindings().failure() {
        answer += &format!("collections are not followed: {failure}\n");
    }
    Ok(answer)
}

async fn probe(running: Arc<RunningModel>, limit: Duration) -> ApiResult<()> {
    if let Some(stalled) = running.stats().stalled.filter(|stalled| *stalled > limit) {
        let seconds = stalled.as_secs_f64();
        return Err(Problem::unavailable(format!(
            "a worker has been stuck for {seconds:.0} seconds"
        )));
    }
    // Tokenizing so short a text is cheaper than moving it to another thread.
    let request = running.model.prepare_while(&[Input::new("ready")], &mut || true)?;
    running.embed(request, "probe", limit).await.map(|_| ())
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "Operation", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&app.registry.running_models());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
