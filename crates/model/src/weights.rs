//! Finds the parts of the network among a checkpoint's tensors, by their canonical names. A tensor
//! that is missing, unused, or of another shape than the configuration says is an error.

use crate::adapter::Adapter;
use crate::checkpoint::Checkpoint;
use crate::config::EncoderConfig;
use crate::error::{Error, Result};
use crate::lora::{Update, bank, stack};
use crate::names::{Layout, canonical, canonical_peft, is_head};
use crate::table::{Table, TableAdapter};
use crate::tensor::Tensor;
use kokeshi_kernels::DType;
use kokeshi_kernels::gemm::{Activation, LoraBank};
use kokeshi_kernels::layer_norm::Norm;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// All weights of an encoder, still in the checkpoint's files.
#[derive(Debug)]
pub(crate) struct EncoderWeights {
    pub(crate) table: Table,
    pub(crate) emb_norm: Norm,
    pub(crate) layers: Vec<LayerWeights>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) qkv: LinearWeights,          // [3 * hidden, hidden]
    pub(crate) qk_norms: Option<[Norm; 2]>, // over all heads together
    pub(crate) out: LinearWeights,          // [hidden, hidden]
    pub(crate) attn_norm: Norm,
    pub(crate) second_attn_norm: Option<Norm>,
    pub(crate) up: LinearWeights, // [ffn_hidden, hidden]; twice the rows if gated, gates first
    pub(crate) down: LinearWeights, // [hidden, ffn_hidden]
    pub(crate) ffn_norm: Norm,
}

/// A linear layer.
#[derive(Debug)]
pub(crate) struct LinearWeights {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Vec<f32>, // [rows], or empty
    pub(crate) lora: Option<LoraBank>,
    pub(crate) activation: Option<Activation>,
}

/// A weight of `[rows, inputs]`: ranges of rows of tensors, one after the other.
#[derive(Debug)]
pub(crate) struct Matrix {
    parts: Vec<(Tensor, Range<usize>)>,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
}

impl Matrix {
    fn new(parts: Vec<(Tensor, Range<usize>)>, inputs: usize) -> Self {
        Self { rows: parts.iter().map(|(_, rows)| rows.len()).sum(), parts, inputs }
    }

    /// Widens row `row` into `to`.
    pub(crate) fn read_row(&self, mut row: usize, to: &mut [f32]) {
        for (tensor, rows) in &self.parts {
            if row < rows.len() {
                return tensor.read((rows.start + row) * self.inputs, 1, to);
            }
            row -= rows.len();
        }
    }

    /// Whether every element is stored as bf16.
    pub(crate) fn is_bf16(&self) -> bool {
        self.parts.iter().all(|(tensor, _)| tensor.dtype == DType::Bf16)
    }

    /// Returns the pages of the files to the system once the elements have been copied.
    pub(crate) fn release(&self) {
        self.parts.iter().for_each(|(tensor, _)| tensor.release());
    }
}

/// Finds the parts of the network in a checkpoint.
pub(crate) fn read_weights(checkpoint: &Checkpoint) -> Result<EncoderWeights> {
    let mut loader = Loader::new(checkpoint)?;
    let config = &checkpoint.config;
    let weights = EncoderWeights {
        table: loader.table()?,
        emb_norm: loader.norm("emb_ln")?,
        layers: (0..config.layers).map(|i| loader.layer(i)).collect::<Result<_>>()?,
    };
    loader.finish()?;
    Ok(weights)
}

struct Loader<'a> {
    config: &'a EncoderConfig,
    layout: Layout,
    base: NamedTensors,
    adapters: Vec<(&'a Adapter, NamedTensors)>,
}

impl<'a> Loader<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let named = |adapter: &'a Adapter| {
            let names = NamedTensors::new(&adapter.folder, &adapter.tensors, canonical_peft)?;
            Ok((adapter, names))
        };
        Ok(Self {
            config: &checkpoint.config,
            layout: checkpoint.layout(),
            base: NamedTensors::new(&checkpoint.location, &checkpoint.tensors, canonical)?,
            adapters: checkpoint.adapters.iter().map(named).collect::<Result<_>>()?,
        })
    }

    fn layer(&mut self, i: usize) -> Result<LayerWeights> {
        let EncoderConfig { hidden, ffn_hidden, .. } = *self.config;
        let path = |module: &str| format!("encoder.layers.{i}.{module}");
        let post_norm = self.layout == Layout::BertQkPostNorm;
        let qk_norms = [path("mixer.norm_q"), path("mixer.norm_k")];
        Ok(LayerWeights {
            qkv: self.qkv(&path("mixer"))?,
            qk_norms: match &qk_norms {
                [q, k] if post_norm => Some([self.norm(q)?, self.norm(k)?]),
                _ => None,
            },
            out: self.linear(&path("mixer.out_proj"), [hidden, hidden])?,
            attn_norm: self.norm(&path("norm1"))?,
            second_attn_norm: post_norm.then(|| self.norm(&path("second_norm1"))).transpose()?,
            up: self.up(&path("mlp.fc1"))?,
            down: self.linear(&path("mlp.fc2"), [hidden, ffn_hidden])?,
            ffn_norm: self.norm(&path("norm2"))?,
        })
    }

    /// The first feed-forward projection, with its activation. A gated one has no bias, and gates
    /// come first: the qk-post-norm layout stores them second.
    fn up(&mut self, module: &str) -> Result<LinearWeights> {
        let EncoderConfig { hidden, ffn_hidden, activation, .. } = *self.config;
        if !activation.is_gated() {
            let linear = self.linear(module, [ffn_hidden, hidden])?;
            return Ok(LinearWeights { activation: Some(activation), ..linear });
        }
        let tensor = self.base.take(module, "weight", &[2 * ffn_hidden, hidden])?;
        let (mut gates, mut values) = (0..ffn_hidden, ffn_hidden..2 * ffn_hidden);
        if self.layout == Layout::BertQkPostNorm {
            std::mem::swap(&mut gates, &mut values);
        }
        let matrix = Matrix::new(vec![(tensor.clone(), gates), (tensor, values)], hidden);
        Ok(LinearWeights { matrix, bias: Vec::new(), lora: None, activation: Some(activation) })
    }

    fn norm(&mut self, module: &str) -> Result<Norm> {
        let shape = [self.config.hidden];
        Ok(Norm {
            gain: self.base.take(module, "weight", &shape)?.to_vec(),
            bias: self.base.take(module, "bias", &shape)?.to_vec(),
            eps: self.config.norm_eps,
        })
    }

    fn linear(&mut self, module: &str, [outputs, inputs]: [usize; 2]) -> Result<LinearWeights> {
        let updates = self.updates(module, [outputs, inputs])?;
        let tensor = self.base.take(module, "weight", &[outputs, inputs])?;
        Ok(LinearWeights {
            matrix: Matrix::new(vec![(tensor, 0..outputs)], inputs),
            bias: self.base.take(module, "bias", &[outputs])?.to_vec(),
            lora: bank(updates, [outputs, inputs]),
            activation: None,
        })
    }

    /// The fused projection to q, k and v, which some layouts store separately.
    fn qkv(&mut self, mixer: &str) -> Result<LinearWeights> {
        let hidden = self.config.hidden;
        let shape = [3 * hidden, hidden];
        let fused = format!("{mixer}.Wqkv");
        let split = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{mixer}.{part}"));
        if self.layout == Layout::Original {
            return self.linear(&fused, shape);
        }
        // Base weights and adapters may differ in form: PEFT adapters cover q, k and v one by one
        // even where the weights are fused.
        let mut updates = self.updates(&fused, shape)?;
        for (task, (adapter, names)) in self.adapters.iter_mut().enumerate() {
            if updates[task].is_none() {
                let parts =
                    split.each_ref().map(|part| names.update(adapter, part, [hidden, hidden]));
                let [q, k, v] = parts;
                updates[task] = stack([q?, k?, v?], hidden);
            }
        }
        let fused = [fused];
        let modules = if self.layout == Layout::NativeFused { &fused[..] } else { &split[..] };
        let rows = 3 * hidden / modules.len();
        let (mut parts, mut bias) = (Vec::new(), Vec::new());
        for module in modules {
            parts.push((self.base.take(module, "weight", &[rows, hidden])?, 0..rows));
            bias.extend(self.base.take(module, "bias", &[rows])?.to_vec());
        }
        let matrix = Matrix::new(parts, hidden);
        Ok(LinearWeights { matrix, bias, lora: bank(updates, shape), activation: None })
    }

    /// The low-rank update of each task on `module`.
    fn updates(
        &mut self,
        module: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Vec<Option<Update>>> {
        if self.layout != Layout::Original {
            let update = |(adapter, names): &mut (&Adapter, NamedTensors)| {
                names.update(adapter, module, [outputs, inputs])
            };
            return self.adapters.iter_mut().map(update).collect();
        }
        let (tasks, rank) = (self.config.tasks.len(), self.config.lora_rank);
        if tasks == 0 {
            return Ok(Vec::new());
        }
        let a = self.base.take(module, "lora_A", &[tasks, rank, inputs])?.to_vec();
        let b = self.base.take(module, "lora_B", &[tasks, outputs, rank])?.to_vec();
        let pairs = a.chunks_exact(rank * inputs).zip(b.chunks_exact(outputs * rank));
        let scale = self.config.lora_scale;
        Ok(pairs.map(|(a, b)| Some(Update::new(rank, a.to_vec(), b, scale))).collect())
    }

    fn table(&mut self) -> Result<Table> {
        let EncoderConfig { vocab, token_types, hidden, .. } = *self.config;
        let (words, types) = ("embeddings.word_embeddings", "embeddings.token_type_embeddings");
        let word_adapters = self.table_adapters(words, vocab)?;
        let type_adapters = self.table_adapters(types, token_types)?;
        let word = self.base.take(words, "weight", &[vocab, hidden])?;
        let token_type = self.base.take(types, "weight", &[token_types, hidden])?;
        Ok(Table::new(word, word_adapters, &Table::new(token_type, type_adapters, &[]).rows(0)))
    }

    /// The low-rank update of each task on an embedding of `rows` rows.
    fn table_adapters(&mut self, module: &str, rows: usize) -> Result<Vec<Option<TableAdapter>>> {
        let hidden = self.config.hidden;
        if self.layout != Layout::Original {
            let update = |(adapter, names): &mut (&Adapter, NamedTensors)| {
                names.table_update(adapter, module, rows, hidden)
            };
            return self.adapters.iter_mut().map(update).collect();
        }
        let (tasks, rank) = (self.config.tasks.len(), self.config.lora_rank);
        if tasks == 0 {
            return Ok(Vec::new());
        }
        let a = self.base.take(module, "lora_A", &[tasks, rows, rank])?;
        let b = self.base.take(module, "lora_B", &[tasks, rank, hidden])?.to_vec();
        let b = b.chunks_exact(rank * hidden).enumerate();
        let adapter = |(task, b): (usize, &[f32])| TableAdapter {
            a: a.clone(),
            start: task * rows * rank,
            row_stride: rank,
            rank_stride: 1,
            b: b.iter().map(|x| x * self.config.lora_scale).collect(),
        };
        Ok(b.map(|task| Some(adapter(task))).collect())
    }

    fn finish(self) -> Result<()> {
        let adapters = self.adapters.into_iter().map(|(_, names)| names);
        std::iter::once(self.base).chain(adapters).try_for_each(NamedTensors::finish)
    }
}

/// Tensors by their canonical names, removed one by one as they are used.
struct NamedTensors {
    /// Folder of the checkpoint or adapter, for messages.
    folder: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl NamedTensors {
    fn new(folder: &Path, tensors: &[Tensor], canonical: fn(&str) -> String) -> Result<Self> {
        let mut names = BTreeMap::<String, Tensor>::new();
        for tensor in tensors {
            if let Some(other) = names.insert(canonical(&tensor.name), tensor.clone()) {
                return Err(Error::Duplicate {
                    first: other.name.to_string(),
                    second: tensor.name.to_string(),
                });
            }
        }
        Ok(Self { folder: folder.to_owned(), tensors: names })
    }

    fn take(&mut self, module: &str, part: &str, shape: &[usize]) -> Result<Tensor> {
        let name = format!("{module}.{part}");
        let Some(tensor) = self.tensors.remove(&name) else {
            return Err(Error::MissingTensor { name, checkpoint: self.folder.clone() });
        };
        if tensor.shape != shape {
            return Err(Error::Shape {
                name: tensor.name.to_string(),
                path: tensor.path().to_owned(),
                found: tensor.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(tensor)
    }

    /// Whether an adapter has an update for `module`: it contains at least one half of it, or
    /// claims to cover it.
    fn updates(&self, adapter: &Adapter, module: &str) -> bool {
        let holds = |part: &str| self.tensors.contains_key(&format!("{module}.{part}"));
        holds("lora_A") || holds("lora_B") || adapter.covers(module)
    }

    fn update(
        &mut self,
        adapter: &Adapter,
        module: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Option<Update>> {
        if !self.updates(adapter, module) {
            return Ok(None);
        }
        let rank = adapter.rank;
        let a = self.take(module, "lora_A", &[rank, inputs])?.to_vec();
        let b = self.take(module, "lora_B", &[outputs, rank])?.to_vec();
        Ok(Some(Update::new(rank, a, &b, adapter.scale)))
    }

    /// PEFT stores both halves of an embedding's update transposed.
    fn table_update(
        &mut self,
        adapter: &Adapter,
        module: &str,
        rows: usize,
        hidden: usize,
    ) -> Result<Option<TableAdapter>> {
        if !self.updates(adapter, module) {
            return Ok(None);
        }
        let rank = adapter.rank;
        let a = self.take(module, "lora_A", &[rank, rows])?;
        let b = self.take(module, "lora_B", &[hidden, rank])?.to_vec();
        let b = (0..rank).flat_map(|r| b[r..].iter().step_by(rank)).map(|x| x * adapter.scale);
        Ok(Some(TableAdapter { a, start: 0, row_stride: 1, rank_stride: rows, b: b.collect() }))
    }

    /// Heads such as the pooler are in the released files, but no embedding uses them.
    fn finish(mut self) -> Result<()> {
        self.tensors.retain(|name, _| !is_head(name));
        match self.tensors.first_key_value() {
            None => Ok(()),
            Some((_, tensor)) => Err(Error::Unused {
                checkpoint: self.folder.clone(),
                example: tensor.name.to_string(),
                count: self.tensors.len(),
            }),
        }
    }
}
