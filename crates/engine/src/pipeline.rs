//! The steps of a tokenizer file: all are the library's except a unigram model, which is ours.

use crate::unigram::{Unigram, UnigramFile};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokenizers::{
    AddedToken, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Token, TokenizerImpl,
};

/// A tokenizer: added tokens, normalizer, splitter, model and post-processor.
pub(crate) type Pipeline = TokenizerImpl<
    Segmenter,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Splits words into pieces.
#[derive(Clone, Debug)]
pub(crate) enum Segmenter {
    Unigram(Unigram),
    /// BPE, WordPiece and WordLevel.
    Library(ModelWrapper),
}

/// A file with a unigram model; the other parts are the library's to read.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow)]
    post_processor: Option<&'a RawValue>,
    #[serde(borrow)]
    decoder: Option<&'a RawValue>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

/// The library panics where a decoder is not JSON, or too deep.
#[derive(Deserialize)]
struct CheckedDecoder {
    #[serde(default, rename = "decoder")]
    _decoder: Value,
}

/// Reads a tokenizer file. Its length limit and padding are left out: they are for training, and the
/// program has its own.
///
/// # Errors
///
/// The library's, if the file is not a tokenizer.
pub(crate) fn parse(json: &str) -> Result<Pipeline, tokenizers::Error> {
    match serde_json::from_str::<File<'_>>(json).ok().and_then(|file| unigram(&file)) {
        Some(pipeline) => pipeline,
        None => library(json),
    }
}

/// `None` if the model is of another type, or the library has to say what is wrong.
fn unigram(file: &File<'_>) -> Option<Result<Pipeline, tokenizers::Error>> {
    if let Some(decoder) = file.decoder {
        serde_json::from_str::<Value>(decoder.get()).ok()?;
    }
    let model: UnigramFile<'_> = serde_json::from_str(file.model.get()).ok()?;
    let model = Unigram::new(&model).ok()?;
    // Through `FromStr`: its generic readers would compile the library's parsers again here.
    let rest = format!(
        r#"{{"version": {}, "normalizer": {}, "pre_tokenizer": {}, "post_processor": {},
            "decoder": {}, "model": {{"type": "WordLevel", "vocab": {{}}, "unk_token": ""}}}}"#,
        file.version.map_or("\"1.0\"", RawValue::get),
        file.normalizer.map_or("null", RawValue::get),
        file.pre_tokenizer.map_or("null", RawValue::get),
        file.post_processor.map_or("null", RawValue::get),
        file.decoder.map_or("null", RawValue::get),
    );
    let rest: Result<tokenizers::Tokenizer, tokenizers::Error> = rest.parse();
    Some(rest.and_then(|rest| {
        assemble(Segmenter::Unigram(model), &rest, file.added_tokens.iter().cloned())
    }))
}

fn library(json: &str) -> Result<Pipeline, tokenizers::Error> {
    serde_json::from_str::<CheckedDecoder>(json)?;
    let tokenizer: tokenizers::Tokenizer = json.parse()?;
    let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|(id, _)| *id);
    let model = Segmenter::Library(tokenizer.get_model().clone());
    assemble(model, &tokenizer, added.into_iter().map(|(_, token)| token))
}

/// The steps of `rest` around another model.
fn assemble(
    model: Segmenter,
    rest: &tokenizers::Tokenizer,
    added: impl ExactSizeIterator<Item = AddedToken>,
) -> Result<Pipeline, tokenizers::Error> {
    let mut pipeline = Pipeline::new(model);
    pipeline.with_normalizer(rest.get_normalizer().cloned())?;
    pipeline.with_pre_tokenizer(rest.get_pre_tokenizer().cloned());
    pipeline.with_post_processor(rest.get_post_processor().cloned());
    pipeline.with_decoder(rest.get_decoder().cloned());
    pipeline.add_tokens(added)?;
    Ok(pipeline)
}

impl Segmenter {
    /// `Unigram`, `BPE`, `WordPiece` or `WordLevel`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unigram(_) | Self::Library(ModelWrapper::Unigram(_)) => "Unigram",
            Self::Library(ModelWrapper::BPE(_)) => "BPE",
            Self::Library(ModelWrapper::WordPiece(_)) => "WordPiece",
            Self::Library(ModelWrapper::WordLevel(_)) => "WordLevel",
        }
    }
}

impl Model for Segmenter {
    type Trainer = <ModelWrapper as Model>::Trainer;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Self::Unigram(model) => model.tokenize(word),
            Self::Library(model) => model.tokenize(word),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Unigram(model) => model.token_to_id(token),
            Self::Library(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::Unigram(model) => model.id_to_token(id),
            Self::Library(model) => model.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Self::Unigram(model) => model.get_vocab(),
            Self::Library(model) => model.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Self::Unigram(model) => model.get_vocab_size(),
            Self::Library(model) => model.get_vocab_size(),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Self::Unigram(model) => model.save(folder, prefix),
            Self::Library(model) => model.save(folder, prefix),
        }
    }

    fn get_trainer(&self) -> Self::Trainer {
        match self {
            Self::Unigram(model) => model.get_trainer().into(),
            Self::Library(model) => model.get_trainer(),
        }
    }
}
