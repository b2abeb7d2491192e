//! Cutting a part into chunks at its structure: sections, paragraphs, lines, sentences, words.
//!
//! Sizes are estimated from letters, so that no tokenizer has to run twice over every text. A chunk
//! that is somewhat larger or smaller than asked for loses nothing: late chunking has no limit.

use crate::text::{Part, Text};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A chunk to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the document's text, without the white space around it.
    pub bytes: Range<usize>,
    /// First and last line, from 1.
    pub lines: (usize, usize),
}

/// Cuts every part of `text` into pieces of about `size` tokens, in ascending order. A blank part has
/// none. A small section is joined with the one after it.
pub fn cut(text: &Text, size: usize) -> Vec<Vec<Piece>> {
    let mut lines = Lines { text: &text.text, at: 0, line: 1 };
    let parts = text.parts.iter().map(|part| {
        let pieces = pack(&text.text, part, size).into_iter();
        let located = pieces.map(|bytes| {
            let first = lines.at(bytes.start);
            let found = (first, lines.at(bytes.end));
            Piece { lines: part.line.map_or(found, |line| (line, line)), bytes }
        });
        located.collect()
    });
    parts.collect()
}

/// Counts lines once over the text, whose places must be asked for in ascending order.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn at(&mut self, to: usize) -> usize {
        let passed = &self.text.as_bytes()[self.at..to];
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count();
        self.at = to;
        self.line
    }
}

fn pack(text: &str, part: &Part, size: usize) -> Vec<Range<usize>> {
    let mut packer = Packer { text, size: size.max(1) * UNITS_A_TOKEN, pieces: Vec::new() };
    let mut bounds = vec![part.bytes.start];
    bounds.extend(part.sections.iter().filter(|at| part.bytes.contains(at)));
    bounds.push(part.bytes.end);
    let mut open: Option<Range<usize>> = None;
    for pair in bounds.windows(2) {
        let section = open.take().map_or(pair[0], |open| open.start)..pair[1];
        // A heading alone says little: it stays with what comes next.
        if packer.units(&section) < packer.size / 4 {
            open = Some(section);
        } else {
            packer.pack(&section, LEVELS);
        }
    }
    if let Some(rest) = open {
        packer.pack(&rest, LEVELS);
    }
    packer.pieces
}

/// Estimated size of one token, in the units of [`weight`].
const UNITS_A_TOKEN: usize = 4;

/// What a character adds to the size of a text: four letters of an alphabet are about one token, and
/// so is one character of Chinese or Japanese and two of Korean.
fn weight(c: char) -> usize {
    match u32::from(c) {
        0..0x0590 => 1,
        0xac00..=0xd7a3 => 2,
        0x3040..=0x30ff | 0x3400..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff => 3,
        _ => 2,
    }
}

/// Cuts a text into units of one kind, which tile it.
type Units = fn(&str) -> Vec<&str>;

/// Kinds of units, from large to small.
const LEVELS: &[Units] = &[paragraphs, lines, sentences, words, characters];

/// Each with the blank lines after it.
fn paragraphs(text: &str) -> Vec<&str> {
    let mut paragraphs = Vec::new();
    let (mut start, mut at, mut blank) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        let empty = line.trim().is_empty();
        if blank && !empty {
            paragraphs.push(&text[start..at]);
            start = at;
        }
        blank = empty;
        at += line.len();
    }
    paragraphs.push(&text[start..]);
    paragraphs
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Longest text that is searched for sentences as one: the rules of UAX #29 look ahead as far as
/// there are spaces, which takes quadratic time.
const SENTENCE_SEARCH: usize = 4096;

fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(SENTENCE_SEARCH));
        sentences.extend(head.split_sentence_bounds());
        rest = tail;
    }
    sentences
}

fn words(text: &str) -> Vec<&str> {
    text.split_word_bounds().collect()
}

fn characters(text: &str) -> Vec<&str> {
    text.split_inclusive(|_: char| true).collect()
}

struct Packer<'a> {
    text: &'a str,
    /// Most units of a piece.
    size: usize,
    pieces: Vec<Range<usize>>,
}

impl Packer<'_> {
    fn units(&self, bytes: &Range<usize>) -> usize {
        self.text[bytes.clone()].chars().map(weight).sum()
    }

    /// Fills pieces with whole units of the first level; a unit that is too large for a piece is cut
    /// into those of the next.
    fn pack(&mut self, bytes: &Range<usize>, levels: &[Units]) {
        let Some((units, smaller)) = levels.split_first() else {
            return self.close(bytes.clone());
        };
        let (mut open, mut filled) = (bytes.start..bytes.start, 0);
        for unit in units(&self.text[bytes.clone()]) {
            let unit = open.end..open.end + unit.len();
            let weight = self.units(&unit);
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
        let piece = &self.text[bytes.clone()];
        let start = bytes.start + piece.len() - piece.trim_start().len();
        let end = start + piece.trim().len();
        if start < end {
            self.pieces.push(start..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str, sections: &[usize], size: usize) -> Vec<String> {
        let part = Part { bytes: 0..text.len(), sections: sections.to_vec(), ..Part::default() };
        pack(text, &part, size).into_iter().map(|bytes| text[bytes].to_owned()).collect()
    }

    #[test]
    fn pieces_end_where_the_text_does() {
        let text = "One two three four.\n\nFive six seven eight. Nine ten.\n\n\nEleven.";
        assert_eq!(pieces(text, &[], 100), [text]);
        assert_eq!(
            pieces(text, &[], 9),
            ["One two three four.", "Five six seven eight. Nine ten.", "Eleven."]
        );
        assert_eq!(pieces(text, &[], 6)[1..3], ["Five six seven eight.", "Nine ten."]);
        assert_eq!(pieces("abcdefgh", &[], 1), ["abcd", "efgh"]);
        assert_eq!(pieces(" \n ", &[], 5), [""; 0]);
    }

    #[test]
    fn sections_are_not_mixed_but_a_heading_stays_with_its_text() {
        let (head, body) = ("# Title\n\n## Part\n\n", "Words of the first part, and some more.\n");
        let text = format!("{head}{body}# Next\n\nWords of the second part, and some more.");
        let sections = [0, 9, head.len() + body.len()];
        let cut = pieces(&text, &sections, 20);
        assert_eq!(cut.len(), 2);
        assert!(cut[0].starts_with("# Title") && cut[0].ends_with("some more."));
        assert!(cut[1].starts_with("# Next"));
    }

    #[test]
    fn lines_are_those_of_the_whole_text() {
        let text = "a\n\nb\nc\n\nd";
        let part = |bytes| Part { bytes, ..Part::default() };
        let row = Part { line: Some(70), ..part(6..text.len()) };
        let parts = vec![part(0..3), part(3..6), row];
        let text = Text { text: text.to_owned(), parts, ..Text::default() };
        let lines: Vec<_> = cut(&text, 1).into_iter().flatten().map(|piece| piece.lines).collect();
        assert_eq!(lines, [(1, 1), (3, 4), (70, 70)]);
    }

    #[test]
    fn time_is_in_proportion_to_the_text() {
        for text in ["a".repeat(1 << 20), ". ".repeat(1 << 19), "\n".repeat(1 << 20)] {
            assert!(pieces(&text, &[], 256).len() <= 2 + (1 << 20) / 1000);
        }
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_lost(text in "[a-z .\n\u{4e00}-\u{4e10}]{0,400}", size in 1_usize..60) {
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            let pieces = pieces(&text, &[], size);
            prop_assert_eq!(letters(&pieces.concat()), letters(&text));
            for piece in pieces {
                prop_assert!(piece.chars().map(weight).sum::<usize>() <= (size * UNITS_A_TOKEN).max(3));
            }
        }
    }
}
