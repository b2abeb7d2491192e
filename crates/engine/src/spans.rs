//! Byte ranges of a text → ranges of its tokens.

use crate::tokenize::Tokens;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Where each token's visible text starts and ends, in bytes. Both lists ascend.
#[derive(Debug)]
pub(crate) struct TokenBounds {
    starts: Vec<usize>,
    ends: Vec<usize>,
}

/// The letters of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenLetters {
    /// Whether it begins one.
    pub(crate) is_first: bool,
    /// Where its last one ends, in bytes. A normalizer may have made one character of several, whose
    /// token ends at the first.
    pub(crate) end: usize,
}

impl TokenBounds {
    pub(crate) fn new(text: &str, tokens: &Tokens) -> Self {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for bytes in &tokens.bytes {
            let end = text.ceil_char_boundary(bytes.end);
            let start = text.floor_char_boundary(bytes.start.min(end));
            // In newer tokenizer pipelines a word starts at the space before it.
            let space = end - start - text[start..end].trim_start().len();
            starts.push(start + space);
            ends.push(end);
        }
        Self { starts, ends }
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The bytes that a non-empty range of tokens covers.
    pub(crate) fn bytes(&self, tokens: &Range<usize>) -> Range<usize> {
        self.starts[tokens.start]..self.ends[tokens.end - 1]
    }

    /// The letters, as readers see them, at each of `tokens`: grapheme clusters of Unicode UAX #29, such
    /// as an emoji of several characters or a letter with its marks.
    pub(crate) fn letters(&self, text: &str, tokens: &Range<usize>) -> Vec<TokenLetters> {
        let (starts, ends) = (&self.starts[tokens.clone()], &self.ends[tokens.clone()]);
        let Some(&first) = starts.first() else { return Vec::new() };
        let bounds = || {
            let letters = text[first..].grapheme_indices(true);
            letters.map(|(at, _)| first + at).chain(std::iter::once(text.len())).peekable()
        };
        let (mut at_starts, mut at_ends) = (bounds(), bounds());
        let mut before = None;
        let letters = |(&start, &end): (&usize, &usize)| {
            while at_starts.next_if(|&bound| bound < start).is_some() {}
            while at_ends.next_if(|&bound| bound < end).is_some() {}
            // Bytes of one character can be several tokens.
            let is_new = before.replace(start) != Some(start);
            let is_first = is_new && at_starts.peek() == Some(&start);
            TokenLetters { is_first, end: at_ends.peek().copied().unwrap_or(end) }
        };
        starts.iter().zip(ends).map(letters).collect()
    }

    /// The tokens within `bytes` (the reference implementation's rule, a bisection of starts and
    /// ends); if there are none, the tokens that overlap it, which may be none either.
    pub(crate) fn tokens(&self, bytes: &Range<usize>) -> Range<usize> {
        let start = self.starts.partition_point(|&start| start < bytes.start);
        let end = self.ends.partition_point(|&end| end <= bytes.end);
        if start < end {
            return start..end;
        }
        let start = self.ends.partition_point(|&end| end <= bytes.start);
        let end = self.starts.partition_point(|&start| start < bytes.end);
        if bytes.is_empty() { start..start } else { start..end.max(start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::Tokenizer;
    use kokeshi_testkit::{bytes, json};
    use serde_json::from_value;

    fn bounds(text: &str, ranges: &[Range<usize>]) -> TokenBounds {
        let tokens = Tokens { ids: vec![0; ranges.len()], bytes: ranges.to_vec() };
        TokenBounds::new(text, &tokens)
    }

    #[test]
    fn character_ranges_give_the_token_spans_of_the_reference_for_both_pipelines() {
        let cases = &json("v3-tiny/golden/cases.json")["late"];
        let text = cases["text"].as_str().expect("a text");
        let chunks: Vec<[usize; 2]> = from_value(cases["char_chunks"].clone()).expect("ranges");
        let expected: Vec<[usize; 2]> =
            from_value(cases["spans_no_special"]["chars"].clone()).expect("spans");
        let byte = |char: usize| text.char_indices().nth(char).map_or(text.len(), |(at, _)| at);
        for file in ["original/tokenizer.json", "golden/tokenizer_newer_pipeline.json"] {
            let json = bytes(&format!("v3-tiny/{file}"));
            let tokenizer = Tokenizer::from_bytes(file, &json).expect("a tokenizer");
            let bounds =
                TokenBounds::new(text, &tokenizer.tokens(text, &mut || true).expect("tokens"));
            let span = |&[start, end]: &[usize; 2]| {
                let span = bounds.tokens(&(byte(start)..byte(end)));
                [span.start, span.end]
            };
            assert_eq!(chunks.iter().map(span).collect::<Vec<_>>(), expected, "{file}");
        }
    }

    #[test]
    fn a_range_inside_one_token_gets_that_token() {
        let bounds = bounds("lighthouse keeper", &[0..10, 10..17]);
        assert_eq!(bounds.tokens(&(2..5)), 0..1);
        assert_eq!(bounds.tokens(&(8..13)), 0..2);
    }

    #[test]
    fn a_range_of_white_space_has_no_tokens() {
        let bounds = bounds("a   b", &[0..1, 4..5]);
        assert!(bounds.tokens(&(1..4)).is_empty());
        assert!(bounds.tokens(&(2..2)).is_empty());
    }

    #[test]
    fn letters_of_tokens_are_found() {
        let text = "e\u{301}a\u{1f1e9}\u{1f1ea}x";
        let bounds = bounds(text, &[0..1, 1..3, 3..4, 4..8, 8..12, 8..12, 12..13]);
        let letters = bounds.letters(text, &(0..7));
        let first: Vec<bool> = letters.iter().map(|letters| letters.is_first).collect();
        assert_eq!(first, [true, false, true, true, false, false, true]);
        let ends: Vec<usize> = letters.iter().map(|letters| letters.end).collect();
        assert_eq!(ends, [3, 3, 4, 12, 12, 12, 13]);
        assert_eq!(bounds.letters(text, &(2..4)), letters[2..4]);
        assert!(bounds.letters(text, &(7..7)).is_empty());
    }

    #[test]
    fn the_space_before_a_word_is_not_part_of_it() {
        let bounds = bounds("one two", &[0..3, 3..7]);
        assert_eq!(bounds.tokens(&(4..7)), 1..2);
        assert_eq!(bounds.bytes(&(1..2)), 4..7);
    }
}
