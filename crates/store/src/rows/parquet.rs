//! Parquet: <https://parquet.apache.org/docs/file-format/>.

use super::parquet_value::{Columns, json};
use super::{FieldNames, JsonRows, SourceRow, Texts, listed_names};
use crate::error::{Error, Result};
use crate::fields::Field;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field as ParquetField;
use serde_json::{Map, Number};
use std::fs::File;
use std::path::Path;

/// Calls `each` with the rows of the file at `path`; those without a text are skipped.
pub(super) fn read(
    path: &Path,
    names: &FieldNames<'_>,
    each: &mut dyn FnMut(SourceRow) -> Result<()>,
) -> Result<()> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let invalid = |number, reason| Error::Row { path: path.to_owned(), number, reason };
    let unreadable = |number: usize| {
        move |error: ParquetError| invalid(number, format!("it cannot be read: {error}"))
    };
    let reader = SerializedFileReader::new(file).map_err(unreadable(1))?;
    let columns = Columns::new(reader.metadata().file_metadata().schema());
    let rows = reader.get_row_iter(None).map_err(unreadable(1))?;
    let mut texts = Texts::default();
    for (record, number) in rows.zip(1..) {
        let record = record.map_err(unreadable(number))?;
        match row(columns.fields(record), number, names)
            .map_err(|reason| invalid(number, reason))?
        {
            Ok(row) => each(texts.seen(row))?,
            Err(reason) => texts.lacking(|| invalid(number, reason)),
        }
    }
    texts.finish()
}

/// The rows of the file at `path` as JSON objects.
pub(super) fn objects(path: &Path) -> Result<JsonRows> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let owned = path.to_owned();
    let unreadable = move |number: usize, error: ParquetError| Error::Row {
        path: owned.clone(),
        number,
        reason: format!("it cannot be read: {error}"),
    };
    let reader = SerializedFileReader::new(file).map_err(|error| unreadable(1, error))?;
    let columns = Columns::new(reader.metadata().file_metadata().schema());
    Ok(Box::new(reader.into_iter().zip(1..).map(move |(row, number)| {
        let row = row.map_err(|error| unreadable(number, error))?;
        Ok(columns.fields(row).map(|(name, field)| (name, json(&field))).collect())
    })))
}

/// The fields of the first row of the file at `path`; none if the row cannot be read.
pub(super) fn fields(path: &Path) -> Result<Vec<Field>> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let reader = SerializedFileReader::new(File::open(path).map_err(failed)?).ok();
    let Some(reader) = reader.as_ref() else { return Ok(Vec::new()) };
    let columns = Columns::new(reader.metadata().file_metadata().schema());
    let first = reader.get_row_iter(None).ok().and_then(|mut rows| rows.next());
    let Some(Ok(first)) = first else { return Ok(Vec::new()) };
    let field = |(name, field): (String, ParquetField)| {
        let is_text = matches!(field, ParquetField::Str(_));
        Field { is_key: is_text || key(&field).is_some(), is_text, name }
    };
    Ok(columns.fields(first).map(field).collect())
}

/// The row of a record; in the result, why it has no text.
fn row(
    record: impl Iterator<Item = (String, ParquetField)>,
    number: usize,
    names: &FieldNames<'_>,
) -> Result<Result<SourceRow, String>, String> {
    let mut is_other = false;
    let (mut id, mut document, mut text, mut vector) = (None, None, None, None);
    let (mut metadata, mut columns) = (Map::new(), Vec::new());
    for (name, field) in record {
        columns.push(name.clone());
        if name == names.id {
            id = key(&field);
        } else if name == names.text {
            is_other = !matches!(field, ParquetField::Str(_) | ParquetField::Null);
            text = if let ParquetField::Str(text) = field { Some(text) } else { None };
        } else if name == names.document {
            document = key(&field);
        } else if name == names.vector {
            vector = vector_of(&field).map_err(|reason| format!("`{name}` {reason}"))?;
        } else {
            metadata.insert(name, json(&field));
        }
    }
    let known = || format!("it has {}", listed_names(&columns));
    let id =
        id.ok_or_else(|| format!("no id, a text or a number, in `{}`; {}", names.id, known()))?;
    let Some(text) = text else {
        let lacking = format!("no text in `{}`; {}", names.text, known());
        return if is_other { Err(lacking) } else { Ok(Err(lacking)) };
    };
    Ok(Ok(SourceRow { number, id, document, text, metadata, vector }))
}

/// A text or a number as a key.
fn key(field: &ParquetField) -> Option<String> {
    match field {
        ParquetField::Str(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        ParquetField::Byte(_)
        | ParquetField::Short(_)
        | ParquetField::Int(_)
        | ParquetField::Long(_)
        | ParquetField::UByte(_)
        | ParquetField::UShort(_)
        | ParquetField::UInt(_)
        | ParquetField::ULong(_) => Some(field.to_string()),
        // As JSON writes it: whole numbers next to missing ones are often stored so.
        ParquetField::Float(x) => Number::from_f64((*x).into()).map(|x| x.to_string()),
        ParquetField::Double(x) => Number::from_f64(*x).map(|x| x.to_string()),
        _ => None,
    }
}

fn vector_of(field: &ParquetField) -> Result<Option<Vec<f32>>, &'static str> {
    let list = match field {
        ParquetField::Null => return Ok(None),
        ParquetField::ListInternal(list) => list,
        _ => return Err("is not a list of numbers"),
    };
    let element = |field: &ParquetField| match field {
        ParquetField::Float16(x) => Some(x.to_f32()),
        ParquetField::Float(x) => Some(*x),
        ParquetField::Double(x) => Some(*x as f32),
        _ => None,
    };
    let elements: Option<Vec<f32>> = list.elements().iter().map(element).collect();
    elements.map(Some).ok_or("has an element that is not a number")
}
