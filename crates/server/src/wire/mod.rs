//! Bodies of requests and responses, one file a dialect: types and their spelling, no behaviour.

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

use crate::problem::{Outcome, Problem};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Reads a JSON body. A wrong type is a 422 that names the field; what is no JSON is a 400.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            Category::Data if path == "." => Problem::invalid("body", described(&error)),
            Category::Data => Problem::invalid(path, described(&error)),
            _ => no_json(&error),
        }
    })?;
    json.end().map_err(|error| no_json(&error))?;
    Ok(value)
}

fn no_json(error: &serde_json::Error) -> Problem {
    Problem::bad_request("INPUT_INVALID_JSON", format!("the body is not valid JSON: {error}"))
}

/// The message without serde's place, which names lines of a body that nobody wrote by hand.
fn described(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}
