//! The bundled starter model: the files of `model/`, byte for byte.
//!
//! To replace the model, replace that folder: nothing else in the workspace depends on its size,
//! its vocabulary or its weights.

/// `config.json`.
pub static CONFIG: &[u8] = include_bytes!("../model/config.json");
/// `config_sentence_transformers.json`.
pub static SENTENCE_TRANSFORMERS_CONFIG: &[u8] =
    include_bytes!("../model/config_sentence_transformers.json");
/// `tokenizer.json`.
pub static TOKENIZER: &[u8] = include_bytes!("../model/tokenizer.json");
/// `tokenizer_config.json`.
pub static TOKENIZER_CONFIG: &[u8] = include_bytes!("../model/tokenizer_config.json");
/// `model.safetensors`.
pub static WEIGHTS: &[u8] = include_bytes!("../model/model.safetensors");
/// `README.md`: the model card, with the measured quality and the licence.
pub static MODEL_CARD: &str = include_str!("../model/README.md");
