//! What belongs to a column besides its name and values: NOT NULL, grants, storage, statistics.

use super::columns::Column;
use super::schema::TableSchema;
use crate::postgres::queries::Queries as _;
use postgres::{Error, Row, Transaction};

/// The attributes of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attributes {
    /// Whether it is NOT NULL.
    pub(super) is_never_null: bool,
    /// Whether a constraint of kokeshi says so that has not been validated for all rows.
    pub(super) is_pending: bool,
    grants: Vec<Grant>,
    storage: String,
    compression: String,
    /// The statistics target; −1 is the server's default.
    statistics: i32,
    /// Such as `n_distinct=100`.
    options: Vec<String>,
}

/// A privilege on a column.
#[derive(Clone, Debug, PartialEq)]
struct Grant {
    privilege: String,
    /// A role, quoted, or `PUBLIC`.
    to: String,
    has_grant_option: bool,
}

/// Reads the attributes of a column.
pub(super) fn read(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<Attributes, Error> {
    let sql = "SELECT attnotnull, EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = attrelid AND \
               conname = $3), attstorage::text, attcompression::text, \
               coalesce(attstattarget::int, -1), coalesce(attoptions, '{}') \
               FROM pg_attribute WHERE attrelid = $1 AND attnum = $2";
    let constraint = column.filled_constraint(schema);
    let row = transaction.row(sql, &[&schema.oid, &column.number, &constraint])?;
    Ok(Attributes {
        is_never_null: row.get(0),
        is_pending: row.get(1),
        grants: grants(transaction, schema, column)?,
        storage: row.get(2),
        compression: row.get(3),
        statistics: row.get(4),
        options: row.get(5),
    })
}

fn grants(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    column: &Column,
) -> Result<Vec<Grant>, Error> {
    let sql = "SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE \
               quote_ident(pg_get_userbyid(grantee)) END, bool_or(is_grantable) \
               FROM pg_attribute, aclexplode(attacl) WHERE attrelid = $1 AND attnum = $2 \
               GROUP BY 1, 2 ORDER BY 1, 2";
    let grant =
        |row: &Row| Grant { privilege: row.get(0), to: row.get(1), has_grant_option: row.get(2) };
    Ok(transaction.rows(sql, &[&schema.oid, &column.number])?.iter().map(grant).collect())
}

impl Attributes {
    /// Statements that give the storage and the statistics of `from` to the column `name`, which
    /// has these attributes.
    pub(super) fn storage_statements(
        &self,
        schema: &TableSchema,
        name: &str,
        from: &Self,
    ) -> Vec<String> {
        let alter =
            |what: String| format!("ALTER TABLE {} ALTER COLUMN {name} {what}", schema.table);
        let mut statements = Vec::new();
        if self.storage != from.storage {
            statements.push(alter(format!("SET STORAGE {}", storage(&from.storage))));
        }
        if self.compression != from.compression {
            statements.push(alter(format!("SET COMPRESSION {}", compression(&from.compression))));
        }
        if self.statistics != from.statistics {
            statements.push(alter(format!("SET STATISTICS {}", from.statistics)));
        }
        if !from.options.is_empty() && self.options != from.options {
            statements.push(alter(format!("SET ({})", from.options.join(", "))));
        }
        statements
    }

    /// Statements that take the grants from the column `old` and give them to the column `new`.
    pub(super) fn grant_statements(
        &self,
        schema: &TableSchema,
        (old, new): (&str, &str),
    ) -> Vec<String> {
        let table = &schema.table;
        let move_one = |Grant { privilege, to, has_grant_option }: &Grant| {
            let option = if *has_grant_option { " WITH GRANT OPTION" } else { "" };
            [
                format!("REVOKE {privilege} ({old}) ON {table} FROM {to} CASCADE"),
                format!("GRANT {privilege} ({new}) ON {table} TO {to}{option}"),
            ]
        };
        self.grants.iter().flat_map(move_one).collect()
    }

    /// The roles that have a privilege on the column alone, for people.
    pub(super) fn grantees(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = self.grants.iter().map(|grant| grant.to.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

fn storage(letter: &str) -> &'static str {
    match letter {
        "p" => "PLAIN",
        "e" => "EXTERNAL",
        "m" => "MAIN",
        _ => "EXTENDED",
    }
}

fn compression(letter: &str) -> &'static str {
    match letter {
        "p" => "pglz",
        "l" => "lz4",
        _ => "default",
    }
}
