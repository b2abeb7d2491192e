//! Text in the columns of a terminal.

use crate::visible::is_hidden;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Wide characters that a line does not begin with.
const CLOSING: &str = "。、，．！？）」』】；：〕》";

/// `text` as one line of exactly `width` columns: hidden characters become spaces, a longer text
/// ends in `…`, a shorter one is padded.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut columns = 0;
    // A text of megabytes is not walked to its end for one column of a table.
    let visible = text.chars().take(4 * width + 1).map(|c| if is_hidden(c) { ' ' } else { c });
    let visible: Vec<(char, usize)> = visible.map(|c| (c, c.width().unwrap_or(0))).collect();
    let total: usize = visible.iter().map(|(_, width)| width).sum();
    let limit = if total > width { width.saturating_sub(1) } else { width };
    for (c, c_width) in visible {
        if columns + c_width > limit {
            break;
        }
        columns += c_width;
        line.push(c);
    }
    if total > width && width > 0 {
        line.push('…');
        columns += 1;
    }
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(columns)));
    line
}

/// The lines of at most `width` columns into which `text` is broken between words, as byte ranges
/// without the white space around them. A word that is longer than a line is broken between
/// characters.
pub(crate) fn line_ranges(text: &str, width: usize) -> Vec<Range<usize>> {
    // A wide character needs two columns.
    let width = width.max(2);
    let mut lines = Lines { ranges: Vec::new(), line: 0..0, columns: 0 };
    for word in unbroken(text) {
        let (content, wide) = (&text[word.clone()], text[word.clone()].width());
        if content.trim().is_empty() {
            lines.columns += wide;
        } else if lines.line.is_empty() || lines.columns + wide > width {
            lines.break_before(word.start);
            for (offset, character) in content.grapheme_indices(true) {
                if lines.columns + character.width() > width {
                    lines.break_before(word.start + offset);
                }
                lines.push(word.start + offset + character.len(), character.width());
            }
        } else {
            lines.push(word.end, wide);
        }
    }
    lines.break_before(text.len());
    lines.ranges
}

struct Lines {
    ranges: Vec<Range<usize>>,
    line: Range<usize>,
    columns: usize,
}

impl Lines {
    fn push(&mut self, end: usize, columns: usize) {
        self.line.end = end;
        self.columns += columns;
    }

    fn break_before(&mut self, start: usize) {
        if !self.line.is_empty() {
            self.ranges.push(self.line.clone());
        }
        (self.line, self.columns) = (start..start, 0);
    }
}

/// The parts of `text` between which a line may be broken: words with their punctuation, wide
/// characters, and white space.
fn unbroken(text: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let is_wide = |c: Option<char>| c.and_then(UnicodeWidthChar::width) == Some(2);
    for (at, part) in text.split_word_bound_indices() {
        let (before, after) = (text[..at].chars().next_back(), part.chars().next());
        let is_space = |c: Option<char>| c.is_some_and(char::is_whitespace);
        let is_closing = after.is_some_and(|c| CLOSING.contains(c));
        let may_break = is_space(before) != is_space(after)
            || (is_wide(before) || is_wide(after)) && !is_closing;
        match parts.last_mut() {
            Some(last) if !may_break => last.end = at + part.len(),
            _ => parts.push(at..at + part.len()),
        }
    }
    parts
}

/// `text` with its lines broken to `width` columns. A line continues below the value after its
/// first gap of two spaces, or else a little to the right of its start.
pub(crate) fn folded(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.width() <= width {
            out.push_str(line);
        } else {
            fold(line, width, &mut out);
        }
        out.push('\n');
    }
    out
}

fn fold(line: &str, width: usize, out: &mut String) {
    let start = line.len() - line.trim_start().len();
    let gap = line[start..].find("  ").map(|gap| start + gap);
    let value = gap.map(|gap| line.len() - line[gap..].trim_start().len());
    let value = value.filter(|value| line[..*value].width() <= width / 2);
    let (head, rest) = line.split_at(value.unwrap_or(start));
    let indent = head.width() + if value.is_some() { 0 } else { 2 };
    out.push_str(head);
    for (number, range) in line_ranges(rest, width.saturating_sub(indent)).iter().enumerate() {
        if number > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(&rest[range.clone()]);
    }
}

/// A count with its noun: `1 task`, `5 tasks`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fills_exactly_its_columns() {
        for text in ["", "abc", "ab\ncd\x1b[31m", "光剑太暗了", "é\u{301}\u{301}x", "a\0b"] {
            for width in 0..12 {
                let line = fitted(text, width);
                assert_eq!(line.width(), width, "{text:?} in {width}: {line:?}");
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
        assert_eq!(fitted("abcdef", 4), "abc…");
    }

    fn lines(text: &str, width: usize) -> Vec<&str> {
        line_ranges(text, width).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn lines_break_between_words_and_lose_none() {
        let text = "one two, three 灯塔看守人写了一封信。 incomprehensibilities four";
        for width in 2..80 {
            let lines = lines(text, width);
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text), "{width}");
            // A closing mark may stand alone only if nothing else fits.
            assert!(lines.iter().all(|line| line.width() <= width.max(4)), "{width}: {lines:?}");
        }
        assert_eq!(lines("one two three", 8), ["one two", "three"]);
        assert_eq!(lines("end. Next", 4), ["end.", "Next"]);
        assert_eq!(lines("灯塔看守人", 5), ["灯塔", "看守", "人"]);
        assert_eq!(lines("  ", 5), [""; 0]);
    }

    #[test]
    fn a_folded_line_continues_below_its_value() {
        let text = "  model      starter (abc def)\nshort\nno gap in this line\n";
        let expected = "  model      starter (abc\n             def)\nshort\nno gap in this line\n";
        assert_eq!(folded(text, 26), expected);
        assert_eq!(folded("one two three four\n", 10), "one two\n  three\n  four\n");
        assert_eq!(folded(text, 100), text);
    }
}
