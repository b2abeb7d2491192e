//! Where a text can be cut so that its parts have the tokens of the whole: then a long text is
//! tokenized in blocks, and what truncation drops is not tokenized at all.
//!
//! The cut is before ASCII white space that follows a letter, a digit, or punctuation of ASCII or of
//! Chinese and Japanese.
//! These steps of a tokenizer give the same on both sides as in the whole:
//!
//! - Added tokens: none contains white space, so none reaches over the cut; one that takes the
//!   white space before it (`lstrip`) has all of it in the part after the cut; none takes the white
//!   space after it (`rstrip`).
//! - Normalization: by character or grapheme, and the cut is between two graphemes. A trailing
//!   `Strip` and a `Replace` of spaces only change runs of white space, which are not cut.
//! - Splitting into words: at white space, so that a word ends at the cut in any case. The
//!   expression of byte-level tokenizers looks ahead only after white space. A space belongs to the
//!   word after it, which is why the cut is before it.
//! - The model: word by word.

use crate::pipeline::Pipeline;
use std::ops::Range;
use tokenizers::normalizers::NormalizerWrapper as Normalizer;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Replace, Sequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper as PreTokenizer;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use unicode_segmentation::UnicodeSegmentation;

/// Size of a block, which is longer only if there is no place for a cut.
pub(crate) const BLOCK_BYTES: usize = 32 << 10;

/// Where a tokenizer's texts can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cuts {
    /// Before spaces, tabs and line breaks.
    WhiteSpace,
    /// Before spaces alone: other white space could get a space in front of it.
    Spaces,
    /// Nowhere, as far as known.
    Never,
}

impl Cuts {
    /// The cuts that the tokenizer's file allows.
    pub(crate) fn of(tokenizer: &Pipeline) -> Self {
        let added = tokenizer.get_added_tokens_decoder();
        let are_words = added
            .values()
            .all(|token| !token.rstrip && !token.content.contains(char::is_whitespace));
        if !are_words || !tokenizer.get_normalizer().is_none_or(is_local) {
            return Self::Never;
        }
        tokenizer.get_pre_tokenizer().map_or(Self::Never, words)
    }

    /// The first place at or after `from` where `text` can be cut; its end if there is none.
    pub(crate) fn next(self, text: &str, from: usize) -> usize {
        let is_space = |byte: u8| match self {
            Self::WhiteSpace => matches!(byte, b' ' | b'\n' | b'\r' | b'\t'),
            Self::Spaces => byte == b' ',
            Self::Never => false,
        };
        if self == Self::Never {
            return text.len();
        }
        let bytes = text.as_bytes().iter().enumerate().skip(from.max(1));
        let mut spaces = bytes.filter(|(_, byte)| is_space(**byte)).map(|(at, _)| at);
        spaces.find(|at| ends_word(&text[..*at])).unwrap_or(text.len())
    }

    /// The byte ranges of `text` between cuts, each of [`BLOCK_BYTES`] or somewhat more.
    pub(crate) fn blocks(self, text: &str) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let end = match text.len() - start {
                0 => return None,
                1..=BLOCK_BYTES => text.len(),
                _ => self.next(text, start + BLOCK_BYTES),
            };
            let block = start..end;
            start = end;
            Some(block)
        })
    }
}

/// Whether the last character of `text` ends a word and a grapheme, whatever white space follows.
fn ends_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(|last| {
        // A few letters, such as U+0D4E, form a grapheme with what follows.
        let is_alone = || format!("{last} ").graphemes(true).count() == 2;
        last.is_ascii_graphic() || is_cjk_mark(last) || last.is_alphanumeric() && is_alone()
    })
}

/// Whether this is punctuation that ends sentences or parts of them in Chinese and Japanese, where
/// lines seldom end in anything else.
fn is_cjk_mark(letter: char) -> bool {
    matches!(
        letter,
        '、' | '。' | '」' | '』' | '】' | '》' | '！' | '，' | '：' | '；' | '？' | '）'
    )
}

/// Whether a normalizer changes characters or graphemes independently of each other, except for
/// runs of white space.
pub(crate) fn is_local(normalizer: &Normalizer) -> bool {
    let is_sequence_local =
        |all: &Sequence| AsRef::<[Normalizer]>::as_ref(all).iter().all(is_local);
    match normalizer {
        Normalizer::BertNormalizer(_)
        | Normalizer::Lowercase(_)
        | Normalizer::NFC(_)
        | Normalizer::NFD(_)
        | Normalizer::NFKC(_)
        | Normalizer::NFKD(_)
        | Normalizer::Precompiled(_)
        | Normalizer::StripAccents(_) => true,
        Normalizer::StripNormalizer(strip) => !strip.strip_left,
        Normalizer::Replace(replace) => {
            let spaces = Replace::new(ReplacePattern::Regex(" {2,}".to_owned()), "▁");
            spaces.is_ok_and(|spaces| spaces == *replace)
        }
        Normalizer::Sequence(all) => is_sequence_local(all),
        Normalizer::ByteLevel(_) | Normalizer::Nmt(_) | Normalizer::Prepend(_) => false,
    }
}

/// The cuts of a tokenizer that splits a text into words in this way.
fn words(splitter: &PreTokenizer) -> Cuts {
    match splitter {
        PreTokenizer::BertPreTokenizer(_)
        | PreTokenizer::Whitespace(_)
        | PreTokenizer::WhitespaceSplit(_) => Cuts::WhiteSpace,
        PreTokenizer::ByteLevel(bytes) if !bytes.use_regex => Cuts::Never,
        PreTokenizer::ByteLevel(bytes) if bytes.add_prefix_space => Cuts::Spaces,
        PreTokenizer::ByteLevel(_) => Cuts::WhiteSpace,
        splitter if is_metaspace(splitter) => Cuts::Spaces,
        PreTokenizer::Sequence(all) => match all.as_ref() {
            [only] => words(only),
            [PreTokenizer::WhitespaceSplit(_), mark] if is_metaspace(mark) => Cuts::WhiteSpace,
            _ => Cuts::Never,
        },
        _ => Cuts::Never,
    }
}

/// Whether the splitter puts `▁` before every word.
fn is_metaspace(splitter: &PreTokenizer) -> bool {
    let PreTokenizer::Metaspace(mark) = splitter else { return false };
    mark.get_split() && mark.get_prepend_scheme() == PrependScheme::Always
}

#[cfg(test)]
mod tests;
