//! PEFT adapter folders, one per task (layout of PEFT 0.21).

use crate::config::object;
use crate::error::{Error, Result};
use crate::files::{open_file, read, required};
use crate::names::{canonical_module, task_of_folder};
use crate::tensor::Tensor;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The files of an adapter's folder.
pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// A task's adapter, as read from its folder.
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) task: String,
    pub(crate) folder: PathBuf,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) rank: usize,
    /// Multiplier of the low-rank product.
    pub(crate) scale: f32,
    /// Modules that the adapter claims to cover, as suffixes of canonical names; `None` if they are
    /// given as a pattern.
    targets: Option<Vec<String>>,
}

impl Adapter {
    /// Whether the adapter's configuration lists `module`.
    pub(crate) fn covers(&self, module: &str) -> bool {
        let mut targets = self.targets.iter().flatten();
        targets.any(|t| {
            module.strip_suffix(t.as_str()).is_some_and(|m| m.is_empty() || m.ends_with('.'))
        })
    }
}

/// The adapters in the folders next to the weights: known tasks in their order, then others by
/// name.
pub(crate) fn open_adapters(folder: &Path, released: &[&str]) -> Result<Vec<Adapter>> {
    let list = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    let mut adapters = Vec::new();
    for entry in list {
        let path = entry.map_err(|e| Error::io("read", folder, e))?.path();
        if path.join(CONFIG).is_file() {
            adapters.push(open(&path, released)?);
        }
    }
    adapters.sort_by_key(|adapter: &Adapter| {
        let index = released.iter().position(|task| *task == adapter.task);
        (index.unwrap_or(released.len()), adapter.task.clone())
    });
    Ok(adapters)
}

fn open(folder: &Path, released: &[&str]) -> Result<Adapter> {
    let path = required(folder, CONFIG)?;
    let config = Config { map: object(&path, &read(&path)?)?, path: &path };
    config.check()?;
    let rank = config.rank()?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Adapter {
        task: task_of_folder(&name, released).to_owned(),
        folder: folder.to_owned(),
        tensors: open_file(&required(folder, WEIGHTS)?)?,
        rank,
        scale: config.scale(rank)?,
        targets: config.targets(),
    })
}

struct Config<'a> {
    map: Map<String, Value>,
    path: &'a Path,
}

impl Config<'_> {
    fn unsupported(&self, key: &'static str, expected: &str) -> Error {
        Error::config(self.path, key, self.map.get(key), expected)
    }

    /// Rejects options that would change the arithmetic.
    fn check(&self) -> Result<()> {
        let plain = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text == "none",
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let keys = [
            "fan_in_fan_out",
            "use_dora",
            "bias",
            "modules_to_save",
            "rank_pattern",
            "alpha_pattern",
            "lora_bias",
        ];
        match keys.into_iter().find(|key| self.map.get(*key).is_some_and(|v| !plain(v))) {
            Some(key) => Err(self.unsupported(key, "a plain LoRA adapter without it")),
            None => Ok(()),
        }
    }

    fn rank(&self) -> Result<usize> {
        const LARGEST: u64 = 1024;
        let rank = self.map.get("r").and_then(Value::as_u64);
        let rank = rank.filter(|r| (1..=LARGEST).contains(r)).and_then(|r| r.try_into().ok());
        rank.ok_or_else(|| self.unsupported("r", "a rank from 1 to 1024"))
    }

    fn scale(&self, rank: usize) -> Result<f32> {
        let alpha = self.map.get("lora_alpha").and_then(Value::as_f64).filter(|x| x.is_finite());
        let alpha = alpha.ok_or_else(|| self.unsupported("lora_alpha", "a number"))?;
        let rslora = self.map.get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        let rank = rank as f64;
        Ok((alpha / if rslora { rank.sqrt() } else { rank }) as f32)
    }

    fn targets(&self) -> Option<Vec<String>> {
        let list = self.map.get("target_modules")?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(canonical_module).collect())
    }
}
