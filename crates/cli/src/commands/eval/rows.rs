//! Files of JSON lines: every error names the line.

use anyhow::Context;
use kokeshi::MAX_TEXT_BYTES;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Longest line: a text of the largest size, every byte of it escaped.
const MAX_LINE_BYTES: usize = 6 * MAX_TEXT_BYTES;

/// An object of a file.
pub(super) struct Row<'a> {
    pub(super) fields: Map<String, Value>,
    path: &'a Path,
    line: usize,
}

impl Row<'_> {
    /// Takes the text of a field.
    pub(super) fn text(&mut self, name: &str) -> anyhow::Result<String> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => anyhow::bail!("{} has no text `{name}`", self.location()),
        }
    }

    /// Takes the text of a field; an absent one is empty.
    pub(super) fn optional_text(&mut self, name: &str) -> anyhow::Result<String> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(_) => self.text(name),
        }
    }

    /// A text, number or truth value of a field, as it is written: an id or a label.
    pub(super) fn name(&self, name: &str) -> anyhow::Result<String> {
        match self.fields.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            _ => anyhow::bail!("{} has no `{name}`", self.location()),
        }
    }

    /// The number of a field.
    pub(super) fn number(&self, name: &str) -> anyhow::Result<f64> {
        let number = self.fields.get(name).and_then(Value::as_f64);
        number.with_context(|| format!("{} has no number `{name}`", self.location()))
    }

    /// The whole number from 0 of a field.
    pub(super) fn offset(&self, name: &str) -> anyhow::Result<usize> {
        let offset = self.fields.get(name).and_then(Value::as_u64);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        offset.with_context(|| format!("{} has no whole number `{name}`", self.location()))
    }

    /// Its line in its file, for messages.
    pub(super) fn location(&self) -> String {
        location(self.line, self.path)
    }
}

/// Calls `each` with every object of a file, in order. Blank lines are skipped.
pub(super) fn each(
    path: &Path,
    mut each: impl FnMut(Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    each_until(path, |row| each(row).map(|()| true))
}

/// The first object of a file; `None` if it has none.
pub(super) fn first(path: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let mut first = None;
    each_until(path, |row| {
        first = Some(row.fields);
        Ok(false)
    })?;
    Ok(first)
}

/// As [`each`], until it returns `false`.
fn each_until(
    path: &Path,
    mut each: impl FnMut(Row<'_>) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut from = BufReader::new(File::open(path).with_context(unreadable)?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = from.by_ref().take(limit).read_until(b'\n', &mut bytes);
        if read.with_context(unreadable)? == 0 {
            break;
        }
        if bytes.len() > MAX_LINE_BYTES {
            let limit = MAX_LINE_BYTES >> 20;
            anyhow::bail!("{} is over the limit of {limit} MiB", location(line, path));
        }
        if let Some(fields) = object(&bytes, line, path)?
            && !each(Row { fields, path, line })?
        {
            break;
        }
    }
    Ok(())
}

/// The object in a line; `None` if it is blank.
fn object(bytes: &[u8], line: usize, path: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        anyhow::bail!("{} is not UTF-8", location(line, path));
    };
    let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
    if text.trim().is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(Some(fields)),
        Ok(_) => anyhow::bail!("{} is not a JSON object", location(line, path)),
        Err(error) => {
            // The parser counts lines within this line: only its column means anything here.
            let (column, reason) = (error.column(), error.to_string());
            let reason = reason.split(" at line ").next().unwrap_or_default();
            anyhow::bail!("{} is not JSON: {reason} at column {column}", location(line, path))
        }
    }
}

fn location(line: usize, path: &Path) -> String {
    format!("line {line} of {}", path.display())
}
