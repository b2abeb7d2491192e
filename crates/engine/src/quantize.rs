//! Quantized copies of models, in a folder that [`Model::open`](crate::Model::open) can load.

use crate::error::Result;
use kokeshi_model::{Checkpoint, TableBits};
use std::fs;
use std::path::Path;

/// The name under which a copy has the card of its original.
pub const ORIGINAL_CARD: &str = "README.original.md";

/// Files next to the weights that a copy needs or should keep, and their names in the copy.
const COMPANIONS: [(&str, &str); 10] = [
    ("tokenizer.json", "tokenizer.json"),
    ("tokenizer_config.json", "tokenizer_config.json"),
    ("special_tokens_map.json", "special_tokens_map.json"),
    ("config_sentence_transformers.json", "config_sentence_transformers.json"),
    ("modules.json", "modules.json"),
    ("1_Pooling/config.json", "1_Pooling/config.json"),
    ("LICENSE", "LICENSE"),
    ("NOTICE", "NOTICE"),
    ("SOURCES.md", "SOURCES.md"),
    ("README.md", ORIGINAL_CARD),
];

/// Writes a copy of a model with quantized weights to `folder`, which exists: linear layers in eight
/// bits, the embedding table in `table_bits`, everything else as it is, with the tokenizer and the
/// other small files. `source` is the model's folder, or `None` for the bundled model. `progress`
/// receives the bytes of weights written so far and the total.
///
/// # Errors
///
/// If the model is damaged or quantized already, or a file cannot be read or written.
pub fn quantize(
    source: Option<&Path>,
    folder: &Path,
    table_bits: TableBits,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let checkpoint = match source {
        Some(source) => Checkpoint::open(source)?,
        None => bundled()?,
    };
    let files = match source {
        Some(source) => companions(source)?,
        None => bundled_companions(),
    };
    kokeshi_model::quantize(&checkpoint, folder, table_bits, progress)?;
    for (name, content) in files {
        let path = folder.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(io("write", folder, name))?;
        fs::write(&path, content).map_err(io("write", folder, name))?;
    }
    Ok(())
}

/// The names in the copy, and the contents, of the files that are there.
fn companions(source: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let present = COMPANIONS.into_iter().filter(|(name, _)| source.join(name).is_file());
    let file = |(name, to)| {
        let content = fs::read(source.join(name)).map_err(io("read", source, name))?;
        Ok((to, content))
    };
    present.map(file).collect()
}

fn bundled_companions() -> Vec<(&'static str, Vec<u8>)> {
    let files: [(&str, &[u8]); 4] = [
        ("tokenizer.json", kokeshi_starter::TOKENIZER),
        ("tokenizer_config.json", kokeshi_starter::TOKENIZER_CONFIG),
        ("config_sentence_transformers.json", kokeshi_starter::SENTENCE_TRANSFORMERS_CONFIG),
        (ORIGINAL_CARD, kokeshi_starter::MODEL_CARD.as_bytes()),
    ];
    files.map(|(name, content)| (name, content.to_vec())).to_vec()
}

fn bundled() -> Result<Checkpoint> {
    let prompts = Some(kokeshi_starter::SENTENCE_TRANSFORMERS_CONFIG);
    Ok(Checkpoint::from_bytes(kokeshi_starter::CONFIG, prompts, kokeshi_starter::WEIGHTS)?)
}

fn io(
    action: &'static str,
    folder: &Path,
    name: &str,
) -> impl FnOnce(std::io::Error) -> kokeshi_model::Error {
    let path = folder.join(name);
    move |source| kokeshi_model::Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, LoadOptions, Model, cosine};
    use kokeshi_testkit::fixture;

    #[test]
    fn a_quantized_model_opens_with_its_tokenizer_and_tasks_and_embeds_nearly_the_same() {
        for (name, task) in [
            ("v3-tiny/original", "separation"),
            ("v3-tiny/native", "retrieval.query"),
            ("v2-tiny/std_wordpiece", "text-matching"),
        ] {
            let (source, folder) = (fixture(name), tempfile::tempdir().expect("a folder"));
            quantize(Some(&source), folder.path(), TableBits::Eight, &mut |_, _| {})
                .expect("it is quantized");
            let inputs = [Input::new("the quick brown fox").task(task)];
            let [before, after] = [&source, folder.path()].map(|folder| {
                let model = Model::open(folder, &LoadOptions::default()).expect("it opens");
                model.embed(&inputs).expect("it embeds").remove(0)
            });
            assert_eq!(before.tokens, after.tokens, "{name}");
            let cosine = cosine(&before.vectors[0], &after.vectors[0]);
            assert!(cosine > 0.998, "{name}: {cosine}");
        }
    }
}
