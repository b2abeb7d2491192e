//! Columns of vectors: finding, creating, renaming and removing them.

use super::super::collections::{HALFVEC_DIMENSIONS, VECTOR_DIMENSIONS, kind};
use super::schema::{TableSchema, quoted};
use kokeshi_store::{Collection, Provenance, Storage};
use postgres::{Error, Row, Transaction};
use serde_json::{Value, json};

/// Limits how long a change of the table waits for a lock, because later statements wait behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
/// The key of the provenance in a column's comment.
const COMMENT_KEY: &str = "kokeshi";

/// A column of vectors.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its current name, not quoted.
    pub(super) name: String,
    /// Its name in plans, which a column that kokeshi created keeps.
    pub(super) collection: String,
    number: i16,
    /// `vector` or `halfvec`.
    pub(super) kind: &'static str,
    pub(super) provenance: Provenance,
    /// Whether kokeshi created it: see [`create`].
    pub(super) is_own: bool,
}

impl Column {
    /// The collection that it is in a table. A number is not used again by a later column.
    pub(super) fn as_collection(&self, schema: &TableSchema) -> Collection {
        let aliases =
            if self.name == self.collection { Vec::new() } else { vec![self.name.clone()] };
        let (name, provenance) = (self.collection.clone(), self.provenance.clone());
        let id = format!("{}.{}", schema.oid, self.number);
        Collection { id, name, provenance, created: 0, aliases }
    }

    /// Its current name, quoted.
    pub(super) fn sql(&self) -> String {
        quoted(&self.name)
    }

    /// The name of its trigger and the trigger's function.
    fn guard(&self, schema: &TableSchema) -> String {
        format!("{COMMENT_KEY}_{}_{}", schema.oid, self.number)
    }
}

/// All columns of vectors, in order.
pub(super) fn all(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
) -> Result<Vec<Column>, Error> {
    let sql = "SELECT attname, typname, atttypmod, attnum, col_description(attrelid, attnum) \
               FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped \
               AND typname IN ('vector', 'halfvec') ORDER BY attnum";
    let mut all = Vec::new();
    for row in transaction.query(sql, &[&schema.oid])? {
        let mut column = column(&row);
        if column.provenance.dimensions == 0 {
            // The type of the column does not fix the width.
            let (table, name) = (&schema.table, column.sql());
            let sql =
                format!("SELECT vector_dims({name}) FROM {table} WHERE {name} IS NOT NULL LIMIT 1");
            let found = transaction.query_opt(&sql, &[])?;
            column.provenance.dimensions =
                found.map_or(0, |row| row.get::<_, i32>(0).unsigned_abs() as usize);
        }
        all.push(column);
    }
    Ok(all)
}

fn column(row: &Row) -> Column {
    let (name, number): (String, i16) = (row.get(0), row.get(3));
    let kind = if row.get::<_, &str>(1) == "vector" { "vector" } else { "halfvec" };
    let storage = if kind == "vector" { Storage::F32 } else { Storage::F16 };
    let comment: Option<Value> =
        row.get::<_, Option<&str>>(4).and_then(|comment| serde_json::from_str(comment).ok());
    let recorded = comment.and_then(|comment| {
        let recorded = &comment[COMMENT_KEY];
        Some((recorded["collection"].as_str()?.to_owned(), Provenance::from_json(recorded)?))
    });
    let dimensions = usize::try_from(row.get::<_, i32>(2)).unwrap_or(0);
    let (is_own, collection, provenance) = match recorded {
        Some((collection, provenance)) => (true, collection, provenance),
        None => (false, name.clone(), Provenance::unknown(dimensions, storage)),
    };
    Column { name, collection, number, kind, provenance, is_own }
}

/// The column whose current name is `name`, or else the one with this name in plans.
pub(super) fn find<'a>(all: &'a [Column], name: &str) -> Option<&'a Column> {
    let by_name = all.iter().find(|column| column.name == name);
    by_name.or_else(|| all.iter().find(|column| column.collection == name))
}

/// Creates a column with its comment and triggers.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    name: &str,
    provenance: &Provenance,
) -> Result<(), Error> {
    let (table, sql, kind) = (&schema.table, quoted(name), kind(provenance));
    let mut recorded = provenance.to_json();
    recorded["collection"] = json!(name);
    let comment = json!({ COMMENT_KEY: recorded }).to_string().replace('\'', "''");
    transaction.batch_execute(&format!(
        "{LOCK_TIMEOUT}; ALTER TABLE {table} ADD COLUMN {sql} {kind}({});
         COMMENT ON COLUMN {table}.{sql} IS '{comment}'",
        provenance.dimensions
    ))?;
    let all = all(transaction, schema)?;
    let triggers = find(&all, name).map(|column| create_triggers(schema, column, &column.sql()));
    triggers.into_iter().flatten().try_for_each(|statement| transaction.batch_execute(&statement))
}

/// Statements that create triggers on a column, called `name`: a row's vector is removed when the
/// row's text changes without a new vector in the same statement. If rows belong to documents, the
/// vector is also removed when the row's position or document changes; and when a row leaves a
/// document, the other rows lose their vectors, because all were computed in one pass.
fn create_triggers(schema: &TableSchema, column: &Column, name: &str) -> Vec<String> {
    let TableSchema { namespace, table, key, .. } = schema;
    let inputs = schema.vector_inputs();
    let changed = inputs.iter().map(|column| format!("OLD.{column} IS DISTINCT FROM NEW.{column}"));
    let changed = changed.collect::<Vec<_>>().join(" OR ");
    let guard = column.guard(schema);
    let mut statements = vec![
        format!(
            "CREATE FUNCTION {namespace}.{guard}() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.{name} := NULL; RETURN NEW; END $$"
        ),
        format!(
            "CREATE TRIGGER {guard} BEFORE UPDATE OF {} ON {table} FOR EACH ROW \
             WHEN (({changed}) AND OLD.{name} IS NOT DISTINCT FROM NEW.{name}) \
             EXECUTE FUNCTION {namespace}.{guard}()",
            inputs.join(", ")
        ),
    ];
    if schema.is_grouped {
        statements.push(format!(
            "CREATE FUNCTION {namespace}.{guard}_rest() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN UPDATE {table} SET {name} = NULL WHERE {key} = OLD.{key}; RETURN NULL; END $$"
        ));
        statements.push(format!(
            "CREATE TRIGGER {guard}_rest AFTER DELETE ON {table} FOR EACH ROW \
             EXECUTE FUNCTION {namespace}.{guard}_rest()"
        ));
        statements.push(format!(
            "CREATE TRIGGER {guard}_moved AFTER UPDATE OF {key} ON {table} FOR EACH ROW \
             WHEN (OLD.{key} IS DISTINCT FROM NEW.{key}) EXECUTE FUNCTION {namespace}.{guard}_rest()"
        ));
    }
    statements
}

/// Statements that remove what [`create_triggers`] created. Removing a function removes its
/// triggers.
fn drop_triggers(schema: &TableSchema, column: &Column) -> Vec<String> {
    let guard = column.guard(schema);
    let drop =
        |name: String| format!("DROP FUNCTION IF EXISTS {}.{name}() CASCADE", schema.namespace);
    let mut statements = vec![drop(guard.clone())];
    if schema.is_grouped {
        statements.push(drop(format!("{guard}_rest")));
    }
    statements
}

/// Statements that give `name` to `target`. The column that has this name now gets its own name
/// back if kokeshi created it, and is renamed to `kept` otherwise. A column that kokeshi created
/// has triggers only until readers use it: from then on, the other program writes its vectors.
///
/// # Errors
///
/// A name that another column already has.
pub(super) fn rename_statements(
    schema: &TableSchema,
    all: &[Column],
    name: &str,
    target: &Column,
    kept: Option<&str>,
) -> Result<Vec<String>, String> {
    if target.name == name {
        return Ok(Vec::new());
    }
    let rename = |from: &str, to: &str| {
        format!("ALTER TABLE {} RENAME COLUMN {} TO {}", schema.table, quoted(from), quoted(to))
    };
    let mut statements = vec![LOCK_TIMEOUT.to_owned()];
    if target.is_own && target.name == target.collection {
        statements.extend(drop_triggers(schema, target));
    }
    if let Some(current) = all.iter().find(|column| column.name == name) {
        let own = (current.collection != name).then_some(current.collection.as_str());
        let to = own.or(kept).ok_or_else(|| name.to_owned())?;
        if schema.columns.iter().any(|column| column == to)
            || all.iter().any(|column| column.name == to)
        {
            return Err(to.to_owned());
        }
        statements.push(rename(name, to));
        if own.is_some() {
            statements.extend(create_triggers(schema, current, &quoted(to)));
        }
    } else if schema.columns.iter().any(|column| column == name) {
        return Err(name.to_owned());
    }
    statements.push(rename(&target.name, name));
    Ok(statements)
}

pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<(), Error> {
    let mut statements = vec![LOCK_TIMEOUT.to_owned()];
    if column.is_own {
        statements.extend(drop_triggers(schema, column));
    }
    statements.push(format!("ALTER TABLE {} DROP COLUMN {}", schema.table, column.sql()));
    statements.iter().try_for_each(|statement| transaction.batch_execute(statement))
}

/// Statements that create the approximate index of a column, each to be run outside a transaction;
/// `None` if it has one or needs none. The index has the same operator class as another column's
/// index, if there is one, so that the same queries are fast.
pub(super) fn missing_index(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
    is_large: bool,
) -> Result<Option<Vec<String>>, Error> {
    let max_dimensions =
        if column.kind == "vector" { VECTOR_DIMENSIONS } else { HALFVEC_DIMENSIONS };
    if column.provenance.dimensions > max_dimensions {
        return Ok(None);
    }
    let sql = "SELECT indkey[0], amname, opcname, indisvalid, indexrelid::regclass::text FROM pg_index \
               JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam \
               JOIN pg_opclass ON pg_opclass.oid = indclass[0] \
               WHERE indrelid = $1 AND amname IN ('hnsw', 'ivfflat')";
    let found = transaction.query(sql, &[&schema.oid])?;
    let own = found.iter().find(|row| row.get::<_, i16>(0) == column.number);
    let other = found.iter().find(|row| row.get::<_, i16>(0) != column.number);
    if own.is_some_and(|row| row.get(3)) || (other.is_none() && !is_large) {
        return Ok(None);
    }
    let order = other.map_or("cosine_ops", |row| {
        let class: &str = row.get(2);
        class.split_once('_').map_or("cosine_ops", |(_, order)| order)
    });
    let mut statements = Vec::new();
    // An interrupted build leaves an unusable index.
    statements.extend(own.map(|row| format!("DROP INDEX {}", row.get::<_, &str>(4))));
    statements.push(format!(
        "CREATE INDEX CONCURRENTLY ON {} USING hnsw ({} {}_{order})",
        schema.table,
        column.sql(),
        column.kind
    ));
    Ok(Some(statements))
}
