//! Collections, their aliases and their roots.

use crate::provenance::Provenance;
use crate::record::Collection;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// More dimensions than any model has.
const MAX_DIMENSIONS: usize = 1 << 20;

const COLUMNS: &str = "id, name, model, revision, passage_task, query_task, dimensions, \
                       normalised, chunking, late, storage, codes, created";

/// The collection that `name` resolves to, by its own name or an alias, with its id.
pub(super) fn find(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<(i64, Collection)>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM collections WHERE name = ?1 OR \
         id = (SELECT collection FROM aliases WHERE alias = ?1)"
    );
    connection.query_row(&sql, [name], |row| with_aliases(connection, row)).optional()
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Collection>> {
    let sql = format!("SELECT {COLUMNS} FROM collections ORDER BY name");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| Ok(with_aliases(connection, row)?.1))?;
    rows.collect()
}

/// The collection whose [`Collection::id`] is `wanted`, with its id in this file.
pub(super) fn find_id(
    connection: &Connection,
    wanted: &str,
) -> rusqlite::Result<Option<(i64, Collection)>> {
    let id = wanted.split('-').next().and_then(|id| id.parse::<i64>().ok());
    let sql = format!("SELECT {COLUMNS} FROM collections WHERE id = ?1");
    let found = connection.query_row(&sql, [id], |row| with_aliases(connection, row)).optional()?;
    Ok(found.filter(|(_, found)| found.id == wanted))
}

/// An id that is not reused, unlike that of a row.
fn public_id(id: i64, created: i64) -> String {
    format!("{id}-{created}")
}

pub(super) fn exists(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM collections WHERE name = ?1")?.exists([name])
}

fn with_aliases(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<(i64, Collection)> {
    let id: i64 = row.get(0)?;
    let sql = "SELECT alias FROM aliases WHERE collection = ?1 ORDER BY alias";
    let mut statement = connection.prepare_cached(sql)?;
    let aliases = statement.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let provenance = Provenance {
        model: row.get(2)?,
        revision: row.get(3)?,
        passage_task: row.get(4)?,
        query_task: row.get(5)?,
        dimensions: match row.get(6)? {
            dimensions if dimensions <= MAX_DIMENSIONS => dimensions,
            _ => return Err(super::blocks::damaged("a collection with too many dimensions")),
        },
        normalized: row.get(7)?,
        chunking: row.get(8)?,
        late: row.get(9)?,
        storage: parse(10, &row.get::<_, String>(10)?)?,
        codes: row.get::<_, Option<String>>(11)?.map(|text| parse(11, &text)).transpose()?,
    };
    let created: i64 = row.get(12)?;
    let name = row.get(1)?;
    Ok((id, Collection { id: public_id(id, created), name, provenance, created, aliases }))
}

fn parse<T: FromStr<Err = crate::Error>>(column: usize, text: &str) -> rusqlite::Result<T> {
    text.parse().map_err(|error: crate::Error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

pub(super) fn insert(
    connection: &Connection,
    name: &str,
    provenance: &Provenance,
) -> rusqlite::Result<()> {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let created = age.as_secs();
    // The id of a dropped collection may be reused. A process that still caches its vectors must
    // not mistake them for those of the new collection, so generations differ.
    let generation = i64::try_from(age.as_nanos()).unwrap_or(0);
    let codes = provenance.codes.map(|codes| codes.to_string());
    let values: [&dyn ToSql; 13] = [
        &name,
        &provenance.model,
        &provenance.revision,
        &provenance.passage_task,
        &provenance.query_task,
        &provenance.dimensions,
        &provenance.normalized,
        &provenance.chunking,
        &provenance.late,
        &provenance.storage.name(),
        &codes,
        &created.cast_signed(),
        &generation,
    ];
    let sql = "INSERT INTO collections (name, model, revision, passage_task, query_task, dimensions, \
               normalised, chunking, late, storage, codes, created, generation) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    connection.execute(sql, &values[..]).map(drop)
}

/// Removes the row, and with it documents, chunks, aliases and roots.
pub(super) fn delete(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM collections WHERE id = ?1", [id]).map(drop)
}

pub(super) fn set_alias(connection: &Connection, alias: &str, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO aliases (alias, collection) VALUES (?1, ?2) \
               ON CONFLICT (alias) DO UPDATE SET collection = ?2";
    connection.execute(sql, params![alias, id]).map(drop)
}

pub(super) fn rename(connection: &Connection, id: i64, name: &str) -> rusqlite::Result<()> {
    connection
        .execute("UPDATE collections SET name = ?2 WHERE id = ?1", params![id, name])
        .map(drop)
}

/// The number of the last transaction that changed the collection.
pub(super) fn generation(connection: &Connection, id: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT generation FROM collections WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))
}

/// Counts a transaction that changes the collection.
pub(super) fn count_change(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE collections SET generation = generation + 1 WHERE id = ?1";
    connection.execute(sql, [id]).map(drop)
}

pub(super) fn roots(connection: &Connection, id: i64) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT path, options FROM roots WHERE collection = ?1 ORDER BY path";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

pub(super) fn set_root(
    connection: &Connection,
    id: i64,
    path: &str,
    options: &str,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO roots (collection, path, options) VALUES (?1, ?2, ?3) \
               ON CONFLICT (collection, path) DO UPDATE SET options = ?3";
    connection.execute(sql, params![id, path, options]).map(drop)
}

pub(super) fn remove_root(connection: &Connection, id: i64, path: &str) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM roots WHERE collection = ?1 AND path = ?2";
    Ok(connection.execute(sql, params![id, path])? > 0)
}

pub(super) fn note(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0)).optional()
}

pub(super) fn set_note(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) \
               ON CONFLICT (key) DO UPDATE SET value = ?2";
    connection.execute(sql, [key, value]).map(drop)
}
