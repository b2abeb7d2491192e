//! Rows with texts, and perhaps vectors, that other programs made, and that are only read: JSONL and
//! Parquet files, and collections of engines of points (`points/foreign.rs`).
//!
//! Neither has an order by what tells documents apart, and rows of one document need not stand together.
//! So rows are read once, into a temporary database that lies on disk, however large it is, and is gone
//! with the process.

mod jsonl;
mod parquet;

use crate::error::{Error, Result};
use crate::fields::{Fields, Seen};
use crate::provenance::Provenance;
use crate::record::{Chunk, Collection, Counts, Document, Entry, Place, Source};
use crate::storage::Storage;
use rusqlite::{Connection, params};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The field of documents of files that have it and do not say another one.
const DOCUMENT: &str = "doc_id";
/// Names of files that are read.
const ENDINGS: [&str; 3] = ["jsonl", "ndjson", "parquet"];

const TABLE: &str = "
CREATE TABLE rows (
    id TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    number INTEGER NOT NULL,
    -- Where it stands in its document, if rows say so: numbers come before texts.
    place,
    text TEXT NOT NULL,
    hash TEXT NOT NULL,
    metadata TEXT NOT NULL,
    vector BLOB
);
";
const INDEX: &str = "CREATE INDEX by_path ON rows (path, place, number)";

/// A row.
pub(crate) struct Row {
    /// Its number, from 1.
    pub(crate) number: usize,
    pub(crate) id: String,
    /// What it belongs to.
    pub(crate) document: Option<String>,
    pub(crate) text: String,
    /// All its other fields.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) vector: Option<Vec<f32>>,
}

/// What rows are read by.
struct Names<'a> {
    id: &'a str,
    text: &'a str,
    document: &'a str,
    vector: &'a str,
}

/// All rows of a file or a collection.
pub(crate) struct Rows {
    /// Where they are from.
    path: PathBuf,
    /// What the one collection is called: for a file, its field of vectors.
    vector: String,
    /// Another name of it.
    alias: Option<String>,
    /// Numbers of a vector; 0 if rows have none.
    dimensions: usize,
    /// How they were stored.
    storage: Storage,
    rows: Connection,
}

/// Whether `path` is named as a file of rows is.
pub(crate) fn is_rows(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

/// A field with this value.
pub(crate) fn seen(name: &str, value: &Value) -> Seen {
    let is_text = value.is_string();
    Seen { name: name.to_owned(), is_text, is_key: is_text || value.is_i64() || value.is_u64() }
}

impl Rows {
    /// Reads the file at `path`, with its vectors in the field `vector`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or a row lacks its id or text, has the id of another one, or a vector
    /// that has another width than the ones before or numbers that are not finite; if no space is left
    /// for temporary files.
    pub(crate) fn read(path: &Path, fields: &Fields, vector: &str) -> Result<Self> {
        let names = Names {
            id: fields.id(),
            text: fields.text(),
            document: fields.document.as_deref().unwrap_or(DOCUMENT),
            vector,
        };
        Self::filled(path, vector, fields, |each| match is_parquet(path) {
            true => parquet::read(path, &names, each),
            false => jsonl::read(path, &names, each),
        })
    }

    /// The fields of the first row of the file at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn fields(path: &Path) -> Result<Vec<Seen>> {
        match is_parquet(path) {
            true => parquet::fields(path),
            false => jsonl::fields(path),
        }
    }

    /// The rows that `fill` gives to the function that it is given, as the collection `vector` of what
    /// people know as `path`. In a document, they stand in the order that `fields` names, or else as they
    /// come.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and those of `fill`.
    pub(crate) fn filled(
        path: &Path,
        vector: &str,
        fields: &Fields,
        fill: impl FnOnce(&mut dyn FnMut(Row) -> Result<()>) -> Result<()>,
    ) -> Result<Self> {
        let fail = temporary(path);
        let mut rows = Connection::open("").map_err(fail)?;
        rows.execute_batch(TABLE).map_err(fail)?;
        let mut filling = Filling { path, order: fields.order.as_deref(), dimensions: None };
        let transaction = rows.transaction().map_err(fail)?;
        fill(&mut |row| filling.add(&transaction, row))?;
        transaction.execute_batch(INDEX).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        let dimensions = filling.dimensions.flatten().unwrap_or(0);
        let (path, vector) = (path.to_owned(), vector.to_owned());
        Ok(Self { path, vector, alias: None, dimensions, storage: Storage::F32, rows })
    }

    /// These rows, with vectors that were stored so.
    pub(crate) fn stored_as(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// These rows, whose collection has another name too.
    pub(crate) fn called(self, alias: Option<String>) -> Self {
        Self { alias, ..self }
    }

    /// All documents, in their order.
    pub(crate) fn all(&self) -> Result<Vec<Entry>> {
        self.listed("true GROUP BY path ORDER BY path", [])
    }

    fn is(&self, collection: &str) -> bool {
        collection == self.vector || self.alias.as_deref() == Some(collection)
    }

    fn known(&self, collection: &str) -> Result<()> {
        if self.is(collection) {
            return Ok(());
        }
        let names = [self.vector.as_str()];
        Err(Error::unknown_collection(collection, self.name(), names.into_iter()))
    }

    /// Documents for which `condition` holds, in their order.
    fn listed(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Entry>> {
        let sql = format!(
            "SELECT path, group_concat(hash, '' ORDER BY place, number), sum(length(CAST(text AS BLOB))), \
             count(*) FROM rows WHERE {condition}"
        );
        let entry = |row: &rusqlite::Row<'_>| {
            Ok(Entry {
                path: row.get(0)?,
                hash: hash(&row.get::<_, String>(1)?),
                modified: 0,
                size: row.get(2)?,
                format: "text".to_owned(),
                chunks: row.get(3)?,
            })
        };
        let fail = temporary(&self.path);
        let mut statement = self.rows.prepare_cached(&sql).map_err(fail)?;
        let entries = statement.query_map(values, entry).map_err(fail)?;
        entries.collect::<rusqlite::Result<_>>().map_err(fail)
    }

    fn chunks(&self, path: &str) -> Result<Vec<Chunk>> {
        let fail = temporary(&self.path);
        let sql = "SELECT text, metadata, vector FROM rows WHERE path = ?1 ORDER BY place, number";
        let mut statement = self.rows.prepare_cached(sql).map_err(fail)?;
        let chunk = |row: &rusqlite::Row<'_>| {
            let (metadata, vector): (String, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
            Ok(Chunk {
                // Where it stood in a document is not known.
                place: Place::default(),
                text: row.get(0)?,
                metadata: serde_json::from_str(&metadata).unwrap_or_default(),
                vector: vector.map_or_else(Vec::new, |bytes| numbers(&bytes)),
            })
        };
        let chunks = statement.query_map([path], chunk).map_err(fail)?;
        chunks.collect::<rusqlite::Result<_>>().map_err(fail)
    }
}

impl Source for Rows {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn collection(&self, name: &str) -> Result<Option<Collection>> {
        let provenance = Provenance::unknown(self.dimensions, self.storage);
        let (own, aliases) = (self.vector.clone(), self.alias.iter().cloned().collect());
        let found = self.is(name);
        Ok(found.then_some(Collection { name: own, provenance, created: 0, aliases }))
    }

    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        self.known(collection)?;
        self.listed("path > ?1 GROUP BY path ORDER BY path LIMIT ?2", params![after, limit])
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        self.known(collection)?;
        let mut entries = Vec::new();
        for path in paths {
            entries.extend(self.listed("path = ?1 GROUP BY path", [path])?);
        }
        Ok(entries)
    }

    fn documents(&self, collection: &str, paths: &[String]) -> Result<Vec<Document>> {
        let entries = self.entries(collection, paths)?;
        let document = |entry: Entry| {
            Ok(Document {
                chunks: self.chunks(&entry.path)?,
                path: entry.path,
                hash: entry.hash,
                modified: entry.modified,
                size: entry.size,
                format: entry.format,
                metadata: Map::new(),
            })
        };
        entries.into_iter().map(document).collect()
    }

    fn count(&self, collection: &str) -> Result<Counts> {
        self.known(collection)?;
        let sql = "SELECT count(DISTINCT path), count(*) FROM rows";
        let counts =
            |row: &rusqlite::Row<'_>| Ok(Counts { documents: row.get(0)?, chunks: row.get(1)? });
        self.rows.query_row(sql, [], counts).map_err(temporary(&self.path))
    }
}

/// A file that is being read.
struct Filling<'a> {
    path: &'a Path,
    /// The field that says where a row stands in its document.
    order: Option<&'a str>,
    /// Numbers of the vectors so far; `None` inside, if the first row has none.
    dimensions: Option<Option<usize>>,
}

impl Filling<'_> {
    fn add(&mut self, rows: &Connection, row: Row) -> Result<()> {
        let number = row.number;
        let refused = |reason: String| Error::Row { path: self.path.to_owned(), number, reason };
        if let Some(vector) = &row.vector
            && vector.iter().any(|x| !x.is_finite())
        {
            return Err(refused("its vector has a number that is not finite".to_owned()));
        }
        let width = row.vector.as_ref().map(Vec::len);
        let first = *self.dimensions.get_or_insert(width);
        if width != first {
            let shown = |width: Option<usize>| {
                width.map_or("no vector".to_owned(), |width| format!("{width} numbers"))
            };
            return Err(refused(format!(
                "{}, where rows before have {}",
                shown(width),
                shown(first)
            )));
        }
        let sql = "INSERT OR IGNORE INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let place = self.order.map(|order| place(order, &row.metadata).map_err(refused));
        let mut metadata = row.metadata;
        metadata.insert("id".to_owned(), Value::String(row.id.clone()));
        let mut metadata = Value::Object(metadata);
        // Engines give the fields of a point in any order.
        metadata.sort_all_objects();
        let metadata = metadata.to_string();
        let values = params![
            row.id,
            row.document.as_ref().unwrap_or(&row.id),
            number,
            place.transpose()?,
            row.text,
            hash(&format!("{}:{}{metadata}", row.text.len(), row.text)),
            metadata,
            row.vector.map(|vector| bytes(&vector)),
        ];
        let mut statement = rows.prepare_cached(sql).map_err(temporary(self.path))?;
        match statement.execute(values).map_err(temporary(self.path))? {
            1 => Ok(()),
            _ => Err(refused(format!("a row before has the id `{}` too", row.id))),
        }
    }
}

/// Where a row stands in its document: the value of the field `order`.
fn place(order: &str, metadata: &Map<String, Value>) -> Result<rusqlite::types::Value, String> {
    use rusqlite::types::Value as Sql;
    match metadata.get(order) {
        Some(Value::String(text)) => Ok(Sql::Text(text.clone())),
        Some(Value::Number(number)) => {
            let real = Sql::Real(number.as_f64().unwrap_or(f64::INFINITY));
            Ok(number.as_i64().map_or(real, Sql::Integer))
        }
        _ => {
            let names: Vec<String> = metadata.keys().cloned().collect();
            Err(format!("no text or number in `{order}`; it has {}", shown(&names)))
        }
    }
}

/// Names of fields, for people.
fn shown(names: &[String]) -> String {
    let names: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
}

/// A hash of `text`, in 32 letters.
fn hash(text: &str) -> String {
    format!("{:.32x}", Sha256::digest(text))
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

/// What SQLite says of the temporary copy of the file at `path`.
fn temporary(path: &Path) -> impl Fn(rusqlite::Error) -> Error + Copy + '_ {
    move |source| {
        let copy = PathBuf::from(format!("the temporary copy of {}", path.display()));
        Error::sqlite(&copy)(source)
    }
}

#[cfg(test)]
mod tests;
