//! `config.json` → [`EncoderConfig`]. The only file that knows how configurations are spelled;
//! a value that would change the arithmetic and is not implemented is an error.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// The shape of an encoder: all that its forward pass depends on beside the weights.
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
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Longest sequence that the model takes, special tokens included.
    pub max_tokens: usize,
    /// The task adapters, in the order of the adapter index.
    pub tasks: Vec<TaskConfig>,
    /// Rank of the adapters in the original layout; 0 without adapters.
    pub lora_rank: usize,
    /// Multiplier of the low-rank product in the original layout: alpha / rank.
    pub lora_scale: f32,
    /// Dimensions that the model was trained to be cut to; empty if unknown.
    pub matryoshka: Vec<usize>,
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

/// Tasks and instructions of the released jina-embeddings-v3, for layouts that do not carry them
/// (specification of the official `encode`; the trailing spaces belong to them).
const RELEASED_TASKS: [(&str, &str); 5] = [
    ("retrieval.query", "Represent the query for retrieving evidence documents: "),
    ("retrieval.passage", "Represent the document for retrieval: "),
    ("separation", ""),
    ("classification", ""),
    ("text-matching", ""),
];

/// The cosines and sines of so many positions take 32 MiB at a head width of 64.
const MOST_POSITIONS: usize = 1 << 17;

/// Names of the released tasks, in the order of the adapter index.
pub(crate) fn released_tasks() -> impl Iterator<Item = &'static str> {
    RELEASED_TASKS.iter().map(|(name, _)| *name)
}

/// The instruction of a task: as written beside the weights, or the released one.
fn instruction(prompts: Option<&Value>, task: &str) -> String {
    let written = prompts.and_then(|prompts| prompts.get(task)).and_then(Value::as_str);
    let released = RELEASED_TASKS.iter().find(|(name, _)| *name == task).map(|(_, text)| *text);
    written.or(released).unwrap_or_default().to_owned()
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
    fields.check_architecture()?;
    let hidden = fields.size("hidden_size")?;
    let heads = fields.size("num_attention_heads")?;
    if hidden % heads != 0 || (hidden / heads) % 2 != 0 {
        return Err(fields.unsupported("num_attention_heads", "an even head width"));
    }
    fields.check_rotary(hidden / heads)?;
    let side = sentence_transformers.map(|json| object(path, json)).transpose()?;
    let prompts = side.as_ref().and_then(|side| side.get("prompts"));
    let tasks = fields.tasks(prompts)?;
    let lora_rank = if tasks.is_empty() { 0 } else { fields.size("lora_rank")? };
    let lora_scale =
        if tasks.is_empty() { 0.0 } else { fields.number("lora_alpha")? as f32 / lora_rank as f32 };
    let positions = fields.size("max_position_embeddings")?;
    if !(3..=MOST_POSITIONS).contains(&positions) {
        return Err(fields.unsupported("max_position_embeddings", "an integer from 3 to 131072"));
    }
    Ok(EncoderConfig {
        layers: fields.size("num_hidden_layers")?,
        heads,
        hidden,
        ffn_hidden: fields.size("intermediate_size")?,
        vocab: fields.size("vocab_size")?,
        token_types: fields.size("type_vocab_size")?,
        norm_eps: fields.number("layer_norm_eps")? as f32,
        rope_theta: fields.rope_theta()?,
        // Two positions are a legacy of the position table that rotary models no longer have.
        max_tokens: positions - 2,
        tasks,
        lora_rank,
        lora_scale,
        matryoshka: fields.matryoshka(),
    })
}

/// Tasks of a layout whose configuration does not list them.
pub(crate) fn tasks_named<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str>,
    sentence_transformers: Option<&[u8]>,
) -> Result<Vec<TaskConfig>> {
    let side = sentence_transformers.map(|json| object(path, json)).transpose()?;
    let prompts = side.as_ref().and_then(|side| side.get("prompts"));
    let task =
        |name: &str| TaskConfig { name: name.to_owned(), instruction: instruction(prompts, name) };
    Ok(names.map(task).collect())
}

pub(crate) fn object(path: &Path, json: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(json)
        .map_err(|e| Error::Json { path: path.to_owned(), reason: e.to_string() })
}

struct Fields<'a> {
    path: &'a Path,
    map: Map<String, Value>,
}

impl Fields<'_> {
    /// The value of a key; JSON null counts as absent.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn unsupported(&self, key: &'static str, expected: &str) -> Error {
        Error::config(self.path, key, self.get(key), expected)
    }

    /// A dimension: an integer from 1 to a bound that keeps products of two from overflowing.
    fn size(&self, key: &'static str) -> Result<usize> {
        const LARGEST: u64 = 1 << 24;
        let size = self.get(key).and_then(Value::as_u64).filter(|n| (1..=LARGEST).contains(n));
        let size = size.and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| self.unsupported(key, "an integer from 1 to 16777216"))
    }

    fn number(&self, key: &'static str) -> Result<f64> {
        let number = self.get(key).and_then(Value::as_f64).filter(|x| x.is_finite() && *x >= 0.0);
        number.ok_or_else(|| self.unsupported(key, "a number, zero or more"))
    }

    /// Accepts a key only if it is absent or `expected`.
    fn only(&self, key: &'static str, accepted: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !accepted.contains(value) => {
                let accepted: Vec<_> = accepted.iter().map(Value::to_string).collect();
                Err(self.unsupported(key, &accepted.join(" or ")))
            }
            _ => Ok(()),
        }
    }

    fn check_architecture(&self) -> Result<()> {
        let native = self.get("model_type") == Some(&"jina_embeddings_v3".into());
        let rotary = self.get("position_embedding_type") == Some(&"rotary".into());
        if !native && !rotary {
            let key = "position_embedding_type";
            return Err(self.unsupported(key, "\"rotary\" (the jina-embeddings-v3 architecture)"));
        }
        self.only("hidden_act", &["gelu".into()])?;
        self.only("emb_pooler", &["mean".into()])?;
        self.only("rotary_emb_interleaved", &[false.into()])?;
        self.only("rotary_emb_scale_base", &[])?;
        self.only("last_layer_subset", &[false.into()])
    }

    fn check_rotary(&self, head_dim: usize) -> Result<()> {
        self.only("rotary_emb_dim", &[head_dim.into(), 0.into()])?;
        let rope_type = self.get("rope_parameters").and_then(|rope| rope.get("rope_type"));
        match rope_type {
            None => Ok(()),
            Some(kind) if kind == "default" => Ok(()),
            Some(_) => Err(self.unsupported("rope_parameters", "the rope_type \"default\"")),
        }
    }

    fn rope_theta(&self) -> Result<f32> {
        let native = self.get("rope_parameters").and_then(|rope| rope.get("rope_theta"));
        let theta = native.or_else(|| self.get("rotary_emb_base")).and_then(Value::as_f64);
        let theta = theta.filter(|theta| theta.is_finite() && *theta >= 1.0);
        theta.map(|theta| theta as f32).ok_or_else(|| {
            self.unsupported("rotary_emb_base", "a number of 1 or more, here or as rope_theta")
        })
    }

    fn tasks(&self, prompts: Option<&Value>) -> Result<Vec<TaskConfig>> {
        let key = "lora_adaptations";
        let names = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(names)) => names,
            Some(_) => return Err(self.unsupported(key, "a list of task names")),
        };
        let prompts = self.get("task_instructions").or(prompts);
        let task = |name: &Value| {
            let name =
                name.as_str().ok_or_else(|| self.unsupported(key, "a list of task names"))?;
            Ok(TaskConfig { name: name.to_owned(), instruction: instruction(prompts, name) })
        };
        names.iter().map(task).collect()
    }

    fn matryoshka(&self) -> Vec<usize> {
        let list = self.get("matryoshka_dimensions").and_then(Value::as_array);
        let list = list.into_iter().flatten().filter_map(Value::as_u64);
        list.filter_map(|n| usize::try_from(n).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (config.max_tokens, config.rope_theta, config.lora_scale),
            (8192, 20000.0, 0.25)
        );
        assert_eq!(config.tasks[0].instruction, RELEASED_TASKS[0].1);
    }

    #[test]
    fn instructions_come_from_the_config_then_the_prompts_then_the_release() {
        let side = json!({"prompts": {"text-matching": "side: "}}).to_string();
        let parse = |config: &Value| {
            parse(Path::new("c"), config.to_string().as_bytes(), Some(side.as_bytes()))
                .expect("a valid config")
                .tasks
        };
        assert_eq!(parse(&released())[1].instruction, "side: ");
        let own = with("task_instructions", json!({"text-matching": "own: "}));
        assert_eq!(parse(&own)[1].instruction, "own: ");
    }

    #[test]
    fn values_that_would_change_the_arithmetic_are_refused_by_name() {
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
            ("lora_rank", json!(0)),
            ("lora_adaptations", json!("retrieval.query")),
            ("lora_adaptations", json!([1])),
        ];
        for (key, value) in cases {
            let error = parse_value(&with(key, value.clone())).expect_err(key).to_string();
            assert!(error.contains(key), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn json_that_is_no_object_is_an_error() {
        for json in ["", "[]", "{", "null", "\u{0}"] {
            let error = parse(Path::new("config.json"), json.as_bytes(), None);
            assert!(matches!(error, Err(Error::Json { .. })), "{json:?}");
        }
    }
}
