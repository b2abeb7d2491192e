//! The schema: collections, their aliases and roots, and the tables of each.

use super::queries::{Queries as _, SqlValue};
use kokeshi_store::backend::now;
use kokeshi_store::{Collection, Provenance, Storage};
use postgres::{Client, Error, GenericClient, Row, Transaction};
use std::collections::HashMap;

/// The key of the writers' advisory lock: the letters of `kokeshi`.
const LOCK: i64 = 0x6b_6f6b_6573_6869;
/// Maximum dimensions of an indexed vector, for each type.
pub(super) const HALFVEC_DIMENSIONS: usize = 4000;
pub(super) const VECTOR_DIMENSIONS: usize = 2000;

/// Creates the extension and the schema unless they exist: most users may not create them.
pub(super) fn prepare(client: &mut Client) -> Result<(), Error> {
    let exist = "SELECT to_regclass('kokeshi.roots') IS NOT NULL AND EXISTS (SELECT 1 FROM pg_extension \
         WHERE extname = 'vector')";
    if client.row(exist, &[])?.get(0) {
        return Ok(());
    }
    let mut transaction = client.transaction()?;
    // Two processes may do this at the same time.
    transaction.change("SELECT pg_advisory_xact_lock($1)", &[&(LOCK + 1)])?;
    transaction.batch_execute(include_str!("schema.sql"))?;
    transaction.commit()
}

/// Takes the writers' lock for as long as `client` is connected; `false` if another process holds
/// it. The lock is that of a transaction, which stays open: a pooler would pass on a lock of a session
/// to the next client, and this one ends whatever happens to the connection.
pub(super) fn lock(client: &mut Client) -> Result<bool, Error> {
    client.batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")?;
    Ok(client.row("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK])?.get(0))
}

/// The collection that `name` resolves to, by its own name or an alias, with its id.
pub(super) fn find(
    client: &mut impl GenericClient,
    name: &str,
) -> Result<Option<(i64, Collection)>, Error> {
    let sql = "SELECT id, name, created, provenance FROM kokeshi.collections WHERE name = $1 \
               OR id = (SELECT collection FROM kokeshi.aliases WHERE alias = $1)";
    let Some(row) = client.row_if_any(sql, &[&name])? else { return Ok(None) };
    let Some((id, mut found)) = collection(&row) else { return Ok(None) };
    let sql =
        "SELECT alias FROM kokeshi.aliases WHERE collection = $1 ORDER BY alias COLLATE \"C\"";
    let aliases = client.rows(sql, &[&id])?;
    found.aliases = aliases.iter().map(|row| row.get(0)).collect();
    Ok(Some((id, found)))
}

/// The collection whose [`Collection::id`] is `id`, with its id.
pub(super) fn find_id(
    client: &mut impl GenericClient,
    id: &str,
) -> Result<Option<(i64, Collection)>, Error> {
    Ok(all(client)?.into_iter().find(|(_, found)| found.id == id))
}

pub(super) fn all(client: &mut impl GenericClient) -> Result<Vec<(i64, Collection)>, Error> {
    let sql = "SELECT collection, alias FROM kokeshi.aliases ORDER BY alias COLLATE \"C\"";
    let mut aliases: HashMap<i64, Vec<String>> = HashMap::new();
    for row in client.rows(sql, &[])? {
        aliases.entry(row.get(0)).or_default().push(row.get(1));
    }
    let sql = "SELECT id, name, created, provenance FROM kokeshi.collections \
               ORDER BY name COLLATE \"C\"";
    let mut all: Vec<_> = client.rows(sql, &[])?.iter().filter_map(collection).collect();
    for (id, found) in &mut all {
        found.aliases = aliases.remove(id).unwrap_or_default();
    }
    Ok(all)
}

fn collection(row: &Row) -> Option<(i64, Collection)> {
    let provenance = serde_json::from_str(row.get(3)).ok()?;
    let provenance = Provenance::from_json(&provenance)?;
    let (id, name, created): (i64, _, _) = (row.get(0), row.get(1), row.get(2));
    let aliases = Vec::new();
    // An identity column never repeats a value.
    Some((id, Collection { id: id.to_string(), name, provenance, created, aliases }))
}

/// Creates a collection with its two tables.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    name: &str,
    provenance: &Provenance,
    vectors: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO kokeshi.collections (name, created, provenance) VALUES ($1, $2, $3) \
               RETURNING id";
    let recorded = provenance.to_json().to_string();
    let id: i64 = transaction.row(sql, &[&name, &now(), &recorded])?.get(0);
    let vectors = format!("{vectors}.{}({})", kind(provenance), provenance.dimensions);
    transaction.batch_execute(&format!(
        "CREATE TABLE kokeshi.documents_{id} (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            path text COLLATE \"C\" NOT NULL UNIQUE,
            hash text NOT NULL,
            modified bigint NOT NULL,
            size bigint NOT NULL,
            format text NOT NULL,
            metadata text NOT NULL
        );
        CREATE TABLE kokeshi.chunks_{id} (
            document bigint NOT NULL REFERENCES kokeshi.documents_{id} ON DELETE CASCADE,
            ordinal integer NOT NULL,
            first_byte bigint NOT NULL,
            end_byte bigint NOT NULL,
            first_line bigint NOT NULL,
            last_line bigint NOT NULL,
            page bigint,
            text text NOT NULL,
            metadata text NOT NULL,
            terms text[] NOT NULL,
            embedding {vectors} NOT NULL,
            PRIMARY KEY (document, ordinal)
        );
        CREATE INDEX ON kokeshi.chunks_{id} USING gin (terms);"
    ))
}

/// The type of a collection's vectors.
pub(super) fn kind(provenance: &Provenance) -> &'static str {
    if provenance.storage == Storage::F32 { "vector" } else { "halfvec" }
}

/// The bits by which the approximate index of a collection with short lists orders; `vectors` is
/// the schema of pgvector.
pub(super) fn bits(provenance: &Provenance, vectors: &str) -> String {
    format!("{vectors}.binary_quantize(embedding)::bit({})", provenance.dimensions)
}

/// Creates the approximate index of a collection, unless it exists or the vectors have too many
/// dimensions.
pub(super) fn index(
    transaction: &mut Transaction<'_>,
    id: i64,
    provenance: &Provenance,
    vectors: &str,
) -> Result<(), Error> {
    let kind = kind(provenance);
    let max_dimensions = if kind == "vector" { VECTOR_DIMENSIONS } else { HALFVEC_DIMENSIONS };
    let by = match provenance.codes {
        Some(_) => format!("({}) {vectors}.bit_hamming_ops", bits(provenance, vectors)),
        None if provenance.dimensions > max_dimensions => return Ok(()),
        None => format!("embedding {vectors}.{kind}_cosine_ops"),
    };
    transaction.batch_execute(&format!(
        "CREATE INDEX IF NOT EXISTS nearest_{id} ON kokeshi.chunks_{id} USING hnsw ({by})"
    ))
}

/// Removes a collection with its tables, aliases and roots.
pub(super) fn delete(transaction: &mut Transaction<'_>, id: i64) -> Result<(), Error> {
    transaction.batch_execute(&format!(
        "DROP TABLE kokeshi.chunks_{id}, kokeshi.documents_{id};
         DELETE FROM kokeshi.collections WHERE id = {id};"
    ))
}

pub(super) fn set_alias(
    transaction: &mut Transaction<'_>,
    alias: &str,
    id: i64,
) -> Result<(), Error> {
    let sql = "INSERT INTO kokeshi.aliases (alias, collection) VALUES ($1, $2) \
               ON CONFLICT (alias) DO UPDATE SET collection = $2";
    transaction.change(sql, &[&alias, &id]).map(drop)
}

pub(super) fn rename(transaction: &mut Transaction<'_>, id: i64, name: &str) -> Result<(), Error> {
    let sql = "UPDATE kokeshi.collections SET name = $2 WHERE id = $1";
    transaction.change(sql, &[&id, &name]).map(drop)
}

pub(super) fn roots(
    transaction: &mut Transaction<'_>,
    id: i64,
) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT path, options FROM kokeshi.roots WHERE collection = $1 \
               ORDER BY path COLLATE \"C\"";
    let rows = transaction.rows(sql, &[&id])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(super) fn set_root(
    transaction: &mut Transaction<'_>,
    id: i64,
    path: &str,
    options: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO kokeshi.roots (collection, path, options) VALUES ($1, $2, $3) \
               ON CONFLICT (collection, path) DO UPDATE SET options = $3";
    let values: [&dyn SqlValue; 3] = [&id, &path, &options];
    transaction.change(sql, &values).map(drop)
}

pub(super) fn remove_root(
    transaction: &mut Transaction<'_>,
    id: i64,
    path: &str,
) -> Result<bool, Error> {
    let sql = "DELETE FROM kokeshi.roots WHERE collection = $1 AND path = $2";
    Ok(transaction.change(sql, &[&id, &path])? > 0)
}
