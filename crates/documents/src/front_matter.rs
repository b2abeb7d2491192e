//! The fields at the start of a Markdown file: YAML between lines `---`, or TOML between `+++`.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Maximum length of front matter, in bytes.
const MAX_LEN: usize = 64 << 10;
/// Maximum depth of YAML values.
const MAX_DEPTH: usize = 32;
/// Maximum number of YAML values, with those that aliases repeat.
const MAX_VALUES: usize = 10_000;

/// The fields of a text's front matter; none if it has none. A field of a mapping is called
/// `outer.inner`.
pub(crate) fn fields(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(yaml) = between(text, "---", &["---", "..."]) {
        match parse_yaml(yaml) {
            Some(Value::Object(map)) => flatten(None, map, &mut fields),
            Some(_) => {}
            None => fields = flat_fields(yaml),
        }
    } else if let Some(toml) = between(text, "+++", &["+++"])
        && let Ok(table) = toml.parse::<toml::Table>()
    {
        flatten(None, json_table(table), &mut fields);
    }
    fields
}

/// What is between the first line, which must be `start`, and the next line that is one of `ends`.
fn between<'a>(text: &'a str, start: &str, ends: &[&str]) -> Option<&'a str> {
    let (first, rest) = text.split_once('\n')?;
    if first.trim_end() != start {
        return None;
    }
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if ends.contains(&line.trim_end()) {
            return Some(&rest[..at]);
        }
        at += line.len();
        if at > MAX_LEN {
            break;
        }
    }
    None
}

fn flatten(path: Option<&str>, map: Map<String, Value>, fields: &mut Map<String, Value>) {
    for (name, value) in map {
        let name = path.map_or(name.clone(), |path| format!("{path}.{name}"));
        match value {
            Value::Null => {}
            Value::Object(map) => flatten(Some(&name), map, fields),
            value => drop(fields.insert(name, value)),
        }
    }
}

fn json_table(table: toml::Table) -> Map<String, Value> {
    table.into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => json_table(table).into(),
    }
}

/// The value of a YAML text; `None` if it is not valid.
fn parse_yaml(text: &str) -> Option<Value> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        builder.add(event.ok()?.0)?;
    }
    builder.root
}

/// Builds a value from the events of a parser.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    root: Option<Value>,
    values: usize,
}

/// A list or mapping that is not complete.
struct Open {
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Value>),
    /// The fields so far, and the name of the next value.
    Map(Map<String, Value>, Option<String>),
}

impl Builder {
    /// Adds an event; `None` if the text is not within the limits.
    fn add(&mut self, event: Event<'_>) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let value = if is_plain { plain(&text) } else { Value::from(text.into_owned()) };
                self.value(anchor, value)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor)?.clone();
                self.values += count(&value);
                self.value(0, value)
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, OpenKind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(anchor, OpenKind::Map(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { anchor, kind } = self.open.pop()?;
                let value = match kind {
                    OpenKind::List(values) => Value::Array(values),
                    OpenKind::Map(fields, _) => Value::Object(fields),
                };
                self.value(anchor, value)
            }
            _ => Some(()),
        }
    }

    fn begin(&mut self, anchor: usize, kind: OpenKind) -> Option<()> {
        self.open.push(Open { anchor, kind });
        (self.open.len() <= MAX_DEPTH).then_some(())
    }

    fn value(&mut self, anchor: usize, value: Value) -> Option<()> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return None;
        }
        if anchor > 0 {
            self.values += count(&value);
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(value),
            Some(OpenKind::List(values)) => values.push(value),
            Some(OpenKind::Map(fields, name)) => match name.take() {
                Some(name) => drop(fields.insert(name, value)),
                None => *name = Some(as_name(value)?),
            },
        }
        Some(())
    }
}

fn as_name(value: Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// A scalar without quotes. A number is one only if it is written as it is printed; `1.10` and
/// `007` are not.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) if number.to_string() == text => Value::Number(number),
        _ => Value::from(text),
    }
}

/// The fields `key: value` and `key: [a, b]` of a text that is not valid YAML, as many are that
/// people write.
fn flat_fields(text: &str) -> Map<String, Value> {
    let unquoted = |value: &str| Value::from(value.trim().trim_matches(['"', '\'']));
    let field = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let (value, is_field) = (value.trim(), !key.starts_with([' ', '\t', '-', '#']));
        let list = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let value =
            list.map_or_else(|| unquoted(value), |list| list.split(',').map(unquoted).collect());
        is_field.then(|| (key.trim().to_owned(), value))
    };
    text.lines().filter_map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(text: &str) -> Value {
        Value::Object(fields(text))
    }

    #[test]
    fn yaml_is_read_with_its_lists_comments_blocks_and_quotes() {
        let text = "--- \ntitle: \"A: b\" # comment\n# another: comment\ntags:\n  - tide\n  - 'x, y'\n\
                    list: [a, \"b, c\"]\nsummary: >-\n  Two\n  lines\nlong: |\n  a\n  b\nyear: 1900\n\
                    version: 1.10\nzip: 01234\ndraft: false\ndate: 2024-05-01\nnone:\n\
                    author:\n  name: Ada\n---\t\nText";
        let wanted = json!({
            "title": "A: b", "tags": ["tide", "x, y"], "list": ["a", "b, c"],
            "summary": "Two lines", "long": "a\nb\n", "year": 1900, "version": "1.10",
            "zip": "01234", "draft": false, "date": "2024-05-01", "author.name": "Ada"
        });
        assert_eq!(of(text), wanted);
        assert_eq!(of(&text.replace('\n', "\r\n")), wanted);
    }

    #[test]
    fn toml_is_read() {
        let text = "+++\ntitle = \"A\"\ndate = 2024-05-01\ntags = [\"a\", \"b\"]\n[extra]\nn = 2\n+++\nText";
        let wanted = json!({"title": "A", "date": "2024-05-01", "tags": ["a", "b"], "extra.n": 2});
        assert_eq!(of(text), wanted);
    }

    #[test]
    fn what_is_not_valid_yaml_is_read_line_by_line() {
        let text = "---\ntitle: A: b\ntags: [x, 'y']\n  deep: no\n---\nText";
        assert_eq!(of(text), json!({"title": "A: b", "tags": ["x", "y"]}));
    }

    #[test]
    fn other_texts_have_no_fields() {
        for text in
            ["---\ntitle: no end\n", "title: none\n", "---\n- a\n---\n", "+++\n=\n+++\n", ""]
        {
            assert_eq!(of(text), json!({}), "{text:?}");
        }
    }

    #[test]
    fn hostile_yaml_is_bounded() {
        let mut bomb = "---\na: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, of) in
            ["b", "c", "d", "e", "f", "g", "h"].into_iter().zip(["a", "b", "c", "d", "e", "f", "g"])
        {
            bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", "));
        }
        assert!(fields(&(bomb + "---\n")).len() <= 8);
        let deep = format!("---\na: {}\n---\n", "[".repeat(30_000));
        assert!(fields(&deep).len() <= 1);
    }
}
