//! Units of text, as byte ranges without the white space around them.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Units of a text, which are found one after the other, so that a caller can stop in between.
pub(crate) type Units<'a> = Box<dyn Iterator<Item = Range<usize>> + 'a>;

/// Runs of lines that are not blank.
pub(crate) fn paragraphs(text: &str) -> Units<'_> {
    let mut lines = text_and_blank_lines(text);
    Box::new(std::iter::from_fn(move || {
        let first = lines.by_ref().flatten().next()?;
        let last = lines.by_ref().map_while(|line| line).last();
        Some(first.start..last.unwrap_or(first).end)
    }))
}

/// Lines that are not blank.
pub(crate) fn lines(text: &str) -> Units<'_> {
    Box::new(text_and_blank_lines(text).flatten())
}

/// Number of consecutive characters other than letters and digits that ends a sentence, at the end
/// of the letter that readers see. After a full stop the rules of UAX #29 look ahead from each space and bracket, which takes quadratic
/// time: 64 KiB of spaces took 28 s.
const LONGEST_GAP: usize = 64;

/// Sentences of Unicode UAX #29; a gap of [`LONGEST_GAP`] characters also ends a sentence.
pub(crate) fn sentences(text: &str) -> Units<'_> {
    let mut start = 0;
    let between_gaps = gap_ends(text).map(move |end| std::mem::replace(&mut start, end)..end);
    Box::new(between_gaps.flat_map(move |part| {
        let bounds = text[part.clone()].split_sentence_bound_indices();
        bounds.filter_map(move |(start, sentence)| trimmed(part.start + start, sentence))
    }))
}

/// Byte offsets at which a gap reaches [`LONGEST_GAP`], and the end of the text. An emoji of several
/// characters is not cut.
fn gap_ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    let mut gap = 0;
    let ends = text.grapheme_indices(true).filter_map(move |(start, letter)| {
        let is_word = letter.chars().any(char::is_alphanumeric);
        gap = if is_word || gap >= LONGEST_GAP { 0 } else { gap + letter.chars().count() };
        (gap >= LONGEST_GAP).then(|| start + letter.len())
    });
    ends.chain(std::iter::once(text.len()))
}

/// Words and punctuation of Unicode UAX #29.
pub(crate) fn words(text: &str) -> Units<'_> {
    Box::new(text.split_word_bound_indices().filter_map(|(start, part)| trimmed(start, part)))
}

/// Every line; `None` for a blank line.
fn text_and_blank_lines(text: &str) -> impl Iterator<Item = Option<Range<usize>>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = trimmed(start, line);
        start += line.len();
        range
    })
}

/// The range of `part`, which starts at `start`, without the white space around it.
fn trimmed(start: usize, part: &str) -> Option<Range<usize>> {
    let start = start + part.len() - part.trim_start().len();
    let len = part.trim().len();
    (len > 0).then_some(start..start + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, cut: for<'a> fn(&'a str) -> Units<'a>) -> Vec<&str> {
        cut(text).map(|range| &text[range]).collect()
    }

    #[test]
    fn lines_and_paragraphs_end_where_they_should() {
        let text = "\u{feff}Eins.\n  Zwei ½ \n\n\n灯塔看守人。灯台守は毎晩。\r\n \t \nEnde";
        let lines_of_text = ["\u{feff}Eins.", "Zwei ½", "灯塔看守人。灯台守は毎晩。", "Ende"];
        assert_eq!(parts(text, lines), lines_of_text);
        let blocks = ["\u{feff}Eins.\n  Zwei ½", "灯塔看守人。灯台守は毎晩。", "Ende"];
        assert_eq!(parts(text, paragraphs), blocks);
    }

    #[test]
    fn sentences_and_words_are_those_of_unicode() {
        let text = "Er kam um 3.50 Uhr. Dann ging er!  灯塔看守人。灯台守は毎晩。";
        let expected = ["Er kam um 3.50 Uhr.", "Dann ging er!", "灯塔看守人。", "灯台守は毎晩。"];
        assert_eq!(parts(text, sentences), expected);
        assert_eq!(parts("It's 3.50, no?", words), ["It's", "3.50", ",", "no", "?"]);
    }

    #[test]
    fn a_long_gap_ends_a_sentence_and_takes_no_longer_than_text() {
        let gap = " ".repeat(LONGEST_GAP);
        assert_eq!(parts(&format!("no stop{gap}here"), sentences), ["no stop", "here"]);
        assert_eq!(parts(&format!("no stop{}here", &gap[1..]), sentences).len(), 1);
        for tail in [" ", ")", ".)", "\u{a0}"] {
            let text = format!("Stop.{}", tail.repeat(1 << 18));
            assert!(sentences(&text).next().is_some_and(|first| first.start == 0), "{tail:?}");
            assert!(sentences(&text).count() > 0, "{tail:?}");
        }
    }

    #[test]
    fn blank_text_has_no_units() {
        for cut in [paragraphs, lines, sentences, words] {
            assert_eq!(parts(" \n\t \r\n\u{3000}", cut), [""; 0]);
        }
    }
}
