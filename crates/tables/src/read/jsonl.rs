//! JSONL: one object per line. Kept fields become columns of the types that all of their values
//! have, found in a pass over the whole file, so that every part of it has the same ones.

use super::lines::{self, Line, MAX_LINE};
use super::{BATCH_BYTES, BATCH_ROWS, Reader, lines_of, text_of};
use crate::columns::{Columns, FileColumns};
use crate::error::{Error, Result};
use crate::inputs::is_packed;
use crate::rows::{RowText, Rows};
use crate::shard::{Part, Shard};
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The fields of the objects of a file, in the order of their first appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct JsonColumns {
    names: Vec<String>,
    types: Vec<JsonType>,
}

/// The type of all values of a field that are not null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum JsonType {
    #[default]
    Null,
    Bool,
    /// Whole numbers of 64 bits; `is_exact` if all of them are exact in f64.
    Int {
        is_exact: bool,
    },
    /// Numbers that f64 holds as they are written.
    Float,
    /// Texts, and numbers and truth values as they are written.
    Text,
    /// Anything, as JSON.
    Json,
}

impl JsonType {
    fn of(value: &RawValue) -> Self {
        let raw = value.get();
        match raw.as_bytes()[0] {
            b'n' => Self::Null,
            b't' | b'f' => Self::Bool,
            b'"' => Self::Text,
            b'{' | b'[' => Self::Json,
            _ => Self::of_number(raw),
        }
    }

    fn of_number(raw: &str) -> Self {
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let is_whole = !raw.contains(['.', 'e', 'E']);
        match (raw.parse::<i64>(), raw.parse::<f64>()) {
            (Ok(whole), _) if is_whole => Self::Int { is_exact: whole.unsigned_abs() <= EXACT },
            (_, Ok(number)) if !is_whole && number.is_finite() => Self::Float,
            // More digits than a number has.
            _ => Self::Text,
        }
    }

    /// The type of values of both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, one) | (one, Self::Null) => one,
            (Self::Int { is_exact: a }, Self::Int { is_exact: b }) => {
                Self::Int { is_exact: a && b }
            }
            (Self::Int { is_exact: true }, Self::Float)
            | (Self::Float, Self::Int { is_exact: true }) => Self::Float,
            (a, b) if a == b => a,
            (Self::Json, _) | (_, Self::Json) => Self::Json,
            _ => Self::Text,
        }
    }

    fn dtype(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int { .. } => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Null | Self::Text | Self::Json => DataType::Utf8,
        }
    }
}

impl JsonColumns {
    /// Those of the file at `path`. Lines that are not objects are left out here, and reported when
    /// they are read.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let mut from = text_of(path)?;
        let (mut columns, mut places) = (Self::default(), HashMap::new());
        let mut line = Vec::new();
        loop {
            match lines::read(&mut from, &mut line).map_err(Error::io("read", path))? {
                Line::End => return Ok(columns),
                Line::TooLong(_) => {}
                Line::Read(_) => {
                    for (name, value) in object(&line).unwrap_or_default() {
                        columns.add(&mut places, name, JsonType::of(value));
                    }
                }
            }
        }
    }

    fn add(&mut self, places: &mut HashMap<String, usize>, name: String, found: JsonType) {
        match places.get(&name) {
            Some(&place) => self.types[place] = self.types[place].with(found),
            None => {
                places.insert(name.clone(), self.names.len());
                self.names.push(name);
                self.types.push(found);
            }
        }
    }
}

/// The fields of an object, with their values as they are written.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The fields of the object in `line`, or why there is none.
fn object(line: &[u8]) -> Result<Vec<(String, &RawValue)>, String> {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    match serde_json::from_slice::<Object<'_>>(line) {
        Ok(Object(fields)) => Ok(fields),
        Err(error) => Err(format!("it is not a JSON object: {error}")),
    }
}

pub(super) fn open(
    shard: &Shard,
    columns: &Columns,
    added: &[&str],
    json: &Arc<JsonColumns>,
) -> Result<Reader> {
    let names: Vec<&str> = json.names.iter().map(String::as_str).collect();
    let of_file = columns.of(&names, &shard.input, added)?;
    let field = |&column: &usize| Field::new(names[column], json.types[column].dtype(), true);
    let schema = Arc::new(Schema::new(of_file.kept.iter().map(field).collect::<Vec<_>>()));
    let (from, position) = lines_of(shard)?;
    let batches = Batches {
        path: shard.input.clone(),
        from,
        position,
        end: if let Part::Lines { end, .. } = shard.part { end } else { u64::MAX },
        line: if let Part::Lines { start: 1.., .. } = shard.part { None } else { Some(0) },
        json: Arc::clone(json),
        of_file,
        schema: Arc::clone(&schema),
        is_packed: is_packed(&shard.input),
    };
    let rows = Box::new(batches.map_while(Result::transpose));
    Ok(Reader { schema, rows })
}

struct Batches {
    path: PathBuf,
    from: Box<dyn BufRead>,
    /// The byte of the file, or of its text, where the next line begins, and where the shard ends.
    position: u64,
    end: u64,
    /// Number of the last line, if it can be known.
    line: Option<usize>,
    json: Arc<JsonColumns>,
    of_file: FileColumns,
    schema: SchemaRef,
    /// Whether the size of the file is not that of its text.
    is_packed: bool,
}

impl Iterator for Batches {
    type Item = Result<Option<Rows>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.batch())
    }
}

impl Batches {
    fn batch(&mut self) -> Result<Option<Rows>> {
        let mut builders: Vec<Column> =
            self.of_file.kept.iter().map(|&column| Column::new(self.json.types[column])).collect();
        let (start, mut texts, mut line) = (self.position, Vec::new(), Vec::new());
        while texts.len() < BATCH_ROWS && self.position - start < BATCH_BYTES as u64 {
            if self.position >= self.end {
                break;
            }
            let location = self.location();
            let read = lines::read(&mut self.from, &mut line);
            let row = match read.map_err(Error::io("read", &self.path))? {
                Line::End => break,
                Line::TooLong(bytes) => {
                    self.position += bytes;
                    Err(format!("it is over the limit of {} MiB for a line", MAX_LINE >> 20))
                }
                Line::Read(bytes) => {
                    self.position += bytes;
                    if line.iter().all(u8::is_ascii_whitespace) {
                        continue;
                    }
                    object(&line)
                }
            };
            texts.push(self.row(row, location, &mut builders));
        }
        if texts.is_empty() {
            return Ok(None);
        }
        let kept: Vec<ArrayRef> = builders.into_iter().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(texts.len()));
        let kept = RecordBatch::try_new_with_options(Arc::clone(&self.schema), kept, &options);
        let kept = kept.map_err(|error| Error::unreadable(&self.path, error))?;
        let bytes = if self.is_packed { 0 } else { self.position - start };
        Ok(Some(Rows { kept, texts, bytes }))
    }

    /// Where the next line is.
    fn location(&mut self) -> String {
        match &mut self.line {
            Some(line) => {
                *line += 1;
                format!("line {line}")
            }
            None => format!("byte {}", self.position),
        }
    }

    /// The text of a row, whose kept fields go to `builders`.
    fn row(
        &self,
        row: Result<Vec<(String, &RawValue)>, String>,
        location: String,
        builders: &mut [Column],
    ) -> RowText {
        let (fields, failure) = match row {
            Ok(fields) => (fields, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        // Of equal names, the last one counts.
        let value = |column: usize| {
            let name = &self.json.names[column];
            fields.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
        };
        for (builder, &column) in builders.iter_mut().zip(&self.of_file.kept) {
            builder.append(value(column));
        }
        let key = |column: usize| value(column).and_then(scalar);
        let text = match (failure, value(self.of_file.text)) {
            (Some(reason), _) => Err(reason),
            (None, Some(raw)) => {
                serde_json::from_str(raw.get()).map_err(|_| "its text is not a string".to_owned())
            }
            (None, None) => Err("it has no text".to_owned()),
        };
        RowText {
            text,
            location,
            id: self.of_file.id.and_then(key),
            document: self.of_file.document.and_then(key),
        }
    }
}

/// A text, or a number or truth value as it is written.
fn scalar(value: &RawValue) -> Option<String> {
    match JsonType::of(value) {
        JsonType::Null | JsonType::Json => None,
        _ if value.get().starts_with('"') => serde_json::from_str(value.get()).ok(),
        _ => Some(value.get().to_owned()),
    }
}

/// The values of a kept column.
enum Column {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Json(StringBuilder),
}

impl Column {
    fn new(dtype: JsonType) -> Self {
        match dtype {
            JsonType::Bool => Self::Bool(BooleanBuilder::new()),
            JsonType::Int { .. } => Self::Int(Int64Builder::new()),
            JsonType::Float => Self::Float(Float64Builder::new()),
            JsonType::Null | JsonType::Text => Self::Text(StringBuilder::new()),
            JsonType::Json => Self::Json(StringBuilder::new()),
        }
    }

    fn append(&mut self, value: Option<&RawValue>) {
        let value = value.filter(|value| JsonType::of(value) != JsonType::Null);
        match self {
            Self::Bool(builder) => builder.append_option(value.map(|value| value.get() == "true")),
            Self::Int(builder) => {
                builder.append_option(value.and_then(|value| value.get().parse().ok()));
            }
            Self::Float(builder) => {
                builder.append_option(value.and_then(|value| value.get().parse().ok()));
            }
            Self::Text(builder) => builder.append_option(value.and_then(scalar)),
            Self::Json(builder) => builder.append_option(value.map(RawValue::get)),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) | Self::Json(mut builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(content: &str) -> Vec<(String, JsonType)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, content).expect("a file");
        let JsonColumns { names, types } = JsonColumns::of_file(&path).expect("columns");
        names.into_iter().zip(types).collect()
    }

    fn only(values: &[&str]) -> JsonType {
        let lines = values.iter().map(|value| format!("{{\"a\": {value}}}\n"));
        types(&lines.collect::<String>())[0].1
    }

    #[test]
    fn a_column_has_the_type_of_all_of_its_values() {
        assert_eq!(only(&["1", "null", "-7"]), JsonType::Int { is_exact: true });
        assert_eq!(only(&["1", "2.5"]), JsonType::Float);
        // Digits are never lost.
        assert_eq!(only(&["9007199254740993", "2.5"]), JsonType::Text);
        assert_eq!(only(&["9007199254740993"]), JsonType::Int { is_exact: false });
        assert_eq!(only(&["123456789012345678901234567890"]), JsonType::Text);
        assert_eq!(only(&["1e999"]), JsonType::Text);
        assert_eq!(only(&["true", "false"]), JsonType::Bool);
        assert_eq!(only(&["true", "1"]), JsonType::Text);
        assert_eq!(only(&["\"a\"", "7"]), JsonType::Text);
        assert_eq!(only(&["[1]", "7"]), JsonType::Json);
        assert_eq!(only(&["null"]), JsonType::Null);
    }

    #[test]
    fn columns_have_the_order_of_their_first_appearance() {
        let content = "\u{feff}{\"b\": 1}\nnot JSON\n\n{\"a\": \"x\", \"b\": 2}\n";
        let found = types(content);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
