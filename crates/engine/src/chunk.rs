//! Document → chunks.

use crate::chars::CharCursor;
use crate::chunking::Chunking;
use crate::cuts::BLOCK_BYTES;
use crate::error::{Error, KeepRunning, Result, check_running};
use crate::spans::TokenBounds;
use crate::units::{Units, lines, paragraphs, sentences, words};
use std::ops::Range;

/// A part of a document with a vector of its own. All ranges are half open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Byte offsets in the UTF-8 text.
    pub bytes: Range<usize>,
    /// Character (Unicode scalar value) offsets.
    pub chars: Range<usize>,
    /// Offsets in UTF-16 code units, by which JavaScript, Java and C# index texts.
    pub utf16: Range<usize>,
    /// Offsets among the document's own tokens, without special tokens and instruction. If empty,
    /// late chunking looks the tokens up by `bytes`.
    pub tokens: Range<usize>,
}

impl Chunk {
    /// The chunk of `text` at `bytes`; its tokens are looked up when it is embedded.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the range is not within the text or cuts through a character.
    pub fn new(text: &str, bytes: Range<usize>) -> Result<Self> {
        if text.get(bytes.clone()).is_none() {
            let len = text.len();
            return Err(Error::Options(format!(
                "the chunk at bytes {bytes:?} is not a range of whole characters of its text, \
                 which has {len} bytes"
            )));
        }
        Ok(Self::at(&mut CharCursor::new(text), bytes, 0..0))
    }

    /// Chunks of `text` at ranges of whole characters, in bytes, whose tokens are known or empty. Takes
    /// linear time if the ranges ascend.
    pub fn at_ranges(
        text: &str,
        ranges: impl IntoIterator<Item = (Range<usize>, Range<usize>)>,
    ) -> Vec<Self> {
        let mut cursor = CharCursor::new(text);
        ranges.into_iter().map(|(bytes, tokens)| Self::at(&mut cursor, bytes, tokens)).collect()
    }

    fn at(cursor: &mut CharCursor<'_>, bytes: Range<usize>, tokens: Range<usize>) -> Self {
        let (start, end) = (cursor.at(bytes.start), cursor.at(bytes.end));
        Self { bytes, chars: start.chars..end.chars, utf16: start.utf16..end.utf16, tokens }
    }
}

/// Token range and byte range of a chunk.
type ChunkRanges = (Range<usize>, Range<usize>);

/// Cuts `text` into chunks in ascending order, without the white space around them. A blank text
/// has no chunks. The time is proportional to the length of the text, whatever it contains.
///
/// # Errors
///
/// If a size is 0, or the work is stopped.
pub(crate) fn cut(
    text: &str,
    bounds: &TokenBounds,
    chunking: Chunking,
    keep_running: &mut KeepRunning<'_>,
) -> Result<Vec<Chunk>> {
    if let Chunking::Tokens(0) | Chunking::Sentences(0) | Chunking::Semantic(0) = chunking {
        return Err(Error::Options(format!("`{chunking}` has no chunks; use a size of 1 or more")));
    }
    let mut steps = Steps { keep_running, bytes: 0 };
    let ranges: Vec<ChunkRanges> = match chunking {
        Chunking::Tokens(size) => every(size, 0..bounds.len(), text, bounds),
        Chunking::Sentences(count) => groups(sentences(text), count, bounds, &mut steps)?,
        Chunking::Lines => groups(lines(text), 1, bounds, &mut steps)?,
        Chunking::Paragraphs => groups(paragraphs(text), 1, bounds, &mut steps)?,
        Chunking::Semantic(size) => {
            let mut packer = Packer { text, bounds, size, full: Vec::new() };
            packer.pack_range(&(0..text.len()), &SEGMENTERS, &mut steps)?;
            packer.full
        }
    };
    Ok(Chunk::at_ranges(text, ranges.into_iter().map(|(tokens, bytes)| (bytes, tokens))))
}

/// Asks whether work should go on, once for each [`BLOCK_BYTES`].
struct Steps<'a, 'b> {
    keep_running: &'a mut KeepRunning<'b>,
    /// Since it asked.
    bytes: usize,
}

impl Steps<'_, '_> {
    /// Counts the work on a unit.
    fn advance(&mut self, unit: &Range<usize>) -> Result<()> {
        self.bytes += unit.len();
        if self.bytes < BLOCK_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        check_running(self.keep_running)
    }
}

/// `tokens`, cut after every `size` tokens, or before them if readers see the characters around the
/// cut as one letter. Only a letter of more than `size` tokens is cut.
fn every(size: usize, tokens: Range<usize>, text: &str, bounds: &TokenBounds) -> Vec<ChunkRanges> {
    let letters = bounds.letters(text, &tokens);
    let is_between = |&at: &usize| at == tokens.end || letters[at - tokens.start].is_first;
    let mut chunks = Vec::new();
    let mut start = tokens.start;
    while start < tokens.end {
        let end = tokens.end.min(start.saturating_add(size));
        let end = (start + 1..=end).rev().find(is_between).unwrap_or(end);
        let next = if end < tokens.end { bounds.bytes(&(end..end + 1)).start } else { text.len() };
        let mut bytes = bounds.bytes(&(start..end));
        bytes.end = bytes.end.max(letters[end - 1 - tokens.start].end.min(next));
        chunks.push((start..end, bytes));
        start = end;
    }
    chunks
}

/// Chunks of `count` neighbouring units each.
fn groups(
    mut units: Units<'_>,
    count: usize,
    bounds: &TokenBounds,
    steps: &mut Steps<'_, '_>,
) -> Result<Vec<ChunkRanges>> {
    let mut groups = Vec::new();
    while let Some(first) = units.next() {
        let mut bytes = first;
        steps.advance(&bytes)?;
        for unit in units.by_ref().take(count - 1) {
            steps.advance(&unit)?;
            bytes.end = unit.end;
        }
        groups.push((bounds.tokens(&bytes), bytes));
    }
    Ok(groups)
}

/// A function that cuts a text into units of one kind.
type Segmenter = for<'a> fn(&'a str) -> Units<'a>;

/// Units of meaning, from large to small.
const SEGMENTERS: [Segmenter; 4] = [paragraphs, lines, sentences, words];

/// Fills chunks with whole units of meaning. A unit that is larger than a chunk is cut into units
/// of the next smaller kind, and a word that is larger than a chunk into tokens.
struct Packer<'a> {
    text: &'a str,
    bounds: &'a TokenBounds,
    /// Maximum number of tokens of a chunk.
    size: usize,
    /// The finished chunks.
    full: Vec<ChunkRanges>,
}

impl Packer<'_> {
    /// Packs the units of `range`, the largest of `segmenters` first.
    fn pack_range(
        &mut self,
        range: &Range<usize>,
        segmenters: &[Segmenter],
        steps: &mut Steps<'_, '_>,
    ) -> Result<()> {
        let Some((segment, smaller)) = segmenters.split_first() else {
            let tokens = self.bounds.tokens(range);
            self.full.extend(every(self.size, tokens, self.text, self.bounds));
            return Ok(());
        };
        let mut open: Option<Range<usize>> = None;
        let text = self.text;
        for unit in segment(&text[range.clone()]) {
            steps.advance(&unit)?;
            let unit = range.start + unit.start..range.start + unit.end;
            let joined = open.as_ref().map_or(unit.start, |open| open.start)..unit.end;
            if self.fits(&joined) {
                open = Some(joined);
                continue;
            }
            self.close(open.take());
            if self.fits(&unit) {
                open = Some(unit);
            } else {
                self.pack_range(&unit, smaller, steps)?;
            }
        }
        self.close(open);
        Ok(())
    }

    /// Whether `bytes` fits into one chunk.
    fn fits(&self, bytes: &Range<usize>) -> bool {
        self.bounds.tokens(bytes).len() <= self.size
    }

    /// Ends the chunk in progress, if there is one.
    fn close(&mut self, open: Option<Range<usize>>) {
        self.full.extend(open.map(|bytes| (self.bounds.tokens(&bytes), bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::Tokenizer;
    use kokeshi_testkit::bytes;

    const TEXT: &str = "\u{feff}Er kam um 3.50 Uhr. Dann ging er!\n  Zweite Zeile ½ \n\n\n\
                        灯塔看守人。灯台守は毎晩。\r\n \t \nEnde";

    /// `text`, tokenized and cut.
    fn cut(tokenizer: &Tokenizer, text: &str, chunking: Chunking) -> Result<Vec<Chunk>> {
        let tokens = tokenizer.tokens(text, &mut || true)?;
        super::cut(text, &TokenBounds::new(text, &tokens), chunking, &mut || true)
    }

    fn tokenizer() -> Tokenizer {
        let file = "v3-tiny/original/tokenizer.json";
        Tokenizer::from_bytes(file, &bytes(file)).expect("a tokenizer")
    }

    fn parts(text: &str, chunking: Chunking) -> Vec<&str> {
        let chunks = cut(&tokenizer(), text, chunking).expect("chunks");
        chunks.into_iter().map(|chunk| &text[chunk.bytes]).collect()
    }

    #[test]
    fn cutting_asks_about_every_block_and_stops() {
        let text = "One sentence. Another one\nin lines. ".repeat(20_000);
        let tokenizer = tokenizer();
        let tokens = tokenizer.tokens(&text, &mut || true).expect("tokens");
        let bounds = TokenBounds::new(&text, &tokens);
        for chunking in [Chunking::Sentences(3), Chunking::Lines, Chunking::Semantic(8)] {
            let mut asked = 0;
            let mut keep_running = || {
                asked += 1;
                asked < 10
            };
            let stopped = super::cut(&text, &bounds, chunking, &mut keep_running);
            assert!(matches!(stopped, Err(Error::Stopped)), "{chunking}");
            assert_eq!(asked, 10, "{chunking}");
        }
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
        let total = tokenizer.ids(TEXT, &mut || true).expect("ids").len();
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
    fn letters_of_several_characters_are_not_cut() {
        let family = "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        for letter in [family, "e\u{301}", "\u{915}\u{94d}\u{937}", "\u{1f1e9}\u{1f1ea}"] {
            let text = letter.repeat(100);
            for chunking in [Chunking::Tokens(16), Chunking::Semantic(16), Chunking::Sentences(1)] {
                for part in parts(&text, chunking) {
                    assert_eq!(part.len() % letter.len(), 0, "{letter} {chunking}: {part}");
                }
            }
        }
        let marks = format!("e{}", "\u{301}".repeat(100));
        let file = "v2-tiny/code_bpe/tokenizer.json";
        let of_bytes = Tokenizer::from_bytes(file, &bytes(file)).expect("a tokenizer");
        let chunks = cut(&of_bytes, &marks, Chunking::Tokens(16)).expect("chunks");
        assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.tokens.len() <= 16));
    }

    #[test]
    fn semantic_chunks_fit_their_size_and_keep_every_letter() {
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
        let count = |text: &str| tokenizer().ids(text, &mut || true).expect("ids").len();
        let first = "One two three. Four five six.\nSeven eight.";
        assert_eq!(parts(text, Chunking::Semantic(count(text))), [text]);
        let paragraphs = [first, "Nine ten eleven twelve."];
        assert_eq!(parts(text, Chunking::Semantic(count(first))), paragraphs);
        let size = count("One two three. Four five six.");
        let chunks = ["One two three. Four five six.", "Seven eight.", paragraphs[1]];
        assert_eq!(parts(text, Chunking::Semantic(size)), chunks);
        let size = count("Four five six.").max(count("One two three."));
        let chunks = parts(text, Chunking::Semantic(size));
        assert_eq!(chunks[..3], ["One two three.", "Four five six.", "Seven eight."]);
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
                assert_eq!(TEXT[chunk.bytes.clone()], chars.collect::<String>(), "{chunking}");
                let utf16: Vec<u16> = TEXT.encode_utf16().collect();
                let part = String::from_utf16(&utf16[chunk.utf16]).expect("whole characters");
                assert_eq!(TEXT[chunk.bytes], part, "{chunking}");
            }
        }
    }

    #[test]
    fn a_chunk_from_a_byte_range_counts_its_characters_and_refuses_partial_ones() {
        let chunk = Chunk::new("äöü", 2..6).expect("a range of whole characters");
        assert_eq!(chunk.chars, 1..3);
        let chunk = Chunk::new("🚀🚀", 4..8).expect("a range of whole characters");
        assert_eq!((chunk.chars, chunk.utf16), (1..2, 2..4));
        for bytes in [1..2, 0..7, 9..10] {
            assert!(Chunk::new("äöü", bytes.clone()).is_err(), "{bytes:?}");
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
