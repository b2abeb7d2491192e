//! Foreign collections in vector databases: read, and copied with other vectors.

mod shadow;

pub(super) use shadow::ShadowCopy;

use super::PointEngine;
use crate::retry::{CallError, with_retries};
use kokeshi_store::backend::{Field, Rows, SourceRow, Texts, field_of};
use kokeshi_store::{Error, Fields, Provenance, Result, Storage, Url};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A point of a foreign collection.
#[derive(Clone, Debug)]
pub(super) struct ForeignPoint {
    /// A text or a number.
    pub(super) id: Value,
    /// Its fields, and its text if the engine keeps that separately.
    pub(super) payload: Map<String, Value>,
    /// Its vector, if it was requested and exists; or why it cannot be read.
    pub(super) vector: Result<Option<Vec<f32>>, String>,
}

impl ForeignPoint {
    fn without_vector(&self) -> Self {
        Self { id: self.id.clone(), payload: self.payload.clone(), vector: Ok(None) }
    }
}

/// A request for points of a foreign collection.
#[derive(Clone, Copy)]
pub(super) struct PointRequest<'a> {
    pub(super) collection: &'a str,
    pub(super) fields: &'a Fields,
    pub(super) selection: Selection<'a>,
    /// Whether to return their vectors.
    pub(super) vectors: bool,
}

/// Which points are requested.
#[derive(Clone, Copy)]
pub(super) enum Selection<'a> {
    All,
    Ids(&'a [String]),
    /// Those with one of these values, as texts or numbers, in a field.
    Having(&'a str, &'a [String]),
}

/// A page of points, and where the next one begins.
pub(super) struct ForeignPage {
    pub(super) points: Vec<ForeignPoint>,
    pub(super) next: Option<Value>,
}

/// The format of a collection's vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct VectorFormat {
    /// 0 if unknown.
    pub(super) dimensions: usize,
    pub(super) storage: Storage,
}

/// The new vector of a point; `None` for a point that must not be copied.
pub(super) type NewVector<'a> = &'a dyn Fn(&ForeignPoint) -> Option<&'a [f32]>;

/// The names of a foreign collection and of its shadow copy.
#[derive(Clone, Copy)]
pub(super) struct CopyNames<'a> {
    pub(super) old: &'a str,
    pub(super) new: &'a str,
}

/// What an engine can do with foreign collections, which have their own names. Each call is tried
/// once.
pub(super) trait Foreign: PointEngine {
    /// The error of a server's answer that cannot be used.
    fn failure(&self, reason: String) -> CallError {
        Error::Server { store: self.address(), reason }.into()
    }

    /// The error of a collection that is gone since it was resolved.
    fn missing(&self, collection: &str) -> CallError {
        self.failure(format!("the collection {collection} no longer exists"))
    }

    /// The error of a collection that has no faithful copy.
    fn not_copyable(&self, reason: String) -> CallError {
        Error::NotCopyable { store: self.address(), reason }.into()
    }

    /// The field of texts, unless one is named.
    fn text_field(&self) -> &'static str {
        "text"
    }

    /// The storages for new vectors.
    fn new_storages(&self) -> &'static [Storage];

    /// Whether readers can be switched from one collection to another.
    fn has_aliases(&self) -> bool {
        true
    }

    /// The format of a collection's vectors; `None` if it does not exist.
    fn vector_format(
        &self,
        collection: &str,
        fields: &Fields,
    ) -> Result<Option<VectorFormat>, CallError>;

    /// Up to [`super::BATCH`] points from `after` on, in a stable order.
    fn points(
        &self,
        request: &PointRequest<'_>,
        after: Option<&Value>,
    ) -> Result<ForeignPage, CallError>;

    /// Creates the new collection, unless it exists, like the old one but with vectors of
    /// `provenance`.
    fn create_shadow(
        &self,
        names: CopyNames<'_>,
        provenance: &Provenance,
        fields: &Fields,
    ) -> Result<(), CallError>;

    /// Copies points as they are now, complete except for their new vectors.
    fn copy(
        &self,
        names: CopyNames<'_>,
        fields: &Fields,
        ids: &[String],
        new_vector: NewVector<'_>,
    ) -> Result<(), CallError>;

    /// Removes points.
    fn discard(&self, collection: &str, fields: &Fields, ids: &[String]) -> Result<(), CallError>;

    /// Up to `limit` points by their scores, best first. With `exact`, all scores are computed if
    /// the engine supports that.
    fn closest(
        &self,
        request: &PointRequest<'_>,
        vector: &[f32],
        limit: usize,
        exact: bool,
    ) -> Result<Vec<(f32, ForeignPoint)>, CallError>;
}

/// Reads points as rows.
pub(super) struct ForeignReader<'a> {
    engine: &'a dyn Foreign,
    fields: &'a Fields,
    /// The server's address, for messages.
    server: PathBuf,
}

impl<'a> ForeignReader<'a> {
    pub(super) fn new(engine: &'a dyn Foreign, fields: &'a Fields, url: &Url) -> Self {
        Self { engine, fields, server: PathBuf::from(url.to_string()) }
    }

    /// All points of the collection that `name` resolves to, with their vectors.
    ///
    /// # Errors
    ///
    /// If there is no such collection, a point has no text, or points have several vectors and none
    /// is named.
    pub(super) fn read_all(&self, name: &str) -> Result<Rows> {
        let Some((collection, format)) = self.find(name)? else { return Err(self.unknown(name)) };
        let rows = self.rows(&collection, Selection::All, true)?;
        let alias = Some(name).filter(|name| *name != collection);
        Ok(rows.stored_as(format.storage).with_alias(alias.map(str::to_owned)))
    }

    /// The fields of the first point of the collection that `name` resolves to, of those with a text
    /// if there are any among the first; `None` if there is no such collection.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub(super) fn fields_of_first(&self, name: &str) -> Result<Option<Vec<Field>>> {
        let Some((collection, _)) = self.find(name)? else { return Ok(None) };
        let request = self.request(&collection, Selection::All, false);
        let mut points = self.call(|engine| engine.points(&request, None))?.points;
        let first = points.iter().position(|point| self.has_text(point)).unwrap_or(0);
        let first = (first < points.len()).then(|| points.swap_remove(first));
        let payload = first.map(|point| point.payload).unwrap_or_default();
        // If the engine has its own field of texts, no other field counts as a text.
        let own = Some(self.engine.text_field()).filter(|text| *text != Fields::default().text());
        let own = own.filter(|own| payload.get(*own).is_some_and(Value::is_string));
        let field = |(name, value): (&String, &Value)| {
            let field = field_of(name, value);
            let is_text = field.is_text && own.is_none_or(|own| field.name == own);
            Field { is_text, ..field }
        };
        Ok(Some(payload.iter().map(field).collect()))
    }

    fn call<T>(&self, mut work: impl FnMut(&dyn Foreign) -> Result<T, CallError>) -> Result<T> {
        with_retries(&self.engine.address(), || work(self.engine))
    }

    fn request<'r>(
        &'r self,
        collection: &'r str,
        selection: Selection<'r>,
        vectors: bool,
    ) -> PointRequest<'r> {
        PointRequest { collection, fields: self.fields, selection, vectors }
    }

    fn text_field(&self) -> &str {
        self.fields.text.as_deref().unwrap_or_else(|| self.engine.text_field())
    }

    /// The collection that an alias points to; `name` itself if it is not an alias.
    fn resolve(&self, name: &str) -> Result<String> {
        let aliases = self.call(|engine| engine.aliases())?;
        let target = aliases.into_iter().find(|(alias, _)| alias == name);
        Ok(target.map_or_else(|| name.to_owned(), |(_, collection)| collection))
    }

    /// The collection that `name` resolves to, with its own name.
    fn find(&self, name: &str) -> Result<Option<(String, VectorFormat)>> {
        let own = self.resolve(name)?;
        let format = self.call(|engine| engine.vector_format(&own, self.fields))?;
        Ok(format.map(|format| (own, format)))
    }

    fn unknown(&self, name: &str) -> Error {
        let tables = self.call(|engine| engine.tables()).unwrap_or_default();
        let names = tables.iter().map(String::as_str);
        Error::unknown_collection(name, self.engine.address(), names)
    }

    /// The selected points of a collection.
    fn rows(&self, collection: &str, selection: Selection<'_>, vectors: bool) -> Result<Rows> {
        let request = self.request(collection, selection, vectors);
        Rows::filled(&self.server, collection, self.fields, |each| self.each(&request, each))
    }

    /// Calls `each` with points, as rows. Those without a text are passed over.
    fn each(
        &self,
        request: &PointRequest<'_>,
        each: &mut dyn FnMut(SourceRow) -> Result<()>,
    ) -> Result<()> {
        let (mut after, mut number, mut texts) = (None, 0, Texts::default());
        loop {
            let page = self.call(|engine| engine.points(request, after.as_ref()))?;
            for point in page.points {
                number += 1;
                match self.has_text(&point) {
                    false => texts.lacking(|| self.no_text(number, &point)),
                    true => each(texts.seen(self.row(number, point)?))?,
                }
            }
            match (page.next, request.selection) {
                (Some(next), _) => after = Some(next),
                (None, Selection::All) => return texts.finish(),
                (None, _) => return Ok(()),
            }
        }
    }

    /// Whether a point has a text, whatever its type.
    fn has_text(&self, point: &ForeignPoint) -> bool {
        point.payload.get(self.text_field()).is_some_and(|text| !text.is_null())
    }

    /// The error of a point without a text.
    fn no_text(&self, number: usize, point: &ForeignPoint) -> Error {
        let others = point.payload.iter().filter(|(_, value)| !value.is_null());
        let (field, names) =
            (self.text_field(), quoted_names(others.map(|(name, _)| name.as_str())));
        let id = key(&point.id).unwrap_or_default();
        let reason = format!("point {id}: it has no text in `{field}`; it has {names}");
        Error::Row { path: self.server.clone(), number, reason }
    }

    fn row(&self, number: usize, point: ForeignPoint) -> Result<SourceRow> {
        let ForeignPoint { id: own, mut payload, vector } = point;
        let id = key(&own).unwrap_or_default();
        let invalid = |reason: String| Error::Row {
            path: self.server.clone(),
            number,
            reason: format!("point {id}: {reason}"),
        };
        let Some(Value::String(text)) = payload.remove(self.text_field()) else {
            return Err(invalid(format!("`{}` is not a text", self.text_field())));
        };
        let field = self.fields.document.as_deref();
        let document = field.and_then(|field| Some((field, payload.get(field)?)));
        let document = document.map(|(field, value)| {
            let not_a_key = || invalid(format!("`{field}` is neither a text nor a whole number"));
            key(value).ok_or_else(not_a_key)
        });
        let document = document.transpose()?;
        let vector = vector.map_err(invalid)?;
        Ok(SourceRow { number, id, document, text, metadata: payload, vector })
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

/// The vector in a JSON value.
pub(super) fn vector_of(value: &Value) -> Result<Option<Vec<f32>>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Array(elements) => {
            let elements = elements.iter().map(|x| x.as_f64().map(|x| x as f32));
            let invalid = || "its vector has an element that is not a number".to_owned();
            elements.collect::<Option<Vec<f32>>>().map(Some).ok_or_else(invalid)
        }
        _ => Err("its vector is of a kind that cannot be read".to_owned()),
    }
}

fn quoted_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The values as texts, and those that are whole numbers as numbers.
pub(super) fn texts_and_numbers(values: &[String]) -> (Vec<&str>, Vec<i64>) {
    let numbers = values.iter().filter_map(|value| value.parse().ok()).collect();
    (values.iter().map(String::as_str).collect(), numbers)
}

/// The JSON object, or an empty one.
#[cfg(feature = "http")]
pub(super) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}

/// The error of a collection with the vectors `names`, if the fields name none of them.
#[cfg(any(feature = "milvus", feature = "qdrant"))]
pub(super) fn ambiguous_vector<'a>(
    store: String,
    collection: &str,
    fields: &Fields,
    names: impl Iterator<Item = &'a str>,
) -> Error {
    let known = Some(quoted_names(names)).filter(|known| !known.is_empty());
    let problem = match &fields.vector {
        Some(name) => format!("no vector `{name}`"),
        None => "no vector is named".to_owned(),
    };
    let (collection, known) = (collection.to_owned(), known.unwrap_or_else(|| "none".to_owned()));
    Error::AmbiguousVector { store, collection, problem, known }
}
