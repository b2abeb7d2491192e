//! Tables and JSON lines: each row is a separate part, and its fields are metadata.

use crate::error::{Error, Result};
use crate::text::{DocumentPart, DocumentText};
use serde_json::{Map, Value};

/// Fields with a row's text, the likeliest first. The text of a row with none of them is all of its
/// strings.
const TEXT_FIELDS: [&str; 5] = ["text", "content", "body", "passage", "abstract"];
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
        let main =
            TEXT_FIELDS.into_iter().find(|name| fields.get(*name).is_some_and(Value::is_string));
        for (name, value) in fields {
            let is_text = main.is_none_or(|main| name == main || TITLE_FIELDS.contains(&&**name));
            match value {
                Value::String(value) if is_text && main.is_some() => self.line(value),
                Value::String(value) if is_text => self.line(&format!("{name}: {value}")),
                _ => {}
            }
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

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn into_text(self) -> DocumentText {
        DocumentText { text: self.text, parts: self.parts, ..DocumentText::default() }
    }
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

/// Reads records below a header, whose fields are separated by `separator`.
pub(crate) fn table(text: &str, separator: u8) -> Result<DocumentText> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text.as_bytes());
    let invalid = |error: csv::Error| Error::NoText(error.to_string());
    let names = reader.headers().map_err(invalid)?.clone();
    let mut rows = Rows::default();
    for record in reader.records() {
        let record = record.map_err(invalid)?;
        let line = record.position().map_or(0, |at| at.line() as usize);
        let name =
            |at: usize| names.get(at).map_or_else(|| format!("column {}", at + 1), str::to_owned);
        let fields = record.iter().enumerate().map(|(at, value)| (name(at), Value::from(value)));
        rows.push(line, &fields.collect());
    }
    Ok(rows.into_text())
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
}
