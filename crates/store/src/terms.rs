//! Metadata as terms, which databases can look up: `lang=de`, `year=1899`.
//!
//! A condition `key=value` can hold only for chunks that have its term. Databases use terms to
//! exclude chunks; whether a condition holds is always decided by [`crate::Filter`] itself. Values
//! that look like equal numbers share a term, whether they are numbers or texts: `1`, `"1"` and
//! `"1.0"`.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Maximum length of a term, in bytes; a longer one is replaced by its hash. Databases limit what
/// they index.
const MAX_LEN: usize = 120;

/// The terms of a chunk: of its own metadata, and of its document's metadata that they do not
/// override.
pub fn of(chunk: &Map<String, Value>, document: &Map<String, Value>) -> Vec<String> {
    let mut terms = BTreeSet::new();
    let inherited = document.iter().filter(|(key, _)| !chunk.contains_key(*key));
    for (key, value) in chunk.iter().chain(inherited) {
        collect(key, value, &mut terms);
    }
    terms.into_iter().collect()
}

fn collect(key: &str, value: &Value, terms: &mut BTreeSet<String>) {
    match value {
        Value::Null => {}
        Value::Array(values) => values.iter().for_each(|value| collect(key, value, terms)),
        Value::String(text) => terms.extend(term(key, text)),
        other => terms.extend(term(key, &other.to_string())),
    }
}

/// The term of `key=value`; `None` if it has none: texts that look like NaN.
pub(crate) fn term(key: &str, value: &str) -> Option<String> {
    let value = match value.parse::<f64>() {
        Ok(number) if number.is_nan() => return None,
        // Adding zero removes the sign of a zero.
        Ok(number) => (number + 0.0).to_string(),
        Err(_) => value.to_owned(),
    };
    let term = format!("{key}={value}").replace('\0', "\u{fffd}");
    if term.len() <= MAX_LEN {
        return Some(term);
    }
    Some(format!("sha256={:x}", Sha256::digest(&term)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn equal_values_have_equal_terms_and_others_do_not() {
        let document =
            object(&json!({"lang": "de", "year": 1899, "tags": ["a", ["b"]], "no": null}));
        let chunk = object(&json!({"lang": "en"}));
        assert_eq!(of(&chunk, &document), ["lang=en", "tags=a", "tags=b", "year=1899"]);
        for (a, b, equal) in
            [("1", "1.0", true), ("0", "-0", true), ("1", "1x", false), ("a", "A", false)]
        {
            assert_eq!(term("k", a) == term("k", b), equal, "{a} {b}");
        }
        assert_eq!(term("k", "NaN"), None);
        let (long, longer) = ("x".repeat(200), "x".repeat(201));
        assert!(term("k", &long).is_some_and(|term| term.len() <= MAX_LEN));
        assert_ne!(term("k", &long), term("k", &longer));
    }
}
