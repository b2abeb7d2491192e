//! The schema of a foreign table.

use crate::postgres::queries::Queries as _;
use crate::postgres::session::Session;
use crate::retry::CallError;
use kokeshi_store::backend::Field;
use kokeshi_store::{Error, Fields};
use postgres::{Row, Transaction};

/// The common end of messages about tables that cannot be opened.
const PLAIN_ONLY: &str = "kokeshi opens plain tables only";

/// A table and its columns. Names are quoted for statements, except in `columns`.
#[derive(Clone, Debug)]
pub(super) struct TableSchema {
    /// Its name, with its schema.
    pub(super) table: String,
    /// The schema that it is in.
    pub(super) namespace: String,
    pub(super) oid: u32,
    pub(super) id: String,
    pub(super) id_type: String,
    pub(super) text: String,
    /// The column that identifies documents; without one, the column of ids.
    pub(super) key: String,
    pub(super) key_type: String,
    /// The columns that order the rows of a document, the id last.
    order: Vec<String>,
    /// Whether several rows can be one document.
    pub(super) is_grouped: bool,
    /// Names of all columns, not quoted.
    pub(super) columns: Vec<String>,
    /// Whether the server computes a column that vectors depend on, so that triggers see it only
    /// after the change.
    pub(super) is_generated: bool,
    /// Whether ids and documents are of types of PostgreSQL itself.
    pub(super) has_builtin_keys: bool,
    /// The schema of pgvector, which need not be in the search path.
    pub(super) vectors: String,
}

impl TableSchema {
    /// The expressions that order the rows of a document; `prefix` is a table with a dot, or empty.
    pub(super) fn order(&self, prefix: &str) -> String {
        let columns = self.order.iter().map(|column| format!("{prefix}{column}"));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// Columns that a row's vector depends on.
    pub(super) fn vector_inputs(&self) -> Vec<&str> {
        let mut columns = vec![self.text.as_str()];
        if self.is_grouped {
            columns.push(&self.key);
            columns.extend(self.order[..self.order.len() - 1].iter().map(String::as_str));
        }
        columns
    }
}

/// `name` as an identifier in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted_path(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// The columns of a table. Those with an index can identify documents.
pub(super) fn fields(
    transaction: &mut Transaction<'_>,
    fields: &Fields,
) -> Result<Vec<Field>, postgres::Error> {
    let name = fields.table.as_deref().unwrap_or_default();
    let sql = "SELECT attname, format_type(atttypid, NULL) IN ('text', 'character varying', 'character'), \
               EXISTS (SELECT 1 FROM pg_index WHERE indrelid = attrelid AND indkey[0] = attnum) \
               FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
               ORDER BY attnum";
    let field = |row: &Row| Field { name: row.get(0), is_text: row.get(1), is_key: row.get(2) };
    Ok(transaction.rows(sql, &[&quoted_path(name)])?.iter().map(field).collect())
}

/// Reads the schema of the table that `fields` names.
///
/// # Errors
///
/// If there is no such table or column, or ids or documents cannot be looked up in it.
pub(super) fn read(
    session: &Session,
    transaction: &mut Transaction<'_>,
    fields: &Fields,
    vectors: &str,
) -> Result<TableSchema, CallError> {
    let Some(name) = &fields.table else {
        return Err(Error::NoTable { store: session.address() }.into());
    };
    let (oid, namespace, table) = find_table(session, transaction, name)?;
    let columns = columns(transaction, oid).map_err(session.fail())?;
    let unsuitable = |reason: String| CallError::from(session.unsuitable(name, reason));
    let roles = Roles::assign(&columns, fields, &table).map_err(unsuitable)?;
    let inputs = || [Some(roles.text), Some(roles.key), roles.position].into_iter().flatten();
    if let Some(column) = inputs().find(|column| column.generated == "v") {
        return Err(unsuitable(virtual_column(&column.name)));
    }
    let (is_grouped, may_lack_key) = (
        fields.document.as_ref().is_some_and(|document| document != fields.id()),
        !roles.key.is_never_null,
    );
    let order = roles.position.into_iter().chain([roles.id]);
    let schema = TableSchema {
        order: order.map(|column| quoted(&column.name)).collect(),
        id: quoted(&roles.id.name),
        id_type: roles.id.type_name.clone(),
        text: quoted(&roles.text.name),
        key: quoted(&roles.key.name),
        key_type: roles.key.type_name.clone(),
        is_generated: inputs().any(|column| column.generated == "s"),
        has_builtin_keys: roles.id.is_builtin && roles.key.is_builtin,
        vectors: vectors.to_owned(),
        is_grouped,
        table,
        namespace,
        oid,
        columns: columns.iter().map(|column| column.name.clone()).collect(),
    };
    if may_lack_key && lacks_documents(transaction, &schema).map_err(session.fail())? {
        let (store, column) = (session.address(), fields.document.clone().unwrap_or_default());
        return Err(Error::NoDocument { store, column }.into());
    }
    Ok(schema)
}

/// The object id of a table, its schema, and its name with the schema; both quoted.
fn find_table(
    session: &Session,
    transaction: &mut Transaction<'_>,
    name: &str,
) -> Result<(u32, String, String), CallError> {
    let sql = "SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relispartition, \
               row_security_active(c.oid) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";
    let row = transaction.row_if_any(sql, &[&quoted_path(name)]).map_err(session.fail())?;
    let unsuitable = |reason: String| CallError::from(session.unsuitable(name, reason));
    let Some(row) = row else {
        let sql = "SELECT current_setting('search_path')";
        let path: String = transaction.row(sql, &[]).map_err(session.fail())?.get(0);
        return Err(unsuitable(format!("it does not exist; the search path is {path}")));
    };
    if let Some(reason) = unsuitable_relation(&row) {
        return Err(unsuitable(reason));
    }
    let schema = quoted(row.get(1));
    let table = format!("{schema}.{}", quoted(row.get(2)));
    Ok((row.get(0), schema, table))
}

/// Why vectors cannot be added to a relation.
fn unsuitable_relation(row: &Row) -> Option<String> {
    let what = match (row.get::<_, &str>(3), row.get(4)) {
        ("r", true) => "a partition, whose columns are those of the partitioned table",
        ("r", false) if row.get(5) => {
            return Some(
                "its row-level security applies to this user, so that rows may be hidden; connect \
                 as the owner of the table, or as a role with BYPASSRLS"
                    .to_owned(),
            );
        }
        ("r", false) => return None,
        ("p", _) => "a partitioned table",
        ("v", _) => "a view",
        ("m", _) => "a materialized view",
        ("f", _) => "a foreign table",
        _ => "not a table",
    };
    Some(format!("it is {what}; {PLAIN_ONLY}"))
}

/// Why a column that is computed when it is read cannot be embedded.
fn virtual_column(name: &str) -> String {
    format!(
        "`{name}` is a virtual generated column, whose changes no trigger sees; name the column that \
         it is computed from, or make it STORED"
    )
}

/// A column of a table.
struct TableColumn {
    name: String,
    type_name: String,
    is_never_null: bool,
    /// Whether an index begins with it.
    is_indexed: bool,
    /// Whether a unique index consists of it.
    is_unique: bool,
    /// `s` if it is computed when it is written, `v` when it is read, and empty otherwise.
    generated: String,
    /// All columns of the primary key that it is in; none if it is in none.
    primary_key: Vec<String>,
    /// Whether its type is one of PostgreSQL itself.
    is_builtin: bool,
}

fn columns(
    transaction: &mut Transaction<'_>,
    oid: u32,
) -> Result<Vec<TableColumn>, postgres::Error> {
    // `format_type(…, NULL)` of `character(8)` would be `character`, which is `character(1)`.
    let sql = "SELECT attname, format_type(atttypid, -1), attnotnull, EXISTS (SELECT 1 FROM pg_index \
               WHERE indrelid = attrelid AND indkey[0] = attnum), EXISTS (SELECT 1 FROM pg_index \
               WHERE indrelid = attrelid AND indkey[0] = attnum AND indisunique AND indnkeyatts = 1 \
               AND indpred IS NULL), attgenerated::text, \
               ARRAY(SELECT a.attname::text FROM pg_index JOIN pg_attribute a ON a.attrelid = indrelid \
               AND a.attnum = ANY(indkey) WHERE indrelid = c.attrelid AND indisprimary AND c.attnum = \
               ANY(indkey) ORDER BY array_position(indkey::smallint[], a.attnum)), (SELECT typnamespace FROM pg_type WHERE oid = \
               atttypid) = 'pg_catalog'::regnamespace \
               FROM pg_attribute c WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
    let column = |row: &Row| TableColumn {
        name: row.get(0),
        type_name: row.get(1),
        is_never_null: row.get(2),
        is_indexed: row.get(3),
        is_unique: row.get(4),
        generated: row.get(5),
        primary_key: row.get(6),
        is_builtin: row.get(7),
    };
    Ok(transaction.rows(sql, &[&oid])?.iter().map(column).collect())
}

/// The columns that `fields` names.
struct Roles<'a> {
    id: &'a TableColumn,
    text: &'a TableColumn,
    key: &'a TableColumn,
    position: Option<&'a TableColumn>,
}

impl<'a> Roles<'a> {
    /// Finds the columns.
    ///
    /// # Errors
    ///
    /// Why a column cannot have its role: a sentence for people.
    fn assign(columns: &'a [TableColumn], fields: &Fields, table: &str) -> Result<Self, String> {
        let find = |name: &str| find_column(columns, name);
        let (id, text) = (find(fields.id())?, find(fields.text())?);
        if !(id.is_unique && id.is_never_null) {
            return Err(ambiguous_id(id));
        }
        let key = fields.document.as_deref().map_or(Ok(id), find)?;
        if !key.is_indexed {
            return Err(format!(
                "`{}` has no index, so each page would read the whole table: \
                 CREATE INDEX CONCURRENTLY ON {table} ({})",
                key.name,
                quoted(&key.name)
            ));
        }
        let position = fields.order.as_deref().map(find).transpose()?;
        Ok(Self { id, text, key, position })
    }
}

/// Why a column does not identify rows.
fn ambiguous_id(id: &TableColumn) -> String {
    let name = &id.name;
    match id.primary_key.as_slice() {
        [] | [_] => format!(
            "`{name}` does not identify rows: it needs a unique index of its own and must be NOT NULL"
        ),
        all => format!(
            "its primary key has {} columns ({}), and `{name}` alone does not identify rows; name \
             one column that is NOT NULL and has a unique index of its own",
            all.len(),
            all.join(", ")
        ),
    }
}

fn find_column<'a>(columns: &'a [TableColumn], name: &str) -> Result<&'a TableColumn, String> {
    columns.iter().find(|column| column.name == name).ok_or_else(|| {
        let names = columns.iter().map(|column| format!("`{}`", column.name));
        let names = names.collect::<Vec<_>>().join(", ");
        format!("it has no column `{name}`; it has {names}")
    })
}

/// Whether there are rows with a text that belong to no document.
fn lacks_documents(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
) -> Result<bool, postgres::Error> {
    let TableSchema { table, key, text, .. } = schema;
    let sql =
        format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} IS NULL AND {text} IS NOT NULL)");
    Ok(transaction.row(&sql, &[])?.get(0))
}
