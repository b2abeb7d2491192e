//! Documents and chunks: listing and reading.

use super::queries::{Queries as _, SqlValue};
use kokeshi_store::{Chunk, ChunkLocation, Counts, Document, Entry};
use postgres::{Error, Row, Transaction};
use serde_json::{Map, Value};
use std::collections::HashMap;

fn entries_where(
    transaction: &mut Transaction<'_>,
    collection: i64,
    condition: &str,
    values: &[&dyn SqlValue],
) -> Result<Vec<Entry>, Error> {
    let sql = format!(
        "SELECT path, hash, modified, size, format, (SELECT count(*) FROM \
         kokeshi.chunks_{collection} WHERE document = id) FROM kokeshi.documents_{collection} \
         {condition}"
    );
    let entry = |row: &Row| Entry {
        path: row.get(0),
        hash: row.get(1),
        modified: row.get(2),
        size: row.get::<_, i64>(3).cast_unsigned(),
        format: row.get(4),
        chunks: row.get::<_, i64>(5) as usize,
    };
    Ok(transaction.rows(&sql, values)?.iter().map(entry).collect())
}

/// All documents, by path.
pub(super) fn list(
    transaction: &mut Transaction<'_>,
    collection: i64,
) -> Result<Vec<Entry>, Error> {
    entries_where(transaction, collection, "ORDER BY path", &[])
}

/// Up to `limit` documents after the path `after`.
pub(super) fn list_after(
    transaction: &mut Transaction<'_>,
    collection: i64,
    after: &str,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let condition = "WHERE path > $1 ORDER BY path LIMIT $2";
    entries_where(transaction, collection, condition, &[&after, &limit])
}

/// Those of the documents at `paths` that exist.
pub(super) fn entries(
    transaction: &mut Transaction<'_>,
    collection: i64,
    paths: &[String],
) -> Result<Vec<Entry>, Error> {
    entries_where(transaction, collection, "WHERE path = ANY($1)", &[&possible(paths)])
}

/// Those of `paths` that can be in the database, where no text contains U+0000.
fn possible(paths: &[String]) -> Vec<&str> {
    paths.iter().map(String::as_str).filter(|path| !path.contains('\0')).collect()
}

/// Those of the documents at `paths` that exist, with their chunks and vectors.
pub(super) fn documents(
    transaction: &mut Transaction<'_>,
    collection: i64,
    paths: &[String],
) -> Result<Vec<Document>, Error> {
    let sql = format!(
        "SELECT id, path, hash, modified, size, format, metadata \
         FROM kokeshi.documents_{collection} WHERE path = ANY($1)"
    );
    let mut found: HashMap<i64, Document> = HashMap::new();
    for row in transaction.rows(&sql, &[&possible(paths)])? {
        let document = Document {
            path: row.get(1),
            hash: row.get(2),
            modified: row.get(3),
            size: row.get::<_, i64>(4).cast_unsigned(),
            format: row.get(5),
            metadata: metadata(row.get(6)),
            chunks: Vec::new(),
        };
        found.insert(row.get(0), document);
    }
    let ids: Vec<i64> = found.keys().copied().collect();
    let sql = format!(
        "SELECT document, first_byte, end_byte, first_line, last_line, page, text, metadata, \
         embedding::real[] FROM kokeshi.chunks_{collection} WHERE document = ANY($1) \
         ORDER BY document, ordinal"
    );
    for row in transaction.rows(&sql, &[&ids])? {
        if let Some(document) = found.get_mut(&row.get(0)) {
            document.chunks.push(chunk(&row));
        }
    }
    Ok(found.into_values().collect())
}

fn chunk(row: &Row) -> Chunk {
    let number = |at| row.get::<_, i64>(at) as usize;
    Chunk {
        location: ChunkLocation {
            bytes: number(1)..number(2),
            lines: (number(3), number(4)),
            page: row.get::<_, Option<i64>>(5).map(|page| page as usize),
        },
        text: row.get(6),
        metadata: metadata(row.get(7)),
        vector: row.get(8),
    }
}

fn metadata(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

pub(super) fn count(transaction: &mut Transaction<'_>, collection: i64) -> Result<Counts, Error> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM kokeshi.documents_{collection}), \
         (SELECT count(*) FROM kokeshi.chunks_{collection})"
    );
    let row = transaction.row(&sql, &[])?;
    let number = |at| row.get::<_, i64>(at) as usize;
    Ok(Counts { documents: number(0), chunks: number(1) })
}
