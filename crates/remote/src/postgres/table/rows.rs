//! Rows as documents and chunks.

use super::columns::Column;
use super::guard::{hash, vector_hash};
use super::schema::TableSchema;
use crate::postgres::queries::{Queries as _, SqlValue, vector_text};
use kokeshi_store::{Chunk, ChunkLocation, Counts, Document, Entry, Hit, Query, RankContribution};
use postgres::{Error, Row, Transaction};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Rows requested per hit, if some conditions must be checked here.
const ROWS_PER_HIT: usize = 8;

fn number<T: TryFrom<i64> + Default>(row: &Row, at: usize) -> T {
    T::try_from(row.get::<_, i64>(at)).unwrap_or_default()
}

/// Documents that meet `condition`. In a column that kokeshi created, only documents with at least
/// one vector exist, and those that lack a vector have no hash, because they are not completely
/// written.
fn listed(
    transaction: &mut Transaction<'_>,
    (schema, column): (&TableSchema, &Column),
    (condition, limit): (&str, usize),
    values: &[&dyn SqlValue],
) -> Result<Vec<Entry>, Error> {
    let (TableSchema { table, text, key, .. }, order) = (schema, schema.order(""));
    let vector = column.sql();
    // `ORDER BY old.KEY`: without `old`, it would order by the result column, which is a text.
    let having = if column.is_own { format!("HAVING count({vector}) > 0") } else { String::new() };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let hash = hash(schema, column);
    let sql = format!(
        "SELECT {key}::text, md5(string_agg({hash}, '' ORDER BY {order})), count(*), \
         count({vector}), sum(octet_length({text}::text))::bigint FROM {table} AS old \
         WHERE {text} IS NOT NULL AND {condition} GROUP BY {key} {having} ORDER BY old.{key} LIMIT {limit}"
    );
    let entry = |row: &Row| {
        let (chunks, vectors): (usize, usize) = (number(row, 2), number(row, 3));
        let is_complete = !column.is_own || chunks == vectors;
        Entry {
            path: row.get(0),
            hash: if is_complete { row.get(1) } else { String::new() },
            modified: 0,
            size: number(row, 4),
            format: "text".to_owned(),
            chunks,
        }
    };
    Ok(transaction.rows(&sql, values)?.iter().map(entry).collect())
}

/// Up to `limit` documents in the order of the key, after `after`.
pub(super) fn list_after(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
    after: &str,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let TableSchema { key, key_type, .. } = schema;
    if after.is_empty() {
        let condition = format!("{key} IS NOT NULL");
        return listed(transaction, (schema, column), (&condition, limit), &[]);
    }
    let condition = format!("{key} > $1::text::{key_type}");
    listed(transaction, (schema, column), (&condition, limit), &[&after])
}

pub(super) fn entries(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
    paths: &[String],
) -> Result<Vec<Entry>, Error> {
    let TableSchema { key, key_type, .. } = schema;
    let condition = format!("{key} = ANY($1::text[]::{key_type}[])");
    listed(transaction, (schema, column), (&condition, usize::MAX), &[&paths])
}

/// The documents at `paths`, with all chunks; in a column that kokeshi created, with those that
/// have vectors.
pub(super) fn documents(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
    paths: &[String],
) -> Result<Vec<Document>, Error> {
    let mut found: HashMap<String, Document> = HashMap::new();
    for entry in entries(transaction, schema, column, paths)? {
        let document = Document {
            path: entry.path.clone(),
            hash: entry.hash,
            modified: entry.modified,
            size: entry.size,
            format: entry.format,
            metadata: Map::new(),
            chunks: Vec::new(),
        };
        found.insert(entry.path, document);
    }
    let TableSchema { table, id, text, key, key_type, .. } = schema;
    let (vector, order) = (column.sql(), schema.order("old."));
    let has_vector =
        if column.is_own { format!("AND {vector} IS NOT NULL") } else { String::new() };
    let sql = format!(
        "SELECT {key}::text, {id}::text, {text}::text, {vector}::real[] FROM {table} AS old \
         WHERE {text} IS NOT NULL AND {key} = ANY($1::text[]::{key_type}[]) {has_vector} ORDER BY {order}"
    );
    for row in transaction.rows(&sql, &[&paths])? {
        if let Some(document) = found.get_mut(row.get::<_, &str>(0)) {
            document.chunks.push(chunk(&row));
        }
    }
    Ok(found.into_values().collect())
}

fn chunk(row: &Row) -> Chunk {
    let vector: Option<Vec<f32>> = row.get(3);
    let id = Value::String(row.get(1));
    Chunk {
        // Its location in the document is unknown.
        location: ChunkLocation::default(),
        text: row.get(2),
        metadata: Map::from_iter([("id".to_owned(), id)]),
        vector: vector.unwrap_or_default(),
    }
}

pub(super) fn count(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<Counts, Error> {
    let TableSchema { table, text, key, .. } = schema;
    let counted = if column.is_own { column.sql() } else { "*".to_owned() };
    let sql = format!(
        "SELECT count(*), coalesce(sum(vectors), 0)::bigint FROM (SELECT count({counted}) AS vectors \
         FROM {table} WHERE {text} IS NOT NULL GROUP BY {key} HAVING count({counted}) > 0) AS documents"
    );
    let row = transaction.row(&sql, &[])?;
    Ok(Counts { documents: number(&row, 0), chunks: number(&row, 1) })
}

/// Whether every row with a text has a vector.
pub(super) fn is_complete(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<bool, Error> {
    let (TableSchema { table, text, .. }, vector) = (schema, column.sql());
    let sql = format!(
        "SELECT NOT EXISTS (SELECT 1 FROM {table} WHERE {text} IS NOT NULL AND {vector} IS NULL)"
    );
    Ok(transaction.row(&sql, &[])?.get(0))
}

/// Whether every row has a vector.
pub(super) fn is_full(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<bool, Error> {
    let (table, vector) = (&schema.table, column.sql());
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {table} WHERE {vector} IS NULL)");
    Ok(transaction.row(&sql, &[])?.get(0))
}

/// Writes the vectors of rows whose texts have not changed since; with `only_new`, only to rows
/// without a vector, so that concurrent writes of other processes are kept.
pub(super) fn write(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
    documents: &[Document],
    only_new: bool,
) -> Result<(), Error> {
    let chunks = || documents.iter().flat_map(|document| &document.chunks);
    let id = |chunk: &Chunk| chunk.metadata.get("id").and_then(Value::as_str).map(str::to_owned);
    let ids: Vec<Option<String>> = chunks().map(id).collect();
    let texts: Vec<&str> = chunks().map(|chunk| chunk.text.as_str()).collect();
    let storage = column.provenance.storage;
    let vectors = chunks().map(|chunk| vector_text(&storage.rounded(&chunk.vector)));
    let vectors: Vec<String> = vectors.collect();
    let TableSchema { table, id, id_type, text, .. } = schema;
    let (vector, kind) = (column.sql(), column.type_name(schema));
    let is_missing = if only_new { format!("AND it.{vector} IS NULL") } else { String::new() };
    let mut sql = format!(
        "UPDATE {table} AS it SET {vector} = given.vector::{kind} FROM \
         unnest($1::text[], $2::text[], $3::text[]) AS given (id, text, vector) \
         WHERE it.{id} = given.id::{id_type} AND it.{text}::text = given.text {is_missing}"
    );
    if column.has_record {
        let (record, hash) = (column.record(schema), vector_hash(schema, column, "vector"));
        sql = format!(
            "WITH written AS ({sql} RETURNING it.{id} AS id, given.text AS text, it.{vector} AS vector) \
             INSERT INTO {record} SELECT id, md5(text)::uuid, {hash} FROM written WHERE vector IS NOT NULL \
             ON CONFLICT (id) DO UPDATE SET text = excluded.text, vector = excluded.vector"
        );
    }
    transaction.change(&sql, &[&ids, &texts, &vectors]).map(drop)
}

/// The nearest rows.
pub(super) fn search(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
    query: &Query<'_>,
) -> Result<Vec<Hit>, Error> {
    let TableSchema { table, id, text, key, .. } = schema;
    let (vector, kind) = (column.sql(), column.type_name(schema));
    let query_vector = vector_text(&column.provenance.storage.rounded(query.vector));
    // PostgreSQL uses the index only to order by the bare operator.
    let distance = format!("{vector} OPERATOR({}.<=>) $1::text::{kind}", schema.vectors);
    let order = if query.exact { format!("({distance}) + 0") } else { distance.clone() };
    let rows_per_hit =
        if query.filter.reads_paths() || query.filter.reads_metadata() { ROWS_PER_HIT } else { 1 };
    let limit = i64::try_from(query.limit.saturating_mul(rows_per_hit)).unwrap_or(i64::MAX);
    // The index of a row in its document is the number of rows before it.
    let ordinal = match schema.is_grouped {
        true => format!(
            "(SELECT count(*) FROM {table} AS other WHERE other.{key} = found.{key} AND \
             ({}) < ({}) AND other.{text} IS NOT NULL)",
            schema.order("other."),
            schema.order("found.")
        ),
        false => "0::bigint".to_owned(),
    };
    let sql = format!(
        "SELECT {key}::text, {ordinal}, 1 - ({distance}), {text}::text, {id}::text FROM (SELECT * FROM \
         {table} WHERE {vector} IS NOT NULL AND {text} IS NOT NULL ORDER BY {order} LIMIT {limit}) AS found \
         ORDER BY {distance}, found.{id}"
    );
    transaction.batch_execute(
        "SET LOCAL hnsw.ef_search = 200; SET LOCAL hnsw.iterative_scan = strict_order",
    )?;
    let hits = transaction.rows(&sql, &[&query_vector])?;
    let hits = hits.iter().filter(|row| query.filter.matches_path(row.get(0))).map(hit);
    let none = Map::new();
    let hits = hits.filter(|hit| query.filter.matches_metadata(&hit.metadata, &none));
    let ranked = |(at, hit): (usize, Hit)| {
        let dense = Some(RankContribution { rank: at + 1, score: hit.score });
        Hit { dense, ..hit }
    };
    Ok(hits.take(query.limit).enumerate().map(ranked).collect())
}

fn hit(row: &Row) -> Hit {
    Hit {
        score: row.get::<_, f64>(2) as f32,
        dense: None,
        words: None,
        path: row.get(0),
        format: "text".to_owned(),
        ordinal: number(row, 1),
        location: ChunkLocation::default(),
        text: row.get(3),
        metadata: Map::from_iter([("id".to_owned(), Value::String(row.get(4)))]),
    }
}
