//! Foreign rows with texts, and perhaps vectors, which are only read: JSONL and Parquet files, and
//! collections of vector databases.
//!
//! Rows are not ordered by document. So all of them are read once, into a temporary database, which
//! is on disk whatever its size and is deleted when the process ends.

mod jsonl;
#[cfg(not(feature = "parquet"))]
mod no_parquet;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_value;
mod writer;

#[cfg(not(feature = "parquet"))]
use no_parquet as parquet;

use crate::error::{Error, Result};
use crate::fields::{Field, Fields};
use crate::provenance::Provenance;
use crate::record::{Chunk, ChunkLocation, Collection, Counts, Document, Entry};
use crate::storage::Storage;
use crate::traits::Source;
pub use jsonl::keep_long_numbers;
use rusqlite::{Connection, params};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use writer::RowWriter;

/// The field of documents in files, unless another one is named.
const DOCUMENT: &str = "doc_id";
/// Extensions of files of rows.
const EXTENSIONS: [&str; 3] = ["jsonl", "ndjson", "parquet"];

const CREATE_TABLE: &str = "
CREATE TABLE rows (
    id TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    number INTEGER NOT NULL,
    -- Its position in its document, if rows have one: numbers come before texts.
    position,
    text TEXT NOT NULL,
    hash TEXT NOT NULL,
    metadata TEXT NOT NULL,
    vector BLOB
);
";
const CREATE_INDEX: &str = "CREATE INDEX by_path ON rows (path, position, number)";

/// A foreign row.
#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Its number, from 1.
    pub number: usize,
    /// Its id, unique in its source.
    pub id: String,
    /// The document it belongs to; `None` if it is one by itself.
    pub document: Option<String>,
    /// Its text.
    pub text: String,
    /// All its other fields.
    pub metadata: Map<String, Value>,
    /// Its vector, `[dimensions]`.
    pub vector: Option<Vec<f32>>,
}

/// The names of the fields of a file's rows.
struct FieldNames<'a> {
    id: &'a str,
    text: &'a str,
    document: &'a str,
    vector: &'a str,
}

/// The key of a row's id in the metadata of its chunk.
const ID: &str = "id";

/// `fields` with the id of their row. A field that is called the same, and has another value, keeps
/// its value under the name and an underscore.
pub fn with_id(mut fields: Map<String, Value>, id: &str) -> Map<String, Value> {
    insert_own(&mut fields, ID, Value::String(id.to_owned()));
    fields
}

/// Inserts a value that is not a field under `name`. A field of this name that has another value
/// keeps it under this name and an underscore.
pub fn insert_own(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let is_same = |old: &Value| *old == value || value.as_str() == Some(&old.to_string());
    if let Some(old) = fields.remove(name).filter(|old| !is_same(old)) {
        let new = renamed(fields, name);
        fields.insert(new, old);
    }
    fields.insert(name.to_owned(), value);
}

/// The first free name for a field called `name`: that with as few underscores at its end as
/// possible.
fn renamed(fields: &Map<String, Value>, name: &str) -> String {
    let mut new = format!("{name}_");
    while fields.contains_key(&new) {
        new.push('_');
    }
    new
}

/// Whether any row of a source has a text: one without is passed over, but a source without a single
/// text is not what the user meant.
#[derive(Debug, Default)]
pub struct Texts {
    has_any: bool,
    first_lacking: Option<Error>,
}

impl Texts {
    /// Counts a row with a text.
    pub fn seen(&mut self, row: SourceRow) -> SourceRow {
        self.has_any = true;
        row
    }

    /// Counts a row without a text, of which `error` reports that.
    pub fn lacking(&mut self, error: impl FnOnce() -> Error) {
        self.first_lacking.get_or_insert_with(error);
    }

    /// Ends the source.
    ///
    /// # Errors
    ///
    /// That of the first row without a text, if no row has one.
    pub fn finish(self) -> Result<()> {
        match self.first_lacking {
            Some(error) if !self.has_any => Err(error),
            _ => Ok(()),
        }
    }
}

/// All rows of a file or a foreign collection, as a source of one collection.
#[derive(Debug)]
pub struct Rows {
    /// The file or server that they are from.
    path: PathBuf,
    /// The name of the collection: for a file, its field of vectors.
    vector: String,
    /// Another name of the collection.
    alias: Option<String>,
    /// Dimensions of the vectors; 0 if rows have none.
    dimensions: usize,
    /// How the vectors were stored.
    storage: Storage,
    rows: Connection,
}

/// Whether the extension of `path` is that of a file of rows.
pub(crate) fn is_rows(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Rows as JSON objects.
pub type JsonRows = Box<dyn Iterator<Item = Result<Map<String, Value>>>>;

/// The rows of the Parquet file at `path`.
///
/// # Errors
///
/// If it cannot be read; [`Error::MissingFeature`] in a build without the feature `parquet`.
pub fn parquet_rows(path: &Path) -> Result<JsonRows> {
    parquet::objects(path)
}

/// The field called `name`, given its value in one row.
pub fn field_of(name: &str, value: &Value) -> Field {
    let is_text = value.is_string();
    Field { name: name.to_owned(), is_text, is_key: is_text || value.is_i64() || value.is_u64() }
}

impl Rows {
    /// Reads the file at `path`, with its vectors in the field `vector`.
    ///
    /// # Errors
    ///
    /// If it cannot be read; if a row lacks its id or text, has the id of another row, or has a
    /// vector of another width than those before or with values that are not finite; if no space is
    /// left for temporary files; for Parquet, [`Error::MissingFeature`] in a build without the
    /// feature `parquet`.
    pub fn read(path: &Path, fields: &Fields, vector: &str) -> Result<Self> {
        let names = FieldNames {
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
    pub fn fields(path: &Path) -> Result<Vec<Field>> {
        match is_parquet(path) {
            true => parquet::fields(path),
            false => jsonl::fields(path),
        }
    }

    /// The rows that `fill` passes to its argument, as the collection `vector` of a source that
    /// messages call `path`. The rows of a document are ordered by the field that `fields` names,
    /// or else as `fill` passes them.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and those of `fill`.
    pub fn filled(
        path: &Path,
        vector: &str,
        fields: &Fields,
        fill: impl FnOnce(&mut dyn FnMut(SourceRow) -> Result<()>) -> Result<()>,
    ) -> Result<Self> {
        let fail = temporary(path);
        let mut rows = Connection::open("").map_err(fail)?;
        rows.execute_batch(CREATE_TABLE).map_err(fail)?;
        let mut writer = RowWriter { path, order: fields.order.as_deref(), dimensions: None };
        let transaction = rows.transaction().map_err(fail)?;
        fill(&mut |row| writer.add(&transaction, row))?;
        transaction.execute_batch(CREATE_INDEX).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        let dimensions = writer.dimensions.flatten().unwrap_or(0);
        let (path, vector) = (path.to_owned(), vector.to_owned());
        Ok(Self { path, vector, alias: None, dimensions, storage: Storage::F32, rows })
    }

    /// The same rows, with vectors that were stored as `storage`.
    #[must_use]
    pub fn stored_as(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// The same rows, whose collection also has the name `alias`.
    #[must_use]
    pub fn with_alias(self, alias: Option<String>) -> Self {
        Self { alias, ..self }
    }

    /// All documents, in order.
    ///
    /// # Errors
    ///
    /// If the temporary database fails.
    pub fn all(&self) -> Result<Vec<Entry>> {
        self.listed("true GROUP BY path ORDER BY path", [])
    }

    fn is(&self, collection: &str) -> bool {
        collection == self.vector || self.alias.as_deref() == Some(collection)
    }

    fn check_name(&self, collection: &str) -> Result<()> {
        if self.is(collection) {
            return Ok(());
        }
        let names = [self.vector.as_str()];
        Err(Error::unknown_collection(collection, self.name(), names.into_iter()))
    }

    /// Documents that meet `condition`, in order.
    fn listed(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Entry>> {
        let sql = format!(
            "SELECT path, group_concat(hash, '' ORDER BY position, number), sum(length(CAST(text AS BLOB))), \
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
        let sql =
            "SELECT text, metadata, vector FROM rows WHERE path = ?1 ORDER BY position, number";
        let mut statement = self.rows.prepare_cached(sql).map_err(fail)?;
        let chunk = |row: &rusqlite::Row<'_>| {
            let (metadata, vector): (String, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
            Ok(Chunk {
                // Its location in the document is unknown.
                location: ChunkLocation::default(),
                text: row.get(0)?,
                metadata: serde_json::from_str(&metadata).unwrap_or_default(),
                vector: vector.map_or_else(Vec::new, |bytes| to_vector(&bytes)),
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
        Ok(found.then_some(Collection {
            id: own.clone(),
            name: own,
            provenance,
            created: 0,
            aliases,
        }))
    }

    fn list_after(&self, collection: &str, after: &str, limit: usize) -> Result<Vec<Entry>> {
        self.check_name(collection)?;
        self.listed("path > ?1 GROUP BY path ORDER BY path LIMIT ?2", params![after, limit])
    }

    fn entries(&self, collection: &str, paths: &[String]) -> Result<Vec<Entry>> {
        self.check_name(collection)?;
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
        self.check_name(collection)?;
        let sql = "SELECT count(DISTINCT path), count(*) FROM rows";
        let counts =
            |row: &rusqlite::Row<'_>| Ok(Counts { documents: row.get(0)?, chunks: row.get(1)? });
        self.rows.query_row(sql, [], counts).map_err(temporary(&self.path))
    }
}

/// Names of fields, as messages list them.
fn listed_names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
}

/// A hash of `text`, in 32 hexadecimal digits.
fn hash(text: &str) -> String {
    format!("{:.32x}", Sha256::digest(text))
}

fn to_vector(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

/// Turns an error of SQLite about the temporary copy of `path` into one that people can act on.
fn temporary(path: &Path) -> impl Fn(rusqlite::Error) -> Error + Copy + '_ {
    move |source| {
        let copy = PathBuf::from(format!("the temporary copy of {}", path.display()));
        Error::sqlite(&copy)(source)
    }
}

#[cfg(test)]
mod tests;
