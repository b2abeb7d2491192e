//! Columns of vectors: finding, creating, renaming and removing them.

use super::attributes;
use super::guard;
use super::schema::{TableSchema, quoted};
use crate::postgres::collections::kind;
use crate::postgres::queries::Queries as _;
use kokeshi_store::{Collection, Provenance, Storage};
use postgres::{Error, Row, Transaction};
use serde_json::{Value, json};

/// Limits how long a change of the table waits for a lock, because later statements wait behind it.
pub(super) const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
/// The key of the provenance in a column's comment.
const COMMENT_KEY: &str = "kokeshi";
/// The key of whether the column that it replaced was NOT NULL.
const NOT_NULL_KEY: &str = "not_null";

/// A column of vectors.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its current name, not quoted.
    pub(super) name: String,
    /// Its name in plans, which a column that kokeshi created keeps.
    pub(super) collection: String,
    pub(super) number: i16,
    /// `vector` or `halfvec`.
    pub(super) kind: &'static str,
    pub(super) provenance: Provenance,
    /// Whether kokeshi created it: see [`create`].
    pub(super) is_own: bool,
    /// Whether what was embedded is recorded: see [`guard`].
    pub(super) has_record: bool,
    /// What its comment is for people.
    pub(super) comment: Option<String>,
    /// The last line of the comment of a column that kokeshi created: its provenance.
    recorded: Value,
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

    /// Its type, with the schema.
    pub(super) fn type_name(&self, schema: &TableSchema) -> String {
        format!("{}.{}", schema.vectors, self.kind)
    }

    /// Whether the column that it replaced, or will replace, was NOT NULL.
    pub(super) fn replaced_not_null(&self) -> bool {
        self.recorded[COMMENT_KEY][NOT_NULL_KEY].as_bool().unwrap_or(false)
    }

    /// The statement that gives it, called `name`, the comment `text` for people. Its provenance
    /// stays, with whether it replaces a column that was NOT NULL.
    pub(super) fn set_comment(
        &self,
        schema: &TableSchema,
        (name, text): (&str, Option<&str>),
        replaced_not_null: bool,
    ) -> String {
        let mut recorded = self.recorded.clone();
        if self.is_own {
            recorded[COMMENT_KEY][NOT_NULL_KEY] = json!(replaced_not_null);
        }
        let recorded = self.is_own.then(|| recorded.to_string());
        let lines: Vec<&str> = text.into_iter().chain(recorded.as_deref()).collect();
        let value = match lines.is_empty() {
            true => "NULL".to_owned(),
            false => literal(&lines.join("\n")),
        };
        format!("COMMENT ON COLUMN {}.{name} IS {value}", schema.table)
    }
}

/// `text` as a string in a statement, whatever the server's settings.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// All columns of vectors, in order.
pub(super) fn all(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
) -> Result<Vec<Column>, Error> {
    let sql = "SELECT attname, typname, atttypmod, attnum, col_description(attrelid, attnum), \
               EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = (SELECT relnamespace FROM \
               pg_class WHERE oid = attrelid) AND c.relname = format('kokeshi_%s_%s', attrelid, attnum)) \
               FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped \
               AND typname IN ('vector', 'halfvec') ORDER BY attnum";
    let mut all = Vec::new();
    for row in transaction.rows(sql, &[&schema.oid])? {
        let mut column = column(&row);
        if column.provenance.dimensions == 0 {
            // The type of the column does not fix the width.
            let (table, name) = (&schema.table, column.sql());
            let sql = format!(
                "SELECT {}.vector_dims({name}) FROM {table} WHERE {name} IS NOT NULL LIMIT 1",
                schema.vectors
            );
            let found = transaction.row_if_any(&sql, &[])?;
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
    let (comment, recorded) = split_comment(row.get(4));
    let own = recorded.get(COMMENT_KEY).and_then(|recorded| {
        Some((recorded["collection"].as_str()?.to_owned(), Provenance::from_json(recorded)?))
    });
    let dimensions = usize::try_from(row.get::<_, i32>(2)).unwrap_or(0);
    let (is_own, collection, provenance) = match own {
        Some((collection, provenance)) => (true, collection, provenance),
        None => (false, name.clone(), Provenance::unknown(dimensions, storage)),
    };
    let has_record = is_own && row.get::<_, bool>(5);
    Column { name, collection, number, kind, provenance, is_own, has_record, comment, recorded }
}

/// A comment's lines for people, and its last line if kokeshi wrote that.
fn split_comment(comment: Option<String>) -> (Option<String>, Value) {
    let Some(comment) = comment else { return (None, Value::Null) };
    let (text, last) = match comment.rsplit_once('\n') {
        Some((text, last)) => (Some(text), last),
        None => (None, comment.as_str()),
    };
    match serde_json::from_str::<Value>(last) {
        Ok(recorded) if recorded.get(COMMENT_KEY).is_some() => (text.map(str::to_owned), recorded),
        _ => (Some(comment), Value::Null),
    }
}

/// The column whose current name is `name`, or else the one with this name in plans.
pub(super) fn find<'a>(all: &'a [Column], name: &str) -> Option<&'a Column> {
    let by_name = all.iter().find(|column| column.name == name);
    by_name.or_else(|| all.iter().find(|column| column.collection == name))
}

/// Creates a column next to `old`, with its comment, its triggers and its record. It is stored as
/// `old` is, before vectors are written.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    (name, old): (&str, Option<&Column>),
    provenance: &Provenance,
) -> Result<(), Error> {
    let (table, sql, kind) = (&schema.table, quoted(name), kind(provenance));
    let mut recorded = provenance.to_json();
    recorded["collection"] = json!(name);
    let comment = literal(&json!({ COMMENT_KEY: recorded }).to_string());
    transaction.batch_execute(&format!(
        "{LOCK_TIMEOUT}; ALTER TABLE {table} ADD COLUMN {sql} {}.{kind}({});
         COMMENT ON COLUMN {table}.{sql} IS {comment}",
        schema.vectors, provenance.dimensions
    ))?;
    let all = all(transaction, schema)?;
    let Some(column) = find(&all, name) else { return Ok(()) };
    let mut statements = guard::create_triggers(schema, column, &column.sql());
    statements.push(guard::create_record(schema, column));
    if let Some(old) = old {
        let [old, new] = [old, column].map(|one| attributes::read(transaction, schema, one));
        statements.extend(new?.storage_statements(schema, &column.sql(), &old?));
    }
    statements.iter().try_for_each(|statement| transaction.batch_execute(statement))
}

/// Removes a column with what watches it.
pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<(), Error> {
    let mut statements = vec![LOCK_TIMEOUT.to_owned()];
    if column.is_own {
        statements.extend(guard::drop_triggers(schema, column));
        statements.push(guard::drop_record(schema, column));
    }
    statements.push(format!("ALTER TABLE {} DROP COLUMN {}", schema.table, column.sql()));
    statements.iter().try_for_each(|statement| transaction.batch_execute(statement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_keeps_what_people_wrote() {
        let own = r#"{"kokeshi":{"collection":"new"}}"#;
        let text = |comment: &str| split_comment(Some(comment.to_owned()));
        assert_eq!(text("Of the body.\nOr so.").0.as_deref(), Some("Of the body.\nOr so."));
        assert_eq!(text(own).0, None);
        let (people, recorded) = text(&format!("Of the body.\nOr so.\n{own}"));
        assert_eq!(people.as_deref(), Some("Of the body.\nOr so."));
        assert_eq!(recorded["kokeshi"]["collection"], "new");
    }

    #[test]
    fn a_literal_is_the_text_whatever_it_contains() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
    }
}
