//! Writes checkpoints of released shapes with random weights, to measure size, memory and time
//! without the published weights.

use crate::config::{self, Position, released_tasks};
use crate::error::{Error, Result};
use crate::names::{bert_tensors, is_gain, original_tensors};
use half::bf16;
use kokeshi_kernels::random::Random;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// The shape of a synthetic checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntheticShape {
    /// jina-embeddings-v3 as released: 24 layers, hidden 1024, 572 million parameters, 1.1 GB.
    V3,
    /// jina-embeddings-v2-base-en: 12 layers, hidden 768, ALiBi, gated; 137 million parameters.
    V2Base,
    /// The next bundled model: 12 layers, hidden 384, 12 heads; 118 million parameters, of which 21
    /// million in the layers.
    StarterV1,
    /// A small network of the v3 kind: 2 layers, hidden 64.
    Tiny,
}

impl SyntheticShape {
    /// Every shape.
    pub const ALL: [SyntheticShape; 4] = [
        SyntheticShape::V3,
        SyntheticShape::V2Base,
        SyntheticShape::StarterV1,
        SyntheticShape::Tiny,
    ];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3 => "v3",
            Self::V2Base => "v2-base",
            Self::StarterV1 => "starter-v1",
            Self::Tiny => "tiny",
        }
    }

    /// `config.json`, with the values of the released one except where the shape differs.
    fn config(self) -> Value {
        let (layers, hidden, heads, ffn_hidden) = match self {
            Self::V2Base => return v2_base_config(),
            Self::V3 => (24, 1024, 16, 4096),
            Self::StarterV1 => (12, 384, 12, 1536),
            Self::Tiny => (2, 64, 4, 128),
        };
        let tasks: Vec<_> = released_tasks().collect();
        json!({
            "architectures": ["XLMRobertaLoRA"], "model_type": "xlm-roberta",
            "position_embedding_type": "rotary", "rotary_emb_base": 20000.0, "hidden_act": "gelu",
            "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
            "intermediate_size": ffn_hidden, "vocab_size": 250_002, "type_vocab_size": 1,
            "layer_norm_eps": 1e-5, "max_position_embeddings": 8194,
            "lora_adaptations": tasks, "lora_rank": 4, "lora_alpha": 1,
            "matryoshka_dimensions": [32, 64, 128, 256, 512, 768, 1024],
            "torch_dtype": "bfloat16",
        })
    }
}

fn v2_base_config() -> Value {
    json!({
        "architectures": ["JinaBertForMaskedLM"], "model_type": "bert",
        "_name_or_path": "jinaai/jina-bert-implementation",
        "position_embedding_type": "alibi", "feed_forward_type": "geglu", "hidden_act": "gelu",
        "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12,
        "intermediate_size": 3072, "vocab_size": 30_528, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 8192, "emb_pooler": "mean",
    })
}

/// Writes `config.json`, `tokenizer` as `tokenizer.json`, and `model.safetensors` (BF16; v3 in the
/// original layout) of random weights to `folder`, which is created if it does not exist. The same
/// seed gives the same file. `progress` is called with the bytes written and the total.
///
/// # Errors
///
/// If a file cannot be written. The weight file gets its name only when it is complete.
pub fn synthesize(
    folder: &Path,
    shape: SyntheticShape,
    tokenizer: &[u8],
    seed: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io("write", folder, e))?;
    let path = folder.join("tokenizer.json");
    fs::write(&path, tokenizer).map_err(|e| Error::io("write", &path, e))?;
    let path = folder.join("config.json");
    let json = shape.config().to_string();
    fs::write(&path, &json).map_err(|e| Error::io("write", &path, e))?;
    let config = config::parse(&path, json.as_bytes(), None)?;
    let tensors = match config.position {
        Position::Rope { .. } => original_tensors(&config, config.tasks.len(), config.lora_rank),
        Position::Alibi => bert_tensors(&config),
    };
    let path = folder.join("model.safetensors");
    let part = folder.join("model.safetensors.part");
    write_weights(&part, &tensors, seed, progress)
        .and_then(|()| fs::rename(&part, &path))
        .map_err(|e| Error::io("write", &path, e))
}

fn write_weights(
    path: &Path,
    tensors: &BTreeMap<String, Vec<usize>>,
    seed: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let (header, len) = header(tensors)?;
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut random = Random::new(seed);
    let mut written = 0;
    for (name, shape) in tensors {
        let center = if is_gain(name) { 1.0 } else { 0.0 };
        let mut left: usize = shape.iter().product();
        while left > 0 {
            let count = left.min(CHUNK);
            let weights = (0..count).map(|_| bf16::from_f32(center + weight(&mut random)));
            file.write_all(&weights.flat_map(bf16::to_le_bytes).collect::<Vec<u8>>())?;
            left -= count;
            written += 2 * count as u64;
            progress(written, len);
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The JSON header, padded so that the data starts at a multiple of eight bytes, and the data's
/// size.
fn header(tensors: &BTreeMap<String, Vec<usize>>) -> io::Result<(String, u64)> {
    let mut entries = serde_json::Map::new();
    let mut start = 0;
    for (name, shape) in tensors {
        let end = start + 2 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] });
        entries.insert(name.clone(), entry);
        start = end;
    }
    let mut header = serde_json::to_string(&entries)?;
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    Ok((header, start as u64))
}

/// Uniform in ±0.035: the standard deviation is 0.02, from which training of such networks starts.
fn weight(random: &mut Random) -> f32 {
    random.signed_unit() * 0.035
}

#[cfg(test)]
mod tests;
