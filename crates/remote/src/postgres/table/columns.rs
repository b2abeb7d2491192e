//! Columns of vectors: finding, making, renaming and removing them.

use super::super::collections::{HALFVEC_DIMENSIONS, VECTOR_DIMENSIONS, kind};
use super::schema::{TableSchema, quoted};
use kokeshi_store::{Collection, Provenance, Storage};
use postgres::{Error, Row, Transaction};
use serde_json::{Value, json};

/// How long a change of the table may wait for others, and keep those who come after it waiting.
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";
/// The key of what we say in a comment.
const OURS: &str = "kokeshi";

/// A column of vectors.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// As it is called now, not quoted.
    pub(super) name: String,
    /// As plans call it: a column of ours keeps that.
    pub(super) collection: String,
    number: i16,
    /// `vector` or `halfvec`.
    pub(super) kind: &'static str,
    pub(super) provenance: Provenance,
    /// Whether it was made by [`create`].
    pub(super) ours: bool,
}

impl Column {
    pub(super) fn as_collection(&self) -> Collection {
        let aliases =
            if self.name == self.collection { Vec::new() } else { vec![self.name.clone()] };
        let (name, provenance) = (self.collection.clone(), self.provenance.clone());
        Collection { name, provenance, created: 0, aliases }
    }

    /// Quoted.
    pub(super) fn sql(&self) -> String {
        quoted(&self.name)
    }

    /// What its trigger and the function of that are called.
    fn guard(&self, shape: &TableSchema) -> String {
        format!("{OURS}_{}_{}", shape.oid, self.number)
    }
}

/// All columns of vectors, in their order.
pub(super) fn all(
    transaction: &mut Transaction<'_>,
    shape: &TableSchema,
) -> Result<Vec<Column>, Error> {
    let sql = "SELECT attname, typname, atttypmod, attnum, col_description(attrelid, attnum) \
               FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped \
               AND typname IN ('vector', 'halfvec') ORDER BY attnum";
    let mut all = Vec::new();
    for row in transaction.query(sql, &[&shape.oid])? {
        let mut column = column(&row);
        if column.provenance.dimensions == 0 {
            // A column that takes any width.
            let (table, name) = (&shape.table, column.sql());
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
    let ours = comment.and_then(|comment| {
        let said = &comment[OURS];
        Some((said["collection"].as_str()?.to_owned(), Provenance::from_json(said)?))
    });
    let dimensions = usize::try_from(row.get::<_, i32>(2)).unwrap_or(0);
    let (ours, collection, provenance) = match ours {
        Some((collection, provenance)) => (true, collection, provenance),
        None => (false, name.clone(), Provenance::unknown(dimensions, storage)),
    };
    Column { name, collection, number, kind, provenance, ours }
}

/// The column that plans call `name`, or else the one that is called so now.
pub(super) fn find<'a>(all: &'a [Column], name: &str) -> Option<&'a Column> {
    let by_name = all.iter().find(|column| column.name == name);
    by_name.or_else(|| all.iter().find(|column| column.collection == name))
}

/// Makes a column, its comment, and what guards it.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    shape: &TableSchema,
    name: &str,
    provenance: &Provenance,
) -> Result<(), Error> {
    let (table, sql, kind) = (&shape.table, quoted(name), kind(provenance));
    let mut said = provenance.to_json();
    said["collection"] = json!(name);
    let comment = json!({ OURS: said }).to_string().replace('\'', "''");
    transaction.batch_execute(&format!(
        "{PATIENCE}; ALTER TABLE {table} ADD COLUMN {sql} {kind}({});
         COMMENT ON COLUMN {table}.{sql} IS '{comment}'",
        provenance.dimensions
    ))?;
    let all = all(transaction, shape)?;
    let made = find(&all, name).map(|column| guards(shape, column, &column.sql()));
    made.into_iter().flatten().try_for_each(|statement| transaction.batch_execute(&statement))
}

/// Statements that let a column, called `name`, lose a row's vector when the row's text is changed by
/// somebody who does not write another vector with it. Where rows belong to documents, so it does when the
/// row's place or document is another one, and those that stay when one leaves lose theirs too: they were
/// made in one pass.
fn guards(shape: &TableSchema, column: &Column, name: &str) -> Vec<String> {
    let TableSchema { schema, table, key, .. } = shape;
    let decisive = shape.decisive();
    let changed =
        decisive.iter().map(|column| format!("OLD.{column} IS DISTINCT FROM NEW.{column}"));
    let changed = changed.collect::<Vec<_>>().join(" OR ");
    let guard = column.guard(shape);
    let mut statements = vec![
        format!(
            "CREATE FUNCTION {schema}.{guard}() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.{name} := NULL; RETURN NEW; END $$"
        ),
        format!(
            "CREATE TRIGGER {guard} BEFORE UPDATE OF {} ON {table} FOR EACH ROW \
             WHEN (({changed}) AND OLD.{name} IS NOT DISTINCT FROM NEW.{name}) \
             EXECUTE FUNCTION {schema}.{guard}()",
            decisive.join(", ")
        ),
    ];
    if shape.grouped {
        statements.push(format!(
            "CREATE FUNCTION {schema}.{guard}_rest() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN UPDATE {table} SET {name} = NULL WHERE {key} = OLD.{key}; RETURN NULL; END $$"
        ));
        statements.push(format!(
            "CREATE TRIGGER {guard}_rest AFTER DELETE ON {table} FOR EACH ROW \
             EXECUTE FUNCTION {schema}.{guard}_rest()"
        ));
        statements.push(format!(
            "CREATE TRIGGER {guard}_moved AFTER UPDATE OF {key} ON {table} FOR EACH ROW \
             WHEN (OLD.{key} IS DISTINCT FROM NEW.{key}) EXECUTE FUNCTION {schema}.{guard}_rest()"
        ));
    }
    statements
}

/// Statements that end what [`guards`] began. A function takes its triggers with it.
fn unguarded(shape: &TableSchema, column: &Column) -> Vec<String> {
    let guard = column.guard(shape);
    let drop = |name: String| format!("DROP FUNCTION IF EXISTS {}.{name}() CASCADE", shape.schema);
    let mut statements = vec![drop(guard.clone())];
    if shape.grouped {
        statements.push(drop(format!("{guard}_rest")));
    }
    statements
}

/// Statements that give `name` to `target`. The column that has it goes back to its own name if it is one
/// of ours, and is called `kept` otherwise. A column of ours is guarded as long as readers do not have
/// it: those who write have to write its vectors from then on.
///
/// # Errors
///
/// The name that another column has already.
pub(super) fn moves(
    shape: &TableSchema,
    all: &[Column],
    name: &str,
    target: &Column,
    kept: Option<&str>,
) -> Result<Vec<String>, String> {
    if target.name == name {
        return Ok(Vec::new());
    }
    let rename = |from: &str, to: &str| {
        format!("ALTER TABLE {} RENAME COLUMN {} TO {}", shape.table, quoted(from), quoted(to))
    };
    let mut statements = vec![PATIENCE.to_owned()];
    if target.ours && target.name == target.collection {
        statements.extend(unguarded(shape, target));
    }
    if let Some(current) = all.iter().find(|column| column.name == name) {
        let own = (current.collection != name).then_some(current.collection.as_str());
        let to = own.or(kept).ok_or_else(|| name.to_owned())?;
        if shape.columns.iter().any(|column| column == to)
            || all.iter().any(|column| column.name == to)
        {
            return Err(to.to_owned());
        }
        statements.push(rename(name, to));
        if own.is_some() {
            statements.extend(guards(shape, current, &quoted(to)));
        }
    } else if shape.columns.iter().any(|column| column == name) {
        return Err(name.to_owned());
    }
    statements.push(rename(&target.name, name));
    Ok(statements)
}

pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    shape: &TableSchema,
    column: &Column,
) -> Result<(), Error> {
    let mut statements = vec![PATIENCE.to_owned()];
    if column.ours {
        statements.extend(unguarded(shape, column));
    }
    statements.push(format!("ALTER TABLE {} DROP COLUMN {}", shape.table, column.sql()));
    statements.iter().try_for_each(|statement| transaction.batch_execute(statement))
}

/// Statements that make the approximate index of a column, each to be run alone; `None` if it has one, or
/// needs none. It orders as that of another column does: with it, the same queries are fast.
pub(super) fn index_wanted(
    transaction: &mut Transaction<'_>,
    shape: &TableSchema,
    column: &Column,
    many: bool,
) -> Result<Option<Vec<String>>, Error> {
    let most = if column.kind == "vector" { VECTOR_DIMENSIONS } else { HALFVEC_DIMENSIONS };
    if column.provenance.dimensions > most {
        return Ok(None);
    }
    let sql = "SELECT indkey[0], amname, opcname, indisvalid, indexrelid::regclass::text FROM pg_index \
               JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam \
               JOIN pg_opclass ON pg_opclass.oid = indclass[0] \
               WHERE indrelid = $1 AND amname IN ('hnsw', 'ivfflat')";
    let found = transaction.query(sql, &[&shape.oid])?;
    let own = found.iter().find(|row| row.get::<_, i16>(0) == column.number);
    let other = found.iter().find(|row| row.get::<_, i16>(0) != column.number);
    if own.is_some_and(|row| row.get(3)) || (other.is_none() && !many) {
        return Ok(None);
    }
    let order = other.map_or("cosine_ops", |row| {
        let class: &str = row.get(2);
        class.split_once('_').map_or("cosine_ops", |(_, order)| order)
    });
    let mut statements = Vec::new();
    // A build that was cut off leaves an index that nobody can use.
    statements.extend(own.map(|row| format!("DROP INDEX {}", row.get::<_, &str>(4))));
    statements.push(format!(
        "CREATE INDEX CONCURRENTLY ON {} USING hnsw ({} {}_{order})",
        shape.table,
        column.sql(),
        column.kind
    ));
    Ok(Some(statements))
}
