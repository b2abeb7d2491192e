//! Rows on their way into the temporary database.

use super::{SourceRow, hash, listed_names, temporary, with_id};
use crate::error::{Error, Result};
use rusqlite::{Connection, params};
use serde_json::{Map, Value};
use std::path::Path;

/// Writes rows into the temporary database.
pub(super) struct RowWriter<'a> {
    pub(super) path: &'a Path,
    /// The field with the position of a row in its document.
    pub(super) order: Option<&'a str>,
    /// Dimensions of the vectors so far; `Some(None)` if the first row has no vector.
    pub(super) dimensions: Option<Option<usize>>,
}

impl RowWriter<'_> {
    /// Adds `row` to `rows`.
    ///
    /// # Errors
    ///
    /// If its id is not new, or its vector is not like those before it.
    pub(super) fn add(&mut self, rows: &Connection, row: SourceRow) -> Result<()> {
        let number = row.number;
        let invalid = |reason: String| Error::Row { path: self.path.to_owned(), number, reason };
        if let Some(vector) = &row.vector
            && vector.iter().any(|x| !x.is_finite())
        {
            return Err(invalid("its vector has a value that is not finite".to_owned()));
        }
        let width = row.vector.as_ref().map(Vec::len);
        let first = *self.dimensions.get_or_insert(width);
        if width != first {
            let described = |width: Option<usize>| {
                width.map_or("no vector".to_owned(), |width| format!("a vector of width {width}"))
            };
            return Err(invalid(format!(
                "it has {}, where earlier rows have {}",
                described(width),
                described(first)
            )));
        }
        let sql = "INSERT OR IGNORE INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let position = self.order.map(|order| position(order, &row.metadata).map_err(invalid));
        let mut metadata = Value::Object(with_id(row.metadata, &row.id));
        // Databases return the fields of a point in any order, but hashes must be equal.
        metadata.sort_all_objects();
        let metadata = metadata.to_string();
        let values = params![
            row.id,
            row.document.as_ref().unwrap_or(&row.id),
            number,
            position.transpose()?,
            row.text,
            hash(&format!("{}:{}{metadata}", row.text.len(), row.text)),
            metadata,
            row.vector.map(|vector| to_bytes(&vector)),
        ];
        let mut statement = rows.prepare_cached(sql).map_err(temporary(self.path))?;
        match statement.execute(values).map_err(temporary(self.path))? {
            1 => Ok(()),
            _ => Err(invalid(format!("an earlier row also has the id `{}`", row.id))),
        }
    }
}

/// The position of a row in its document: the value of the field `order`.
fn position(order: &str, metadata: &Map<String, Value>) -> Result<rusqlite::types::Value, String> {
    use rusqlite::types::Value as Sql;
    match metadata.get(order) {
        Some(Value::String(text)) => Ok(Sql::Text(text.clone())),
        Some(Value::Number(number)) => {
            let real = Sql::Real(number.as_f64().unwrap_or(f64::INFINITY));
            Ok(number.as_i64().map_or(real, Sql::Integer))
        }
        _ => {
            let names: Vec<String> = metadata.keys().cloned().collect();
            Err(format!("no text or number in `{order}`; it has {}", listed_names(&names)))
        }
    }
}

fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}
