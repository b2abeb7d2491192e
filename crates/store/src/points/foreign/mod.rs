//! Collections that other programs keep in engines of points: read, and copied with other vectors.

mod twin;

pub(crate) use twin::Twin;

use super::{Chroma, Engine, Milvus, Qdrant};
use crate::address::Url;
use crate::error::{Error, Result};
use crate::fields::{Fields, Seen};
use crate::provenance::Provenance;
use crate::retry::{Fault, repeated};
use crate::rows::{self, Row, Rows};
use crate::storage::Storage;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A point of another program.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// A text or a number.
    pub(super) id: Value,
    /// Its fields, and what the engine calls its text.
    pub(super) payload: Map<String, Value>,
    /// Its vector, if it was asked for and is there; or why it cannot be read.
    pub(super) vector: Result<Option<Vec<f32>>, String>,
}

impl Point {
    fn without_vector(&self) -> Self {
        Self { id: self.id.clone(), payload: self.payload.clone(), vector: Ok(None) }
    }
}

/// Points that are asked for.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) collection: &'a str,
    pub(super) fields: &'a Fields,
    pub(super) which: Which<'a>,
    /// Whether their vectors are wanted.
    pub(super) vectors: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    All,
    Ids(&'a [String]),
    /// Those with one of these values in a field, which are texts or numbers there.
    Having(&'a str, &'a [String]),
}

/// A part of the points that were asked for, and where the next one begins.
pub(super) struct Part {
    pub(super) points: Vec<Point>,
    pub(super) next: Option<Value>,
}

/// What vectors of a collection look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// 0 if that is not known.
    pub(super) dimensions: usize,
    pub(super) storage: Storage,
}

/// Vectors by the points that they are for; `None` for a point that is to be left out.
pub(super) type Vectors<'a> = &'a dyn Fn(&Point) -> Option<&'a [f32]>;

/// What an engine can do with collections of other programs, whose names are as they are. Each call is
/// tried once.
pub(super) trait Foreign: Engine {
    /// The field of texts, unless one is named.
    fn text(&self) -> &'static str {
        "text"
    }

    /// How new vectors can be stored.
    fn kinds(&self) -> &'static [Storage];

    /// Whether readers can be led from one collection to another.
    fn has_aliases(&self) -> bool {
        true
    }

    /// What a collection's vectors look like; `None` if there is no such collection.
    fn shape(&self, collection: &str, fields: &Fields) -> Result<Option<Shape>, Fault>;

    /// Up to [`super::BATCH`] points from `after` on, in an order that stays.
    fn points(&self, look: &Look<'_>, after: Option<&Value>) -> Result<Part, Fault>;

    /// Makes the second collection as the first one is but for its vectors, unless it is there.
    fn make_like(
        &self,
        sides: (&str, &str),
        made: &Provenance,
        fields: &Fields,
    ) -> Result<(), Fault>;

    /// Copies points of the first collection to the second one as they are now, whole, but with other
    /// vectors.
    fn copy(
        &self,
        sides: (&str, &str),
        fields: &Fields,
        ids: &[String],
        vectors: Vectors<'_>,
    ) -> Result<(), Fault>;

    /// Removes points.
    fn discard(&self, collection: &str, fields: &Fields, ids: &[String]) -> Result<(), Fault>;

    /// So many points by their scores, best first; with all scores computed, if that is asked for and the
    /// engine can do it.
    fn closest(
        &self,
        look: &Look<'_>,
        vector: &[f32],
        limits: (usize, bool),
    ) -> Result<Vec<(f32, Point)>, Fault>;
}

/// # Errors
///
/// If the server does not answer, or keeps no points.
fn connect(url: &Url) -> Result<Box<dyn Foreign>> {
    match url.parts()?.engine.as_str() {
        "qdrant" => Ok(Box::new(Qdrant::connect(url)?)),
        "chroma" => Ok(Box::new(Chroma::connect(url)?)),
        "milvus" => Ok(Box::new(Milvus::connect(url)?)),
        "postgres" | "postgresql" => Err(url.refused("which table? give it with --table NAME")),
        other => Err(url.refused(&format!("what others keep in `{other}` cannot be read"))),
    }
}

/// Reads the collection that `name` leads to, whose texts and documents are where `fields` says. In
/// Chroma, texts are what it calls documents, unless a field is named.
///
/// # Errors
///
/// If there is no such collection, or a point has no text, or several vectors of which none is named.
pub(crate) fn foreign(url: &Url, fields: &Fields, name: &str) -> Result<Rows> {
    let engine = connect(url)?;
    let reading = Reading { engine: &*engine, fields, server: &PathBuf::from(url.to_string()) };
    let Some((collection, shape)) = reading.find(name)? else { return Err(reading.unknown(name)) };
    let rows = reading.rows(&collection, Which::All, true)?;
    let alias = Some(name).filter(|name| *name != collection);
    Ok(rows.stored_as(shape.storage).called(alias.map(str::to_owned)))
}

/// The fields of a point of the collection that `name` leads to, beside what the engine itself calls a text;
/// `None` if there is no such collection.
///
/// # Errors
///
/// If the server does not answer.
pub(crate) fn seen(url: &Url, fields: &Fields, name: &str) -> Result<Option<Vec<Seen>>> {
    let engine = connect(url)?;
    let reading = Reading { engine: &*engine, fields, server: &PathBuf::from(url.to_string()) };
    let Some((collection, _)) = reading.find(name)? else { return Ok(None) };
    let look = Look { collection: &collection, fields, which: Which::All, vectors: false };
    let first = reading.call(|engine| engine.points(&look, None))?.points.into_iter().next();
    let payload = first.map(|point| point.payload).unwrap_or_default();
    // Its own kind of text goes first.
    let own = Some(engine.text()).filter(|text| *text != Fields::default().text());
    let own = own.filter(|own| payload.get(*own).is_some_and(Value::is_string));
    let seen = payload.iter().map(|(name, value)| rows::seen(name, value));
    let counts = |seen: &Seen| own.is_none_or(|own| !seen.is_text || seen.name == own);
    Ok(Some(seen.map(|seen| Seen { is_text: counts(&seen) && seen.is_text, ..seen }).collect()))
}

/// Reads points as rows.
struct Reading<'a> {
    engine: &'a dyn Foreign,
    fields: &'a Fields,
    /// The server, for messages.
    server: &'a Path,
}

impl Reading<'_> {
    fn call<T>(&self, mut work: impl FnMut(&dyn Foreign) -> Result<T, Fault>) -> Result<T> {
        repeated(&self.engine.address(), |_| work(self.engine))
    }

    fn text(&self) -> &str {
        self.fields.text.as_deref().unwrap_or_else(|| self.engine.text())
    }

    /// The name of the collection that a name leads to: itself, if it is no alias.
    fn led(&self, name: &str) -> Result<String> {
        let aliases = self.call(|engine| engine.aliases())?;
        let led = aliases.into_iter().find(|(alias, _)| alias == name);
        Ok(led.map_or_else(|| name.to_owned(), |(_, collection)| collection))
    }

    /// The collection that a name leads to, by its own name.
    fn find(&self, name: &str) -> Result<Option<(String, Shape)>> {
        let own = self.led(name)?;
        let shape = self.call(|engine| engine.shape(&own, self.fields))?;
        Ok(shape.map(|shape| (own, shape)))
    }

    fn unknown(&self, name: &str) -> Error {
        let tables = self.call(|engine| engine.tables()).unwrap_or_default();
        let names = tables.iter().map(String::as_str);
        Error::unknown_collection(name, self.engine.address(), names)
    }

    /// Points of a collection.
    fn rows(&self, collection: &str, which: Which<'_>, vectors: bool) -> Result<Rows> {
        let look = Look { collection, fields: self.fields, which, vectors };
        Rows::filled(self.server, collection, self.fields, |each| self.each(&look, each))
    }

    /// Gives points to `each`, as rows.
    fn each(&self, look: &Look<'_>, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let (mut after, mut number) = (None, 0);
        loop {
            let part = self.call(|engine| engine.points(look, after.as_ref()))?;
            for point in part.points {
                number += 1;
                each(self.row(number, point)?)?;
            }
            match part.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn row(&self, number: usize, point: Point) -> Result<Row> {
        let Point { id: own, mut payload, vector } = point;
        let id = key(&own).unwrap_or_default();
        let refused = |reason: String| Error::Row {
            path: self.server.to_owned(),
            number,
            reason: format!("point {id}: {reason}"),
        };
        let Some(Value::String(text)) = payload.remove(self.text()) else {
            let names: Vec<String> = payload.keys().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            return Err(refused(format!("it has no text in `{}`; it has {names}", self.text())));
        };
        let field = self.fields.document.as_deref();
        let document = field.and_then(|field| Some((field, payload.get(field)?)));
        let document = document.map(|(field, value)| {
            let wrong = || refused(format!("`{field}` is neither a text nor a whole number"));
            key(value).ok_or_else(wrong)
        });
        let document = document.transpose()?;
        let vector = vector.map_err(refused)?;
        Ok(Row { number, id, document, text, metadata: payload, vector })
    }
}

/// A text or a whole number as a key.
pub(super) fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}

/// The vector that JSON holds.
pub(super) fn numbers(value: &Value) -> Result<Option<Vec<f32>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Array(numbers) => {
            let numbers = numbers.iter().map(|x| x.as_f64().map(|x| x as f32));
            let wrong = || "its vector has something that is no number".to_owned();
            numbers.collect::<Option<Vec<f32>>>().map(Some).ok_or_else(wrong)
        }
        _ => Err("its vector is of a kind that cannot be read".to_owned()),
    }
}

/// Why it is not clear which of the vectors called `names` are meant.
pub(super) fn unclear<'a>(
    collection: &str,
    fields: &Fields,
    names: impl Iterator<Item = &'a str>,
) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let wanted = fields.vector.as_ref().map_or("which".to_owned(), |name| format!("no `{name}`"));
    format!("{wanted} of the vectors of {collection}? it has {names}: give one with --vector NAME")
}

/// Values as the texts and the whole numbers that they may be.
pub(super) fn either(values: &[String]) -> (Vec<&str>, Vec<i64>) {
    let numbers = values.iter().filter_map(|value| value.parse().ok()).collect();
    (values.iter().map(String::as_str).collect(), numbers)
}
