//! Collections that other programs keep in engines of points. They are only read.

use super::chroma::Chroma;
use super::qdrant::Qdrant;
use super::{BATCH, Engine};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::retry::repeated;
use crate::rows::{Row, Rows};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What Chroma calls a point's text: it is none of the point's fields.
const DOCUMENT: &str = "document";

/// Takes rows, one after the other.
type Each<'a> = &'a mut dyn FnMut(Row) -> Result<()>;

/// A collection that is read.
struct Reading<'a> {
    collection: &'a str,
    /// The field of texts.
    text: &'a str,
    /// The field of documents.
    document: Option<&'a str>,
    /// The server, for messages.
    server: &'a Path,
}

/// Reads the collection called `collection`, whose texts and documents are where `fields` says. In
/// Chroma, texts are what it calls documents, unless a field is named.
///
/// # Errors
///
/// If there is no such collection, or a point has no text or several vectors.
pub(crate) fn foreign(url: &Url, fields: &Fields, collection: &str) -> Result<Rows> {
    let server = PathBuf::from(url.to_string());
    let document = fields.document.as_deref();
    let reading = |text| Reading { collection, text, document, server: &server };
    match url.parts()?.engine.as_str() {
        "qdrant" => {
            let engine = Qdrant::connect(url)?;
            check(&engine, collection)?;
            let reading = reading(fields.text());
            Rows::filled(&server, collection, |each| reading.qdrant(&engine, each))
        }
        "chroma" => {
            let engine = Chroma::connect(url)?;
            check(&engine, collection)?;
            let reading = reading(fields.text.as_deref().unwrap_or(DOCUMENT));
            Rows::filled(&server, collection, |each| reading.chroma(&engine, each))
        }
        "postgres" | "postgresql" => Err(url.refused("which table? give it with --table NAME")),
        other => Err(url.refused(&format!("what others keep in `{other}` cannot be read"))),
    }
}

/// # Errors
///
/// If there is no such collection.
fn check(engine: &dyn Engine, collection: &str) -> Result<()> {
    let tables = repeated(&engine.address(), |_| engine.tables())?;
    if tables.iter().any(|table| table == collection) {
        return Ok(());
    }
    let names = tables.iter().map(String::as_str);
    Err(Error::unknown_collection(collection, engine.address(), names))
}

impl Reading<'_> {
    fn qdrant(&self, engine: &Qdrant, each: Each<'_>) -> Result<()> {
        let (mut after, mut number) = (None, 0);
        loop {
            let (points, next) =
                repeated(&engine.address(), |_| engine.raw(self.collection, after.as_ref()))?;
            for mut point in points {
                number += 1;
                let payload = object(point["payload"].take());
                each(self.row((number, &point["id"]), payload, &point["vector"])?)?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn chroma(&self, engine: &Chroma, each: Each<'_>) -> Result<()> {
        let mut offset = 0;
        loop {
            let mut page = repeated(&engine.address(), |_| engine.raw(self.collection, offset))?;
            let count = page["ids"].as_array().map_or(0, Vec::len);
            for at in 0..count {
                let mut payload = object(page["metadatas"][at].take());
                if self.text == DOCUMENT {
                    payload.insert(DOCUMENT.to_owned(), page["documents"][at].take());
                }
                let point = (offset + at + 1, &page["ids"][at]);
                each(self.row(point, payload, &page["embeddings"][at])?)?;
            }
            offset += count;
            if count < BATCH {
                return Ok(());
            }
        }
    }

    fn row(
        &self,
        (number, id): (usize, &Value),
        mut payload: Map<String, Value>,
        vector: &Value,
    ) -> Result<Row> {
        let id = key(id).unwrap_or_default();
        let refused = |reason: String| Error::Row {
            path: self.server.to_owned(),
            number,
            reason: format!("point {id}: {reason}"),
        };
        let Some(Value::String(text)) = payload.remove(self.text) else {
            let names: Vec<String> = payload.keys().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            return Err(refused(format!("it has no text in `{}`; it has {names}", self.text)));
        };
        let document = self.document.and_then(|field| Some((field, payload.get(field)?)));
        let document = document.map(|(field, value)| {
            let wrong = || refused(format!("`{field}` is neither a text nor a number"));
            key(value).ok_or_else(wrong)
        });
        let document = document.transpose()?;
        let vector = numbers(vector).map_err(refused)?;
        Ok(Row { number, id, document, text, metadata: payload, vector })
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}

/// A text or number as a key.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn numbers(value: &Value) -> Result<Option<Vec<f32>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Array(numbers) => {
            let numbers = numbers.iter().map(|x| x.as_f64().map(|x| x as f32));
            let wrong = || "its vector has something that is no number".to_owned();
            numbers.collect::<Option<Vec<f32>>>().map(Some).ok_or_else(wrong)
        }
        _ => Err("it has several vectors, or one with a name, which cannot be read".to_owned()),
    }
}
