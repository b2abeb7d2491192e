//! A document's text and the parts that are embedded together.

use serde_json::{Map, Value};
use std::ops::Range;

/// The text that was read from a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentText {
    /// The text that all offsets refer to.
    pub text: String,
    /// Metadata of the document.
    pub metadata: Map<String, Value>,
    /// The parts that one pass may cover, in order: a whole text, or each row of a table.
    pub parts: Vec<DocumentPart>,
    /// Where pages begin, in bytes; empty if the document has no pages.
    pub pages: Vec<usize>,
    /// Whether the text was converted from another one, so that its lines are not the file's.
    pub converted: bool,
    /// The encoding of the file, if it was guessed.
    pub guessed: Option<&'static str>,
}

/// A part of a document that one pass of late chunking covers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentPart {
    /// Its bytes in the text.
    pub bytes: Range<usize>,
    /// Where sections begin within it, in bytes of the text, ascending. A chunk has text of only
    /// one section unless sections are small.
    pub sections: Vec<usize>,
    /// Its line in the file, from 1, if it is a row of a table, whose text differs from the file's.
    pub line: Option<usize>,
    /// Metadata of this part.
    pub metadata: Map<String, Value>,
}

/// Maximum length of a part, in bytes. The tokenizer needs up to 190 bytes of memory for each byte
/// of a part.
const MAX_PART: usize = 1 << 20;

impl DocumentText {
    /// A text without structure.
    pub fn of(text: String) -> Self {
        Self::whole(text, Vec::new(), Map::new())
    }

    /// A text as one part, with its sections; a long one is cut into several parts, at sections if
    /// possible.
    pub(crate) fn whole(text: String, sections: Vec<usize>, metadata: Map<String, Value>) -> Self {
        let mut parts = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = part_end(&text, start, &sections);
            let sections =
                sections.iter().copied().filter(|section| (start..end).contains(section)).collect();
            parts.push(DocumentPart { bytes: start..end, sections, ..DocumentPart::default() });
            start = end;
        }
        Self { text, metadata, parts, ..Self::default() }
    }
}

/// Where the part that begins at `start` ends: before the last section, or else after the last line
/// or character, that keeps it within [`MAX_PART`].
fn part_end(text: &str, start: usize, sections: &[usize]) -> usize {
    if text.len() - start <= MAX_PART {
        return text.len();
    }
    let limit = text.floor_char_boundary(start + MAX_PART);
    let half = start + MAX_PART / 2;
    let section = sections.iter().copied().rfind(|at| (half..=limit).contains(at));
    let line = || text[start..limit].rfind('\n').map(|at| start + at + 1);
    section.or_else(line).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_sections_lines_or_characters_and_lose_nothing() {
        let line = "x".repeat(1000) + "\n";
        let lines = line.repeat(2000);
        let section = 900 * line.len();
        for (text, sections, first) in [
            (lines.clone(), vec![0, section], section),
            (lines, vec![0], MAX_PART / line.len() * line.len()),
            ("ä".repeat(MAX_PART), vec![], MAX_PART),
            ("short".to_owned(), vec![], 5),
        ] {
            let text = DocumentText::whole(text, sections, Map::new());
            assert_eq!(text.parts[0].bytes, 0..first);
            let mut end = 0;
            for part in &text.parts {
                assert_eq!(part.bytes.start, end);
                assert!(part.bytes.len() <= MAX_PART);
                end = part.bytes.end;
            }
            assert_eq!(end, text.text.len());
        }
        assert!(DocumentText::whole(String::new(), Vec::new(), Map::new()).parts.is_empty());
    }
}
