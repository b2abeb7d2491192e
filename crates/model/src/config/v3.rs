//! Configurations of jina-embeddings-v3, as released and as transformers spells them
//! (specification, sections 2 and 4).

use super::fields::Fields;
use super::{EncoderConfig, Position, TaskConfig, instruction};
use crate::error::Result;
use kokeshi_kernels::gemm::Activation;
use serde_json::Value;

/// Maximum number of positions: their cosines and sines take 32 MiB at a head width of 64.
const MAX_POSITIONS: usize = 1 << 17;

pub(super) fn parse(fields: &Fields<'_>, prompts: Option<&Value>) -> Result<EncoderConfig> {
    fields.only("hidden_act", &["gelu".into()])?;
    fields.only("emb_pooler", &["mean".into()])?;
    fields.only("last_layer_subset", &[false.into()])?;
    let (hidden, heads) = fields.hidden_and_heads()?;
    check_rotary(fields, hidden / heads)?;
    let tasks = tasks(fields, prompts)?;
    let (lora_rank, lora_scale) = lora(fields, tasks.is_empty())?;
    let max_tokens = max_tokens(fields)?;
    Ok(EncoderConfig {
        layers: fields.size("num_hidden_layers")?,
        heads,
        hidden,
        ffn_hidden: fields.size("intermediate_size")?,
        vocab: fields.size("vocab_size")?,
        token_types: fields.size("type_vocab_size")?,
        norm_eps: fields.number("layer_norm_eps")? as f32,
        position: Position::Rope { theta: rope_theta(fields)? },
        activation: Activation::Gelu,
        max_tokens,
        trained_tokens: fields.trained_tokens(max_tokens)?,
        tasks,
        lora_rank,
        lora_scale,
        matryoshka: matryoshka(fields),
        truncatable: true,
    })
}

/// Rank and multiplier of the adapters. Without tasks, or with a rank of 0, there are none.
fn lora(fields: &Fields<'_>, no_tasks: bool) -> Result<(usize, f32)> {
    if no_tasks || fields.get("lora_rank").is_some_and(|rank| *rank == 0) {
        return Ok((0, 0.0));
    }
    let rank = fields.size("lora_rank")?;
    Ok((rank, fields.number("lora_alpha")? as f32 / rank as f32))
}

/// Two of the positions are left over from a position table that rotary models no longer have.
fn max_tokens(fields: &Fields<'_>) -> Result<usize> {
    let positions = fields.size("max_position_embeddings")?;
    if !(3..=MAX_POSITIONS).contains(&positions) {
        return Err(fields.unsupported("max_position_embeddings", "an integer from 3 to 131072"));
    }
    Ok(positions - 2)
}

fn check_rotary(fields: &Fields<'_>, head_dim: usize) -> Result<()> {
    fields.only("rotary_emb_interleaved", &[false.into()])?;
    fields.only("rotary_emb_scale_base", &[])?;
    fields.only("rotary_emb_dim", &[head_dim.into(), 0.into()])?;
    let rope_type = fields.get("rope_parameters").and_then(|rope| rope.get("rope_type"));
    match rope_type {
        None => Ok(()),
        Some(kind) if kind == "default" => Ok(()),
        Some(_) => Err(fields.unsupported("rope_parameters", "the rope_type \"default\"")),
    }
}

fn rope_theta(fields: &Fields<'_>) -> Result<f32> {
    let native = fields.get("rope_parameters").and_then(|rope| rope.get("rope_theta"));
    let theta = native.or_else(|| fields.get("rotary_emb_base")).and_then(Value::as_f64);
    let theta = theta.filter(|theta| theta.is_finite() && *theta >= 1.0);
    theta.map(|theta| theta as f32).ok_or_else(|| {
        fields.unsupported("rotary_emb_base", "a number of 1 or more, here or as rope_theta")
    })
}

fn tasks(fields: &Fields<'_>, prompts: Option<&Value>) -> Result<Vec<TaskConfig>> {
    let key = "lora_adaptations";
    let names = match fields.get(key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(names)) => names,
        Some(_) => return Err(fields.unsupported(key, "a list of task names")),
    };
    let prompts = fields.get("task_instructions").or(prompts);
    let task = |name: &Value| {
        let name = name.as_str().ok_or_else(|| fields.unsupported(key, "a list of task names"))?;
        Ok(TaskConfig { name: name.to_owned(), instruction: instruction(prompts, name) })
    };
    names.iter().map(task).collect()
}

fn matryoshka(fields: &Fields<'_>) -> Vec<usize> {
    let list = fields.get("matryoshka_dimensions").and_then(Value::as_array);
    let list = list.into_iter().flatten().filter_map(Value::as_u64);
    list.filter_map(|n| usize::try_from(n).ok()).collect()
}
