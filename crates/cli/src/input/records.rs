//! Records with a text: JSON values, rows of tables.

use super::{Origin, Source, SourceText, lines};
use crate::failure::hinted;
use anyhow::Context;
use kokeshi_documents::{Error, MAX_FILE_BYTES, TEXT_FIELDS, Table, TableRow};
use serde_json::{Map, Value};
use std::io::{BufRead, Read};
use std::rc::Rc;

/// Fields with its id.
const ID_FIELDS: [&str; 2] = ["id", "_id"];

/// A record as it was written, and its fields.
#[derive(Debug)]
pub(crate) struct Record {
    /// As it was written.
    pub(crate) raw: String,
    /// The first line of the table that it is a row of.
    pub(crate) header: Option<Rc<str>>,
    /// All fields but the text.
    pub(crate) fields: Map<String, Value>,
}

impl Record {
    /// The field called `name`, or else the one that usually has the id.
    ///
    /// # Errors
    ///
    /// If `name` is given and there is no such field.
    pub(crate) fn id(&self, name: Option<&str>, origin: &Origin) -> anyhow::Result<Option<&Value>> {
        let Some(name) = name else {
            return Ok(ID_FIELDS.iter().find_map(|name| self.fields.get(*name)));
        };
        let id = self.fields.get(name);
        id.map(Some).ok_or_else(|| no_field(origin, name, &self.fields))
    }

    /// All fields but `id` and the text.
    pub(crate) fn metadata(&self, id: Option<&Value>) -> Vec<(&String, &Value)> {
        let is_id = |value: &Value| id.is_some_and(|id| std::ptr::eq(id, value));
        self.fields.iter().filter(|(_, value)| !is_id(value)).collect()
    }
}

fn no_field(origin: &Origin, name: &str, fields: &Map<String, Value>) -> anyhow::Error {
    let names: Vec<String> = fields.keys().map(|name| format!("`{name}`")).collect();
    let names = if names.is_empty() { "no field".to_owned() } else { names.join(", ") };
    hinted(
        format!("{origin} has no field `{name}`"),
        format!("it has {names}; --text-field, --id-field, --label-field and --truth name fields"),
    )
}

/// A record whose text has not been taken out yet.
pub(super) struct RecordLine {
    raw: String,
    header: Option<Rc<str>>,
    value: Value,
    origin: Origin,
    /// Size in its source, in bytes.
    bytes: usize,
}

impl RecordLine {
    /// The text in the field `name`, or else in the first usual field that has one.
    pub(super) fn text(self, name: Option<&str>) -> anyhow::Result<SourceText> {
        let Self { raw, header, value, origin, bytes } = self;
        let (text, fields) = match value {
            Value::String(text) => (text, Map::new()),
            Value::Object(mut fields) => {
                (take_text(&mut fields, name, header.is_some(), &origin)?, fields)
            }
            _ => return Err(no_text(&origin, &Map::new())),
        };
        lines::check_size(text.as_bytes(), &origin)?;
        let record = Some(Rc::new(Record { raw, header, fields }));
        Ok(SourceText { text, origin, bytes, record })
    }
}

/// Removes the text from `fields`. A table of one column needs no name.
fn take_text(
    fields: &mut Map<String, Value>,
    name: Option<&str>,
    is_row: bool,
    origin: &Origin,
) -> anyhow::Result<String> {
    if let Some(name) = name {
        let value = fields.get(name).and_then(scalar);
        let text = value.ok_or_else(|| no_field(origin, name, fields))?;
        fields.remove(name);
        return Ok(text);
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let usual = || TEXT_FIELDS.into_iter().filter(|name| text(name).is_some());
    let filled = usual().find(|name| text(name).is_some_and(|text| !text.trim().is_empty()));
    let only = || fields.keys().next().filter(|_| is_row && fields.len() == 1).cloned();
    let name = filled.or_else(|| usual().next()).map(str::to_owned).or_else(only);
    match name.and_then(|name| fields.remove(&name)) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(no_text(origin, fields)),
    }
}

/// A text, or a number or truth value as it is written: labels are often such.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn no_text(origin: &Origin, fields: &Map<String, Value>) -> anyhow::Error {
    let names: Vec<String> = fields.keys().map(|name| format!("`{name}`")).collect();
    let hint = match names.as_slice() {
        [] => "a record is an object such as `{\"text\": \"…\"}`, or a string".to_owned(),
        names => format!(
            "a record is an object such as `{{\"text\": \"…\"}}`, or a string; this one has {}, and \
             --text-field names the field to use",
            names.join(", ")
        ),
    };
    hinted(format!("{origin} contains no text"), hint)
}

/// The JSON values of `from`, one per line that is not blank.
pub(super) fn jsonl(
    from: impl BufRead,
    source: Source,
) -> impl Iterator<Item = anyhow::Result<RecordLine>> {
    let filled = |line: &anyhow::Result<SourceText>| {
        line.as_ref().map_or(true, |line| !line.text.trim().is_empty())
    };
    lines::texts(from, source).filter(filled).map(|line| {
        let line = line?;
        let mut value = lines::json(&line)?;
        if let Value::Object(fields) = &mut value {
            kokeshi_store::keep_long_numbers(fields, line.text.as_bytes())?;
        }
        let (raw, origin, bytes) = (line.text, line.origin, line.bytes);
        Ok(RecordLine { raw, header: None, value, origin, bytes })
    })
}

/// The elements of one JSON array, or one JSON value.
pub(super) fn json(
    from: impl BufRead,
    source: Source,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordLine>>> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {source}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let limit = MAX_FILE_BYTES >> 20;
        let message = format!("{source} is over the limit of {limit} MiB for a JSON file");
        return Err(hinted(message, "write one object per line in a `.jsonl` file"));
    }
    let content = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let value: Value =
        serde_json::from_slice(content).with_context(|| format!("{source} is not valid JSON"))?;
    let (values, size) = match value {
        Value::Array(values) => (values, bytes.len()),
        other => (vec![other], bytes.len()),
    };
    let share = size / values.len().max(1);
    Ok(values.into_iter().map(move |value| {
        let origin = Origin { number: 0, source: source.clone(), line: None };
        Ok(RecordLine { raw: value.to_string(), header: None, value, origin, bytes: share })
    }))
}

/// The rows of a Parquet file.
pub(super) fn parquet(
    source: Source,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordLine>>> {
    let Source::File(path) = &source else {
        return Err(hinted("Parquet can be read from files only", "name a file with --input"));
    };
    let rows = kokeshi_store::parquet_rows(path)?;
    Ok(rows.map(move |row| {
        let value = Value::Object(row?);
        let origin = Origin { number: 0, source: source.clone(), line: None };
        Ok(RecordLine { raw: value.to_string(), header: None, value, origin, bytes: 0 })
    }))
}

/// The rows below the header of a table whose separator is `separator` or, if the header lacks it,
/// another usual one. Quotes are those of [`Table`].
pub(super) fn table(
    from: impl Read,
    source: Source,
    separator: u8,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordLine>>> {
    let table = Table::new(from, separator).map_err(|error| unreadable(error, &source))?;
    let header: Rc<str> = table.header().into();
    Ok(table.map(move |row| {
        let TableRow { line, raw, fields } = row.map_err(|error| unreadable(error, &source))?;
        let origin = Origin { number: 0, source: source.clone(), line: Some(line) };
        let (bytes, header) = (raw.len() + 1, Some(Rc::clone(&header)));
        Ok(RecordLine { raw, header, value: Value::Object(fields), origin, bytes })
    }))
}

fn unreadable(error: Error, source: &Source) -> anyhow::Error {
    match error {
        Error::Input(error) => anyhow::Error::from(error).context(format!("cannot read {source}")),
        Error::NoText(reason) if reason.ends_with("is not UTF-8") => hinted(
            format!("{source}: {reason}"),
            "convert text of another encoding, for example with `iconv -f LATIN1 -t UTF-8`",
        ),
        Error::NoText(reason) if reason.ends_with("has no end") => {
            hinted(format!("{source}: {reason}"), "close the quote, or double it if it is a letter")
        }
        other => anyhow::anyhow!("{source}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(
        records: impl Iterator<Item = anyhow::Result<RecordLine>>,
        name: Option<&str>,
    ) -> Vec<(Option<usize>, String)> {
        let texts = records.map(|record| record.and_then(|record| record.text(name)));
        texts.map(|text| text.expect("a text")).map(|text| (text.origin.line, text.text)).collect()
    }

    fn of_csv(content: &str) -> Vec<(Option<usize>, String)> {
        let owned = content.to_owned();
        let bytes: &'static [u8] = owned.leak().as_bytes();
        texts(table(bytes, Source::Stdin, b',').expect("a table"), None)
    }

    #[test]
    fn rows_of_a_table_have_the_line_where_they_begin() {
        let expected =
            [(Some(2), "one".to_owned()), (Some(4), "two\nlines".into()), (Some(6), "3".into())];
        assert_eq!(of_csv("id,text\n1,one\n\n2,\"two\nlines\"\n3,3\n"), expected);
        // A line break within quotes is part of the field.
        let crlf = of_csv("id,text\r\n1,one\r\n\r\n2,\"two\r\nlines\"\r\n3,3\r\n");
        assert_eq!(crlf[1], (Some(4), "two\r\nlines".to_owned()));
        assert_eq!((&crlf[0], &crlf[2]), (&expected[0], &expected[2]));
        assert_eq!(of_csv("id;text\n1;\"a; \"\"b\"\"\"\n"), [(Some(2), "a; \"b\"".to_owned())]);
        assert_eq!(of_csv("question\nwhy\n"), [(Some(2), "why".to_owned())]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_by_its_line() {
        let content = "id,text\n1,fine\n2,\"Hello\n3,three\n";
        let rows = table(content.as_bytes(), Source::Stdin, b',').expect("a table");
        let error = rows.filter_map(Result::err).next().expect("an error");
        let expected = "standard input: the quote that opens a field in line 3 has no end";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_quote_in_tab_separated_values_is_a_letter() {
        let content =
            "id\ttext\n1\tfine\n2\t\"Hello there\n3\t\"all \"\"quoted\"\"\"\n4\tRain \"in Spain\n";
        let rows = texts(table(content.as_bytes(), Source::Stdin, b'\t').expect("a table"), None);
        let rows: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
        assert_eq!(rows, ["fine", "\"Hello there", "all \"quoted\"", "Rain \"in Spain"]);
    }

    #[test]
    fn the_text_is_in_the_first_usual_field_that_has_one_or_in_the_named_one() {
        let content = "[{\"text\": \"\", \"content\": \"real\", \"n\": 3}, \"alone\"]";
        let read = |name| {
            let records = json(content.as_bytes(), Source::Stdin).expect("an array");
            let texts = records.map(move |record| record.and_then(|record| record.text(name)));
            texts.collect::<Vec<_>>()
        };
        let usual = read(None);
        assert_eq!(usual[0].as_ref().expect("a text").text, "real");
        assert_eq!(usual[1].as_ref().expect("a text").text, "alone");
        assert_eq!(read(Some("n"))[0].as_ref().expect("a text").text, "3");
        let error = read(Some("m"))[0].as_ref().expect_err("no such field").to_string();
        assert_eq!(error, "standard input has no field `m`");
    }

    #[test]
    fn jsonl_accepts_strings_and_objects_with_a_text() {
        let lines = "{\"id\": 7, \"text\": \"a\\nb\"}\n\n\"c\"\n";
        let read = texts(jsonl(lines.as_bytes(), Source::Stdin), None);
        assert_eq!(read, [(Some(1), "a\nb".to_owned()), (Some(3), "c".into())]);
        for bad in ["{}", "{\"text\": 3}", "[]", "{", "nul"] {
            let mut records = jsonl(bad.as_bytes(), Source::Stdin);
            let text = records.next().expect("a line").and_then(|record| record.text(None));
            let error = text.expect_err(bad).to_string();
            assert!(error.starts_with("line 1 of standard input "), "{bad}: {error}");
        }
    }

    #[test]
    fn columns_of_the_same_name_are_all_kept() {
        let rows = table(&b"id,note,note\n1,a,b\n"[..], Source::Stdin, b',').expect("a table");
        let row = rows.map(|row| row.expect("a row").value).next().expect("a row");
        assert_eq!(row, serde_json::json!({"id": "1", "note": "a", "note 2": "b"}));
    }
}
