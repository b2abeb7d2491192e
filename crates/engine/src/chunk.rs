//! Document → chunks.

use crate::chars::CharCursor;
use crate::error::{Error, Result};
use crate::request::{Chunk, Chunking};
use crate::spans::TokenBounds;
use crate::tokenize::Tokenizer;
use crate::units::{lines, paragraphs, sentences, words};
use std::ops::Range;

/// Where a chunk's tokens and bytes are.
type Place = (Range<usize>, Range<usize>);

/// Cuts `text` into chunks in ascending order, without the white space around them. A blank text
/// has none. Takes time in proportion to the text, whatever it holds.
pub(crate) fn cut(tokenizer: &Tokenizer, text: &str, chunking: Chunking) -> Result<Vec<Chunk>> {
    if let Chunking::Tokens(0) | Chunking::Sentences(0) | Chunking::Semantic(0) = chunking {
        return Err(Error::Options(format!("`{chunking}` cuts nothing; use a size of 1 or more")));
    }
    let bounds = TokenBounds::new(text, &tokenizer.tokens(text)?);
    let places: Vec<Place> = match chunking {
        Chunking::Tokens(size) => every(size, 0..bounds.len(), &bounds).collect(),
        Chunking::Sentences(count) => groups(&sentences(text), count, &bounds),
        Chunking::Lines => groups(&lines(text), 1, &bounds),
        Chunking::Paragraphs => groups(&paragraphs(text), 1, &bounds),
        Chunking::Semantic(size) => Packer { text, bounds: &bounds, size, full: Vec::new() }.pack(),
    };
    let mut cursor = CharCursor::new(text);
    let chunk = |(tokens, bytes): Place| {
        let chars = cursor.at(bytes.start)..cursor.at(bytes.end);
        Chunk { bytes, chars, tokens }
    };
    Ok(places.into_iter().map(chunk).collect())
}

/// `tokens`, cut after every `size`.
fn every(size: usize, tokens: Range<usize>, bounds: &TokenBounds) -> impl Iterator<Item = Place> {
    let end = tokens.end;
    tokens.step_by(size).map(move |start| {
        let tokens = start..end.min(start.saturating_add(size));
        (tokens.clone(), bounds.bytes(&tokens))
    })
}

/// `count` neighbouring units a chunk.
fn groups(units: &[Range<usize>], count: usize, bounds: &TokenBounds) -> Vec<Place> {
    let place = |group: &[Range<usize>]| {
        let bytes = group[0].start..group[group.len() - 1].end;
        (bounds.tokens(&bytes), bytes)
    };
    units.chunks(count).map(place).collect()
}

/// Cuts a text into units of one kind.
type Units = fn(&str) -> Vec<Range<usize>>;

/// Units of meaning, from large to small.
const UNITS: [Units; 4] = [paragraphs, lines, sentences, words];

/// Fills chunks with whole units of meaning. A unit that is too large for one is cut into units
/// of the next smaller kind, and a word that is too large into tokens.
struct Packer<'a> {
    text: &'a str,
    bounds: &'a TokenBounds,
    /// Most tokens of a chunk.
    size: usize,
    full: Vec<Place>,
}

impl Packer<'_> {
    fn pack(mut self) -> Vec<Place> {
        self.pack_part(&(0..self.text.len()), &UNITS);
        self.full
    }

    fn pack_part(&mut self, part: &Range<usize>, units: &[Units]) {
        let Some((cut, smaller)) = units.split_first() else {
            let tokens = self.bounds.tokens(part);
            return self.full.extend(every(self.size, tokens, self.bounds));
        };
        let mut open: Option<Range<usize>> = None;
        for unit in cut(&self.text[part.clone()]) {
            let unit = part.start + unit.start..part.start + unit.end;
            let joined = open.as_ref().map_or(unit.start, |open| open.start)..unit.end;
            if self.fits(&joined) {
                open = Some(joined);
                continue;
            }
            self.close(open.take());
            if self.fits(&unit) {
                open = Some(unit);
            } else {
                self.pack_part(&unit, smaller);
            }
        }
        self.close(open);
    }

    fn fits(&self, bytes: &Range<usize>) -> bool {
        self.bounds.tokens(bytes).len() <= self.size
    }

    fn close(&mut self, open: Option<Range<usize>>) {
        self.full.extend(open.map(|bytes| (self.bounds.tokens(&bytes), bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_testkit::bytes;

    const TEXT: &str = "\u{feff}Er kam um 3.50 Uhr. Dann ging er!\n  Zweite Zeile ½ \n\n\n\
                        灯塔看守人。灯台守は毎晩。\r\n \t \nEnde";

    fn tokenizer() -> Tokenizer {
        let file = "v3-tiny/original/tokenizer.json";
        Tokenizer::from_bytes(file, &bytes(file)).expect("a tokenizer")
    }

    fn parts(text: &str, chunking: Chunking) -> Vec<&str> {
        let chunks = cut(&tokenizer(), text, chunking).expect("chunks");
        chunks.into_iter().map(|chunk| &text[chunk.bytes]).collect()
    }

    #[test]
    fn sentences_can_be_grouped() {
        let text = "Er kam um 3.50 Uhr. Dann ging er!  灯塔看守人。灯台守は毎晩。";
        let pairs = ["Er kam um 3.50 Uhr. Dann ging er!", "灯塔看守人。灯台守は毎晩。"];
        assert_eq!(parts(text, Chunking::Sentences(2)), pairs);
        assert_eq!(parts(text, Chunking::Sentences(9)), [text]);
    }

    #[test]
    fn token_chunks_tile_the_tokens() {
        let tokenizer = tokenizer();
        let total = tokenizer.ids(TEXT).expect("ids").len();
        for size in [1, 7, 1000, usize::MAX] {
            let chunks = cut(&tokenizer, TEXT, Chunking::Tokens(size)).expect("chunks");
            let mut end = 0;
            for chunk in &chunks {
                assert_eq!(chunk.tokens.start, end);
                assert!(chunk.tokens.len() <= size);
                end = chunk.tokens.end;
            }
            assert_eq!(end, total);
        }
    }

    #[test]
    fn semantic_chunks_fit_their_size_and_lose_no_letter() {
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        for size in [1, 2, 8, 20, 1000] {
            let chunks = cut(&tokenizer(), TEXT, Chunking::Semantic(size)).expect("chunks");
            assert!(chunks.iter().all(|chunk| chunk.tokens.len() <= size), "{size}");
            let mut text = String::new();
            let mut end = 0;
            for Chunk { bytes, .. } in chunks {
                // Tokens of one character share its bytes.
                text.push_str(&TEXT[bytes.start.max(end)..bytes.end]);
                end = bytes.end;
            }
            assert_eq!(letters(&text), letters(TEXT), "{size}");
        }
    }

    #[test]
    fn semantic_chunks_are_the_largest_units_that_fit() {
        let text = "One two three. Four five six.\nSeven eight.\n\nNine ten eleven twelve.";
        let count = |text: &str| tokenizer().ids(text).expect("ids").len();
        let first = "One two three. Four five six.\nSeven eight.";
        assert_eq!(parts(text, Chunking::Semantic(count(text))), [text]);
        let paragraphs = [first, "Nine ten eleven twelve."];
        assert_eq!(parts(text, Chunking::Semantic(count(first))), paragraphs);
        let size = count("One two three. Four five six.");
        let pieces = ["One two three. Four five six.", "Seven eight.", paragraphs[1]];
        assert_eq!(parts(text, Chunking::Semantic(size)), pieces);
        let size = count("Four five six.").max(count("One two three."));
        let pieces = parts(text, Chunking::Semantic(size));
        assert_eq!(pieces[..3], ["One two three.", "Four five six.", "Seven eight."]);
    }

    #[test]
    fn byte_and_character_ranges_name_the_same_text() {
        for chunking in [
            Chunking::Tokens(3),
            Chunking::Sentences(1),
            Chunking::Lines,
            Chunking::Paragraphs,
            Chunking::Semantic(8),
        ] {
            for chunk in cut(&tokenizer(), TEXT, chunking).expect("chunks") {
                let chars = TEXT.chars().skip(chunk.chars.start).take(chunk.chars.len());
                assert_eq!(TEXT[chunk.bytes], chars.collect::<String>(), "{chunking}");
            }
        }
    }

    #[test]
    fn a_blank_text_has_no_chunks_and_a_size_of_zero_is_refused() {
        for chunking in [Chunking::Sentences(1), Chunking::Lines, Chunking::Paragraphs] {
            assert_eq!(parts(" \n\t \r\n", chunking), [""; 0]);
        }
        for chunking in [Chunking::Tokens(0), Chunking::Sentences(0), Chunking::Semantic(0)] {
            assert!(cut(&tokenizer(), "text", chunking).is_err());
        }
    }
}
