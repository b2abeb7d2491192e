//! Markdown: sections that start at headings, and the fields of the front matter.

use crate::front_matter;
use crate::text::DocumentText;

/// Reads a Markdown text with its sections and the metadata of its front matter.
pub(crate) fn read(text: String) -> DocumentText {
    let metadata = front_matter::fields(&text);
    let headings = headings(&text);
    DocumentText::whole(text, headings, metadata)
}

/// Where headings (`# …`) begin, in bytes, outside fenced code.
pub(crate) fn headings(text: &str) -> Vec<usize> {
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
        let text = read("---\ntags:\n  - tide\n---\nText".to_owned());
        assert_eq!(text.metadata["tags"], json!(["tide"]));
    }
}
