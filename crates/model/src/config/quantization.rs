//! `quantization_config` as compressed-tensors writes it: how weights of integers are stored. The
//! tensors themselves decide how they are read; this is checked against them.
//!
//! Source of the keys and their defaults: `quant_args.py` of the Python package compressed-tensors.

use super::fields::{Fields, object};
use crate::error::Result;
use crate::quantize::TableBits;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

/// How a group of modules is quantized. An element is its integer times its scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    pub(crate) modules: Modules,
    /// 4 or 8.
    pub(crate) bits: usize,
    pub(crate) grouping: Grouping,
    /// Whether several integers share a word (`pack-quantized`); `None` if it is not said.
    pub(crate) is_packed: Option<bool>,
}

/// The modules to which a scheme applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modules {
    Linear,
    Embedding,
    /// They are named one by one or by a pattern, which the tensors tell as well.
    All,
}

/// The elements that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    Tensor,
    Row,
    /// This number of columns of a row.
    Columns(usize),
}

impl Scheme {
    /// Whether it may describe a module of this kind.
    pub(crate) fn applies_to(&self, modules: Modules) -> bool {
        self.modules == Modules::All || self.modules == modules
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packed = if self.is_packed == Some(true) { " (packed)" } else { "" };
        write!(f, "{} bits{packed} with a scale per ", self.bits)?;
        match self.grouping {
            Grouping::Tensor => f.write_str("tensor"),
            Grouping::Row => f.write_str("row"),
            Grouping::Columns(columns) => write!(f, "{columns} columns"),
        }
    }
}

/// The schemes of `quantization_config`; `None` without this key.
pub(crate) fn schemes(path: &Path, json: &[u8]) -> Result<Option<Vec<Scheme>>> {
    let config = Fields { path, map: object(path, json)? };
    let Some(config) = config.object("quantization_config")? else { return Ok(None) };
    config.only("quant_method", &["compressed-tensors".into()])?;
    config.only("kv_cache_scheme", &[])?;
    config.only("transform_config", &[json!({})])?;
    if let Some(sparsity) = config.object("sparsity_config")? {
        sparsity.only("format", &["dense".into()])?;
    }
    let is_packed = is_packed(&config, None)?;
    let groups = config.object("config_groups")?;
    let groups = groups.ok_or_else(|| config.unsupported("config_groups", "an object"))?;
    let scheme = |value| scheme(&Fields::of(path, value, "config_groups")?, is_packed);
    Ok(Some(groups.map.values().map(scheme).collect::<Result<Vec<_>>>()?.concat()))
}

/// A configuration with the schemes that [`quantize`](crate::quantize) writes: `group` columns share
/// a scale where the table has four bits.
pub(crate) fn add_quantization(
    path: &Path,
    json: &[u8],
    table_bits: TableBits,
    group: usize,
) -> Result<String> {
    let mut config = object(path, json)?;
    let weights = |bits: u32, group: Option<usize>| {
        json!({
            "num_bits": bits, "type": "int", "symmetric": true, "dynamic": false,
            "strategy": if group.is_some() { "group" } else { "channel" },
            "group_size": group, "actorder": null, "block_structure": null,
        })
    };
    let scheme = |targets: &[&str], format: &str, weights: Value| {
        json!({
            "targets": targets, "format": format, "weights": weights,
            "input_activations": null, "output_activations": null,
        })
    };
    let rows = |targets: &[&str]| scheme(targets, "int-quantized", weights(8, None));
    let (format, groups) = match table_bits {
        TableBits::Eight => ("int-quantized", json!({ "group_0": rows(&["Linear", "Embedding"]) })),
        TableBits::Four => {
            let table = scheme(&["Embedding"], "pack-quantized", weights(4, Some(group)));
            ("mixed-precision", json!({ "group_0": rows(&["Linear"]), "group_1": table }))
        }
    };
    let quantization = json!({
        "quant_method": "compressed-tensors", "quantization_status": "compressed",
        "format": format, "config_groups": groups, "ignore": [], "kv_cache_scheme": null,
        "global_compression_ratio": null,
    });
    config.insert("quantization_config".to_owned(), quantization);
    Ok(format!("{:#}\n", Value::Object(config)))
}

/// One scheme for each target of a group.
fn scheme(group: &Fields<'_>, is_packed_elsewhere: Option<bool>) -> Result<Vec<Scheme>> {
    group.only("output_activations", &[])?;
    if let Some(inputs) = group.object("input_activations")? {
        // Rows are quantized as they come, or not at all; a range known beforehand is not used.
        if inputs.get("dynamic") != Some(&true.into()) {
            return Err(inputs.unsupported("dynamic", "true for input_activations"));
        }
    }
    let weights = group.object("weights")?;
    let weights = weights.ok_or_else(|| group.unsupported("weights", "an object"))?;
    weights.only("type", &["int".into()])?;
    weights.only("symmetric", &[true.into()])?;
    weights.only("dynamic", &[false.into()])?;
    weights.only("block_structure", &[])?;
    // "weight" and "static" are the same, and keep the order of columns.
    weights.only("actorder", &["weight".into(), "static".into(), false.into()])?;
    let bits = weights.size_or("num_bits", 8)?;
    if ![4, 8].contains(&bits) {
        return Err(weights.unsupported("num_bits", "4 or 8"));
    }
    let (grouping, is_packed) = (grouping(&weights)?, is_packed(group, is_packed_elsewhere)?);
    let scheme = |modules| Scheme { modules, bits, grouping, is_packed };
    Ok(modules(group)?.into_iter().map(scheme).collect())
}

fn grouping(weights: &Fields<'_>) -> Result<Grouping> {
    let size = weights.get("group_size").and_then(Value::as_i64);
    let columns = || weights.size("group_size").map(Grouping::Columns);
    match (weights.text("strategy"), size) {
        (Some("tensor"), _) => Ok(Grouping::Tensor),
        (Some("channel"), _) => Ok(Grouping::Row),
        (Some("group"), _) => columns(),
        (None, None) if weights.get("strategy").is_none() => Ok(Grouping::Tensor),
        (None, Some(-1)) if weights.get("strategy").is_none() => Ok(Grouping::Row),
        (None, Some(_)) if weights.get("strategy").is_none() => columns(),
        _ => Err(weights.unsupported("strategy", "\"channel\", \"group\" or \"tensor\"")),
    }
}

/// Whether the format packs integers into words.
fn is_packed(fields: &Fields<'_>, elsewhere: Option<bool>) -> Result<Option<bool>> {
    match fields.text("format") {
        Some("pack-quantized") => Ok(Some(true)),
        Some("int-quantized" | "naive-quantized") => Ok(Some(false)),
        // Each group has a format of its own.
        Some("mixed-precision") => Ok(None),
        None if fields.get("format").is_none() => Ok(elsewhere),
        _ => Err(fields.unsupported("format", "\"int-quantized\" or \"pack-quantized\"")),
    }
}

fn modules(group: &Fields<'_>) -> Result<Vec<Modules>> {
    let module = |target: &Value| match target.as_str() {
        Some("Linear") => Modules::Linear,
        Some("Embedding") => Modules::Embedding,
        _ => Modules::All,
    };
    match group.get("targets") {
        None => Ok(vec![Modules::All]),
        Some(Value::Array(targets)) => Ok(targets.iter().map(module).collect()),
        Some(_) => Err(group.unsupported("targets", "a list of module types or names")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(quantization: &Value) -> Result<Option<Vec<Scheme>>> {
        let config = json!({ "quantization_config": quantization });
        schemes(Path::new("config.json"), config.to_string().as_bytes())
    }

    fn config() -> Value {
        json!({
            "quant_method": "compressed-tensors", "format": "mixed-precision",
            "kv_cache_scheme": null, "ignore": ["lm_head"], "quantization_status": "compressed",
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"], "format": "int-quantized", "output_activations": null,
                    "input_activations": { "num_bits": 8, "dynamic": true, "strategy": "token" },
                    "weights": { "num_bits": 8, "type": "int", "symmetric": true,
                                 "strategy": "channel", "group_size": null, "dynamic": false },
                },
                "group_1": {
                    "targets": ["Embedding", "re:.*table"], "format": "pack-quantized",
                    "input_activations": null,
                    "weights": { "num_bits": 4, "group_size": 32, "actorder": "static" },
                },
            },
        })
    }

    #[test]
    fn each_target_of_each_group_has_a_scheme() {
        let grouping = Grouping::Columns(32);
        let packed = |modules| Scheme { modules, bits: 4, grouping, is_packed: Some(true) };
        let rows = Scheme {
            modules: Modules::Linear,
            bits: 8,
            grouping: Grouping::Row,
            is_packed: Some(false),
        };
        let want = vec![rows, packed(Modules::Embedding), packed(Modules::All)];
        assert_eq!(read(&config()).expect("a valid config"), Some(want));
        assert_eq!(rows.to_string(), "8 bits with a scale per row");
        let packed = packed(Modules::All).to_string();
        assert_eq!(packed, "4 bits (packed) with a scale per 32 columns");
    }

    #[test]
    fn without_the_key_there_is_no_scheme() {
        assert_eq!(read(&Value::Null).expect("a valid config"), None);
    }

    #[test]
    fn what_changes_the_arithmetic_is_refused_by_name() {
        let weights = "/config_groups/group_1/weights";
        let cases = [
            ("", "quant_method", json!("gptq")),
            ("", "kv_cache_scheme", json!({"num_bits": 8})),
            ("", "transform_config", json!({"config_groups": {}})),
            ("", "sparsity_config", json!({"format": "sparse-bitmask"})),
            ("", "sparsity_config", json!(3)),
            ("", "format", json!("nvfp4-pack-quantized")),
            ("", "format", json!(1)),
            ("", "config_groups", json!("Linear")),
            ("", "config_groups", json!({"group_0": 1})),
            ("/config_groups/group_1", "weights", Value::Null),
            ("/config_groups/group_1", "targets", json!("Linear")),
            ("/config_groups/group_1", "format", json!("float-quantized")),
            ("/config_groups/group_1", "output_activations", json!({"num_bits": 8})),
            ("/config_groups/group_0/input_activations", "dynamic", json!(false)),
            (weights, "num_bits", json!(3)),
            (weights, "type", json!("float")),
            (weights, "symmetric", json!(false)),
            (weights, "dynamic", json!(true)),
            (weights, "actorder", json!("group")),
            (weights, "block_structure", json!("2x4")),
            (weights, "strategy", json!("block")),
            (weights, "strategy", json!(7)),
            (weights, "group_size", json!(0)),
        ];
        for (at, key, value) in cases {
            let mut config = config();
            config.pointer_mut(at).expect("an object")[key] = value.clone();
            let error = read(&config).expect_err(key).to_string();
            let named = if key == "sparsity_config" { "`format`" } else { key };
            assert!(error.contains(named) || error.contains(key), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn the_strategy_follows_from_the_size_of_groups_where_it_is_not_said() {
        let cases = [
            (Value::Null, Grouping::Tensor),
            (json!(-1), Grouping::Row),
            (json!(128), Grouping::Columns(128)),
        ];
        for (size, grouping) in cases {
            let groups = json!({ "a": { "weights": { "group_size": size } } });
            let schemes = read(&json!({ "config_groups": groups })).expect("a valid config");
            assert_eq!(schemes.expect("a scheme")[0].grouping, grouping, "{size}");
        }
    }
}
