//! Markdown: sections that start at headings, and the fields of the front matter.

use crate::text::DocumentText;
use serde_json::{Map, Value};

/// Reads a Markdown text with its sections and the metadata of its front matter.
pub(crate) fn read(text: String) -> DocumentText {
    let metadata = front_matter(&text);
    let headings = headings(&text);
    DocumentText::whole(text, headings, metadata)
}

/// Where headings (`# …`) begin, in bytes, outside fenced code.
fn headings(text: &str) -> Vec<usize> {
    let (mut at, mut fence, mut headings) = (0, None, Vec::new());
    for line in text.split_inclusive('\n') {
        let marks = line.trim_start();
        let opening = ["```", "~~~"].into_iter().find(|mark| marks.starts_with(mark));
        match (fence, opening) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(mark), Some(closing)) if mark == closing => fence = None,
            (None, None) if is_heading(line) => headings.push(at),
            _ => {}
        }
        at += line.len();
    }
    headings
}

fn is_heading(line: &str) -> bool {
    let title = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - title.len())) && title.starts_with([' ', '\t'])
}

/// The flat fields of YAML front matter: `key: value`, and `key: [a, b]` as a list.
fn front_matter(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut lines = text.lines();
    if lines.next() != Some("---") {
        return fields;
    }
    for line in lines {
        match line.split_once(':') {
            _ if line == "---" || line == "..." => return fields,
            Some((key, value)) if !key.starts_with([' ', '\t', '-', '#']) => {
                fields.insert(key.trim().to_owned(), field(value.trim()));
            }
            _ => {}
        }
    }
    // Without an end marker, it is not front matter.
    Map::new()
}

fn field(value: &str) -> Value {
    let plain = |value: &str| Value::from(value.trim().trim_matches(['"', '\'']));
    match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(list) => list.split(',').map(plain).collect(),
        None => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_begin_at_headings_outside_code() {
        let text = "intro\n# One\ntext\n```\n# no\n```\n## Two\n#hashtag\n####### seven\n";
        let starts: Vec<&str> =
            read(text.to_owned()).parts[0].sections.iter().map(|&at| &text[at..at + 5]).collect();
        assert_eq!(starts, ["# One", "## Tw"]);
    }

    #[test]
    fn front_matter_becomes_metadata() {
        let text = "---\ntitle: \"A: b\"\ntags: [x, y]\n  deep: no\n---\nText";
        let wanted = json!({"title": "A: b", "tags": ["x", "y"]});
        assert_eq!(Value::Object(read(text.to_owned()).metadata), wanted);
        for text in ["---\ntitle: no end\n", "title: none\n"] {
            assert!(read(text.to_owned()).metadata.is_empty());
        }
    }
}
