//! A checkpoint: its configuration and its mapped tensors. Opening one reads headers only.

use crate::adapter::{Adapter, open_adapters};
use crate::config::{self, EncoderConfig, Scheme};
use crate::error::Result;
use crate::files::{self, open_weights, read, required};
use crate::mapped::Bytes;
use crate::names::{self, Layout};
use crate::tensor::Tensor;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A checkpoint whose files were found, mapped and parsed.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) config: EncoderConfig,
    /// Its folder, for messages.
    pub(crate) location: PathBuf,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) adapters: Vec<Adapter>,
    /// `config.json`.
    pub(crate) json: Vec<u8>,
    /// How weights are quantized, if the configuration says so.
    pub(crate) schemes: Option<Vec<Scheme>>,
    layout: Layout,
}

/// A weight file's description of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// `F32`, `F16` or `BF16`; `I8`, `I32` or `I64` if it is a part of a quantized weight.
    pub dtype: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Checkpoint {
    /// Opens the checkpoint in `folder`: `config.json` and `model.safetensors` (or its index and
    /// parts), in any layout of jina-embeddings-v3 or -v2.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, or needs what the encoder does not implement.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = required(folder, "config.json")?;
        let extra = folder.join("config_sentence_transformers.json");
        let extra = extra.is_file().then(|| read(&extra)).transpose()?;
        let json = read(&path)?;
        let mut config = config::parse(&path, &json, extra.as_deref())?;
        let schemes = config::schemes(&path, &json)?;
        let tensors = open_weights(folder)?;
        let layout = Layout::of(tensors.iter().map(|tensor| &*tensor.name));
        let mut adapters = Vec::new();
        if let Layout::NativeFused | Layout::NativeSplit = layout {
            let released: Vec<_> = config::released_tasks().collect();
            adapters = open_adapters(folder, &released)?;
            // Tasks without adapters are those of the configuration.
            if config.lora_rank > 0 || !adapters.is_empty() {
                let names = adapters.iter().map(|adapter| adapter.task.as_str());
                config.tasks = config::tasks_named(&path, names, extra.as_deref())?;
            }
        }
        let location = folder.to_owned();
        Ok(Self { config, location, tensors, adapters, json, schemes, layout })
    }

    /// A checkpoint of the original layout in memory, such as one that is part of the program.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn from_bytes(
        json: &[u8],
        sentence_transformers: Option<&[u8]>,
        weights: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self> {
        let location = PathBuf::from("the checkpoint in memory");
        let path = location.join("config.json");
        let config = config::parse(&path, json, sentence_transformers)?;
        let schemes = config::schemes(&path, json)?;
        let path = location.join("model.safetensors");
        let tensors = files::tensors(&path, Bytes::Memory(weights.into()))?;
        let layout = Layout::of(tensors.iter().map(|tensor| &*tensor.name));
        let (adapters, json) = (Vec::new(), json.to_vec());
        Ok(Self { config, location, tensors, adapters, json, schemes, layout })
    }

    /// The shape of the encoder, and its tasks.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// How the checkpoint names its tensors.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether every tensor is bf16.
    pub fn is_bf16(&self) -> bool {
        self.tensors().iter().all(|tensor| tensor.dtype == "BF16")
    }

    /// Whether a weight consists of integers with scales.
    pub fn is_quantized(&self) -> bool {
        self.tensors.iter().any(|tensor| names::is_scale(&tensor.name))
    }

    /// Whether tasks have adapters, and do not differ by their instructions alone.
    pub fn has_adapters(&self) -> bool {
        let in_file = self.layout == Layout::Original && self.config.lora_rank > 0;
        in_file || !self.adapters.is_empty()
    }

    /// Bytes of all tensors, those of adapters included.
    pub fn len_bytes(&self) -> usize {
        let adapters = self.adapters.iter().flat_map(|adapter| &adapter.tensors);
        self.tensors.iter().chain(adapters).map(|tensor| tensor.range.len()).sum()
    }

    /// Number of weights, those of adapters and heads included. Scales are not weights.
    pub fn parameters(&self) -> usize {
        let adapters = self.adapters.iter().flat_map(|adapter| &adapter.tensors);
        self.tensors.iter().chain(adapters).map(|tensor| self.weights_in(tensor)).sum()
    }

    fn weights_in(&self, tensor: &Tensor) -> usize {
        let (module, part) = tensor.name.rsplit_once('.').unwrap_or_default();
        match part {
            names::SCALE | names::SHAPE => 0,
            names::PACKED => {
                let shape = format!("{module}.{}", names::SHAPE);
                let shape = self.tensors.iter().find(|other| *other.name == *shape);
                let count = shape.map(|shape| shape.to_vec().iter().map(|n| *n as usize).product());
                // Without a shape, words are full, of four bits each.
                count.unwrap_or(8 * tensor.len())
            }
            _ => tensor.len(),
        }
    }

    /// All tensors, those of adapter folders last.
    pub fn tensors(&self) -> Vec<TensorInfo> {
        let adapters = self.adapters.iter().flat_map(|adapter| &adapter.tensors);
        let info = |tensor: &Tensor| TensorInfo {
            name: tensor.name.to_string(),
            file: tensor.file.to_path_buf(),
            dtype: tensor.elements.name(),
            shape: tensor.shape.clone(),
        };
        self.tensors.iter().chain(adapters).map(info).collect()
    }
}
