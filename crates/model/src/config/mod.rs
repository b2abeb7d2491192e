//! `config.json` → [`EncoderConfig`]. Only this folder knows the spellings of configuration keys; a
//! value that would change the arithmetic and is not implemented is an error.

mod fields;
mod quantization;
mod v2;
mod v3;

pub(crate) use fields::object;
pub(crate) use quantization::{Grouping, Modules, Scheme, add_quantization, schemes};

use crate::error::Result;
use fields::Fields;
use kokeshi_kernels::gemm::Activation;
use serde_json::Value;
use std::path::Path;

/// The shape of an encoder: everything that its forward pass depends on, apart from the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of token states, and of full embeddings.
    pub hidden: usize,
    /// Width between the two feed-forward projections.
    pub ffn_hidden: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// Rows of the token-type table; row 0 is added to every token.
    pub token_types: usize,
    /// Added to the variance in every LayerNorm.
    pub norm_eps: f32,
    /// How positions enter attention.
    pub position: Position,
    /// The activation between the two feed-forward projections.
    pub activation: Activation,
    /// Tokens of the longest sequence, special tokens included.
    pub max_tokens: usize,
    /// Tokens of the longest sequences that the model was trained on, at most `max_tokens`: longer
    /// ones are accepted, but their vectors are worse.
    pub trained_tokens: usize,
    /// The task adapters, in the order of the adapter index.
    pub tasks: Vec<TaskConfig>,
    /// Rank of the adapters in the original layout; 0 without adapters: tasks then differ by their
    /// instructions alone.
    pub lora_rank: usize,
    /// Multiplier of the low-rank product in the original layout: alpha / rank.
    pub lora_scale: f32,
    /// Numbers of leading dimensions that the model was trained for, such as 256; empty if unknown.
    pub matryoshka: Vec<usize>,
    /// Whether the leading dimensions of an embedding are an embedding themselves (Matryoshka
    /// training).
    pub truncatable: bool,
}

/// How positions enter attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Position {
    /// Rotary embedding of q and k.
    Rope {
        /// Base of the frequencies.
        theta: f32,
    },
    /// A penalty on the scores that grows with the distance.
    Alibi,
}

/// A task adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskConfig {
    /// Its name in the API, such as `retrieval.query`.
    pub name: String,
    /// Text put before every input of this task; may be empty.
    pub instruction: String,
}

impl EncoderConfig {
    /// Width of an attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }
}

/// Tasks and instructions of the released jina-embeddings-v3, for layouts that do not store them
/// (as in the official `encode`; the trailing spaces are part of the instructions).
const RELEASED_TASKS: [(&str, &str); 5] = [
    ("retrieval.query", "Represent the query for retrieving evidence documents: "),
    ("retrieval.passage", "Represent the document for retrieval: "),
    ("separation", ""),
    ("classification", ""),
    ("text-matching", ""),
];

/// Names of the tasks of the released jina-embeddings-v3, in the order of the adapter index.
pub fn released_tasks() -> impl Iterator<Item = &'static str> {
    RELEASED_TASKS.iter().map(|(name, _)| *name)
}

/// The instruction of a task: the one stored with the weights, or the released one.
fn instruction(prompts: Option<&Value>, task: &str) -> String {
    let stored = prompts.and_then(|prompts| prompts.get(task)).and_then(Value::as_str);
    let released = RELEASED_TASKS.iter().find(|(name, _)| *name == task).map(|(_, text)| *text);
    stored.or(released).unwrap_or_default().to_owned()
}

/// Reads `config.json`. `sentence_transformers` is the content of
/// `config_sentence_transformers.json`, whose `prompts` hold the instructions where the
/// configuration does not.
pub(crate) fn parse(
    path: &Path,
    json: &[u8],
    sentence_transformers: Option<&[u8]>,
) -> Result<EncoderConfig> {
    let fields = Fields { path, map: object(path, json)? };
    let key = "position_embedding_type";
    let native = fields.text("model_type") == Some("jina_embeddings_v3");
    match fields.text(key) {
        Some("alibi") => v2::parse(&fields),
        position if native || position == Some("rotary") => {
            let extra = sentence_transformers.map(|json| object(path, json)).transpose()?;
            v3::parse(&fields, extra.as_ref().and_then(|extra| extra.get("prompts")))
        }
        _ => Err(fields.unsupported(key, "\"rotary\" (jina-embeddings-v3) or \"alibi\" (v2)")),
    }
}

/// Tasks of a layout whose configuration does not list them.
pub(crate) fn tasks_named<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str>,
    sentence_transformers: Option<&[u8]>,
) -> Result<Vec<TaskConfig>> {
    let extra = sentence_transformers.map(|json| object(path, json)).transpose()?;
    let prompts = extra.as_ref().and_then(|extra| extra.get("prompts"));
    let task =
        |name: &str| TaskConfig { name: name.to_owned(), instruction: instruction(prompts, name) };
    Ok(names.map(task).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::json;

    fn released() -> Value {
        json!({
            "hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24,
            "intermediate_size": 4096, "vocab_size": 250_002, "type_vocab_size": 1,
            "layer_norm_eps": 1e-5, "rotary_emb_base": 20000.0, "max_position_embeddings": 8194,
            "position_embedding_type": "rotary", "hidden_act": "gelu", "emb_pooler": null,
            "lora_adaptations": ["retrieval.query", "text-matching"], "lora_rank": 4, "lora_alpha": 1,
        })
    }

    fn parse_value(value: &Value) -> Result<EncoderConfig> {
        parse(Path::new("config.json"), value.to_string().as_bytes(), None)
    }

    fn with(key: &str, value: Value) -> Value {
        let mut config = released();
        config[key] = value;
        config
    }

    #[test]
    fn the_released_values_are_read() {
        let config = parse_value(&released()).expect("a valid config");
        assert_eq!((config.hidden, config.head_dim(), config.layers), (1024, 64, 24));
        assert_eq!(
            (config.max_tokens, config.position, config.lora_scale),
            (8192, Position::Rope { theta: 20000.0 }, 0.25)
        );
        assert_eq!(config.tasks[0].instruction, RELEASED_TASKS[0].1);
    }

    #[test]
    fn tasks_without_adapters_differ_by_their_instructions() {
        let config = parse_value(&with("lora_rank", json!(0))).expect("a valid config");
        assert_eq!((config.lora_rank, config.lora_scale), (0, 0.0));
        assert_eq!(config.tasks.len(), 2);
        assert_eq!(config.tasks[0].instruction, RELEASED_TASKS[0].1);
    }

    #[test]
    fn the_trained_length_is_read_or_that_of_the_releases_and_never_beyond_the_limit() {
        for base in [released(), v2()] {
            let trained = |length: Value| {
                let mut config = base.clone();
                config["trained_length"] = length;
                parse_value(&config).expect("a valid config").trained_tokens
            };
            assert_eq!(trained(Value::Null), 8192);
            assert_eq!(trained(json!(512)), 512);
            assert_eq!(trained(json!(100_000)), 8192);
        }
        let short = parse_value(&with("max_position_embeddings", json!(514)));
        assert_eq!(short.expect("a valid config").trained_tokens, 512);
    }

    #[test]
    fn instructions_come_from_the_config_else_the_prompts_else_the_release() {
        let extra = json!({"prompts": {"text-matching": "extra: "}}).to_string();
        let parse = |config: &Value| {
            parse(Path::new("c"), config.to_string().as_bytes(), Some(extra.as_bytes()))
                .expect("a valid config")
                .tasks
        };
        assert_eq!(parse(&released())[1].instruction, "extra: ");
        let own = with("task_instructions", json!({"text-matching": "own: "}));
        assert_eq!(parse(&own)[1].instruction, "own: ");
    }

    #[test]
    fn values_that_would_change_the_arithmetic_are_rejected_by_name() {
        let cases = [
            ("hidden_act", json!("gelu_new")),
            ("position_embedding_type", json!("absolute")),
            ("emb_pooler", json!("cls")),
            ("rotary_emb_interleaved", json!(true)),
            ("rotary_emb_dim", json!(32)),
            ("rotary_emb_scale_base", json!(512)),
            ("rope_parameters", json!({"rope_type": "yarn", "rope_theta": 1e4})),
            ("hidden_size", json!(0)),
            ("hidden_size", json!(1e30)),
            ("num_attention_heads", json!(1024)),
            ("num_attention_heads", json!(15)),
            ("vocab_size", json!("many")),
            ("layer_norm_eps", json!(-1)),
            ("max_position_embeddings", json!(2)),
            ("lora_rank", json!(-1)),
            ("lora_rank", json!("four")),
            ("trained_length", json!(0)),
            ("trained_length", json!("long")),
            ("lora_adaptations", json!("retrieval.query")),
            ("lora_adaptations", json!([1])),
        ];
        for (key, value) in cases {
            let error = parse_value(&with(key, value.clone())).expect_err(key).to_string();
            assert!(error.contains(key), "{key} = {value}: {error}");
        }
    }

    fn v2() -> Value {
        json!({
            "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12,
            "intermediate_size": 3072, "vocab_size": 30528, "position_embedding_type": "alibi",
            "feed_forward_type": "geglu", "model_type": "bert", "max_position_embeddings": 512,
        })
    }

    #[test]
    fn v2_accepts_8192_tokens_whatever_its_files_say_and_has_its_own_defaults() {
        let config = parse_value(&v2()).expect("a valid config");
        assert_eq!((config.max_tokens, config.norm_eps, config.token_types), (8192, 1e-12, 2));
        assert_eq!((config.position, config.activation), (Position::Alibi, Activation::GeGlu));
        assert!(!config.truncatable);
        assert_eq!(config.tasks[0].name, "text-matching");
    }

    #[test]
    fn v2_without_a_gate_is_rejected_unless_its_code_implies_one() {
        let mut config = v2();
        config["feed_forward_type"] = json!("original");
        let error = parse_value(&config).expect_err("no gate").to_string();
        assert!(error.contains("`feed_forward_type` is \"original\""), "{error}");
        config["feed_forward_type"] = Value::Null;
        assert!(parse_value(&config).is_err());
        config["_name_or_path"] = json!("jinaai/jina-bert-v2-qk-post-norm");
        assert_eq!(parse_value(&config).expect("geglu").activation, Activation::GeGlu);
    }

    #[test]
    fn json_that_is_not_an_object_is_an_error() {
        for json in ["", "[]", "{", "null", "\u{0}"] {
            let error = parse(Path::new("config.json"), json.as_bytes(), None);
            assert!(matches!(error, Err(Error::Json { .. })), "{json:?}");
        }
    }
}
