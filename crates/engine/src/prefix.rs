//! The first tokens of a text without white space, from a part of it.
//!
//! A text is cut somewhere, and its words are split as usual. All words but the last are those of
//! the whole text. The last one may continue, so its tokens may change, but not all of them: a
//! token has at most as many characters as the longest piece of the vocabulary, so in any stretch
//! of that many characters the whole word has a boundary between two tokens. And up to a boundary,
//! the tokens are those of the text up to there, alone: in BPE no merge reached over it, and in a
//! unigram model the best path to it depends on nothing after it. So what the word has in common
//! with all its parts that end within that stretch, the whole word has too.

use crate::cuts::{self, Cuts};
use crate::error::{KeepRunning, Result, check_running};
use crate::pipeline::{Pipeline, Segmenter};
use tokenizers::normalizers::NormalizerWrapper as Normalizer;
use tokenizers::{Model, ModelWrapper, OffsetReferential, OffsetType, PreTokenizer};
use unicode_segmentation::GraphemeCursor;

/// How far before its place a cut is searched for, in bytes.
const SEARCH_BYTES: usize = 256;

/// The first tokens of a text.
pub(crate) struct Prefix {
    pub(crate) ids: Vec<u32>,
    /// The part of the text that was looked at; it has these tokens and a few more.
    pub(crate) bytes: usize,
}

/// Finds first tokens with one tokenizer.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// Characters of the longest piece of the vocabulary. `None` if only whole words are certain.
    longest: Option<usize>,
    /// Texts of the added tokens, which a cut must not split.
    added: Vec<String>,
}

impl Prefixes {
    /// `None` if the tokenizer's file has a step of which nothing is known.
    pub(crate) fn of(tokenizer: &Pipeline) -> Option<Self> {
        let added = tokenizer.get_added_tokens_decoder().into_values();
        let normalizer = tokenizer.get_normalizer();
        let added = added.filter(|token| !token.content.is_empty()).map(|token| {
            // A normalized one may look different in the text.
            (normalizer.is_none() || !token.normalized).then_some(token.content)
        });
        let added = added.collect::<Option<Vec<String>>>()?;
        // Of the others, it is not known whether their words depend on what follows.
        let splits = tokenizer.get_pre_tokenizer().is_none() || Cuts::of(tokenizer) != Cuts::Never;
        let is_known = splits && normalizer.is_none_or(keeps_order);
        is_known.then(|| Self { longest: longest(tokenizer), added })
    }

    /// Whether first tokens of a single long word are found without the rest of it.
    pub(crate) fn are_within_words(&self) -> bool {
        self.longest.is_some()
    }

    /// More than `need` first tokens of `text`, or `None` if that takes most of the text.
    ///
    /// # Errors
    ///
    /// If the tokenizer fails or the work is stopped; `fail` makes an error of the tokenizer's.
    pub(crate) fn more_than(
        &self,
        need: usize,
        text: &str,
        tokenizer: &Pipeline,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<Option<Prefix>, PrefixError> {
        let mut size = need.saturating_mul(4).max(cuts::BLOCK_BYTES);
        while size < text.len() / 2 {
            check_running(keep_running)?;
            if let Some(cut) = self.cut(text, size) {
                let ids = self.ids(&text[..cut], tokenizer, keep_running)?;
                if ids.len() > need {
                    return Ok(Some(Prefix { ids, bytes: cut }));
                }
            }
            size = size.saturating_mul(2);
        }
        Ok(None)
    }

    /// A place shortly before `size` where the part before it is normalized as in the whole text,
    /// ends with no white space, and splits no added token.
    fn cut(&self, text: &str, size: usize) -> Option<usize> {
        let candidates = || {
            let places = size.saturating_sub(SEARCH_BYTES).max(1)..=size;
            places.rev().filter(|at| text.is_char_boundary(*at) && self.is_free(text, *at))
        };
        let is_grapheme = |at: &usize| {
            GraphemeCursor::new(*at, text.len(), true).is_boundary(text, 0).unwrap_or(false)
        };
        // After six bytes of a grapheme, `Precompiled` maps single characters, as the others do.
        let is_within = |at: &usize| {
            let mut before = (at.saturating_sub(6)..*at).filter(|at| text.is_char_boundary(*at));
            before.all(|at| !is_grapheme(&at))
        };
        candidates().find(is_grapheme).or_else(|| candidates().find(is_within))
    }

    /// Whether `at` is neither within an added token nor after white space.
    fn is_free(&self, text: &str, at: usize) -> bool {
        let bytes = text.as_bytes();
        let splits = |token: &String| {
            let starts = (at + 1).saturating_sub(token.len())..at;
            starts.into_iter().any(|start| bytes[start..].starts_with(token.as_bytes()))
        };
        let follows_space = text[..at].chars().next_back().is_none_or(char::is_whitespace);
        !follows_space && !self.added.iter().any(splits)
    }

    /// First tokens of every text that begins with `text`.
    fn ids(
        &self,
        text: &str,
        tokenizer: &Pipeline,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<Vec<u32>, PrefixError> {
        let added = tokenizer.get_added_vocabulary();
        let mut words = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        if let Some(splitter) = tokenizer.get_pre_tokenizer() {
            splitter.pre_tokenize(&mut words)?;
        }
        let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let Some(((last, _, special), whole)) = words.split_last() else { return Ok(Vec::new()) };
        let mut ids = Vec::new();
        for (word, _, special) in whole {
            match special {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None => ids.extend(word_ids(tokenizer.get_model(), word)?),
            }
        }
        if let (Some(longest), None) = (self.longest, special) {
            ids.extend(stable_ids(tokenizer.get_model(), last, longest, keep_running)?);
        }
        Ok(ids)
    }
}

/// The first tokens of every word that begins with `word`.
fn stable_ids(
    model: &Segmenter,
    word: &str,
    longest: usize,
    keep_running: &mut KeepRunning<'_>,
) -> Result<Vec<u32>, PrefixError> {
    let mut ids = word_ids(model, word)?;
    for (end, _) in word.char_indices().rev().take(longest) {
        check_running(keep_running)?;
        let part = word_ids(model, &word[..end])?;
        let common = ids.iter().zip(&part).take_while(|(a, b)| a == b).count();
        ids.truncate(common);
    }
    // The last one may be several unknown characters in one token, which could go on.
    ids.pop();
    Ok(ids)
}

fn word_ids(model: &Segmenter, word: &str) -> Result<Vec<u32>, PrefixError> {
    Ok(model.tokenize(word)?.into_iter().map(|token| token.id).collect())
}

/// Whether the normalized form of a text begins with that of its first part.
fn keeps_order(normalizer: &Normalizer) -> bool {
    match normalizer {
        Normalizer::BertNormalizer(_) | Normalizer::Lowercase(_) | Normalizer::Precompiled(_) => {
            true
        }
        // They change white space at the end, which a part does not have, and runs of it.
        Normalizer::StripNormalizer(strip) => !strip.strip_left,
        Normalizer::Sequence(all) => {
            let all: &[Normalizer] = all.as_ref();
            let [first, rest @ ..] = all else { return true };
            keeps_order(first) && rest.iter().all(is_for_spaces)
        }
        Normalizer::Replace(_) => is_for_spaces(normalizer),
        _ => false,
    }
}

fn is_for_spaces(normalizer: &Normalizer) -> bool {
    matches!(normalizer, Normalizer::StripNormalizer(_) | Normalizer::Replace(_))
        && cuts::is_local(normalizer)
}

/// See [`Prefixes::longest`].
fn longest(tokenizer: &Pipeline) -> Option<usize> {
    let chars = |piece: &str| piece.chars().count();
    match tokenizer.get_model() {
        Segmenter::Unigram(unigram) => unigram.pieces().map(chars).max(),
        Segmenter::Library(ModelWrapper::Unigram(unigram)) => {
            unigram.iter().map(|(piece, _)| chars(piece)).max()
        }
        Segmenter::Library(ModelWrapper::BPE(bpe)) => {
            // With these, a part of a word is not treated as in the word.
            let is_local = bpe.dropout.is_none_or(|dropout| dropout == 0.0)
                && !bpe.ignore_merges
                && bpe.continuing_subword_prefix.is_none()
                && bpe.end_of_word_suffix.is_none();
            let vocab = is_local.then(|| bpe.get_vocab())?;
            vocab.keys().map(|piece| chars(piece)).max()
        }
        Segmenter::Library(ModelWrapper::WordPiece(_) | ModelWrapper::WordLevel(_)) => None,
    }
}

/// Why first tokens were not found.
pub(crate) enum PrefixError {
    /// The caller has stopped the work.
    Stopped(crate::error::Error),
    /// The tokenizer failed.
    Tokenizer(tokenizers::Error),
}

impl From<crate::error::Error> for PrefixError {
    fn from(error: crate::error::Error) -> Self {
        Self::Stopped(error)
    }
}

impl From<tokenizers::Error> for PrefixError {
    fn from(error: tokenizers::Error) -> Self {
        Self::Tokenizer(error)
    }
}
