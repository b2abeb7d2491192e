//! A unigram model: the split of a word into pieces whose scores have the largest sum.
//!
//! The library's own needs 340 MB and half a second for the 250,000 pieces of XLM-R, because every
//! node of its trie is a hash table. Here the nodes are three arrays, a fifteenth of that.

use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::models::unigram::UnigramTrainer;
use tokenizers::{Model, Token};

/// The score of an unknown character below the lowest of the vocabulary, as in SentencePiece.
const UNKNOWN_PENALTY: f64 = 10.0;

/// No piece, no node, or no path.
const NONE: u32 = u32::MAX;

/// The model's part of a tokenizer file.
#[derive(Deserialize)]
pub(crate) struct UnigramFile<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    vocab: Vec<(Piece<'a>, f64)>,
    unk_id: Option<u32>,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Deserialize)]
struct Piece<'a>(#[serde(borrow)] Cow<'a, str>);

/// Pieces with scores: their ids are their places in the file.
#[derive(Clone, Debug)]
pub(crate) struct Unigram {
    /// All pieces end to end, in order of ids.
    text: String,
    /// Where each piece begins, and where the last one ends.
    starts: Vec<u32>,
    scores: Vec<f64>,
    trie: Trie,
    unknown: Option<u32>,
    unknown_score: f64,
    byte_fallback: bool,
}

/// Pieces by their bytes. The children of a node are consecutive, in order of their bytes, and the
/// nodes are in order of their parents, so that one node's children end where the next one's begin.
#[derive(Clone, Debug, Default)]
struct Trie {
    /// The byte that leads to each node.
    bytes: Vec<u8>,
    /// The first child of each node.
    children: Vec<u32>,
    /// The piece that ends at each node, or [`NONE`].
    pieces: Vec<u32>,
}

/// The best path to a place in a word.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// Where its last piece begins, or [`NONE`] if no path ends here.
    start: u32,
    /// Its last piece.
    id: u32,
}

/// A part of a word, which becomes a token.
struct Part {
    bytes: Range<usize>,
    /// `None` for unknown characters.
    piece: Option<u32>,
}

impl Unigram {
    /// # Errors
    ///
    /// Why the part of a file is not a unigram model of which all pieces can be found.
    pub(crate) fn new(file: &UnigramFile<'_>) -> Result<Self, String> {
        if file.kind != "Unigram" {
            return Err(format!("the model is of type `{}`", file.kind));
        }
        if file.unk_id.is_some_and(|id| id as usize >= file.vocab.len()) {
            return Err("`unk_id` is not the index of a piece".to_owned());
        }
        let bytes: usize = file.vocab.iter().map(|(piece, _)| piece.0.len()).sum();
        if bytes >= NONE as usize {
            return Err(format!("the pieces have {bytes} bytes, but at most 4 GiB are supported"));
        }
        let mut text = String::with_capacity(bytes);
        let mut starts = Vec::with_capacity(file.vocab.len() + 1);
        for (piece, _) in &file.vocab {
            starts.push(text.len() as u32);
            text.push_str(&piece.0);
        }
        starts.push(text.len() as u32);
        let scores: Vec<f64> = file.vocab.iter().map(|(_, score)| *score).collect();
        let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let trie = Trie::new(&file.vocab);
        Ok(Self {
            text,
            starts,
            scores,
            trie,
            unknown: file.unk_id,
            unknown_score: lowest - UNKNOWN_PENALTY,
            byte_fallback: file.byte_fallback,
        })
    }

    /// The pieces in order of their ids.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.starts.windows(2).map(|ends| &self.text[ends[0] as usize..ends[1] as usize])
    }

    /// The best path to each place of `word`. Equal scores: the path whose last piece is longest.
    fn best_paths(&self, word: &str) -> Result<Vec<Best>, tokenizers::Error> {
        let mut best = vec![Best { score: 0.0, start: NONE, id: NONE }; word.len() + 1];
        for (start, letter) in word.char_indices() {
            let score = best[start].score;
            let mut extend = |end: usize, id: u32, with: f64| {
                if best[end].start == NONE || with > best[end].score {
                    best[end] = Best { score: with, start: start as u32, id };
                }
            };
            let mut is_known = false;
            for (len, id) in self.trie.prefixes(&word.as_bytes()[start..]) {
                extend(start + len, id, self.scores[id as usize] + score);
                is_known |= len == letter.len_utf8();
            }
            if !is_known {
                let id = self.unknown.ok_or("a character is unknown, and `unk_id` is missing")?;
                extend(start + letter.len_utf8(), id, self.unknown_score + score);
            }
        }
        Ok(best)
    }

    /// The parts of the best path; neighbouring unknown characters are one.
    fn split(&self, word: &str) -> Result<Vec<Part>, tokenizers::Error> {
        let best = self.best_paths(word)?;
        let mut parts: Vec<Part> = Vec::new();
        let (mut end, mut follows_unknown) = (word.len(), false);
        while end > 0 {
            let Best { start, id, .. } = best[end];
            let start = start as usize;
            let is_unknown = Some(id) == self.unknown;
            match parts.last_mut() {
                Some(last) if is_unknown && follows_unknown => last.bytes.start = start,
                _ => parts.push(Part { bytes: start..end, piece: (!is_unknown).then_some(id) }),
            }
            (end, follows_unknown) = (start, is_unknown);
        }
        parts.reverse();
        Ok(parts)
    }

    /// One token for each byte of an unknown text, if the vocabulary has all of them.
    fn byte_tokens(&self, unknown: &str, offsets: (usize, usize)) -> Option<Vec<Token>> {
        let token = |byte: u8| {
            let name = format!("<0x{byte:02X}>");
            self.token_to_id(&name).map(|id| Token::new(id, name, offsets))
        };
        self.byte_fallback.then(|| unknown.bytes().map(token).collect())?
    }
}

impl Model for Unigram {
    type Trainer = UnigramTrainer;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        if word.len() >= NONE as usize {
            return Err(format!("a word of {} bytes is too long", word.len()).into());
        }
        let mut tokens = Vec::new();
        for Part { bytes, piece } in self.split(word)? {
            let (text, offsets) = (&word[bytes.clone()], (bytes.start, bytes.end));
            // Unknown characters together can be a piece that is worth less than they are.
            match piece.or_else(|| self.trie.find(text.as_bytes())) {
                Some(id) => tokens.push(Token::new(id, text.to_owned(), offsets)),
                None => match self.byte_tokens(text, offsets) {
                    Some(bytes) => tokens.extend(bytes),
                    None => {
                        let id = self.unknown.ok_or("`unk_id` is missing")?;
                        tokens.push(Token::new(id, text.to_owned(), offsets));
                    }
                },
            }
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.trie.find(token.as_bytes())
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        let ends = self.starts.get(id as usize..)?.get(..2)?;
        Some(self.text[ends[0] as usize..ends[1] as usize].to_owned())
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.pieces().map(str::to_owned).zip(0..).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.scores.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("a unigram model is only read".into())
    }

    fn get_trainer(&self) -> UnigramTrainer {
        UnigramTrainer::default()
    }
}

impl Trie {
    fn new(vocab: &[(Piece<'_>, f64)]) -> Self {
        let sorted = Sorted::new(vocab);
        let mut trie = Self { bytes: vec![0], children: Vec::new(), pieces: Vec::new() };
        // The range of sorted pieces below each node, in order of nodes, level by level.
        let root = 0..sorted.ids.len();
        let (mut level, mut depth) = (Vec::from([root]), 0);
        while !level.is_empty() {
            let mut next = Vec::new();
            for mut range in level {
                let mut piece = NONE;
                // Of equal pieces, the last one counts.
                while !range.is_empty() && sorted.get(range.start).len() == depth {
                    piece = sorted.ids[range.start];
                    range.start += 1;
                }
                trie.pieces.push(piece);
                trie.children.push(trie.bytes.len() as u32);
                while !range.is_empty() {
                    let byte = sorted.get(range.start)[depth];
                    let same = |index: &usize| sorted.get(*index)[depth] == byte;
                    let end = range.start + range.clone().take_while(same).count();
                    trie.bytes.push(byte);
                    next.push(range.start..end);
                    range.start = end;
                }
            }
            (level, depth) = (next, depth + 1);
        }
        trie.children.push(trie.bytes.len() as u32);
        trie
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let children = self.children[node] as usize..self.children[node + 1] as usize;
        let bytes = &self.bytes[children.clone()];
        let at = match bytes {
            [only] => (*only == byte).then_some(0),
            bytes => bytes.binary_search(&byte).ok(),
        };
        at.map(|at| children.start + at)
    }

    /// The pieces with which `text` begins, by length, and their ids.
    fn prefixes(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> {
        let mut node = Some(0);
        let nodes = text.iter().zip(1..).map_while(move |(byte, len)| {
            node = node.and_then(|node| self.child(node, *byte));
            node.map(|node| (len, self.pieces[node]))
        });
        nodes.filter(|(_, id)| *id != NONE)
    }

    fn find(&self, piece: &[u8]) -> Option<u32> {
        let node = piece.iter().try_fold(0, |node, byte| self.child(node, *byte))?;
        Some(self.pieces[node]).filter(|id| *id != NONE)
    }
}

/// Pieces in order of their bytes, end to end: a trie reads them once for each of their bytes.
struct Sorted {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    ids: Vec<u32>,
}

impl Sorted {
    fn new(vocab: &[(Piece<'_>, f64)]) -> Self {
        let piece = |id: u32| vocab[id as usize].0.0.as_bytes();
        let mut order: Vec<(u64, u32)> =
            (0..vocab.len() as u32).map(|id| (beginning(piece(id)), id)).collect();
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| piece(a.1).cmp(piece(b.1))).then_with(|| a.1.cmp(&b.1))
        });
        let ids: Vec<u32> = order.into_iter().map(|(_, id)| id).collect();
        let mut sorted = Self { bytes: Vec::new(), starts: vec![0], ids };
        for &id in &sorted.ids {
            sorted.bytes.extend_from_slice(piece(id));
            sorted.starts.push(sorted.bytes.len() as u32);
        }
        sorted
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.starts[index] as usize..self.starts[index + 1] as usize]
    }
}

/// The first eight bytes as a number that sorts like them.
fn beginning(piece: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = piece.len().min(8);
    first[..len].copy_from_slice(&piece[..len]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kokeshi_testkit::{Random, bytes};
    use tokenizers::ModelWrapper;

    /// The model of a file, and the library's.
    fn both(json: &str) -> (Unigram, ModelWrapper) {
        let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
        let model = value["model"].to_string();
        let file: UnigramFile<'_> = serde_json::from_str(&model).expect("a unigram model");
        let library: tokenizers::Tokenizer = json.parse().expect("a tokenizer");
        (Unigram::new(&file).expect("pieces"), library.get_model().clone())
    }

    fn with_vocab(vocab: &serde_json::Value, byte_fallback: bool) -> String {
        serde_json::json!({"version": "1.0", "added_tokens": [], "model": {
            "type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": byte_fallback}})
        .to_string()
    }

    fn compare((ours, library): &(Unigram, ModelWrapper), word: &str) {
        let expected = library.tokenize(word).expect("tokens");
        assert_eq!(ours.tokenize(word).expect("tokens"), expected, "{word:?}");
    }

    #[test]
    fn words_have_the_tokens_of_the_library() {
        let starter = String::from_utf8(kokeshi_starter::TOKENIZER.to_vec()).expect("UTF-8");
        let tiny = String::from_utf8(bytes("v3-tiny/original/tokenizer.json")).expect("UTF-8");
        for models in [both(&starter), both(&tiny)] {
            let pieces: Vec<&str> = models.0.pieces().collect();
            let mut random = Random::new(3);
            for round in 0..3000 {
                let mut word = String::new();
                for _ in 0..1 + round % 7 {
                    let odd = ["ß", "𓀀", "\u{10ffff}", "x", "中", "\0"];
                    let number = random.next_u64() as usize;
                    word.push_str(match number % 4 {
                        0 => odd[number / 4 % odd.len()],
                        _ => pieces[number / 4 % pieces.len()],
                    });
                }
                compare(&models, &word);
            }
            compare(&models, "");
            let library = models.1.get_vocab();
            for (id, piece) in pieces.iter().enumerate() {
                assert_eq!(models.0.token_to_id(piece), library.get(*piece).copied());
                assert_eq!(models.0.id_to_token(id as u32).as_deref(), Some(*piece));
            }
            assert_eq!(models.0.id_to_token(pieces.len() as u32), None);
        }
    }

    #[test]
    fn equal_scores_equal_pieces_and_bytes_are_treated_as_in_the_library() {
        let vocab = serde_json::json!([
            ["<unk>", 0.0],
            ["a", -1.0],
            ["b", -1.0],
            ["ab", -2.0],
            ["ba", -2.0],
            ["a", -1.5],
            ["aba", -3.0],
            ["abab", -1.0],
            ["<0x63>", -9.0],
            ["<0xC3>", -9.0],
            ["<0xA9>", -9.0],
            ["", -1.0]
        ]);
        for byte_fallback in [false, true] {
            let models = both(&with_vocab(&vocab, byte_fallback));
            let mut random = Random::new(5);
            for _ in 0..2000 {
                let letters = ["a", "b", "c", "é", "d"];
                let len = random.next_u64() as usize % 12;
                let word: String =
                    (0..len).map(|_| letters[random.next_u64() as usize % letters.len()]).collect();
                compare(&models, &word);
            }
        }
    }

    #[test]
    fn a_vocabulary_without_an_unknown_token_refuses_unknown_characters() {
        let file = r#"{"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": null}"#;
        let unigram = Unigram::new(&serde_json::from_str(file).expect("JSON")).expect("pieces");
        assert_eq!(unigram.tokenize("aa").expect("tokens").len(), 2);
        assert!(unigram.tokenize("ab").expect_err("b is unknown").to_string().contains("unk_id"));
        let file = r#"{"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 1}"#;
        Unigram::new(&serde_json::from_str(file).expect("JSON")).expect_err("no piece 1");
    }
}
