//! The bodies of requests and responses, one file per dialect: types and their JSON, no behaviour.

pub(crate) mod classify;
pub(crate) mod cohere;
pub(crate) mod embeddings;
pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod models;
pub(crate) mod ollama;
pub(crate) mod segment;
pub(crate) mod tei;
pub(crate) mod vectors;

use crate::problem::{ApiResult, Problem};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::fmt::Display;

/// Parses a JSON object. A wrong type is a 422 that names the field; invalid JSON is a 400.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> ApiResult<T> {
    // JSON is UTF-8, which `serde_json` does not check in strings that it skips.
    let body = std::str::from_utf8(body).map_err(|error| invalid_json(&error))?;
    // Derived deserializers accept a list of an object's fields, which no client intends.
    let is_object = body.trim_ascii_start().starts_with('{');
    if !is_object {
        check_syntax(body)?;
        return Err(Problem::invalid("body", "expected an object"));
    }
    let mut json = serde_json::Deserializer::from_str(body);
    let value = serde_path_to_error::deserialize(&mut json).or_else(|error| {
        check_syntax(body)?;
        let path = error.path().to_string();
        let field = if path == "." { "body".to_owned() } else { path };
        Err(Problem::invalid(field, without_position(&error.into_inner())))
    })?;
    json.end().map_err(|error| invalid_json(&error))?;
    Ok(value)
}

/// Refuses invalid JSON, because a wrong type may be found before the first syntax error.
fn check_syntax(body: &str) -> ApiResult<()> {
    serde_json::from_str::<IgnoredAny>(body).map(drop).map_err(|error| invalid_json(&error))
}

fn invalid_json(error: &impl Display) -> Problem {
    Problem::bad_request("INPUT_INVALID_JSON", format!("the body is not valid JSON: {error}"))
}

/// The message without line and column, which mean nothing in a generated body.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}
