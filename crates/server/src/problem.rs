//! Refusals of requests, without their bodies, which depend on the dialect.

use crate::classifiers::unusable;
use crate::running_model::queue_full;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// A refusal: a status, the code of the hosted service, and a message that includes what to do.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The invalid field of the body, such as `input[3]`.
    pub(crate) field: Option<String>,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
}

/// The result of answering a request.
pub(crate) type ApiResult<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, retry_after: None }
    }

    /// 400: the request can never succeed.
    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 422: `field` has a wrong type or value.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INPUT_VALIDATION", message);
        Self { field: Some(field.into()), ..problem }
    }

    /// 404: the resource in the path does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND", message)
    }

    /// 500: a failure of the server, which the client cannot avoid.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }

    /// 503: try again later.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", message);
        problem.retry_after(Duration::from_secs(1))
    }

    /// 429, with the code of the limit that was reached.
    pub(crate) fn limited(
        code: &'static str,
        message: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, message).retry_after(retry_after)
    }

    /// 504: accepted but not answered in time.
    pub(crate) fn timeout(limit: Duration) -> Self {
        let seconds = limit.as_secs_f64();
        let message = format!("the request was not answered within {seconds} seconds");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "SERVICE_TIMEOUT", message)
    }

    fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

/// The status, `Retry-After`, and the problem itself as an extension: `wire::error` writes the
/// body, which depends on the dialect and contains the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A path whose escapes are not UTF-8.
impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        let message = format!("cannot read the path: {rejection}");
        Self::bad_request("INPUT_INVALID", message)
    }
}

impl From<kokeshi_analysis::Error> for Problem {
    fn from(error: kokeshi_analysis::Error) -> Self {
        match error {
            kokeshi_analysis::Error::Stopped => kokeshi::Error::Stopped.into(),
            error => unusable(&error),
        }
    }
}

/// Statuses are those of the hosted service where they are known; see `docs/serve.md`.
impl From<kokeshi::Error> for Problem {
    fn from(error: kokeshi::Error) -> Self {
        use kokeshi::Error as E;
        let message = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        match error {
            E::UnknownTask { .. } => Self::invalid("task", message),
            E::Dimensions { .. } | E::FixedWidth { .. } => Self::invalid("dimensions", message),
            E::TooLong { .. } | E::TooLarge { .. } => Self::bad_request("INPUT_TOO_LONG", message),
            E::Options(_) => Self::bad_request("INPUT_INVALID", message),
            E::Budget { .. } => Self::unavailable(message),
            E::QueueFull { waiting_tokens, limit, retry_after } => {
                queue_full(waiting_tokens, limit, retry_after)
            }
            E::QueueClosed => Self::unavailable("the server is stopping"),
            _ => Self::internal(message),
        }
    }
}
