//! Values of a JSON configuration, each checked as it is read.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// A JSON object with the name of its file, for messages.
pub(super) struct Fields<'a> {
    pub(super) path: &'a Path,
    pub(super) map: Map<String, Value>,
}

/// Parses a JSON object.
pub(crate) fn object(path: &Path, json: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(json)
        .map_err(|e| Error::Json { path: path.to_owned(), reason: e.to_string() })
}

impl<'a> Fields<'a> {
    /// The fields of an object inside another, the value of `key`.
    pub(super) fn of(path: &'a Path, value: &Value, key: &'static str) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { path, map: map.clone() }),
            other => Err(Error::config(path, key, Some(other), "an object")),
        }
    }

    /// The object that is the value of a key, if there is one.
    pub(super) fn object(&self, key: &'static str) -> Result<Option<Self>> {
        self.get(key).map(|value| Self::of(self.path, value, key)).transpose()
    }

    /// The value of a key; JSON null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    pub(super) fn unsupported(&self, key: &'static str, expected: &str) -> Error {
        Error::config(self.path, key, self.get(key), expected)
    }

    /// A dimension: an integer from 1 to a bound that keeps products of two from overflowing.
    pub(super) fn size(&self, key: &'static str) -> Result<usize> {
        const LARGEST: u64 = 1 << 24;
        let size = self.get(key).and_then(Value::as_u64).filter(|n| (1..=LARGEST).contains(n));
        let size = size.and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| self.unsupported(key, "an integer from 1 to 16777216"))
    }

    pub(super) fn size_or(&self, key: &'static str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.size(key) } else { Ok(default) }
    }

    /// `trained_length`, a key of this program: 8192 for the releases, which have none.
    pub(super) fn trained_tokens(&self, max_tokens: usize) -> Result<usize> {
        Ok(self.size_or("trained_length", 8192)?.min(max_tokens))
    }

    pub(super) fn number(&self, key: &'static str) -> Result<f64> {
        let number = self.get(key).and_then(Value::as_f64).filter(|x| x.is_finite() && *x >= 0.0);
        number.ok_or_else(|| self.unsupported(key, "a number of 0 or more"))
    }

    pub(super) fn number_or(&self, key: &'static str, default: f64) -> Result<f64> {
        if self.get(key).is_some() { self.number(key) } else { Ok(default) }
    }

    /// Accepts a key only if it is absent, null, or one of `accepted`.
    pub(super) fn only(&self, key: &'static str, accepted: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !accepted.contains(value) => {
                let accepted: Vec<_> = accepted.iter().map(Value::to_string).collect();
                let expected =
                    if accepted.is_empty() { "only null" } else { &accepted.join(" or ") };
                Err(self.unsupported(key, expected))
            }
            _ => Ok(()),
        }
    }

    /// `hidden_size` and `num_attention_heads`, whose quotient must be even.
    pub(super) fn hidden_and_heads(&self) -> Result<(usize, usize)> {
        let hidden = self.size("hidden_size")?;
        let heads = self.size("num_attention_heads")?;
        if hidden % heads != 0 || (hidden / heads) % 2 != 0 {
            let expected = "a divisor of hidden_size with an even quotient";
            return Err(self.unsupported("num_attention_heads", expected));
        }
        Ok((hidden, heads))
    }
}
