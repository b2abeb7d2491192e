//! The tensor names of every layout, mapped to canonical names: those of the original v3 layout
//! without its `parametrizations`, such as `encoder.layers.0.mixer.Wqkv.weight` and
//! `encoder.layers.0.mixer.Wqkv.lora_A`. Where q, k and v are separate, they stay separate
//! (`…mixer.q_proj.weight`).

use crate::config::{EncoderConfig, Modules};
use std::collections::BTreeMap;

/// The part of a quantized weight's name that compressed-tensors puts after the module: its integers
/// are in `weight` (I8) or here, several in each I32.
pub(crate) const PACKED: &str = "weight_packed";
/// The scales of a quantized weight.
pub(crate) const SCALE: &str = "weight_scale";
/// Rows and columns of a packed weight.
pub(crate) const SHAPE: &str = "weight_shape";
/// Parts of quantized weights whose arithmetic is not implemented, and why.
pub(crate) const NOT_SUPPORTED: [(&str, &str); 2] = [
    ("weight_zero_point", "only symmetric quantization is supported, without zero points"),
    ("weight_g_idx", "only columns in their own order are supported, not sorted by activation"),
];

/// How a checkpoint names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// v3 as released: the adapters of all tasks next to each weight, under `parametrizations`.
    Original,
    /// As transformers saves it: fused q, k and v, adapters in PEFT folders.
    NativeFused,
    /// With the module names of transformers: separate q, k and v, adapters in PEFT folders.
    NativeSplit,
    /// jina-embeddings-v2, five of its six models.
    Bert,
    /// jina-embeddings-v2-base-code: q and k are normalized, attention is followed by two norms.
    BertQkPostNorm,
}

impl Layout {
    /// The layout of a weight file with these names.
    pub(crate) fn of<'a>(mut names: impl Iterator<Item = &'a str>) -> Self {
        let layout = |name: &'a str| {
            let markers = [
                (".parametrizations.", Self::Original),
                (".self_attn.", Self::NativeSplit),
                (".attention.self.layer_norm_q.", Self::BertQkPostNorm),
                (".mlp.gated_layers.", Self::Bert),
            ];
            markers.into_iter().find(|(marker, _)| name.contains(marker)).map(|(_, layout)| layout)
        };
        names.find_map(layout).unwrap_or(Self::NativeFused)
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::NativeFused => "transformers, fused qkv",
            Self::NativeSplit => "transformers, split qkv",
            Self::Bert => "jina-bert",
            Self::BertQkPostNorm => "jina-bert, qk-post-norm",
        })
    }
}

/// Names and shapes of all tensors of the original layout, in the order of their names. `tasks` and
/// `rank` are those of the adapters.
pub(crate) fn original_tensors(
    config: &EncoderConfig,
    tasks: usize,
    rank: usize,
) -> BTreeMap<String, Vec<usize>> {
    let EncoderConfig { hidden, ffn_hidden, vocab, token_types, .. } = *config;
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        tensors.insert(format!("roberta.{name}"), shape.to_vec());
    };
    let weight = "parametrizations.weight";
    for (table, rows) in [("word_embeddings", vocab), ("token_type_embeddings", token_types)] {
        add(format!("embeddings.{table}.{weight}.original"), &[rows, hidden]);
        add(format!("embeddings.{table}.{weight}.0.lora_A"), &[tasks, rows, rank]);
        add(format!("embeddings.{table}.{weight}.0.lora_B"), &[tasks, rank, hidden]);
    }
    let mut linear = |module: String, [outputs, inputs]: [usize; 2]| {
        add(format!("{module}.{weight}.original"), &[outputs, inputs]);
        add(format!("{module}.{weight}.0.lora_A"), &[tasks, rank, inputs]);
        add(format!("{module}.{weight}.0.lora_B"), &[tasks, outputs, rank]);
        add(format!("{module}.bias"), &[outputs]);
    };
    for i in 0..config.layers {
        linear(format!("encoder.layers.{i}.mixer.Wqkv"), [3 * hidden, hidden]);
        linear(format!("encoder.layers.{i}.mixer.out_proj"), [hidden, hidden]);
        linear(format!("encoder.layers.{i}.mlp.fc1"), [ffn_hidden, hidden]);
        linear(format!("encoder.layers.{i}.mlp.fc2"), [hidden, ffn_hidden]);
    }
    linear("pooler.dense".to_owned(), [hidden, hidden]);
    let layers =
        (0..config.layers).flat_map(|i| [1, 2].map(|n| format!("encoder.layers.{i}.norm{n}")));
    for norm in layers.chain(["emb_ln".to_owned()]) {
        add(format!("{norm}.weight"), &[hidden]);
        add(format!("{norm}.bias"), &[hidden]);
    }
    tensors
}

/// Names and shapes of all tensors of the jina-bert layout.
pub(crate) fn bert_tensors(config: &EncoderConfig) -> BTreeMap<String, Vec<usize>> {
    let EncoderConfig { hidden, ffn_hidden, vocab, token_types, .. } = *config;
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        tensors.insert(name, shape.to_vec());
    };
    let mut layer_norm = |module: String| {
        add(format!("{module}.weight"), &[hidden]);
        add(format!("{module}.bias"), &[hidden]);
    };
    layer_norm("embeddings.LayerNorm".to_owned());
    for i in 0..config.layers {
        layer_norm(format!("encoder.layer.{i}.attention.output.LayerNorm"));
        layer_norm(format!("encoder.layer.{i}.mlp.layernorm"));
    }
    let mut linear = |module: String, [outputs, inputs]: [usize; 2]| {
        add(format!("{module}.weight"), &[outputs, inputs]);
        add(format!("{module}.bias"), &[outputs]);
    };
    for i in 0..config.layers {
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            linear(format!("encoder.layer.{i}.attention.{part}"), [hidden, hidden]);
        }
        linear(format!("encoder.layer.{i}.mlp.wo"), [hidden, ffn_hidden]);
    }
    linear("pooler.dense".to_owned(), [hidden, hidden]);
    for i in 0..config.layers {
        add(format!("encoder.layer.{i}.mlp.gated_layers.weight"), &[2 * ffn_hidden, hidden]);
    }
    add("embeddings.word_embeddings.weight".to_owned(), &[vocab, hidden]);
    add("embeddings.token_type_embeddings.weight".to_owned(), &[token_types, hidden]);
    tensors
}

/// Whether a tensor of either layout is the gain of a LayerNorm.
pub(crate) fn is_gain(name: &str) -> bool {
    let norms = ["norm", "Norm", "emb_ln"];
    norms.iter().any(|norm| name.contains(norm)) && name.ends_with(".weight")
}

/// The canonical name of a tensor of a weight file.
pub(crate) fn canonical(name: &str) -> String {
    let prefixes = ["roberta.", "bert."];
    let name = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let name = name
        .replace(".parametrizations.weight.original", ".weight")
        .replace(".parametrizations.weight.0.lora_", ".lora_");
    canonical_module(&name)
}

/// The canonical name of a tensor of a PEFT adapter.
pub(crate) fn canonical_peft(name: &str) -> String {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let name = name.strip_suffix(".weight").unwrap_or(name);
    canonical(&name.replace(".lora_embedding_", ".lora_"))
}

/// The canonical name of a module, or of any part of its path, as in `target_modules` of an
/// adapter.
pub(crate) fn canonical_module(name: &str) -> String {
    const PATHS: [(&str, &str); 6] = [
        ("embeddings.LayerNorm.", "emb_ln."),
        ("encoder.layer.", "encoder.layers."),
        (".attention.self.", ".mixer."),
        (".attention.output.dense.", ".mixer.out_proj."),
        (".attention.output.LayerNorm.", ".norm1."),
        (".mlp.layernorm.", ".norm2."),
    ];
    let rename = |name: String, (from, to): (&str, &str)| name.replace(from, to);
    let name = PATHS.into_iter().fold(name.to_owned(), rename);
    let name = name.split('.').map(canonical_segment).collect::<Vec<_>>().join(".");
    if name.starts_with("layers.") { format!("encoder.{name}") } else { name }
}

fn canonical_segment(segment: &str) -> &str {
    match segment {
        "self_attn" => "mixer",
        "o_proj" => "out_proj",
        "query" => "q_proj",
        "key" => "k_proj",
        "value" => "v_proj",
        "layer_norm_q" => "norm_q",
        "layer_norm_k" => "norm_k",
        "post_attention_layernorm" => "norm1",
        "layer_norm_1" => "second_norm1",
        "post_mlp_layernorm" | "layer_norm_2" => "norm2",
        "gated_layers" | "up_gated_layer" => "fc1",
        "wo" | "down_layer" => "fc2",
        other => other,
    }
}

/// Whether a tensor, by its canonical name, is part of a head that no embedding uses.
pub(crate) fn is_head(name: &str) -> bool {
    ["pooler.", "cls."].iter().any(|head| name.starts_with(head)) || name.ends_with(".position_ids")
}

/// The module of a weight that [`quantizable`] names, as its file spells it.
pub(crate) fn module(name: &str) -> &str {
    let suffixes = [".parametrizations.weight.original", ".weight"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// What a tensor, by its canonical name, is the weight of, if integers can stand for it: a linear
/// layer or the embedding table. Norms, biases and adapters are small.
pub(crate) fn quantizable(name: &str) -> Option<Modules> {
    const LINEAR: [&str; 7] = ["Wqkv", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"];
    let module = name.strip_suffix(".weight")?;
    if module == "embeddings.word_embeddings" {
        return Some(Modules::Embedding);
    }
    let last = module.rsplit('.').next().unwrap_or_default();
    (module.starts_with("encoder.layers.") && LINEAR.contains(&last)).then_some(Modules::Linear)
}

/// Whether a tensor contains the scales of a quantized weight.
pub(crate) fn is_scale(name: &str) -> bool {
    name.rsplit('.').next() == Some(SCALE)
}

/// The task of an adapter folder: PEFT names cannot contain the dots and dashes of the API's names.
pub(crate) fn task_of_folder<'a>(folder: &'a str, released: &[&'a str]) -> &'a str {
    let same = |task: &&&str| task.replace(['.', '-'], "_") == folder;
    released.iter().find(same).copied().unwrap_or(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_weight_has_one_name() {
        let cases = [
            ("roberta.emb_ln.bias", "emb_ln.bias"),
            ("embeddings.LayerNorm.bias", "emb_ln.bias"),
            (
                "roberta.encoder.layers.7.mixer.Wqkv.parametrizations.weight.original",
                "encoder.layers.7.mixer.Wqkv.weight",
            ),
            (
                "roberta.embeddings.word_embeddings.parametrizations.weight.0.lora_A",
                "embeddings.word_embeddings.lora_A",
            ),
            ("layers.0.self_attn.k_proj.weight", "encoder.layers.0.mixer.k_proj.weight"),
            ("roberta.layers.0.self_attn.o_proj.bias", "encoder.layers.0.mixer.out_proj.bias"),
            ("layers.11.post_mlp_layernorm.weight", "encoder.layers.11.norm2.weight"),
        ];
        for (spelling, name) in cases {
            assert_eq!(canonical(spelling), name);
            assert_eq!(canonical(name), name, "canonical names stay");
        }
        let v2 = [
            (
                "bert.encoder.layer.3.attention.self.query.bias",
                "encoder.layers.3.mixer.q_proj.bias",
            ),
            ("encoder.layer.3.attention.output.dense.bias", "encoder.layers.3.mixer.out_proj.bias"),
            ("encoder.layer.3.attention.output.LayerNorm.bias", "encoder.layers.3.norm1.bias"),
            ("encoder.layer.3.mlp.gated_layers.weight", "encoder.layers.3.mlp.fc1.weight"),
            ("encoder.layer.3.mlp.layernorm.weight", "encoder.layers.3.norm2.weight"),
            ("encoder.layer.3.layer_norm_1.weight", "encoder.layers.3.second_norm1.weight"),
            ("encoder.layer.3.layer_norm_2.weight", "encoder.layers.3.norm2.weight"),
            ("encoder.layer.3.mlp.down_layer.bias", "encoder.layers.3.mlp.fc2.bias"),
        ];
        for (spelling, name) in v2 {
            assert_eq!(canonical(spelling), name);
        }
        let peft = "base_model.model.layers.0.mlp.fc1.lora_A.weight";
        assert_eq!(canonical_peft(peft), "encoder.layers.0.mlp.fc1.lora_A");
        let peft = "base_model.model.embeddings.word_embeddings.lora_embedding_B";
        assert_eq!(canonical_peft(peft), "embeddings.word_embeddings.lora_B");
    }

    #[test]
    fn adapter_folders_name_tasks() {
        let released = ["retrieval.query", "text-matching"];
        assert_eq!(task_of_folder("retrieval_query", &released), "retrieval.query");
        assert_eq!(task_of_folder("text_matching", &released), "text-matching");
        assert_eq!(task_of_folder("my_adapter", &released), "my_adapter");
    }
}
