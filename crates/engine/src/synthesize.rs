//! Checkpoints of a released shape with random weights and a matching tokenizer, in a folder that
//! [`Model::open`](crate::Model::open) can load.

use crate::error::Result;
use kokeshi_model::SyntheticShape;
use serde_json::{Map, Value, json};
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

/// A WordPiece tokenizer whose pieces are letters and digits: the bundled tokenizer has more pieces
/// than the embedding table of a v2 model has rows.
fn character_tokenizer() -> Value {
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let characters = ('a'..='z').chain('0'..='9');
    let pieces = characters.flat_map(|c| [c.to_string(), format!("##{c}")]);
    let vocab: Map<String, Value> = specials
        .iter()
        .cloned()
        .chain(pieces)
        .zip(0..)
        .map(|(piece, id)| (piece, json!(id)))
        .collect();
    let added = specials.iter().zip(0..).map(|(content, id)| {
        json!({ "id": id, "content": content, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false })
    });
    let special = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let entry = |name: &str, id: u32| json!({ "id": name, "ids": [id], "tokens": [name] });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, special("[SEP]")],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "[CLS]": entry("[CLS]", 2), "[SEP]": entry("[SEP]", 3) },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocab },
    })
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
