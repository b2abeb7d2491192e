//! Tables and JSON lines: each row is a separate part, and its fields are metadata.

mod delimited;
mod segments;
mod table;

use crate::blobs::without_blobs;
use crate::error::{Error, Result};
use crate::text::{DocumentPart, DocumentText};
use serde_json::{Map, Value};
use std::io::Read;

pub use segments::Segments;
pub use table::{Table, TableRow};

/// Fields with a row's text, the likeliest first. The text of a row with none of them is all of its
/// strings.
pub const TEXT_FIELDS: [&str; 5] = ["text", "content", "body", "passage", "abstract"];
/// Fields that precede the text.
const TITLE_FIELDS: [&str; 2] = ["title", "name"];
/// Maximum length of a string that is kept to filter by, in bytes.
const MAX_VALUE: usize = 256;

/// Whether a value is kept to filter by: a list counts with all that it contains.
pub(crate) fn is_short(value: &Value) -> bool {
    let len = |value: &Value| match value {
        Value::String(text) => Some(text.len()),
        Value::Object(_) | Value::Array(_) => None,
        // No number or truth value is longer when it is written.
        _ => Some(size_of::<f64>()),
    };
    match value {
        Value::Array(values) => {
            values.len() <= MAX_VALUE
                && values.iter().map(len).sum::<Option<usize>>().is_some_and(|len| len <= MAX_VALUE)
        }
        value => len(value).is_some_and(|len| len <= MAX_VALUE),
    }
}

/// Maximum number of values in a line of JSON: each takes up to 100 bytes of memory.
const MAX_JSON_VALUES: usize = 1 << 20;

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
        let metadata =
            fields.iter().filter(|(name, value)| name.len() <= MAX_VALUE && is_short(value));
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
    whole(Segments::jsonl(text.as_bytes()))
}

/// Reads records below a header, whose fields are separated by `separator` or, if the header lacks
/// it, by another usual one.
pub(crate) fn table(text: &str, separator: u8) -> Result<DocumentText> {
    whole(Segments::table(text.as_bytes(), separator)?)
}

/// All segments as one text.
fn whole<R: Read>(segments: Segments<R>) -> Result<DocumentText> {
    let mut whole = DocumentText::default();
    for segment in segments {
        let (segment, start) = (segment?, whole.text.len());
        whole.text += &segment.text;
        whole.parts.extend(segment.parts.into_iter().map(|part| DocumentPart {
            bytes: start + part.bytes.start..start + part.bytes.end,
            ..part
        }));
    }
    Ok(whole)
}

/// The object or string in a line of JSON.
fn json_row(line: usize, row: &str) -> Result<Map<String, Value>> {
    if row.bytes().filter(|byte| *byte == b',').count() > MAX_JSON_VALUES {
        let reason = format!("line {line} has more than {MAX_JSON_VALUES} values");
        return Err(Error::NoText(reason));
    }
    match serde_json::from_str(row) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::String(text)) => Ok(Map::from_iter([("text".to_owned(), Value::String(text))])),
        Ok(_) => Err(Error::NoText(format!("line {line} is neither a JSON object nor a string"))),
        Err(error) => Err(Error::NoText(format!("line {line} is not JSON: {error}"))),
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
    fn no_value_over_the_limit_is_metadata() {
        let (long, part) = ("x".repeat(MAX_VALUE + 1), "x".repeat(MAX_VALUE / 2 + 1));
        for (value, is_kept) in [
            (json!("x".repeat(MAX_VALUE)), true),
            (json!(long), false),
            (json!([long]), false),
            (json!([part, part]), false),
            (json!([part, "x"]), true),
            (json!(vec![0; MAX_VALUE + 1]), false),
            (json!([[]]), false),
            (json!(null), true),
        ] {
            let row = json!({ "text": "t", "field": value, "x".repeat(MAX_VALUE + 1): 1 });
            let text = jsonl(&row.to_string()).expect("rows");
            let metadata = &text.parts[0].metadata;
            assert_eq!(metadata.contains_key("field"), is_kept, "{value}");
            assert_eq!(metadata.len(), 1 + usize::from(is_kept), "{value}");
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
