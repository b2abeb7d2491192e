//! JSONL: one JSON object per line.

use super::{FieldNames, SourceRow, Texts, field_of, listed_names};
use crate::error::{Error, Result};
use crate::fields::Field;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Maximum length of a line, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// Calls `each` with the rows of the file at `path`; empty lines and rows without a text are
/// skipped.
pub(super) fn read(
    path: &Path,
    names: &FieldNames<'_>,
    each: &mut dyn FnMut(SourceRow) -> Result<()>,
) -> Result<()> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let (mut line, mut number, mut texts) = (Vec::new(), 0, Texts::default());
    loop {
        line.clear();
        number += 1;
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return texts.finish();
        }
        let invalid = |reason: String| Error::Row { path: path.to_owned(), number, reason };
        if number == 1 {
            remove_mark(&mut line);
        }
        if line.len() as u64 == MAX_LINE {
            return Err(invalid(format!("it is over the limit of {} MiB", MAX_LINE >> 20)));
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            match row(&line, number, names).map_err(invalid)? {
                Ok(row) => each(texts.seen(row))?,
                Err(reason) => texts.lacking(|| invalid(reason)),
            }
        }
    }
}

/// The fields of the first row of the file at `path`; none if the row cannot be read.
pub(super) fn fields(path: &Path) -> Result<Vec<Field>> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?).take(MAX_LINE);
    let mut line = Vec::new();
    while line.iter().all(u8::is_ascii_whitespace) {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        remove_mark(&mut line);
    }
    let fields = object(&line).unwrap_or_default();
    Ok(fields.iter().map(|(name, value)| field_of(name, value)).collect())
}

/// Removes a byte order mark.
fn remove_mark(line: &mut Vec<u8>) {
    if line.starts_with("\u{feff}".as_bytes()) {
        line.drain(..3);
    }
}

/// Parses an object, whose long numbers are kept: see [`keep_long_numbers`].
fn object(line: &[u8]) -> serde_json::Result<Map<String, Value>> {
    let mut fields = serde_json::from_slice(line)?;
    keep_long_numbers(&mut fields, line)?;
    Ok(fields)
}

/// Replaces whole numbers of more than 64 bits, such as ids, by texts of what `json` has: the parser
/// rounds them. `fields` are those of the object `json`; only its own fields are looked at, not those
/// within them.
///
/// # Errors
///
/// If `json` is not an object.
pub fn keep_long_numbers(fields: &mut Map<String, Value>, json: &[u8]) -> serde_json::Result<()> {
    // Only these are rounded, and parsing twice takes twice as long.
    let is_long = |value: &Value| value.is_f64() && value.as_f64().is_some_and(|x| x.abs() > 1e18);
    if !fields.values().any(is_long) {
        return Ok(());
    }
    let written: BTreeMap<String, &RawValue> = serde_json::from_slice(json)?;
    for (name, value) in fields.iter_mut().filter(|(_, value)| is_long(value)) {
        let Some(text) = written.get(name).map(|raw| raw.get()) else { continue };
        if text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
            *value = text.into();
        }
    }
    Ok(())
}

/// The row in a line; in the result, why it has no text.
fn row(
    line: &[u8],
    number: usize,
    names: &FieldNames<'_>,
) -> Result<Result<SourceRow, String>, String> {
    let mut fields = object(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let known = || format!("it has {}", listed_names(&line_fields(line)));
    let id = fields.remove(names.id).and_then(|id| key(&id));
    let id =
        id.ok_or_else(|| format!("no id, a text or a number, in `{}`; {}", names.id, known()))?;
    let lacking = || format!("no text in `{}`; {}", names.text, known());
    let text = match fields.remove(names.text) {
        Some(Value::String(text)) => text,
        None | Some(Value::Null) => return Ok(Err(lacking())),
        Some(_) => return Err(lacking()),
    };
    let document = match fields.remove(names.document) {
        None | Some(Value::Null) => None,
        Some(value) => {
            let invalid = || format!("`{}` is neither a text nor a number", names.document);
            Some(key(&value).ok_or_else(invalid)?)
        }
    };
    let vector = match fields.remove(names.vector) {
        None | Some(Value::Null) => None,
        Some(Value::Array(elements)) => {
            let invalid = || format!("`{}` has an element that is not a number", names.vector);
            let elements = elements.iter().map(|x| x.as_f64().map(|x| x as f32));
            Some(elements.collect::<Option<Vec<f32>>>().ok_or_else(invalid)?)
        }
        Some(_) => return Err(format!("`{}` is not an array of numbers", names.vector)),
    };
    Ok(Ok(SourceRow { number, id, document, text, metadata: fields, vector }))
}

/// A text or a number as a key.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn line_fields(line: &[u8]) -> Vec<String> {
    let fields: Map<String, Value> = serde_json::from_slice(line).unwrap_or_default();
    fields.into_iter().map(|(name, _)| name).collect()
}
