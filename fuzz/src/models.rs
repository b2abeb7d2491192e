//! The files of a model, and of a classifier.

use crate::files::file;
use kokeshi::{LoadOptions, Model};
use kokeshi_analysis::TrainedClassifier;
use kokeshi_model::{Batch, Checkpoint, Device, load};
use std::sync::OnceLock;

/// A network of one layer, small enough that the seed contains all of it.
const CONFIG: &[u8] = include_bytes!("one_layer.json");
const WEIGHTS: &[u8] = include_bytes!("../corpus/checkpoint/one_layer.safetensors");

/// A weight file gives an encoder that runs, or an error.
pub(crate) fn checkpoint(weights: &[u8]) {
    let Ok(checkpoint) = Checkpoint::from_bytes(CONFIG, None, weights.to_vec()) else { return };
    if let Ok(encoder) = load(&checkpoint, &Device::Reference) {
        let mut batch = Batch::new();
        batch.push(&[0, 2, 1], Some(1));
        assert_eq!(
            encoder.hidden_states(&batch).expect("states").len(),
            3 * encoder.config().hidden
        );
    }
}

/// A `config.json` gives a configuration that is used, or an error.
pub(crate) fn config(config: &[u8]) {
    // A weight file without tensors.
    const EMPTY: &[u8] = b"\x08\0\0\0\0\0\0\0{}      ";
    if let Ok(checkpoint) = Checkpoint::from_bytes(config, Some(config), EMPTY) {
        let config = checkpoint.config();
        assert!(config.heads * config.head_dim() == config.hidden && config.max_tokens > 0);
        assert!(load(&checkpoint, &Device::Reference).is_err());
    }
}

/// A tokenizer file gives tokens of any text, whose offsets lie in it, or an error.
pub(crate) fn tokenizer(json: &[u8]) {
    static FOLDER: OnceLock<()> = OnceLock::new();
    FOLDER.get_or_init(|| {
        file("config.json", CONFIG);
        file("model.safetensors", WEIGHTS);
    });
    let path = file("tokenizer.json", json);
    let options = LoadOptions { device: Device::Reference };
    let Ok(model) = Model::open(path.parent().expect("a folder"), &options) else { return };
    for text in ["", "the harbour, 3.14 e\u{301}\u{1f980} \u{ad}\0 x", "a a\n\naaaa  a"] {
        let Ok(tokenized) = model.tokenize_while(text, &mut || true) else { continue };
        drop(tokenized.chunk("tokens:2".parse().expect("a chunking")));
    }
}

/// A classifier file gives a classifier, or an error.
pub(crate) fn classifier(json: &[u8]) {
    if let Ok(classifier) = TrainedClassifier::from_json(json) {
        let again = classifier.to_json().expect("a file");
        TrainedClassifier::from_json(&again).expect("the same classifier");
    }
}
