//! Cutting a part into chunks at its structure: sections, paragraphs, lines, sentences, words.
//!
//! Sizes are estimated from characters, so that the tokenizer does not have to run twice over every
//! text. A chunk may be somewhat larger or smaller than requested: late chunking has no limit.

use crate::text::{DocumentPart, DocumentText};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// The chunks of each part of `text`, of about `size` tokens: bytes of the whole text without the
/// white space around them, in ascending order. A blank part has none. A small section is joined
/// with the one after it, if that is on the same page.
pub fn cut(text: &DocumentText, size: usize) -> Vec<Vec<Range<usize>>> {
    let chunks = |part| join_headings(&text.text, part, pack(&text.text, part, &text.pages, size));
    text.parts.iter().map(chunks).collect()
}

/// Joins each chunk that is headings alone with the chunk after it, whose text it belongs to.
fn join_headings(text: &str, part: &DocumentPart, chunks: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for chunk in chunks {
        match joined.last_mut() {
            Some(last) if is_heading(text, part, last) => last.end = chunk.end,
            _ => joined.push(chunk),
        }
    }
    joined
}

/// Whether a chunk has no lines but those that begin sections.
fn is_heading(text: &str, part: &DocumentPart, chunk: &Range<usize>) -> bool {
    let mut at = chunk.start;
    text[chunk.clone()].split_inclusive('\n').all(|line| {
        let start = at;
        at += line.len();
        line.trim().is_empty() || line.starts_with('#') && part.sections.contains(&start)
    })
}

fn pack(text: &str, part: &DocumentPart, pages: &[usize], size: usize) -> Vec<Range<usize>> {
    let mut packer = Packer { text, size: size.max(1) * UNITS_PER_TOKEN, chunks: Vec::new() };
    let mut bounds = vec![part.bytes.start];
    bounds.extend(part.sections.iter().filter(|at| part.bytes.contains(at)));
    bounds.push(part.bytes.end);
    let mut open: Option<Range<usize>> = None;
    for pair in bounds.windows(2) {
        let section = open.take().map_or(pair[0], |open| open.start)..pair[1];
        // A small section, such as a heading alone, stays with the text after it.
        let ends_page = pages.binary_search(&section.end).is_ok();
        if packer.weight(&section) < packer.size / 4 && !ends_page {
            open = Some(section);
        } else {
            packer.pack(&section, LEVELS);
        }
    }
    if let Some(rest) = open {
        packer.pack(&rest, LEVELS);
    }
    packer.chunks
}

/// Estimated size of one token, in the units of [`weight`].
const UNITS_PER_TOKEN: usize = 4;

/// The size of a character: about one token is four letters of the Latin alphabet, one character of
/// Chinese or Japanese, or two of Korean.
fn weight(c: char) -> usize {
    match u32::from(c) {
        0..0x0590 => 1,
        0xac00..=0xd7a3 => 2,
        0x3040..=0x30ff | 0x3400..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff => 3,
        _ => 2,
    }
}

/// Cuts a text into units of one kind, end to end.
type Units = fn(&str) -> Vec<&str>;

/// Kinds of units, from large to small.
const LEVELS: &[Units] = &[paragraphs, lines, sentences, words, letters, characters];

/// Paragraphs, each with the blank lines after it.
fn paragraphs(text: &str) -> Vec<&str> {
    let mut paragraphs = Vec::new();
    let (mut start, mut at, mut blank) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        if blank && !is_blank {
            paragraphs.push(&text[start..at]);
            start = at;
        }
        blank = is_blank;
        at += line.len();
    }
    paragraphs.push(&text[start..]);
    paragraphs
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Maximum bytes of text that are searched for sentences at once: the rules of UAX #29 look ahead
/// over any number of spaces, which takes quadratic time.
const MAX_SENTENCE_SEARCH: usize = 4096;

fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(search_end(rest));
        sentences.extend(head.split_sentence_bounds());
        rest = tail;
    }
    sentences
}

/// Where the search for sentences ends: after whole letters, if there are several.
fn search_end(text: &str) -> usize {
    let end = text.floor_char_boundary(MAX_SENTENCE_SEARCH);
    if end == text.len() {
        return end;
    }
    let last_letter = text[..end].grapheme_indices(true).next_back();
    last_letter.map_or(end, |(start, _)| if start > 0 { start } else { end })
}

fn words(text: &str) -> Vec<&str> {
    text.split_word_bounds().collect()
}

/// What readers see as one letter: grapheme clusters of Unicode UAX #29.
fn letters(text: &str) -> Vec<&str> {
    text.graphemes(true).collect()
}

/// For letters with more marks than a chunk has room for.
fn characters(text: &str) -> Vec<&str> {
    text.split_inclusive(|_: char| true).collect()
}

struct Packer<'a> {
    text: &'a str,
    /// Maximum size of a chunk, in the units of [`weight`].
    size: usize,
    chunks: Vec<Range<usize>>,
}

impl Packer<'_> {
    fn weight(&self, bytes: &Range<usize>) -> usize {
        self.text[bytes.clone()].chars().map(weight).sum()
    }

    /// Fills chunks with whole units of the first level; a unit that is too large for a chunk is
    /// cut into units of the next level.
    fn pack(&mut self, bytes: &Range<usize>, levels: &[Units]) {
        let Some((units, smaller)) = levels.split_first() else {
            return self.close(bytes.clone());
        };
        let (mut open, mut filled) = (bytes.start..bytes.start, 0);
        for unit in units(&self.text[bytes.clone()]) {
            let unit = open.end..open.end + unit.len();
            let weight = self.weight(&unit);
            if filled + weight > self.size {
                self.close(open);
                filled = 0;
                open = unit.start..unit.start;
                if weight > self.size {
                    self.pack(&unit, smaller);
                    open = unit.end..unit.end;
                    continue;
                }
            }
            open.end = unit.end;
            filled += weight;
        }
        self.close(open);
    }

    fn close(&mut self, bytes: Range<usize>) {
        let chunk = &self.text[bytes.clone()];
        let start = bytes.start + chunk.len() - chunk.trim_start().len();
        let end = start + chunk.trim().len();
        if start < end {
            self.chunks.push(start..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunks(text: &str, sections: &[usize], size: usize) -> Vec<String> {
        let part = DocumentPart {
            bytes: 0..text.len(),
            sections: sections.to_vec(),
            ..DocumentPart::default()
        };
        pack(text, &part, &[], size).into_iter().map(|bytes| text[bytes].to_owned()).collect()
    }

    #[test]
    fn chunks_end_at_boundaries_of_the_text() {
        let text = "One two three four.\n\nFive six seven eight. Nine ten.\n\n\nEleven.";
        assert_eq!(chunks(text, &[], 100), [text]);
        assert_eq!(
            chunks(text, &[], 9),
            ["One two three four.", "Five six seven eight. Nine ten.", "Eleven."]
        );
        assert_eq!(chunks(text, &[], 6)[1..3], ["Five six seven eight.", "Nine ten."]);
        assert_eq!(chunks("abcdefgh", &[], 1), ["abcd", "efgh"]);
        assert_eq!(chunks(" \n ", &[], 5), [""; 0]);
    }

    #[test]
    fn sections_are_not_mixed_but_a_heading_stays_with_its_text() {
        let (head, body) = ("# Title\n\n## Part\n\n", "Words of the first part, and some more.\n");
        let text = format!("{head}{body}# Next\n\nWords of the second part, and some more.");
        let sections = [0, 9, head.len() + body.len()];
        let cut = chunks(&text, &sections, 20);
        assert_eq!(cut.len(), 2);
        assert!(cut[0].starts_with("# Title") && cut[0].ends_with("some more."));
        assert!(cut[1].starts_with("# Next"));
    }

    #[test]
    fn a_heading_is_never_a_chunk_of_its_own_unless_nothing_follows() {
        let body = "Words of the first part, and some more. ".repeat(5);
        let whole = format!("# Title\n\n## Part\n\n{body}\n\n## Last\n");
        let sections: Vec<usize> = ["# Title", "## Part", "## Last"]
            .iter()
            .map(|heading| whole.find(heading).expect("a heading"))
            .collect();
        let part = DocumentPart { bytes: 0..whole.len(), sections, ..DocumentPart::default() };
        let text =
            DocumentText { text: whole.clone(), parts: vec![part], ..DocumentText::default() };
        for size in [5, 20, 40] {
            let chunks = cut(&text, size).remove(0);
            let (last, others) = chunks.split_last().expect("chunks");
            assert!(whole[chunks[0].clone()].starts_with("# Title\n\n## Part\n\nWords"), "{size}");
            let lone = |chunk: &Range<usize>| is_heading(&whole, &text.parts[0], chunk);
            assert!(!others.iter().any(lone), "{size}");
            assert!(whole[last.clone()].ends_with("## Last"), "{size}");
        }
    }

    #[test]
    fn chunks_are_bytes_of_the_whole_text() {
        let text = "a\n\nb\nc\n\nd";
        let part = |bytes| DocumentPart { bytes, ..DocumentPart::default() };
        let parts = vec![part(0..3), part(3..6), part(6..text.len())];
        let text = DocumentText { text: text.to_owned(), parts, ..DocumentText::default() };
        let chunks = cut(&text, 1);
        assert!(chunks.iter().all(|part| part.len() == 1), "{chunks:?}");
        assert_eq!(chunks.concat(), [0..1, 3..6, 8..9]);
    }

    #[test]
    fn letters_of_several_characters_are_not_cut() {
        for letter in [
            "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "e\u{301}",
            "\u{915}\u{94d}\u{937}",
            "\u{1f1e9}\u{1f1ea}",
        ] {
            for size in [4, 5, 16] {
                let text = letter.repeat(3000);
                let chunks = chunks(&text, &[], size);
                assert_eq!(chunks.concat(), text);
                let is_whole = |chunk: &String| chunk.len().is_multiple_of(letter.len());
                assert!(chunks.iter().all(is_whole), "{letter} {size}");
            }
        }
        let marks = format!("e{}", "\u{301}".repeat(100));
        assert!(chunks(&marks, &[], 4).len() > 1, "a letter larger than a chunk is cut");
    }

    #[test]
    fn time_is_in_proportion_to_the_text() {
        for text in [
            "\u{1f1e9}".repeat(1 << 18),
            "\u{301}".repeat(1 << 19),
            "a".repeat(1 << 20),
            ". ".repeat(1 << 19),
            "\n".repeat(1 << 20),
        ] {
            assert!(chunks(&text, &[], 256).len() <= 2 + (1 << 20) / 500);
        }
    }

    /// Words, sentences, lines and Chinese, of up to 400 characters.
    fn texts() -> impl Strategy<Value = String> {
        let chars = prop_oneof![
            26 => prop::char::range('a', 'z'),
            17 => prop::char::range('\u{4e00}', '\u{4e10}'),
            3 => prop::sample::select(vec![' ', '.', '\n']),
        ];
        prop::collection::vec(chars, 0..=400).prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn only_white_space_is_lost(text in texts(), size in 1_usize..60) {
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            let chunks = chunks(&text, &[], size);
            prop_assert_eq!(letters(&chunks.concat()), letters(&text));
            for chunk in chunks {
                prop_assert!(chunk.chars().map(weight).sum::<usize>() <= (size * UNITS_PER_TOKEN).max(3));
            }
        }
    }
}
