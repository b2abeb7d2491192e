//! What watches a column that kokeshi fills: triggers, and the record of what was embedded.
//!
//! A trigger can be disabled, and one of the application may change a text after it; so `record`
//! has the text and the vector that were written, as hashes, and every listing compares both.

use super::columns::Column;
use super::schema::{TableSchema, quoted};

impl Column {
    /// The name of what watches it: trigger functions, the record and a constraint.
    fn watcher(&self, schema: &TableSchema) -> String {
        format!("kokeshi_{}_{}", schema.oid, self.number)
    }

    /// The name of its record, with the schema.
    pub(super) fn record(&self, schema: &TableSchema) -> String {
        format!("{}.{}", schema.namespace, self.watcher(schema))
    }

    /// The name of the constraint that makes it NOT NULL without a long lock.
    pub(super) fn filled_constraint(&self, schema: &TableSchema) -> String {
        format!("{}_filled", self.watcher(schema))
    }
}

/// The statement that creates the record of a column.
pub(super) fn create_record(schema: &TableSchema, column: &Column) -> String {
    format!(
        "CREATE TABLE {} (id {} PRIMARY KEY, text uuid NOT NULL, vector uuid NOT NULL)",
        column.record(schema),
        schema.id_type
    )
}

/// The statement that removes the record of a column.
pub(super) fn drop_record(schema: &TableSchema, column: &Column) -> String {
    format!("DROP TABLE IF EXISTS {}", column.record(schema))
}

/// The expression of a row's hash: that of its text, or of the text that was embedded, if the row
/// still has that vector and another text by now.
pub(super) fn hash(schema: &TableSchema, column: &Column) -> String {
    let TableSchema { id, text, .. } = schema;
    let now = format!("md5(old.{text}::text)");
    if !column.has_record {
        return now;
    }
    format!(
        "coalesce((SELECT replace(r.text::text, '-', '') FROM {} AS r WHERE r.id = old.{id} AND \
         r.text <> {now}::uuid AND r.vector = {}), {now})",
        column.record(schema),
        vector_hash(schema, column, &format!("old.{}", column.sql()))
    )
}

/// The expression of the hash of the vector `value`.
pub(super) fn vector_hash(schema: &TableSchema, column: &Column, value: &str) -> String {
    format!("md5({}.{}_send({value}))::uuid", schema.vectors, column.kind)
}

/// The beginning of a trigger's name: triggers fire in the order of their names, and this one has
/// to see what the application's triggers did.
const LAST: char = '~';

/// Statements that create triggers on a column, called `name`: a row's vector is removed when the
/// row's text changes without a new vector in the same statement. If rows belong to documents, the
/// vector is also removed when the row's position or document changes; and when a row leaves a
/// document, the other rows lose their vectors, because all were computed in one pass.
pub(super) fn create_triggers(schema: &TableSchema, column: &Column, name: &str) -> Vec<String> {
    let TableSchema { namespace, table, id, .. } = schema;
    let inputs = schema.vector_inputs();
    let changed = inputs.iter().map(|column| format!("OLD.{column} IS DISTINCT FROM NEW.{column}"));
    let changed = changed.collect::<Vec<_>>().join(" OR ");
    let guard = column.watcher(schema);
    let (equal, rights) = (equal(schema), if schema.is_generated { rights(schema) } else { "" });
    // The server computes a generated column after the triggers that come before a change.
    let (time, action) = match schema.is_generated {
        false => ("BEFORE", format!("NEW.{name} := NULL; RETURN NEW;")),
        true => (
            "AFTER",
            format!("UPDATE {table} SET {name} = NULL WHERE {id} {equal} NEW.{id}; RETURN NULL;"),
        ),
    };
    let same = format!("OPERATOR({}.=)", schema.vectors);
    let mut statements = vec![
        format!(
            "CREATE FUNCTION {namespace}.{guard}() RETURNS trigger LANGUAGE plpgsql {rights}AS \
             $$ BEGIN {action} END $$"
        ),
        format!(
            "CREATE TRIGGER {} {time} UPDATE ON {table} FOR EACH ROW WHEN (({changed}) AND \
             OLD.{name} {same} NEW.{name}) \
             EXECUTE FUNCTION {namespace}.{guard}()",
            quoted(&format!("{LAST}{guard}")),
        ),
    ];
    if schema.is_grouped {
        statements.extend(create_document_triggers(schema, &guard, name));
    }
    statements
}

/// With whose rights a function changes other rows: a user who may change a text need not have the
/// right to change vectors. Nobody can replace the operator in it, unless keys are of other types.
fn rights(schema: &TableSchema) -> &'static str {
    if schema.has_builtin_keys { "SECURITY DEFINER " } else { "" }
}

/// The operator that compares keys in a function.
fn equal(schema: &TableSchema) -> &'static str {
    if schema.has_builtin_keys { "OPERATOR(pg_catalog.=)" } else { "=" }
}

/// The triggers that remove the vectors of the other rows of a document.
fn create_document_triggers(schema: &TableSchema, guard: &str, name: &str) -> [String; 3] {
    let TableSchema { namespace, table, key, .. } = schema;
    let function = format!("{namespace}.{guard}_rest()");
    let (equal, rights) = (equal(schema), rights(schema));
    [
        format!(
            "CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql {rights}AS \
             $$ BEGIN UPDATE {table} SET {name} = NULL WHERE {key} {equal} OLD.{key}; RETURN NULL; END $$"
        ),
        format!(
            "CREATE TRIGGER {guard}_rest AFTER DELETE ON {table} FOR EACH ROW \
             EXECUTE FUNCTION {function}"
        ),
        format!(
            "CREATE TRIGGER {guard}_moved AFTER UPDATE ON {table} FOR EACH ROW \
             WHEN (OLD.{key} IS DISTINCT FROM NEW.{key}) EXECUTE FUNCTION {function}"
        ),
    ]
}

/// Statements that remove what [`create_triggers`] created. Removing a function removes its
/// triggers.
pub(super) fn drop_triggers(schema: &TableSchema, column: &Column) -> Vec<String> {
    let guard = column.watcher(schema);
    let drop =
        |name: String| format!("DROP FUNCTION IF EXISTS {}.{name}() CASCADE", schema.namespace);
    let mut statements = vec![drop(guard.clone())];
    if schema.is_grouped {
        statements.push(drop(format!("{guard}_rest")));
    }
    statements
}
