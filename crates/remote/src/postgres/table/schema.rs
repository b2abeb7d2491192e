//! What a table looks like.

use kokeshi_store::Fields;
use kokeshi_store::backend::Field;
use postgres::{Error, Row, Transaction};

/// A table and its columns, quoted where they are for statements.
#[derive(Clone, Debug)]
pub(super) struct TableSchema {
    /// With its schema.
    pub(super) table: String,
    pub(super) schema: String,
    pub(super) oid: u32,
    pub(super) id: String,
    pub(super) id_type: String,
    pub(super) text: String,
    /// What tells documents apart: the column of documents, or that of ids.
    pub(super) key: String,
    pub(super) key_type: String,
    /// What rows of a document are in order by, the id last.
    places: Vec<String>,
    /// Whether several rows may be a document.
    pub(super) grouped: bool,
    /// Names of all columns, as they are.
    pub(super) columns: Vec<String>,
}

impl TableSchema {
    /// What rows of a document are in order by, as columns of `table`, which ends with a dot.
    pub(super) fn order(&self, table: &str) -> String {
        let places = self.places.iter().map(|place| format!("{table}{place}"));
        places.collect::<Vec<_>>().join(", ")
    }

    /// Columns whose change makes a row's vector another one, if it is not alone in its document.
    pub(super) fn decisive(&self) -> Vec<&str> {
        let mut columns = vec![self.text.as_str()];
        if self.grouped {
            columns.push(&self.key);
            columns.extend(self.places[..self.places.len() - 1].iter().map(String::as_str));
        }
        columns
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The columns of a table. Documents can be told apart by those that have an index.
pub(super) fn fields(
    transaction: &mut Transaction<'_>,
    fields: &Fields,
) -> Result<Vec<Field>, Error> {
    let name = fields.table.as_deref().unwrap_or_default();
    let parts: Vec<String> = name.split('.').map(quoted).collect();
    let sql = "SELECT attname, format_type(atttypid, NULL) IN ('text', 'character varying', 'character'), \
               EXISTS (SELECT 1 FROM pg_index WHERE indrelid = attrelid AND indkey[0] = attnum) \
               FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped \
               ORDER BY attnum";
    let seen = |row: &Row| Field { name: row.get(0), is_text: row.get(1), is_key: row.get(2) };
    Ok(transaction.query(sql, &[&parts.join(".")])?.iter().map(seen).collect())
}

/// Looks at the table; if it is none that can be used, the inner error says why.
pub(super) fn look(
    transaction: &mut Transaction<'_>,
    fields: &Fields,
) -> Result<Result<TableSchema, String>, Error> {
    let Some(name) = &fields.table else {
        return Ok(Err("which table? give it with --table NAME".to_owned()));
    };
    let parts: Vec<String> = name.split('.').map(quoted).collect();
    let sql = "SELECT c.oid, n.nspname, c.relname, c.relkind = 'r' FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";
    let Some(row) = transaction.query_opt(sql, &[&parts.join(".")])? else {
        return Ok(Err(format!("there is no table `{name}`")));
    };
    if !row.get::<_, bool>(3) {
        return Ok(Err(format!("`{name}` is no plain table")));
    }
    let (oid, schema): (u32, String) = (row.get(0), quoted(row.get(1)));
    let table = format!("{schema}.{}", quoted(row.get(2)));
    let sql = "SELECT attname, format_type(atttypid, NULL), attnotnull, EXISTS (SELECT 1 FROM pg_index \
               WHERE indrelid = attrelid AND indkey[0] = attnum), EXISTS (SELECT 1 FROM pg_index \
               WHERE indrelid = attrelid AND indkey[0] = attnum AND indisunique AND indnkeyatts = 1 \
               AND indpred IS NULL) \
               FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
    let all = transaction.query(sql, &[&oid])?;
    let columns: Vec<String> = all.iter().map(|row| row.get(0)).collect();
    let find = |name: &str| {
        let found = all.iter().find(|row| row.get::<_, &str>(0) == name);
        let known =
            || columns.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("its table has no column `{name}`, it has {}", known()))
    };
    let found = (|| {
        let (id, text) = (find(fields.id())?, find(fields.text())?);
        if !(id.get::<_, bool>(4) && id.get::<_, bool>(2)) {
            return Err(format!(
                "`{}` does not tell rows apart: it needs a unique index, and no nulls",
                fields.id()
            ));
        }
        let key = fields.document.as_deref().map_or(Ok(id), find)?;
        if !key.get::<_, bool>(3) {
            let key = key.get::<_, &str>(0);
            return Err(format!(
                "`{key}` has no index, so that each page would read the whole table: \
                 CREATE INDEX CONCURRENTLY ON {table} ({})",
                quoted(key)
            ));
        }
        let place = fields.order.as_deref().map(find).transpose()?;
        let places = place.into_iter().chain([id]).map(|row| quoted(row.get(0)));
        let shape = TableSchema {
            id: quoted(id.get(0)),
            places: places.collect(),
            id_type: id.get(1),
            text: quoted(text.get(0)),
            key: quoted(key.get(0)),
            key_type: key.get(1),
            grouped: fields.document.as_ref().is_some_and(|document| document != fields.id()),
            table: table.clone(),
            schema: schema.clone(),
            oid,
            columns: columns.clone(),
        };
        Ok((shape, key.get::<_, bool>(2)))
    })();
    let (shape, never_null) = match found {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    if !never_null && lacks_documents(transaction, &shape)? {
        return Ok(Err(format!(
            "rows have a text and no {}: give them one, or leave --document out",
            shape.key
        )));
    }
    Ok(Ok(shape))
}

fn lacks_documents(transaction: &mut Transaction<'_>, shape: &TableSchema) -> Result<bool, Error> {
    let TableSchema { table, key, text, .. } = shape;
    let sql =
        format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} IS NULL AND {text} IS NOT NULL)");
    Ok(transaction.query_one(&sql, &[])?.get(0))
}
