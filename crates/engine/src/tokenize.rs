//! Text → token ids and byte offsets, as the tokenizer file specifies.

use crate::bounded;
use crate::count::TokenCount;
use crate::cuts::{BLOCK_BYTES, Cuts};
use crate::error::{Error, KeepRunning, Result, check_running};
use crate::pipeline::{self, Pipeline, Segmenter};
use crate::prefix::{PrefixError, Prefixes};
use std::ops::Range;
use std::path::Path;
use tokenizers::{Encoding, Model};

/// A loaded tokenizer file.
pub(crate) struct Tokenizer {
    inner: Pipeline,
    path: String,
    /// Special tokens that its post-processor adds before and after a text.
    specials: (Vec<u32>, Vec<u32>),
    cuts: Cuts,
    prefixes: Option<Prefixes>,
}

/// A text's own tokens, without special tokens and instruction.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    /// The byte range of each token in the text. Tokens can share bytes (`½` becomes several
    /// tokens), and some tokenizer pipelines count the space before a word as part of it.
    pub(crate) bytes: Vec<Range<usize>>,
}

/// Tokens of one end of a text.
#[derive(Debug)]
pub(crate) struct EndTokens {
    /// All tokens, or more than were asked for.
    pub(crate) ids: Vec<u32>,
    /// Tokens of the whole text.
    pub(crate) total: TokenCount,
}

/// The rest of a text is counted exactly if it has at most so many bytes.
const COUNTED_BYTES: usize = 64 << 10;
/// A block of more bytes has no white space, and only its beginning is tokenized if that is enough.
const WIDE_BYTES: usize = 4 * BLOCK_BYTES;

/// A description of a tokenizer file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerInfo {
    /// The segmentation model: `Unigram`, `BPE`, `WordPiece` or `WordLevel`.
    pub kind: String,
    /// Number of tokens, added tokens included.
    pub vocab: usize,
    /// The largest token id.
    pub largest_id: u32,
    /// Ids and texts of the special tokens, ascending by id.
    pub special_tokens: Vec<(u32, String)>,
}

/// Reads a `tokenizer.json` and describes it.
///
/// # Errors
///
/// [`Error::Tokenizer`] if the file cannot be read or is not a tokenizer.
pub fn inspect_tokenizer(path: &Path) -> Result<TokenizerInfo> {
    Ok(Tokenizer::open(path)?.info())
}

impl Tokenizer {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(json) => Self::from_bytes(&name, &json),
            Err(error) => Err(Error::Tokenizer { path: name, reason: error.to_string() }),
        }
    }

    /// Parses a tokenizer file; `path` names it in errors.
    pub(crate) fn from_bytes(path: &str, json: &[u8]) -> Result<Self> {
        let unusable = |reason: String| Error::Tokenizer { path: path.to_owned(), reason };
        let text = std::str::from_utf8(json).map_err(|e| unusable(e.to_string()))?;
        let inner = pipeline::parse(text).map_err(|e| unusable(e.to_string()))?;
        bounded::check(&inner).map_err(unusable)?;
        let probe = inner.encode_fast("a", true).map_err(|e| unusable(e.to_string()))?;
        let specials = specials(&probe);
        let (cuts, prefixes) = (Cuts::of(&inner), Prefixes::of(&inner));
        Ok(Self { inner, path: path.to_owned(), specials, cuts, prefixes })
    }

    /// Special tokens before and after every text.
    pub(crate) fn specials(&self) -> (&[u32], &[u32]) {
        (&self.specials.0, &self.specials.1)
    }

    /// Ids without offsets: faster than [`Self::tokens`].
    pub(crate) fn ids(&self, text: &str, keep_running: &mut KeepRunning<'_>) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for block in self.cuts.blocks(text) {
            check_running(keep_running)?;
            self.push_ids(&mut ids, &text[block])?;
        }
        Ok(ids)
    }

    /// Ids and byte ranges.
    pub(crate) fn tokens(&self, text: &str, keep_running: &mut KeepRunning<'_>) -> Result<Tokens> {
        let mut tokens = Tokens { ids: Vec::new(), bytes: Vec::new() };
        for block in self.cuts.blocks(text) {
            check_running(keep_running)?;
            let encoding = self.inner.encode(&text[block.clone()], false);
            let encoding = encoding.map_err(|e| self.cannot_encode(&*e))?;
            tokens.ids.extend_from_slice(encoding.get_ids());
            let bytes = |(start, end)| block.start + start..block.start + end;
            tokens.bytes.extend(encoding.get_offsets().iter().copied().map(bytes));
        }
        Ok(tokens)
    }

    /// Bytes of the longest part of `text` that is tokenized at once; if only its first tokens are
    /// needed, of the longest part that may be.
    pub(crate) fn longest_step(&self, text: &str, is_first_enough: bool) -> usize {
        let takes_part = self.prefixes.as_ref().is_some_and(Prefixes::are_within_words);
        if is_first_enough && takes_part {
            return text.len().min(WIDE_BYTES);
        }
        self.cuts.blocks(text).map(|block| block.len()).max().unwrap_or(0)
    }

    /// The ids of a text that has at most `limit` tokens, or more than `limit` of its first ids.
    pub(crate) fn first(
        &self,
        text: &str,
        limit: usize,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<EndTokens> {
        let mut ids = Vec::new();
        for block in self.cuts.blocks(text) {
            check_running(keep_running)?;
            let mut end = block.end;
            match self.first_of_wide(&text[block.clone()], limit, &mut ids, keep_running)? {
                Some(bytes) => end = block.start + bytes,
                None => self.push_ids(&mut ids, &text[block])?,
            }
            if ids.len() > limit && text.len() - end > COUNTED_BYTES {
                let total = estimate(ids.len(), end, text.len());
                return Ok(EndTokens { ids, total });
            }
        }
        Ok(EndTokens { total: TokenCount::Exact(ids.len()), ids })
    }

    /// The ids of a text that has at most `limit` tokens, or more than `limit` of its last ids.
    pub(crate) fn last(
        &self,
        text: &str,
        limit: usize,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<EndTokens> {
        let blocks: Vec<Range<usize>> = self.cuts.blocks(text).collect();
        let (mut parts, mut tokens) = (Vec::new(), 0);
        let mut total = None;
        for block in blocks.into_iter().rev() {
            check_running(keep_running)?;
            let (start, mut ids) = (block.start, Vec::new());
            self.push_ids(&mut ids, &text[block])?;
            tokens += ids.len();
            parts.push(ids);
            if tokens > limit && start > COUNTED_BYTES {
                total = Some(estimate(tokens, text.len() - start, text.len()));
                break;
            }
        }
        parts.reverse();
        Ok(EndTokens { ids: parts.concat(), total: total.unwrap_or(TokenCount::Exact(tokens)) })
    }

    /// If a block is wide and its beginning is enough, appends the ids of that, so that there are
    /// more than `limit`, and returns its bytes.
    fn first_of_wide(
        &self,
        block: &str,
        limit: usize,
        ids: &mut Vec<u32>,
        keep_running: &mut KeepRunning<'_>,
    ) -> Result<Option<usize>> {
        let Some(prefixes) = self.prefixes.as_ref().filter(|_| block.len() > WIDE_BYTES) else {
            return Ok(None);
        };
        let Some(need) = limit.checked_sub(ids.len()) else { return Ok(None) };
        let prefix = prefixes.more_than(need, block, &self.inner, keep_running);
        let prefix = prefix.map_err(|error| match error {
            PrefixError::Stopped(error) => error,
            PrefixError::Tokenizer(error) => self.cannot_encode(&*error),
        })?;
        Ok(prefix.map(|prefix| {
            ids.extend(prefix.ids);
            prefix.bytes
        }))
    }

    /// Appends the ids of a block.
    fn push_ids(&self, ids: &mut Vec<u32>, block: &str) -> Result<()> {
        let encoding = self.inner.encode_fast(block, false).map_err(|e| self.cannot_encode(&*e))?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Pipeline {
        &self.inner
    }

    #[cfg(test)]
    pub(crate) fn cuts(&self) -> Cuts {
        self.cuts
    }

    /// Checks that every id has a row in an embedding table of `rows` rows.
    pub(crate) fn check_ids_below(&self, rows: usize) -> Result<()> {
        let largest = self.largest_id();
        if largest as usize >= rows {
            return Err(Error::Vocabulary { largest, rows });
        }
        Ok(())
    }

    pub(crate) fn info(&self) -> TokenizerInfo {
        let added = self.inner.get_added_tokens_decoder();
        let special = added.into_iter().filter(|(_, token)| token.special);
        let mut special_tokens: Vec<_> = special.map(|(id, token)| (id, token.content)).collect();
        special_tokens.sort();
        TokenizerInfo {
            kind: self.inner.get_model().kind().to_owned(),
            vocab: self.inner.get_vocab_size(true),
            largest_id: self.largest_id(),
            special_tokens,
        }
    }

    fn largest_id(&self) -> u32 {
        let specials = self.specials.0.iter().chain(&self.specials.1).copied();
        let added = self.inner.get_added_tokens_decoder().into_keys();
        let model = match self.inner.get_model() {
            // Its ids are list indices, so 250,000 pieces need not be copied.
            Segmenter::Unigram(pieces) => pieces.get_vocab_size().saturating_sub(1) as u32,
            _ => self.inner.get_vocab(false).into_values().max().unwrap_or(0),
        };
        specials.chain(added).max().unwrap_or(0).max(model)
    }

    fn cannot_encode(&self, error: &(dyn std::error::Error + Send + Sync)) -> Error {
        Error::Tokenize { path: self.path.clone(), reason: error.to_string() }
    }
}

/// Tokens of a text of `len` bytes, of which a part of `bytes` bytes has `tokens`.
fn estimate(tokens: usize, bytes: usize, len: usize) -> TokenCount {
    TokenCount::About((tokens as f64 / bytes as f64 * len as f64) as usize)
}

/// The special tokens before and after the text of an encoding.
fn specials(probe: &Encoding) -> (Vec<u32>, Vec<u32>) {
    let (ids, special) = (probe.get_ids(), probe.get_special_tokens_mask());
    let own = |index: &usize| special[*index] == 0;
    let start = (0..ids.len()).find(own).unwrap_or(ids.len());
    let end = (start..ids.len()).rfind(own).map_or(start, |last| last + 1);
    (ids[..start].to_vec(), ids[end..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chars::CharCursor;
    use kokeshi_testkit::{bytes, json};
    use serde_json::{Value, from_value};

    const PIPELINES: [(&str, &str); 2] = [
        ("v3-tiny/original/tokenizer.json", ""),
        ("v3-tiny/golden/tokenizer_newer_pipeline.json", "_newer_pipeline"),
    ];

    fn tokenizer(fixture: &str) -> Tokenizer {
        Tokenizer::from_bytes(fixture, &bytes(fixture)).expect("a tokenizer")
    }

    fn list<T: serde::de::DeserializeOwned>(cases: &Value, key: &str) -> Vec<T> {
        from_value(cases[key].clone()).expect(key)
    }

    #[test]
    fn ids_and_character_offsets_are_those_of_the_reference_for_both_pipelines() {
        let cases = &json("v3-tiny/golden/cases.json")["texts"];
        for (fixture, suffix) in PIPELINES {
            let tokenizer = tokenizer(fixture);
            let ids: Vec<Vec<u32>> = list(cases, &format!("ids{suffix}"));
            let offsets: Vec<Vec<[usize; 2]>> = list(cases, &format!("char_offsets{suffix}"));
            for (text, (ids, offsets)) in
                list::<String>(cases, "texts").iter().zip(ids.iter().zip(&offsets))
            {
                let tokens = tokenizer.tokens(text, &mut || true).expect(text);
                let own = 1..ids.len() - 1;
                assert_eq!(tokens.ids, ids[own.clone()], "{fixture}: {text:?}");
                assert_eq!(
                    tokenizer.ids(text, &mut || true).expect(text),
                    tokens.ids,
                    "{fixture}: {text:?}"
                );
                let mut cursor = CharCursor::new(text);
                let mut char = |byte: usize| cursor.at(byte).chars;
                let chars = |bytes: &Range<usize>| [char(bytes.start), char(bytes.end)];
                let chars: Vec<_> = tokens.bytes.iter().map(chars).collect();
                assert_eq!(chars, offsets[own], "{fixture}: {text:?}");
            }
        }
    }

    #[test]
    fn special_tokens_are_found_by_running_the_post_processor() {
        for (fixture, _) in PIPELINES {
            assert_eq!(tokenizer(fixture).specials(), (&[0][..], &[2][..]));
        }
        let mut without: Value = json(PIPELINES[0].0);
        without["post_processor"] = Value::Null;
        let without = Tokenizer::from_bytes("without", without.to_string().as_bytes());
        assert_eq!(without.expect("a tokenizer").specials(), (&[][..], &[][..]));
    }

    #[test]
    fn the_files_own_truncation_and_padding_are_off() {
        let mut file = json(PIPELINES[0].0);
        file["truncation"] = serde_json::json!(
            {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
        file["padding"] = serde_json::json!(
            {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
             "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"});
        let file = Tokenizer::from_bytes("limited", file.to_string().as_bytes()).expect("valid");
        let text = "The lighthouse keeper wrote a short note.";
        let plain = tokenizer(PIPELINES[0].0);
        assert_eq!(
            file.ids(text, &mut || true).expect(text),
            plain.ids(text, &mut || true).expect(text)
        );
        assert_eq!(file.ids("a", &mut || true).expect("a").len(), 1);
    }

    #[test]
    fn a_tokenizer_describes_itself() {
        let info = tokenizer(PIPELINES[0].0).info();
        assert_eq!((info.kind.as_str(), info.vocab, info.largest_id), ("Unigram", 615, 614));
        assert_eq!(info.special_tokens[0], (0, "<s>".to_owned()));
        assert_eq!(info.special_tokens[4], (614, "<mask>".to_owned()));
    }

    #[test]
    fn a_file_that_is_not_a_tokenizer_is_an_error_that_names_it() {
        let deep = format!(r#"{{"decoder": {}"#, "[".repeat(300));
        let closed = format!(r#"{{"decoder": {}{}}}"#, "[".repeat(300), "]".repeat(300));
        let decoders =
            [br#"{"version": "1.0", "decoder": {"type" 1}}"#, deep.as_bytes(), closed.as_bytes()];
        for json in [&b""[..], b"{}", b"[1, 2", b"\xff"].into_iter().chain(decoders) {
            let error = Tokenizer::from_bytes("some/tokenizer.json", json).map(|_| ());
            let error = error.expect_err("not a tokenizer").to_string();
            assert!(error.contains("some/tokenizer.json"), "{error}");
        }
    }

    #[test]
    fn ids_beyond_the_table_are_refused() {
        let tokenizer = tokenizer(PIPELINES[0].0);
        tokenizer.check_ids_below(615).expect("all ids have a row");
        let error = tokenizer.check_ids_below(614).expect_err("id 614 has no row").to_string();
        assert!(error.contains("614"), "{error}");
    }
}
