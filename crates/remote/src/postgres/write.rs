//! Documents and chunks: writing and removing.

use super::collections::kind;
use super::queries::{Queries as _, SqlValue};
use kokeshi_store::backend::{latest, terms_of};
use kokeshi_store::{Document, Provenance, Storage};
use pgvector::{HalfVector, Vector};
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{Kind, ToSql, Type};
use postgres::{Error, Transaction};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Columns of a chunk.
const CHUNK: &str = "document, ordinal, first_byte, end_byte, first_line, last_line, page, text, \
                     metadata, terms, embedding";

/// `text` with U+FFFD for U+0000, which texts in PostgreSQL cannot contain.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Writes `documents`, replacing those with the same paths.
pub(super) fn upsert(
    transaction: &mut Transaction<'_>,
    collection: i64,
    provenance: &Provenance,
    documents: &[Document],
) -> Result<(), Error> {
    let documents = latest(documents);
    let ids = write_documents(transaction, collection, &documents)?;
    let old: Vec<i64> = ids.values().copied().collect();
    let sql = format!("DELETE FROM kokeshi.chunks_{collection} WHERE document = ANY($1)");
    transaction.change(&sql, &[&old])?;
    copy(transaction, collection, provenance, (&documents, &ids, 0))
}

/// Adds the chunks of `document` after its `first` ones, and replaces its other fields. A call that
/// is repeated because its answer was lost writes nothing twice.
pub(super) fn append(
    transaction: &mut Transaction<'_>,
    collection: i64,
    provenance: &Provenance,
    (document, first): (&Document, usize),
) -> Result<(), Error> {
    let ids = write_documents(transaction, collection, &[document])?;
    let old: Vec<i64> = ids.values().copied().collect();
    let sql = format!(
        "DELETE FROM kokeshi.chunks_{collection} WHERE document = ANY($1) AND ordinal >= $2"
    );
    let from = i32::try_from(first).unwrap_or(i32::MAX);
    transaction.change(&sql, &[&old, &from])?;
    copy(transaction, collection, provenance, (&[document], &ids, from))
}

/// Writes the chunks of documents with these ids, whose first ordinal is `first`.
fn copy(
    transaction: &mut Transaction<'_>,
    collection: i64,
    provenance: &Provenance,
    (documents, ids, first): (&[&Document], &HashMap<String, i64>, i32),
) -> Result<(), Error> {
    let types = column_types(provenance);
    let sql = format!("COPY kokeshi.chunks_{collection} ({CHUNK}) FROM STDIN BINARY");
    let mut rows = BinaryCopyInWriter::new(transaction.copy_in(&sql)?, &types);
    for document in documents {
        if let Some(id) = ids.get(&*storable(&document.path)) {
            write_chunks(&mut rows, (*id, first), provenance.storage, document)?;
        }
    }
    rows.finish().map(drop)
}

/// Writes those of `documents` whose paths are new, and returns how many.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    collection: i64,
    provenance: &Provenance,
    documents: &[Document],
) -> Result<usize, Error> {
    // Other writers wait until this ends; readers do not.
    transaction.batch_execute(&format!(
        "LOCK TABLE kokeshi.documents_{collection} IN SHARE ROW EXCLUSIVE MODE"
    ))?;
    let paths: Vec<Cow<'_, str>> =
        documents.iter().map(|document| storable(&document.path)).collect();
    let sql = format!("SELECT path FROM kokeshi.documents_{collection} WHERE path = ANY($1)");
    let existing: HashSet<String> =
        transaction.rows(&sql, &[&paths])?.iter().map(|row| row.get(0)).collect();
    let new: Vec<Document> = documents
        .iter()
        .filter(|document| !existing.contains(&*storable(&document.path)))
        .cloned()
        .collect();
    upsert(transaction, collection, provenance, &new)?;
    Ok(new.len())
}

/// Writes the rows of `documents`, and returns their ids by path.
fn write_documents(
    transaction: &mut Transaction<'_>,
    collection: i64,
    documents: &[&Document],
) -> Result<HashMap<String, i64>, Error> {
    let texts = |field: fn(&Document) -> &str| -> Vec<String> {
        documents.iter().map(|document| storable(field(document)).into_owned()).collect()
    };
    let (paths, hashes) = (texts(|document| &document.path), texts(|document| &document.hash));
    let formats = texts(|document| &document.format);
    let modified: Vec<i64> = documents.iter().map(|document| document.modified).collect();
    let sizes: Vec<i64> = documents.iter().map(|document| document.size.cast_signed()).collect();
    let metadata: Vec<String> = documents
        .iter()
        .map(|document| Value::Object(document.metadata.clone()).to_string())
        .collect();
    let sql = format!(
        "INSERT INTO kokeshi.documents_{collection} (path, hash, modified, size, format, metadata) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) \
         ON CONFLICT (path) DO UPDATE SET hash = excluded.hash, modified = excluded.modified, \
         size = excluded.size, format = excluded.format, metadata = excluded.metadata \
         RETURNING path, id"
    );
    let values: [&dyn SqlValue; 6] = [&paths, &hashes, &modified, &sizes, &formats, &metadata];
    let rows = transaction.rows(&sql, &values)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The types of the columns of [`CHUNK`]. The rows do not contain the id of the type of vectors,
/// which is another one in every database.
fn column_types(provenance: &Provenance) -> [Type; 11] {
    let vectors = Type::new(kind(provenance).to_owned(), 0, Kind::Simple, String::new());
    [
        Type::INT8,
        Type::INT4,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT_ARRAY,
        vectors,
    ]
}

fn write_chunks(
    rows: &mut BinaryCopyInWriter<'_>,
    (id, first): (i64, i32),
    storage: Storage,
    document: &Document,
) -> Result<(), Error> {
    for (ordinal, chunk) in (first..).zip(&document.chunks) {
        let location = &chunk.location;
        let limits = [location.bytes.start, location.bytes.end, location.lines.0, location.lines.1];
        let [first_byte, end_byte, first_line, last_line] = limits.map(|limit| limit as i64);
        let page = location.page.map(|page| page as i64);
        let (text, metadata) = (storable(&chunk.text), Value::Object(chunk.metadata.clone()));
        let (metadata, terms) =
            (metadata.to_string(), terms_of(&chunk.metadata, &document.metadata));
        let vector: Box<dyn ToSql + Sync> = match storage {
            Storage::F32 => Box::new(Vector::from(chunk.vector.clone())),
            _ => Box::new(HalfVector::from_f32_slice(&chunk.vector)),
        };
        rows.write(&[
            &id,
            &ordinal,
            &first_byte,
            &end_byte,
            &first_line,
            &last_line,
            &page,
            &text,
            &metadata,
            &terms,
            &*vector,
        ])?;
    }
    Ok(())
}

/// Removes the documents at `paths`, and returns how many existed.
pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    collection: i64,
    paths: &[String],
) -> Result<usize, Error> {
    let sql = format!("DELETE FROM kokeshi.documents_{collection} WHERE path = ANY($1)");
    Ok(transaction.change(&sql, &[&paths])? as usize)
}

/// Records times and sizes of files with unchanged content.
pub(super) fn set_seen(
    transaction: &mut Transaction<'_>,
    collection: i64,
    seen: &[(String, i64, u64)],
) -> Result<(), Error> {
    let paths: Vec<&str> = seen.iter().map(|(path, _, _)| path.as_str()).collect();
    let modified: Vec<i64> = seen.iter().map(|(_, modified, _)| *modified).collect();
    let sizes: Vec<i64> = seen.iter().map(|(_, _, size)| size.cast_signed()).collect();
    let sql = format!(
        "UPDATE kokeshi.documents_{collection} AS document SET modified = new.modified, size = new.size \
         FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS new (path, modified, size) \
         WHERE document.path = new.path"
    );
    transaction.change(&sql, &[&paths, &modified, &sizes]).map(drop)
}
