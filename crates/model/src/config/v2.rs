//! Configurations of the jina-embeddings-v2 family (specification, section 1).

use super::fields::Fields;
use super::{EncoderConfig, Position, TaskConfig};
use crate::error::Result;
use kokeshi_kernels::gemm::Activation;

/// The limit of every model of the family, even if its files name a smaller one: ALiBi has no table
/// that could be too short.
const MAX_TOKENS: usize = 8192;

pub(super) fn parse(fields: &Fields<'_>) -> Result<EncoderConfig> {
    fields.only("emb_pooler", &["mean".into()])?;
    let (hidden, heads) = fields.hidden_and_heads()?;
    Ok(EncoderConfig {
        layers: fields.size("num_hidden_layers")?,
        heads,
        hidden,
        ffn_hidden: fields.size("intermediate_size")?,
        vocab: fields.size("vocab_size")?,
        token_types: fields.size_or("type_vocab_size", 2)?,
        norm_eps: fields.number_or("layer_norm_eps", 1e-12)? as f32,
        position: Position::Alibi,
        activation: activation(fields)?,
        max_tokens: MAX_TOKENS,
        trained_tokens: fields.trained_tokens(MAX_TOKENS)?,
        // The family was trained for one purpose, which callers of the API name as a task.
        tasks: vec![TaskConfig { name: "text-matching".to_owned(), instruction: String::new() }],
        lora_rank: 0,
        lora_scale: 0.0,
        matryoshka: Vec::new(),
        truncatable: false,
    })
}

/// The activation follows `feed_forward_type`, not `hidden_act`. Without the key, the code of the
/// qk-post-norm models implies `geglu`, and that of the others a layer without a gate.
fn activation(fields: &Fields<'_>) -> Result<Activation> {
    let key = "feed_forward_type";
    let name = fields.text("_name_or_path").unwrap_or_default();
    let default = if name.contains("qk-post-norm") { "geglu" } else { "original" };
    let kind = if fields.get(key).is_some() { fields.text(key) } else { Some(default) };
    match kind {
        Some("geglu") => Ok(Activation::GeGlu),
        Some("reglu") => Ok(Activation::ReGlu),
        _ => Err(fields.unsupported(key, "\"geglu\" or \"reglu\"")),
    }
}
