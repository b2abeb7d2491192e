//! Checkpoints of a released shape with random weights and a matching tokenizer, in a folder that
//! [`Model::open`](crate::Model::open) can load.

use crate::error::Result;
use kokeshi_model::SyntheticShape;
use serde_json::Value;
use std::path::Path;

/// Writes a checkpoint of `shape` with random weights to `folder`. The same seed gives the same
/// files. `progress` receives the bytes written so far and the total.
///
/// # Errors
///
/// If a file cannot be written. The weight file is written last and gets its name only when it is
/// complete.
pub fn synthesize(
    folder: &Path,
    shape: SyntheticShape,
    seed: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let tokenizer = match shape {
        SyntheticShape::V3 | SyntheticShape::StarterV1 | SyntheticShape::Tiny => {
            kokeshi_starter::TOKENIZER.to_vec()
        }
        SyntheticShape::V2Base => character_tokenizer().to_string().into_bytes(),
    };
    Ok(kokeshi_model::synthesize(folder, shape, &tokenizer, seed, progress)?)
}

/// What a tokenizer of characters has besides its vocabulary.
const CHARACTERS: &str = r###"{
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [
    {"id": 0, "content": "[PAD]", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
    {"id": 1, "content": "[UNK]", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
    {"id": 2, "content": "[CLS]", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
    {"id": 3, "content": "[SEP]", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
  ],
  "normalizer": {
    "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true
  },
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {
    "type": "TemplateProcessing",
    "single": [
      {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
      {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {
      "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
      "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
    }
  },
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {
    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
  }
}"###;

/// A WordPiece tokenizer whose pieces are letters and digits: the bundled tokenizer has more pieces
/// than the embedding table of a v2 model has rows.
fn character_tokenizer() -> Value {
    let mut tokenizer: Value = serde_json::from_str(CHARACTERS).expect("JSON");
    let vocab = tokenizer["model"]["vocab"].as_object_mut().expect("the vocabulary");
    for character in ('a'..='z').chain('0'..='9') {
        for piece in [character.to_string(), format!("##{character}")] {
            vocab.insert(piece, vocab.len().into());
        }
    }
    tokenizer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, LoadOptions, Model};

    #[test]
    fn a_synthetic_checkpoint_opens_and_embeds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        synthesize(folder.path(), SyntheticShape::Tiny, 1, &mut |_, _| {}).expect("it is written");
        let model = Model::open(folder.path(), &LoadOptions::default()).expect("it opens");
        let embedded = model.embed(&[Input::new("Hello.")]).expect("it embeds");
        assert_eq!(embedded[0].vectors[0].len(), 64);
    }

    #[test]
    fn the_character_tokenizer_cuts_words_into_letters() {
        let json = character_tokenizer().to_string();
        let tokenizer: tokenizers::Tokenizer = json.parse().expect("a valid tokenizer");
        let encoding = tokenizer.encode("Ab 7!", true).expect("it encodes");
        assert_eq!(encoding.get_tokens(), ["[CLS]", "a", "##b", "7", "[UNK]", "[SEP]"]);
    }
}
