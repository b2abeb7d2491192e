//! Tables and JSON lines: each row is a separate part, and its fields are metadata.

mod delimited;

use crate::blobs::without_blobs;
use crate::error::{Error, Result};
use crate::text::{DocumentPart, DocumentText};
use delimited::Records;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Fields with a row's text, the likeliest first. The text of a row with none of them is all of its
/// strings.
pub const TEXT_FIELDS: [&str; 5] = ["text", "content", "body", "passage", "abstract"];
/// Fields that precede the text.
const TITLE_FIELDS: [&str; 2] = ["title", "name"];
/// Maximum length of a string that is kept to filter by, in bytes.
const MAX_VALUE: usize = 256;

/// The rows read so far.
#[derive(Default)]
struct Rows {
    text: String,
    parts: Vec<DocumentPart>,
}

impl Rows {
    fn push(&mut self, line: usize, fields: &Map<String, Value>) {
        let start = self.text.len();
        let main = TEXT_FIELDS.into_iter().find_map(|name| filled(fields, name));
        if let Some(main) = main {
            let titles = TITLE_FIELDS.into_iter().filter_map(|name| filled(fields, name));
            titles.chain([main]).for_each(|text| self.line(text));
        } else {
            self.all_of(fields);
        }
        let short = |value: &Value| match value {
            Value::String(text) => text.len() <= MAX_VALUE,
            Value::Object(_) => false,
            Value::Array(values) => {
                values.iter().all(|value| !value.is_object() && !value.is_array())
            }
            _ => true,
        };
        let metadata = fields.iter().filter(|(_, value)| short(value));
        let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
        let bytes = start..self.text.len();
        self.parts.push(DocumentPart { bytes, sections: Vec::new(), line: Some(line), metadata });
    }

    /// Adds the strings of a row with their names: its own or, if it has none, nested ones.
    fn all_of(&mut self, fields: &Map<String, Value>) {
        let start = self.text.len();
        for (name, value) in fields {
            if let Value::String(text) = value {
                self.named(name, text);
            }
        }
        if self.text.len() == start {
            fields.iter().for_each(|(name, value)| self.nested(name, value));
        }
    }

    /// Adds the strings within a value, with their paths as names.
    fn nested(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(text) => self.named(path, text),
            Value::Array(values) => values.iter().for_each(|value| self.nested(path, value)),
            Value::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(name, value)| self.nested(&format!("{path}.{name}"), value));
            }
            _ => {}
        }
    }

    fn named(&mut self, name: &str, text: &str) {
        if !text.trim().is_empty() {
            self.line(&format!("{name}: {text}"));
        }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(&without_blobs(text));
        self.text.push('\n');
    }

    fn into_text(self) -> DocumentText {
        DocumentText { text: self.text, parts: self.parts, ..DocumentText::default() }
    }
}

/// The string called `name`, in any case, if it is not blank.
fn filled<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.find_map(|(_, value)| value.as_str().filter(|text| !text.trim().is_empty()))
}

/// Reads one JSON object or string per line.
pub(crate) fn jsonl(text: &str) -> Result<DocumentText> {
    let mut rows = Rows::default();
    for (line, row) in (1..).zip(text.lines()).filter(|(_, row)| !row.trim().is_empty()) {
        match serde_json::from_str(row) {
            Ok(Value::Object(fields)) => rows.push(line, &fields),
            Ok(Value::String(text)) => {
                rows.push(line, &Map::from_iter([("text".to_owned(), Value::String(text))]));
            }
            Ok(_) => {
                let reason = format!("line {line} is neither a JSON object nor a string");
                return Err(Error::NoText(reason));
            }
            Err(error) => return Err(Error::NoText(format!("line {line} is not JSON: {error}"))),
        }
    }
    Ok(rows.into_text())
}

/// Reads records below a header, whose fields are separated by `separator` or, if the header lacks
/// it, by another usual one.
pub(crate) fn table(text: &str, separator: u8) -> Result<DocumentText> {
    let mut records = Records::detect(text, separator);
    let header = records.next().transpose()?.map(|record| record.fields).unwrap_or_default();
    let mut names = Names::default();
    let columns: Vec<String> =
        (1..).zip(header).map(|(number, name)| names.unique(number, name.trim())).collect();
    let mut rows = Rows::default();
    for record in records {
        let record = record?;
        let name = |at: usize| {
            columns.get(at).cloned().unwrap_or_else(|| names.clone().unique(at + 1, ""))
        };
        let fields = record.fields.into_iter().enumerate();
        let fields = fields.map(|(at, value)| (name(at), Value::from(value)));
        rows.push(record.line, &fields.collect());
    }
    Ok(rows.into_text())
}

/// Names of columns, no two of which are the same.
#[derive(Clone, Debug, Default)]
struct Names(HashSet<String>);

impl Names {
    /// The name of a column: `name`, or `name 2` and so on if it is taken, or by its number.
    fn unique(&mut self, number: usize, name: &str) -> String {
        let name = if name.is_empty() { format!("column {number}") } else { name.to_owned() };
        let numbered = (2..).map(|count| format!("{name} {count}"));
        let mut names = [name.clone()].into_iter().chain(numbered);
        names.find(|name| self.0.insert(name.clone())).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(text: &DocumentText) -> Vec<(&str, Option<usize>, Value)> {
        let parts = text.parts.iter();
        let row = |part: &DocumentPart| {
            (&text.text[part.bytes.clone()], part.line, Value::Object(part.metadata.clone()))
        };
        parts.map(row).collect()
    }

    #[test]
    fn json_lines_have_a_text_and_fields() {
        let long = "x".repeat(300);
        let text = format!(
            "{{\"title\":\"T\",\"text\":\"Ein \\u00e9\",\"year\":1900,\"deep\":{{}}}}\n\n\"alone\"\n\
             {{\"a\":\"b\",\"c\":\"{long}\"}}\n"
        );
        let text = jsonl(&text).expect("rows");
        let rows = rows(&text);
        assert_eq!(
            rows[0],
            ("T\nEin é\n", Some(1), json!({"title": "T", "text": "Ein é", "year": 1900}))
        );
        assert_eq!(rows[1], ("alone\n", Some(3), json!({"text": "alone"})));
        assert_eq!(rows[2].0, format!("a: b\nc: {long}\n"));
        assert_eq!(rows[2].2, json!({"a": "b"}));
        for (text, reason) in [("{\n", "line 1"), ("1\n", "neither")] {
            assert!(jsonl(text).expect_err(text).to_string().contains(reason), "{text}");
        }
    }

    #[test]
    fn a_record_has_its_line_even_after_one_of_two_lines() {
        let text = table("name,note\nA,\"two\nlines\"\nB,b,more\n", b',').expect("rows");
        let rows = rows(&text);
        assert_eq!(rows[0].0, "name: A\nnote: two\nlines\n");
        assert_eq!((rows[0].1, rows[1].1), (Some(2), Some(4)));
        assert_eq!(rows[1].2, json!({"name": "B", "note": "b", "column 3": "more"}));
    }

    #[test]
    fn the_text_is_the_first_field_that_is_not_blank_below_the_title() {
        for (row, wanted) in [
            (r#"{"text":"","content":"real"}"#, "real\n"),
            (r#"{"text":"body","title":"head"}"#, "head\nbody\n"),
            (r#"{"title":"head","Text":"body"}"#, "head\nbody\n"),
            (r#"{"text":" ","title":"head","n":1}"#, "title: head\n"),
            (r#"{"doc":{"text":"deep","n":1},"tags":["a"]}"#, "doc.text: deep\ntags: a\n"),
        ] {
            assert_eq!(jsonl(row).expect("rows").text, wanted, "{row}");
        }
        assert_eq!(table("text,title\nbody,head\n", b',').expect("rows").text, "head\nbody\n");
    }

    #[test]
    fn columns_of_one_name_are_all_kept() {
        let text = table("id,note,note,\n1,a,b,c,d\n", b',').expect("rows");
        let rows = rows(&text);
        assert_eq!(rows[0].0, "id: 1\nnote: a\nnote 2: b\ncolumn 4: c\ncolumn 5: d\n");
        assert_eq!(rows[0].2["note 2"], "b");
    }

    #[test]
    fn a_table_may_have_other_separators_than_its_ending_says() {
        let text = table("a;b;c\n1;2;x\n", b',').expect("rows");
        assert_eq!(rows(&text)[0].2, json!({"a": "1", "b": "2", "c": "x"}));
    }
}
