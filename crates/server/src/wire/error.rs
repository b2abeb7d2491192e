//! The bodies of refusals, in each dialect.

use crate::problem::Problem;
use crate::routes::Dialect;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use utoipa::ToSchema;

/// The name of the schema of a dialect's refusals.
pub(crate) fn schema_name(dialect: Dialect) -> String {
    match dialect {
        Dialect::Jina => ErrorBody::name(),
        Dialect::Tei => TeiError::name(),
        Dialect::Ollama => OllamaError::name(),
        Dialect::Cohere => CohereError::name(),
    }
    .into_owned()
}

/// The errors of Jina and OpenAI in one body. Of the tested clients, some read `detail`, which must
/// be a string, and others read `error.message`.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    error: OpenAiError<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError<'a>>,
}

/// OpenAI's part of [`ErrorBody`].
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// The invalid field of a 422.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldError<'a> {
    field: &'a str,
    message: &'a str,
    r#type: &'static str,
}

/// The error of Text Embeddings Inference.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeiError<'a> {
    error: &'a str,
    error_type: &'static str,
}

/// Ollama's error.
#[derive(Serialize, ToSchema)]
pub(crate) struct OllamaError<'a> {
    error: &'a str,
}

/// Cohere's error.
#[derive(Serialize, ToSchema)]
pub(crate) struct CohereError<'a> {
    message: &'a str,
    /// The request's id.
    id: &'a str,
}

/// Adds the body to a refusal, which keeps its status and headers. Other responses are unchanged.
pub(crate) fn with_body(response: Response, dialect: Dialect, request_id: &str) -> Response {
    let Some(problem) = response.extensions().get::<Problem>().cloned() else { return response };
    let body = body(&problem, dialect, request_id);
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut refusal = (json, body).into_response();
    *refusal.status_mut() = response.status();
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            refusal.headers_mut().insert(name, value.clone());
        }
    }
    refusal
}

fn body(problem: &Problem, dialect: Dialect, request_id: &str) -> String {
    let message = problem.message.as_str();
    let value = match dialect {
        Dialect::Jina => json!(ErrorBody {
            detail: message,
            code: problem.code,
            request_id,
            error: OpenAiError {
                message,
                r#type: openai_type(problem.status),
                param: problem.field.as_deref(),
                code: problem.code,
            },
            errors: field_errors(problem),
        }),
        Dialect::Tei => {
            json!(TeiError { error: &located(problem), error_type: tei_type(problem.status) })
        }
        Dialect::Ollama => json!(OllamaError { error: &located(problem) }),
        Dialect::Cohere => json!(CohereError { message: &located(problem), id: request_id }),
    };
    Value::to_string(&value)
}

/// The message of a dialect that has no place of its own for the invalid field.
fn located(problem: &Problem) -> Cow<'_, str> {
    let message = problem.message.as_str();
    match &problem.field {
        Some(field) if !message.contains(field.as_str()) => format!("{field}: {message}").into(),
        _ => message.into(),
    }
}

fn field_errors(problem: &Problem) -> Vec<FieldError<'_>> {
    let message = problem.message.as_str();
    let error = |field| FieldError { field, message, r#type: "value_error" };
    problem.field.as_deref().map(error).into_iter().collect()
}

fn openai_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

fn tei_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "Overloaded",
        StatusCode::SERVICE_UNAVAILABLE => "Unhealthy",
        status if status.is_server_error() => "Backend",
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "Tokenizer",
        _ => "Validation",
    }
}
