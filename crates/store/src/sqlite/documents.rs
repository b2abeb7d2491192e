//! Documents and chunks: writing, removing, listing.

use super::blocks::{Allocation, BlockTable, VectorRows};
use super::collections;
use crate::provenance::Provenance;
use crate::record::{Chunk, ChunkLocation, Counts, Document, Entry};
use crate::words;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde_json::{Map, Value};

/// Writes `documents`, replacing those with the same paths.
pub(super) fn upsert(
    connection: &Connection,
    collection: i64,
    provenance: &Provenance,
    documents: &[Document],
) -> rusqlite::Result<()> {
    let mut slots = Allocation::begin(connection, collection)?;
    let mut rows = vector_rows(connection, collection, provenance);
    for document in documents {
        let old = find(connection, collection, &document.path)?;
        if let Some(id) = old {
            remove_chunks(connection, id, &mut slots)?;
        }
        let id = write_document(connection, collection, old, document)?;
        write_chunks(connection, (collection, id, 0), document, (&mut slots, &mut rows))?;
    }
    drop(rows);
    slots.end()?;
    collections::count_change(connection, collection)
}

/// Adds the chunks of `document` after its `first` ones, and replaces its other fields.
pub(super) fn append(
    connection: &Connection,
    collection: i64,
    provenance: &Provenance,
    (document, first): (&Document, usize),
) -> rusqlite::Result<()> {
    let mut slots = Allocation::begin(connection, collection)?;
    let mut rows = vector_rows(connection, collection, provenance);
    // A document that another process has removed in the meantime is not created again.
    if let Some(id) = find(connection, collection, &document.path)? {
        update_document(connection, id, document)?;
        write_chunks(connection, (collection, id, first), document, (&mut slots, &mut rows))?;
    }
    drop(rows);
    slots.end()?;
    collections::count_change(connection, collection)
}

/// Writers of the vectors and codes of a collection.
fn vector_rows<'c>(
    connection: &'c Connection,
    collection: i64,
    provenance: &Provenance,
) -> Vec<VectorRows<'c>> {
    let tables = [BlockTable::Vectors, BlockTable::Codes].into_iter();
    let tables = tables.filter_map(|table| Some((table, table.layout(provenance)?)));
    tables.map(|(table, layout)| VectorRows::new(connection, collection, table, layout)).collect()
}

/// Writes the chunks of a document, of which the first one has the ordinal `first`.
fn write_chunks(
    connection: &Connection,
    (collection, id, first): (i64, i64, usize),
    document: &Document,
    (slots, rows): (&mut Allocation<'_>, &mut [VectorRows<'_>]),
) -> rusqlite::Result<()> {
    for (ordinal, chunk) in (first..).zip(&document.chunks) {
        let slot = slots.allocate();
        write_chunk(connection, (collection, id, ordinal, slot), chunk)?;
        for rows in &mut *rows {
            rows.write(slot, &chunk.vector)?;
        }
    }
    Ok(())
}

/// Writes those of `documents` whose paths are new, and returns how many.
pub(super) fn insert(
    connection: &Connection,
    collection: i64,
    provenance: &Provenance,
    documents: &[Document],
) -> rusqlite::Result<usize> {
    let mut new = Vec::new();
    for document in documents {
        if find(connection, collection, &document.path)?.is_none() {
            new.push(document.clone());
        }
    }
    upsert(connection, collection, provenance, &new)?;
    Ok(new.len())
}

/// Removes the documents at `paths`, and returns how many existed.
pub(super) fn remove(
    connection: &Connection,
    collection: i64,
    paths: &[String],
) -> rusqlite::Result<usize> {
    let mut slots = Allocation::begin(connection, collection)?;
    let mut removed = 0;
    for path in paths {
        if let Some(id) = find(connection, collection, path)? {
            remove_chunks(connection, id, &mut slots)?;
            removed += connection.execute("DELETE FROM documents WHERE id = ?1", [id])?;
        }
    }
    slots.end()?;
    collections::count_change(connection, collection)?;
    Ok(removed)
}

/// Records times and sizes of files with unchanged content.
pub(super) fn set_seen(
    connection: &Connection,
    collection: i64,
    seen: &[(String, i64, u64)],
) -> rusqlite::Result<()> {
    let sql = "UPDATE documents SET modified = ?3, size = ?4 WHERE collection = ?1 AND path = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    for (path, modified, size) in seen {
        statement.execute(params![collection, path, modified, size.cast_signed()])?;
    }
    Ok(())
}

fn find(connection: &Connection, collection: i64, path: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM documents WHERE collection = ?1 AND path = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![collection, path], |row| row.get(0)).optional()
}

fn write_document(
    connection: &Connection,
    collection: i64,
    old: Option<i64>,
    document: &Document,
) -> rusqlite::Result<i64> {
    let metadata = Value::Object(document.metadata.clone()).to_string();
    let sql = "INSERT OR REPLACE INTO documents \
               (id, collection, path, hash, modified, size, format, metadata) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let size = document.size.cast_signed();
    let values: [&dyn ToSql; 8] = [
        &old,
        &collection,
        &document.path,
        &document.hash,
        &document.modified,
        &size,
        &document.format,
        &metadata,
    ];
    connection.prepare_cached(sql)?.execute(&values[..])?;
    Ok(old.unwrap_or_else(|| connection.last_insert_rowid()))
}

/// Replaces the fields of a document, and keeps its chunks.
fn update_document(connection: &Connection, id: i64, document: &Document) -> rusqlite::Result<()> {
    let metadata = Value::Object(document.metadata.clone()).to_string();
    let Document { hash, modified, size, format, .. } = document;
    let sql = "UPDATE documents SET hash = ?2, modified = ?3, size = ?4, format = ?5, \
               metadata = ?6 WHERE id = ?1";
    let size = size.cast_signed();
    let values = params![id, hash, modified, size, format, metadata];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Collection, document, ordinal and slot of a chunk.
type ChunkKey = (i64, i64, usize, usize);

fn write_chunk(connection: &Connection, at: ChunkKey, chunk: &Chunk) -> rusqlite::Result<()> {
    let (collection, document, ordinal, slot) = at;
    let has_own = !chunk.metadata.is_empty();
    let metadata = has_own.then(|| Value::Object(chunk.metadata.clone()).to_string());
    let sql = "INSERT INTO chunks (document, ordinal, collection, slot, first_byte, end_byte, \
               first_line, last_line, page, metadata, text) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let location = &chunk.location;
    let values: [&dyn ToSql; 11] = [
        &document,
        &ordinal,
        &collection,
        &slot,
        &location.bytes.start,
        &location.bytes.end,
        &location.lines.0,
        &location.lines.1,
        &location.page,
        &metadata,
        &chunk.text,
    ];
    connection.prepare_cached(sql)?.execute(&values[..])?;
    write_words(connection, connection.last_insert_rowid(), &chunk.text)
}

fn write_words(connection: &Connection, chunk: i64, text: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO words (rowid, text) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![chunk, words::separated(text)]).map(drop)
}

/// Writes the words again of those chunks for which the index now has others.
pub(super) fn update_words(connection: &Connection) -> rusqlite::Result<()> {
    let mut chunks = connection.prepare("SELECT id, text FROM chunks")?;
    let mut rows = chunks.query([])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        if words::are_changed(row.get_ref(1)?.as_str()?) {
            changed.push(row.get::<_, i64>(0)?);
        }
    }
    for chunk in changed {
        let sql = "SELECT text FROM chunks WHERE id = ?1";
        let text: String = connection.prepare_cached(sql)?.query_row([chunk], |row| row.get(0))?;
        connection.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([chunk])?;
        write_words(connection, chunk, &text)?;
    }
    Ok(())
}

/// Removes the chunks of a document with their words, and frees their slots.
fn remove_chunks(
    connection: &Connection,
    document: i64,
    slots: &mut Allocation<'_>,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE document = ?1)";
    connection.prepare_cached(sql)?.execute([document])?;
    let sql = "DELETE FROM chunks WHERE document = ?1 RETURNING slot";
    let mut statement = connection.prepare_cached(sql)?;
    let freed = statement.query_map([document], |row| row.get::<_, usize>(0))?;
    freed.into_iter().try_for_each(|slot| slot.map(|slot| slots.free(slot)))
}

/// Removes the words of all chunks of a collection.
pub(super) fn remove_words(connection: &Connection, collection: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM words WHERE rowid IN (SELECT id FROM chunks WHERE collection = ?1)";
    connection.execute(sql, [collection]).map(drop)
}

/// Columns of an [`Entry`].
const ENTRY: &str = "path, hash, modified, size, format, \
                     (SELECT count(*) FROM chunks WHERE document = documents.id)";

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        path: row.get(0)?,
        hash: row.get(1)?,
        modified: row.get(2)?,
        size: row.get::<_, i64>(3)?.cast_unsigned(),
        format: row.get(4)?,
        chunks: row.get(5)?,
    })
}

/// Documents by path, up to `limit` after the path `after`.
pub(super) fn list(
    connection: &Connection,
    collection: i64,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!(
        "SELECT {ENTRY} FROM documents WHERE collection = ?1 AND path > ?2 ORDER BY path LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let entries = statement.query_map(params![collection, after, limit], entry)?;
    entries.collect()
}

/// Those of the documents at `paths` that exist.
pub(super) fn entries(
    connection: &Connection,
    collection: i64,
    paths: &[String],
) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!("SELECT {ENTRY} FROM documents WHERE collection = ?1 AND path = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for path in paths {
        found.extend(statement.query_row(params![collection, path], entry).optional()?);
    }
    Ok(found)
}

/// Those of the documents at `paths` that exist, with their chunks and vectors.
pub(super) fn documents(
    connection: &Connection,
    collection: i64,
    provenance: &Provenance,
    paths: &[String],
) -> rusqlite::Result<Vec<Document>> {
    let mut rows = BlockTable::Vectors
        .layout(provenance)
        .map(|layout| VectorRows::new(connection, collection, BlockTable::Vectors, layout));
    let sql = "SELECT id, path, hash, modified, size, format, metadata FROM documents \
               WHERE collection = ?1 AND path = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = Vec::new();
    for path in paths {
        let row = statement.query_row(params![collection, path], |row| {
            let document = Document {
                path: row.get(1)?,
                hash: row.get(2)?,
                modified: row.get(3)?,
                size: row.get::<_, i64>(4)?.cast_unsigned(),
                format: row.get(5)?,
                metadata: metadata(row.get_ref(6)?.as_str_or_null()?),
                chunks: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, document))
        });
        if let Some((id, mut document)) = row.optional()? {
            document.chunks = chunks(connection, id, rows.as_mut())?;
            found.push(document);
        }
    }
    Ok(found)
}

/// The chunks of a document, in order.
fn chunks(
    connection: &Connection,
    document: i64,
    mut rows: Option<&mut VectorRows<'_>>,
) -> rusqlite::Result<Vec<Chunk>> {
    let sql = "SELECT slot, first_byte, end_byte, first_line, last_line, page, metadata, text \
               FROM chunks WHERE document = ?1 ORDER BY ordinal";
    let mut statement = connection.prepare_cached(sql)?;
    let chunks = statement.query_map([document], |row| {
        let location = ChunkLocation {
            bytes: row.get(1)?..row.get(2)?,
            lines: (row.get(3)?, row.get(4)?),
            page: row.get(5)?,
        };
        let metadata = metadata(row.get_ref(6)?.as_str_or_null()?);
        let chunk = Chunk { location, text: row.get(7)?, metadata, vector: Vec::new() };
        Ok((row.get::<_, usize>(0)?, chunk))
    })?;
    let mut found = Vec::new();
    for chunk in chunks {
        let (slot, mut chunk) = chunk?;
        if let Some(rows) = &mut rows {
            chunk.vector = rows.read(slot)?;
        }
        found.push(chunk);
    }
    Ok(found)
}

pub(super) fn count(connection: &Connection, collection: i64) -> rusqlite::Result<Counts> {
    let sql = "SELECT (SELECT count(*) FROM documents WHERE collection = ?1), \
               (SELECT count(*) FROM chunks WHERE collection = ?1)";
    connection.query_row(sql, [collection], |row| {
        Ok(Counts { documents: row.get(0)?, chunks: row.get(1)? })
    })
}

/// Parses metadata; invalid ones are empty.
pub(super) fn metadata(text: Option<&str>) -> Map<String, Value> {
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_default()
}
