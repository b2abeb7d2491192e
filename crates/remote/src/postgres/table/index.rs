//! The approximate indexes of columns of vectors.

use super::columns::Column;
use super::schema::TableSchema;
use crate::postgres::collections::{HALFVEC_DIMENSIONS, VECTOR_DIMENSIONS};
use crate::postgres::queries::Queries as _;
use postgres::{Error, Row, Transaction};

/// The operator class of queries by cosine.
const COSINE: &str = "cosine_ops";

/// An approximate index.
#[derive(Clone, Debug, PartialEq)]
struct AnnIndex {
    /// The number of its column.
    column: i16,
    /// `hnsw` or `ivfflat`.
    method: String,
    /// The end of its operator class, after the type: `l2_ops`.
    order: String,
    is_valid: bool,
    name: String,
    /// Its parameters, such as `m=16`.
    options: Vec<String>,
    /// Its condition, which does not depend on its column.
    condition: Option<String>,
    tablespace: Option<String>,
}

/// The approximate indexes of a table, without those over expressions or with conditions on vectors.
fn all(transaction: &mut Transaction<'_>, schema: &TableSchema) -> Result<Vec<AnnIndex>, Error> {
    let sql = "SELECT indkey[0], amname, opcname, indisvalid, indexrelid::regclass::text, \
               coalesce(reloptions, '{}'), pg_get_expr(indpred, indrelid), spcname FROM pg_index \
               JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam \
               JOIN pg_opclass ON pg_opclass.oid = indclass[0] \
               JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
               LEFT JOIN pg_tablespace ON pg_tablespace.oid = reltablespace \
               WHERE indrelid = $1 AND amname IN ('hnsw', 'ivfflat') AND indnatts = 1 AND \
               indexprs IS NULL AND (indpred IS NULL OR strpos(pg_get_expr(indpred, indrelid), attname) = 0) \
               ORDER BY indexrelid";
    let index = |row: &Row| AnnIndex {
        column: row.get(0),
        method: row.get(1),
        order: row.get::<_, &str>(2).split_once('_').map_or(COSINE, |(_, order)| order).to_owned(),
        is_valid: row.get(3),
        name: row.get(4),
        options: row.get(5),
        condition: row.get(6),
        tablespace: row.get(7),
    };
    Ok(transaction.rows(sql, &[&schema.oid])?.iter().map(index).collect())
}

impl AnnIndex {
    /// An index of a table that has none.
    fn by_cosine(column: &Column) -> Self {
        Self {
            column: column.number,
            method: "hnsw".to_owned(),
            order: COSINE.to_owned(),
            is_valid: true,
            name: String::new(),
            options: Vec::new(),
            condition: None,
            tablespace: None,
        }
    }

    /// Whether it serves the same queries as `other`.
    fn serves(&self, other: &Self) -> bool {
        self.order == other.order && self.condition == other.condition
    }

    /// The operator that orders by it.
    fn operator(&self) -> &'static str {
        match self.order.as_str() {
            "l2_ops" => "<->",
            "ip_ops" => "<#>",
            "l1_ops" => "<+>",
            _ => "<=>",
        }
    }

    fn where_clause(&self) -> String {
        self.condition.as_ref().map_or_else(String::new, |text| format!(" WHERE {text}"))
    }

    /// The statement that creates the same index of another column.
    fn create_for(&self, schema: &TableSchema, column: &Column) -> String {
        let options = match self.options.is_empty() {
            true => String::new(),
            false => format!(" WITH ({})", self.options.join(", ")),
        };
        let tablespace = self.tablespace.as_ref();
        let tablespace = tablespace.map_or_else(String::new, |name| {
            format!(" TABLESPACE {}", super::schema::quoted(name))
        });
        format!(
            "CREATE INDEX CONCURRENTLY ON {} USING {} ({} {}.{}_{}){options}{tablespace}{}",
            schema.table,
            self.method,
            column.sql(),
            schema.vectors,
            column.kind,
            self.order,
            self.where_clause()
        )
    }
}

/// Whether a column has too many dimensions for an index.
pub(super) fn is_too_wide(kind: &str, dimensions: usize) -> bool {
    dimensions > if kind == "vector" { VECTOR_DIMENSIONS } else { HALFVEC_DIMENSIONS }
}

/// Statements that create the approximate indexes of a column, each to be run outside a transaction.
/// It gets those of the column that it replaces, with their operator classes and parameters, so that
/// the same queries are fast; if that has none, a large table gets one by cosine.
pub(super) fn missing(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    (column, replaced): (&Column, Option<&Column>),
    is_large: bool,
) -> Result<Vec<String>, Error> {
    if is_too_wide(column.kind, column.provenance.dimensions) {
        return Ok(Vec::new());
    }
    let all = all(transaction, schema)?;
    let of = |number: i16| all.iter().filter(move |index| index.column == number);
    let mut wanted: Vec<AnnIndex> =
        replaced.into_iter().flat_map(|column| of(column.number)).cloned().collect();
    if wanted.is_empty() && is_large && of(column.number).next().is_none_or(|own| !own.is_valid) {
        wanted.push(AnnIndex::by_cosine(column));
    }
    // An interrupted build leaves an unusable index.
    let broken = of(column.number).filter(|own| !own.is_valid);
    let mut statements: Vec<String> =
        broken.map(|own| format!("DROP INDEX CONCURRENTLY {}", own.name)).collect();
    let is_there =
        |index: &AnnIndex| of(column.number).any(|own| own.is_valid && own.serves(index));
    let missing = wanted.iter().filter(|index| !is_there(index));
    statements.extend(missing.map(|index| index.create_for(schema, column)));
    Ok(statements)
}

/// For each index of `old`: its operator, and whether the planner orders `new` by an index with it.
pub(super) fn served_operators(
    transaction: &mut Transaction<'_>,
    schema: &TableSchema,
    (old, new): (&Column, &Column),
) -> Result<Vec<(&'static str, bool)>, Error> {
    // A scan of a small table costs less than an index, whatever the operator.
    transaction.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")?;
    let zeros = vec!["0"; new.provenance.dimensions].join(",");
    let mut served = Vec::new();
    for index in all(transaction, schema)?.iter().filter(|index| index.column == old.number) {
        let operator = index.operator();
        let sql = format!(
            "EXPLAIN SELECT 1 FROM {}{} ORDER BY {} OPERATOR({}.{operator}) '[{zeros}]'::{} LIMIT 10",
            schema.table,
            index.where_clause(),
            new.sql(),
            schema.vectors,
            new.type_name(schema)
        );
        let lines = transaction.rows(&sql, &[])?;
        // Any other plan sorts, by a `Sort Key`.
        let is_ordered = |row: &Row| row.get::<_, &str>(0).trim_start().starts_with("Order By:");
        served.push((operator, lines.iter().any(is_ordered)));
    }
    Ok(served)
}
