//! The bodies of requests and responses, one file per dialect: types and their JSON, no behaviour.

pub(crate) mod classify;
pub(crate) mod cohere;
pub(crate) mod collections;
pub(crate) mod embeddings;
pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod models;
pub(crate) mod ollama;
pub(crate) mod search;
pub(crate) mod segment;
pub(crate) mod tei;
pub(crate) mod vectors;

use crate::problem::{ApiResult, Problem};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::fmt::Display;
use std::str::Utf8Error;

/// Parses a JSON object. A wrong type is a 422 that names the field; invalid JSON is a 400.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> ApiResult<T> {
    // JSON is UTF-8, which `serde_json` does not check in strings that it skips.
    let body = std::str::from_utf8(body).map_err(|error| not_utf8::<T>(body, &error))?;
    // Some clients write a byte order mark, which RFC 8259 allows a reader to ignore.
    let body = body.strip_prefix('\u{feff}').unwrap_or(body);
    // Derived deserializers accept a list of an object's fields, which no client intends.
    let is_object = body.trim_ascii_start().starts_with('{');
    if !is_object {
        check_syntax(body)?;
        return Err(Problem::invalid(BODY, "expected an object"));
    }
    let mut json = serde_json::Deserializer::from_str(body);
    let value = serde_path_to_error::deserialize(&mut json).or_else(|error| {
        check_syntax(body)?;
        let field = field(error.path());
        let message = without_position(&error.into_inner());
        Err(match SURROGATES.contains(&message.as_str()) {
            true => half_of_a_pair(field),
            false => Problem::invalid(field, message),
        })
    })?;
    json.end().map_err(|error| invalid_json(&error))?;
    Ok(value)
}

/// The JSON of an answer that may be large, for writing it outside the async threads.
pub(crate) fn write_json(answer: &impl Serialize) -> ApiResult<Vec<u8>> {
    serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "cannot write an answer");
        Problem::internal("the request failed; see the server's log")
    })
}

/// Refuses invalid JSON, because a wrong type may be found before the first syntax error.
fn check_syntax(body: &str) -> ApiResult<()> {
    serde_json::from_str::<IgnoredAny>(body).map(drop).map_err(|error| invalid_json(&error))
}

/// What `serde_json` says of an escape such as `\ud83d` without its other half. Where the syntax is
/// valid, it says neither of anything else.
const SURROGATES: [&str; 2] =
    ["lone leading surrogate in hex escape", "unexpected end of hex escape"];

/// 422: the text `field` has a character of which only half arrived.
fn half_of_a_pair(field: String) -> Problem {
    let message = format!(
        "{field} has half of a surrogate pair, which is not a character; send the whole pair, or \
         the character itself in UTF-8"
    );
    Problem::invalid(field, message)
}

/// The refusal of a body that is not UTF-8. It names the field in which the text up to the error
/// ends.
fn not_utf8<T: DeserializeOwned>(body: &[u8], error: &Utf8Error) -> Problem {
    let (valid, rest) = body.split_at(error.valid_up_to());
    let valid = std::str::from_utf8(valid).unwrap_or_default().trim_start_matches('\u{feff}');
    let mut json = serde_json::Deserializer::from_str(valid);
    let cut: Result<T, _> = serde_path_to_error::deserialize(&mut json);
    let field = cut.err().filter(|error| error.inner().is_eof()).map(|error| field(error.path()));
    let Some(field) = field.filter(|field| field != BODY) else { return invalid_json(error) };
    // UTF-8 has no form for the surrogates, U+D800 to U+DFFF; some programs write these bytes.
    if matches!(rest, [0xed, 0xa0..=0xbf, ..]) {
        return half_of_a_pair(field);
    }
    let problem = invalid_json(&format_args!("{field} is not UTF-8: {error}"));
    Problem { field: Some(field), ..problem }
}

/// The field of an error that is not in a field.
const BODY: &str = "body";

fn field(path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    if path == "." { BODY.to_owned() } else { path }
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
